"""The CPU kernel: Numba's loops on all cores, in place, without a float32 copy. Knows nothing of names or schemes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thickets.noise import cpu_loops
from thickets.noise.kernel import Kernel, Stream, lines
from thickets.noise.threads import run, split

if TYPE_CHECKING:
    from thickets.noise.counter import Address
    from thickets.noise.region import Rectangle

_LOOPS = {"gaussian": cpu_loops.gaussian, "rademacher": cpu_loops.rademacher}

# A thread is not worth waking for fewer elements.
_GRAIN = 1 << 15
# Words of Philox made at a time, and columns of a product: small enough for the first cache level.
_WORDS, _COLUMNS = 512, 2048


class NumbaKernel(Kernel):
    """Numba on CPU tensors, with as many threads as torch uses (`torch.set_num_threads`)."""

    name = "numba"

    def runs_on(self, device: torch.device) -> bool:
        return device.type == "cpu"

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
    run_of = lines(part, out) if base is None else lines(part, out, base)
    total = run_of.count * run_of.length
    loop, address = _LOOPS[stream], np.array([at.k0, at.k1, at.c2, at.c3], dtype=np.uint32)
    to, to_stride = _flat(out), out.stride(0)
    of, of_stride = (None, 0) if base is None else (_flat(base), base.stride(0))

    def work(first: int, last: int) -> None:
        words = np.empty(_WORDS, dtype=np.uint32)
        loop(
            to, to_stride, of, of_stride, step, run_of.start, run_of.pitch, run_of.length, first, last, address, words
        )

    # Cut one long run between blocks, so that no block is made twice.
    align = 128 if run_of.count == 1 else 1
    run(work, split(total, _pieces(total), align, run_of.start))


def _product(
    out: torch.Tensor, base: torch.Tensor | None, step: float, a: torch.Tensor, b: torch.Tensor
) -> None:
    left, right = a.numpy(), b.numpy()
    to, to_stride = _flat(out), out.stride(0)
    of, of_stride = (None, 0) if base is None else (_flat(base), base.stride(0))

    def work(first: int, last: int) -> None:
        sums = np.empty(_COLUMNS, dtype=np.float32)
        cpu_loops.product(to, to_stride, of, of_stride, step, left, right, first, last, sums)

    run(work, split(out.shape[0], _pieces(out.numel())))


def _pieces(elements: int) -> int:
    return max(1, min(torch.get_num_threads(), elements // _GRAIN))


def _flat(matrix: torch.Tensor) -> Any:
    """The memory from a matrix's first element to its last, as a NumPy view of a type that tells the dtype."""
    rows, columns = matrix.shape
    run = matrix.as_strided(((rows - 1) * matrix.stride(0) + columns,), (1,))
    if run.dtype == torch.float32:
        return run.numpy()
    bits = run.view(torch.int16).numpy()
    return bits.view(np.uint16) if matrix.dtype == torch.bfloat16 else bits


KERNEL = NumbaKernel()
