"""The read-only base: live weights are always rebuilt from a pristine copy, and come back bit for bit.

Knows nothing of what the weights compute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from thickets.errors import EngineError, ModelError, WeightsError
from thickets.types import Point
from thickets.weights.placer import Placer, Slot

if TYPE_CHECKING:
    import torch

Where = Literal["device", "host"]


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
    """Holds a pristine copy of the tensors that move, and writes perturbations and blends into the live ones.

    `tensors` are all canonical tensors of the model, live; `names` those that move; `scheme` the noise scheme;
    `factors` the scale rule's factor of each that moves (1 for all where absent). The live tensors keep their
    addresses. The copy costs the moving tensors' memory once more: on their own device, or with `where="host"` in
    pinned host memory, and then a transfer at every switch; for a model on the CPU these are the same.

    Raises `WeightsError` for a tensor that noise cannot be written to, `EngineError` where memory does not suffice for
    the copy, both before anything is written.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        names: Sequence[str],
        scheme: str,
        factors: Mapping[str, float] | None = None,
        where: Where = "device",
        kernel: str = "auto",
    ) -> None:
        moving = {name: tensors[name].detach() for name in names}
        for name, tensor in moving.items():
            _check_layout(name, tensor)
        _check_apart(moving)
        self.live = dict(tensors)
        self.fingerprint = fingerprint(tensors)
        self.scheme = scheme
        self.placer = Placer(scheme, kernel)
        self.factors: Mapping[str, float] = MappingProxyType(dict(factors or dict.fromkeys(names, 1.0)))
        self.pristine = copies(moving, where)
        self._slots = self._make_slots()
        # Where the copy is and what it costs, for people.
        self.cost = cost(self.pristine, moving)

    def place(self, perturbation: Point | None) -> None:
        """Make the live weights those of the point; `None` is the base itself."""
        if any(slot.live.data_ptr() != self.live[name].data_ptr() for name, slot in self._slots.items()):
            self._slots = self._make_slots()
        self.placer.place(self._slots, perturbation)

    def _make_slots(self) -> dict[str, Slot]:
        return {
            name: Slot(self.live[name].detach(), base, name, self.factors[name]) for name, base in self.pristine.items()
        }

    def verify(self) -> None:
        """Put the base back and check every bit. Raises `ModelError` if anything differs from the start."""
        self.place(None)
        now = fingerprint(self.live)
        if now != self.fingerprint:
            raise ModelError(
                f"the base weights changed during the run ({self.fingerprint[:19]}… became {now[:19]}…): something "
                "other than this run wrote to them, so its scores cannot be trusted"
            )


def copies(moving: Mapping[str, torch.Tensor], where: Where) -> dict[str, torch.Tensor]:
    """A pristine copy of each tensor. Raises `EngineError`, with nothing held, where memory does not suffice."""
    copy = _to_host if where == "host" else _on_device
    made: dict[str, torch.Tensor] = {}
    try:
        for name, tensor in moving.items():
            made[name] = copy(tensor)
    except RuntimeError as error:
        # CUDA's own type, what torch says when it cannot pin host memory, and when it cannot get any.
        if not any(words in str(error) for words in ("out of memory", "allocate memory")):
            raise
        made.clear()
        raise EngineError(_no_room(moving, where)) from error
    return made


def _on_device(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone()


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if tensor.device.type == "cpu":
        return tensor.clone()
    # Memory that may be paged out cannot be sent without a detour. torch rounds each pinned block up to a power of two.
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda).copy_(tensor)


def _no_room(moving: Mapping[str, torch.Tensor], where: Where) -> str:
    size, device = _gibibytes(moving.values()), next(iter(moving.values())).device
    if where == "host" or device.type == "cpu":
        return (
            f"the copy of the base weights needs {size} of host memory, which cannot be had; free some, or let fewer "
            "tensors move with --weights.include"
        )
    return (
        f"the copy of the base weights needs {size} on {device} beside the model, more than is free; "
        f"--engine.base host keeps it in host memory and costs a transfer of {size} at every switch"
    )


def cost(pristine: Mapping[str, torch.Tensor], live: Mapping[str, torch.Tensor]) -> str:
    """Where copies are and how much memory they take, for people."""
    size = _gibibytes(pristine.values())
    homes = sorted({str(t.device) for t in pristine.values()})
    devices = sorted({str(t.device) for t in live.values()})
    sent = "" if homes == devices else f", sent to {', '.join(devices)} at every switch"
    return f"{size} on {', '.join(homes)}{sent}"


def _gibibytes(tensors: Iterable[torch.Tensor]) -> str:
    return f"{sum(t.numel() * t.element_size() for t in tensors) / 2**30:.2f} GiB"


def _check_layout(name: str, tensor: torch.Tensor) -> None:
    import torch

    about = f"tensor {name} of shape {list(tensor.shape)}"
    if tensor.device.type == "meta" or tensor.layout != torch.strided:
        raise WeightsError(f"{about} has no dense memory to write a step to; load the weights first, or exclude it")
    if not tensor.is_contiguous():
        raise WeightsError(
            f"{about} has stride {list(tensor.stride())}: its elements do not lie side by side in row-major order, as "
            "a step needs them; make it contiguous before the engine starts, or leave it out with --weights.exclude"
        )


def _check_apart(moving: Mapping[str, torch.Tensor]) -> None:
    """Two names for the same memory would be written one after the other, and only the last would count."""
    filled = [(t.data_ptr(), name, t) for name, t in moving.items() if t.numel()]
    by_address = sorted(filled, key=lambda entry: (str(entry[2].device), entry[0]))
    for (start, first, tensor), (following, second, other) in pairwise(by_address):
        if tensor.device == other.device and following < start + tensor.numel() * tensor.element_size():
            raise WeightsError(
                f"tensors {first} and {second} share memory without being one parameter, so a step in one would be "
                "overwritten by the other; tie them properly, or leave one out with --weights.exclude"
            )
