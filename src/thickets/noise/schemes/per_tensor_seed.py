"""`per_tensor_seed/1`: the released reference code's noise, to compare with it. Knows nothing of Philox.

Source: the code released with Gan & Isola, "Neural Thickets", 2026. Its generator is seeded anew with the same seed
for each tensor. So the numbers depend on the device, on torch's version and on the dtype, and two tensors of one shape
get the same noise (correlation 1). Never the default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thickets.noise.schemes.base import Scheme, Source

if TYPE_CHECKING:
    import torch


class PerTensorSeed(Scheme):
    """`torch.randn` in the tensor's dtype and full shape, on its device, from a generator seeded with the seed."""

    label = "per_tensor_seed/1"

    def fill(self, out: torch.Tensor, source: Source) -> None:
        out.copy_(self._draw(source))

    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        import torch

        noise = self._draw(source)
        # A tensor, not a Python number: the step has to be rounded to float32 before it multiplies.
        factor = torch.tensor(step, dtype=torch.float32, device=out.device)
        height = max(1, (1 << 24) // max(1, out.shape[1]))
        for row in range(0, out.shape[0], height):
            rows = slice(row, row + height)
            out[rows].copy_(base[rows].to(torch.float32) + noise[rows].to(torch.float32) * factor)

    def _draw(self, source: Source) -> torch.Tensor:
        import torch

        generator = torch.Generator(device=source.device).manual_seed(source.seed)
        noise = torch.randn(source.shape, generator=generator, dtype=source.dtype, device=source.device)
        part = source.part
        matrix = noise.reshape(-1, part.width) if part.width else noise.reshape(0, 0)
        rows = slice(part.first_row, part.first_row + part.rows)
        return matrix[rows, part.first_column : part.first_column + part.columns]
