"""`low_rank/1:r`: steps of rank r for matrices, what a LoRA adapter can carry. Knows nothing of adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from thickets.errors import WeightsError
from thickets.noise.counter import address
from thickets.noise.region import Rectangle
from thickets.noise.schemes.base import Scheme, Source

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LowRank(Scheme):
    """`A B^T / sqrt(r)` of a matrix [m, n]: A [m, r] and B [n, r] are `gaussian/1` of `name#A` and `name#B`.

    The sum over r runs in order with every product and sum rounded to float32, then comes the division, so all
    kernels give equal bits. Tensors that are not matrices stay where they are.
    """

    label = "low_rank/1"
    rank: int = 8

    @property
    def name(self) -> str:
        return f"{self.label}:{self.rank}"

    @classmethod
    def with_option(cls, option: str | None) -> Self:
        if option is None:
            return cls()
        if not (option.isascii() and option.isdigit() and 1 <= int(option) <= 4096):
            raise WeightsError(f"the rank in noise scheme {cls.label}:{option} must be a whole number from 1 to 4096")
        return cls(int(option))

    def moves(self, ndim: int) -> bool:
        return ndim == 2

    def fill(self, out: torch.Tensor, source: Source) -> None:
        source.kernel.fill_product(out, *self.factors(source))

    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        source.kernel.place_product(out, base, step, *self.factors(source))

    def factors(self, source: Source) -> tuple[torch.Tensor, torch.Tensor]:
        """A for the part's rows [rows, r] and B for its columns, turned [r, columns]; float32, contiguous."""
        part = source.part
        left = self._factor(source, "A", part.first_row, part.rows)
        right = self._factor(source, "B", part.first_column, part.columns)
        return left, right.T.contiguous()

    def _factor(self, source: Source, which: str, first: int, count: int) -> torch.Tensor:
        import torch

        out = torch.empty(count, self.rank, dtype=torch.float32, device=source.device)
        part = Rectangle(first, count, 0, self.rank, self.rank)
        source.kernel.fill("gaussian", out, address(source.seed, f"{source.name}#{which}"), part)
        return out
