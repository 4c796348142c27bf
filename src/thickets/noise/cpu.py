"""The CPU kernel: Numba's loops on all cores, in place, without a float32 copy. Knows nothing of names or schemes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from thickets.noise import cpu_loops
from thickets.noise.kernel import Kernel, Stream, lines
from thickets.noise.threads import spread

if TYPE_CHECKING:
    from thickets.noise.counter import Address
    from thickets.noise.region import Rectangle

_LOOPS = {"gaussian": cpu_loops.gaussian, "rademacher": cpu_loops.rademacher}
_STACKS = {"gaussian": cpu_loops.gaussian_stack, "rademacher": cpu_loops.rademacher_stack}

# Numba knows no half-precision types; which of the two it is, it learns from the integer's sign.
_STORED = {
    torch.float32: np.empty(0, dtype=np.float32),
    torch.bfloat16: np.empty(0, dtype=np.uint16),
    torch.float16: np.empty(0, dtype=np.int16),
}

# A thread is not worth waking for fewer elements: about 50 microseconds of work.
_GRAINS = {"gaussian": 1 << 15, "rademacher": 1 << 18, "product": 1 << 14}
# Words of Philox made at a time, and columns of a product: small enough for the first cache level.
_WORDS, _COLUMNS = 128, 2048


class NumbaKernel(Kernel):
    """Numba on CPU tensors, with as many threads as torch uses (`torch.set_num_threads`)."""

    name = "numba"

    def runs_on(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def threads(self) -> int:
        return torch.get_num_threads()

    def fill(self, stream: Stream, out: torch.Tensor, at: Address, part: Rectangle) -> None:
        _stream(stream, out, None, 1.0, at, part)

    def place(
        self, stream: Stream, out: torch.Tensor, base: torch.Tensor, step: float, at: Address, part: Rectangle
    ) -> None:
        _stream(stream, out, base, step, at, part)

    def place_stack(
        self,
        stream: Stream,
        out: torch.Tensor,
        base: torch.Tensor,
        steps: Sequence[float],
        at: Sequence[Address],
        part: Rectangle,
    ) -> None:
        run_of = lines(part, out[0], base)
        if run_of.runs * run_of.length >= _GRAINS[stream]:
            # Each is worth its own threads.
            super().place_stack(stream, out, base, steps, at, part)
            return
        # The fixed cost of a call is more than that of a small tensor: one call for all.
        memory, between = _memory(out[0], base), out.stride(0) * out.element_size()
        words, addresses = np.empty(_WORDS, dtype=np.uint32), np.array(at, dtype=np.uint32)
        line = (run_of.start, run_of.pitch, run_of.length, run_of.runs * run_of.length)
        _STACKS[stream](memory, between, np.array(steps, dtype=np.float32), line, addresses, words)

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
    total = run_of.runs * run_of.length
    loop, address = _LOOPS[stream], np.array(at, dtype=np.uint32)
    memory = _memory(out, base)

    def work(first: int, last: int) -> None:
        words = np.empty(_WORDS, dtype=np.uint32)
        loop(*memory, step, run_of.start, run_of.pitch, run_of.length, first, last, address, words)

    # Cut one long run between blocks, so that no block is made twice.
    align = 128 if run_of.runs == 1 else 1
    spread(work, total, torch.get_num_threads(), _GRAINS[stream], align, run_of.start)


def _product(out: torch.Tensor, base: torch.Tensor | None, step: float, a: torch.Tensor, b: torch.Tensor) -> None:
    left, right = a.numpy(), b.numpy()
    memory = _memory(out, base)

    def work(first: int, last: int) -> None:
        sums = np.empty(_COLUMNS, dtype=np.float32)
        cpu_loops.product(*memory, step, left, right, first, last, sums)

    grain = max(1, _GRAINS["product"] // out.shape[1])
    spread(work, out.shape[0], torch.get_num_threads(), grain)


def _memory(out: torch.Tensor, base: torch.Tensor | None) -> tuple[Any, int, int, Any, int, int]:
    """Type, address and row stride of both, as the loops take them. The caller keeps the tensors alive."""
    like = _STORED[out.dtype]
    if base is None:
        return like, out.data_ptr(), out.stride(0), None, 0, 0
    return like, out.data_ptr(), out.stride(0), _STORED[base.dtype], base.data_ptr(), base.stride(0)


KERNEL = NumbaKernel()
