"""The CUDA kernel: Triton, one pass, no noise tensor in memory. Knows nothing of names or schemes.

Under Triton's interpreter (`TRITON_INTERPRET=1`) it also takes CPU tensors, which is how it is tested without a GPU.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]

from thickets.noise import cuda_loops
from thickets.noise.kernel import Kernel, Stream, lines

if TYPE_CHECKING:
    from thickets.noise.counter import Address
    from thickets.noise.region import Rectangle

# Elements that one Philox block makes, and the most blocks that one program works on.
_STREAMS: dict[Stream, tuple[Any, int, int]] = {
    "gaussian": (cuda_loops.gaussian, 4, 256),
    "rademacher": (cuda_loops.rademacher, 128, 32),
}
_ROWS, _COLUMNS = 16, 128


class TritonKernel(Kernel):
    """Triton on CUDA tensors."""

    name = "triton"

    def runs_on(self, device: torch.device) -> bool:
        return device.type == "cuda" or (device.type == "cpu" and bool(triton.knobs.runtime.interpret))

    def fill(self, stream: Stream, out: torch.Tensor, at: Address, part: Rectangle) -> None:
        _stream(stream, out, None, 1.0, at, part)

    def place(
        self, stream: Stream, out: torch.Tensor, base: torch.Tensor, step: float, at: Address, part: Rectangle
    ) -> None:
        _stream(stream, out, base, step, at, part)

    def fill_product(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        _product(out, None, 1.0, a, b)

    def place_product(
        self, out: torch.Tensor, base: torch.Tensor, step: float, a: torch.Tensor, b: torch.Tensor
    ) -> None:
        _product(out, base, step, a, b)


def _stream(
    stream: Stream, out: torch.Tensor, base: torch.Tensor | None, step: float, at: Address, part: Rectangle
) -> None:
    loop, size, most = _STREAMS[stream]
    source = out if base is None else base
    run_of = lines(part, out, source)
    # A line that begins inside a block touches one block more than its length says.
    blocks = (run_of.length + size - 2) // size + 1
    tile = max(16, min(most, triton.next_power_of_2(blocks)))
    tiles = -(-blocks // tile)
    with _on(out.device):
        loop[(tiles * run_of.runs,)](
            out,
            source,
            out.stride(0),
            source.stride(0),
            step,
            run_of.start,
            run_of.pitch,
            run_of.length,
            tiles,
            _signed(at.k0),
            _signed(at.k1),
            _signed(at.c2),
            _signed(at.c3),
            has_base=base is not None,
            blocks=tile,
            enable_fp_fusion=False,
        )


def _product(out: torch.Tensor, base: torch.Tensor | None, step: float, a: torch.Tensor, b: torch.Tensor) -> None:
    rows, columns = out.shape
    source = out if base is None else base
    tiles = -(-columns // _COLUMNS)
    with _on(out.device):
        cuda_loops.product[(tiles * -(-rows // _ROWS),)](
            out,
            source,
            out.stride(0),
            source.stride(0),
            step,
            a,
            b,
            rows,
            columns,
            tiles,
            b.shape[0],
            # Rounded to float32, as the launch would, so that no path sees more digits.
            float(torch.tensor(math.sqrt(b.shape[0]), dtype=torch.float32)),
            has_base=base is not None,
            tile_rows=_ROWS,
            tile_columns=_COLUMNS,
            enable_fp_fusion=False,
        )


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensor's."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _signed(word: int) -> int:
    """The word as int32, so that its size does not change the type that the kernel is compiled for."""
    return word - (1 << 32) if word >= 1 << 31 else word


KERNEL = TritonKernel()
