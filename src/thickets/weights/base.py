"""The read-only base: live weights are always rebuilt from a pristine copy, and come back bit for bit.

Knows nothing of what the weights compute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from thickets.errors import ModelError
from thickets.noise import place
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch


def fingerprint(tensors: Mapping[str, torch.Tensor]) -> str:
    """`sha256:<hex>` over names, types, shapes and bytes, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{tuple(tensor.shape)}\0".encode())
        raw = tensor.to("cpu").contiguous().reshape(-1)
        digest.update(raw.view(torch.uint8).numpy().data if raw.numel() else b"")
    return f"sha256:{digest.hexdigest()}"


class ReadOnlyBase:
    """Holds a pristine copy of the tensors that move, and writes perturbations into the live ones.

    `tensors` are all canonical tensors of the model, live; `names` those that move; `scheme` the noise scheme.
    The live tensors keep their addresses. Costs the moving tensors' memory once more.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], names: Sequence[str], scheme: str) -> None:
        self.live = dict(tensors)
        self.fingerprint = fingerprint(tensors)
        self.scheme = scheme
        self.pristine = {name: tensors[name].detach().clone() for name in names}

    def place(self, perturbation: Perturbation | None) -> None:
        """Make the live weights those of the perturbation; `None` is the base itself."""
        for name, base in self.pristine.items():
            out = self.live[name].detach()
            if perturbation is None:
                out.copy_(base)
            else:
                step = perturbation.sign * perturbation.sigma
                place(out, base, scheme=self.scheme, seed=perturbation.seed, name=name, step=step)

    def verify(self) -> None:
        """Put the base back and check every bit. Raises `ModelError` if anything differs from the start."""
        self.place(None)
        now = fingerprint(self.live)
        if now != self.fingerprint:
            raise ModelError(
                f"the base weights changed during the run ({self.fingerprint[:19]}… became {now[:19]}…): something "
                "other than this run wrote to them, so its scores cannot be trusted"
            )
