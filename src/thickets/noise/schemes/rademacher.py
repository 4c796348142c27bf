"""`rademacher/1`: independent signs, +1 or -1, one bit of Philox each. Knows nothing of tensors' meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from thickets.noise.counter import address
from thickets.noise.schemes.base import Scheme, Source

if TYPE_CHECKING:
    import torch

    from thickets.noise.kernel import Stream


class Rademacher(Scheme):
    """Block b makes elements 128b ... 128b + 127; bit j of word w is element 32w + j; 0 is +1 and 1 is -1."""

    label = "rademacher/1"
    stream: ClassVar[Stream] = "rademacher"

    def fill(self, out: torch.Tensor, source: Source) -> None:
        source.kernel.fill(self.stream, out, address(source.seed, source.name), source.part)

    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        source.kernel.place(self.stream, out, base, step, address(source.seed, source.name), source.part)
