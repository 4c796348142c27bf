"""`gaussian/1`: independent standard normal numbers, by Philox and Box-Muller. Knows nothing of tensors' meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from thickets.noise.counter import address
from thickets.noise.schemes.base import Scheme, Source

if TYPE_CHECKING:
    import torch

    from thickets.noise.kernel import Stream


class Gaussian(Scheme):
    """Block b of Philox makes elements 4b ... 4b + 3 of the row-major tensor (see `normal_constants`)."""

    label = "gaussian/1"
    stream: ClassVar[Stream] = "gaussian"

    def fill(self, out: torch.Tensor, source: Source) -> None:
        source.kernel.fill(self.stream, out, address(source.seed, source.name), source.part)

    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        source.kernel.place(self.stream, out, base, step, address(source.seed, source.name), source.part)
