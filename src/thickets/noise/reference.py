"""The reference kernel, in NumPy: what the numbers are, said as plainly as possible. Knows nothing of speed.

It works on any device by way of host memory, in chunks, so that its own memory stays bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from thickets.noise import normal_constants as k
from thickets.noise.counter import Address, block_words
from thickets.noise.kernel import Kernel, Stream

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from thickets.noise.region import Rectangle

    F32 = npt.NDArray[np.float32]
    U32 = npt.NDArray[np.uint32]

# Elements worked on at a time: about 20 MB of intermediate arrays.
_CHUNK = 1 << 18


def gaussian(words: U32) -> F32:
    """Standard normal numbers of Philox words [..., 4], four for each block: float32 [..., 4] (see normal_constants).

    Source: Box & Muller, "A note on the generation of random normal deviates", 1958.
    """
    out = np.empty(words.shape, dtype=np.float32)
    for pair in (0, 2):
        r = _radius(words[..., pair])
        c, s = _turn(words[..., pair + 1])
        out[..., pair], out[..., pair + 1] = r * c, r * s
    return out


def rademacher(words: U32) -> F32:
    """Signs of Philox words [..., 4]: float32 [..., 128], bit j of word w (0 is +1, 1 is -1) at index 32 w + j."""
    bits = (words[..., None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    return (np.float32(1) - np.float32(2) * bits.astype(np.float32)).reshape(*words.shape[:-1], 128)


def _polynomial(x: F32, *coefficients: float) -> F32:
    """c0 + x (c1 + x (c2 + ...)) in float32, from the inside out."""
    result = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + np.float32(c)
    return result


def _radius(x: U32) -> F32:
    m = ((x >> np.uint32(8)) + np.uint32(1)).astype(np.float32)
    bits = m.view(np.int32) - np.int32(k.SQRT_HALF_BITS)
    e = bits >> np.int32(23)
    f = ((bits & np.int32(0x7FFFFF)) + np.int32(k.SQRT_HALF_BITS)).view(np.float32)
    t = f - np.float32(1)
    log = t * _polynomial(t, k.L0, k.L1, k.L2, k.L3, k.L4, k.L5, k.L6, k.L7)
    return np.sqrt((np.int32(24) - e).astype(np.float32) * np.float32(k.TWO_LN2) + log)


def _turn(x: U32) -> tuple[F32, F32]:
    n = (x >> np.uint32(8)).view(np.int32)
    q = (n + np.int32(1 << 21)) >> np.int32(22)
    s = (n - (q << np.int32(22))).astype(np.float32) * np.float32(k.QUARTER)
    w = s * s
    sine = s * _polynomial(w, k.S0, k.S1, k.S2, k.S3)
    cosine = _polynomial(w, 1.0, k.C1, k.C2, k.C3)
    odd = (q & 1) == 1
    c, d = np.where(odd, sine, cosine), np.where(odd, cosine, sine)
    return _negated(c, (q + 1) & 2), _negated(d, q & 2)


def _negated(x: F32, where: npt.NDArray[np.int32]) -> F32:
    """`x` with its sign bit flipped where `where` is 2 (and not 0); exact for zeros too."""
    return (x.view(np.uint32) ^ (where.astype(np.uint32) << np.uint32(30))).view(np.float32)


_STREAMS: dict[Stream, tuple[int, Callable[[U32], F32]]] = {"gaussian": (4, gaussian), "rademacher": (128, rademacher)}


def elements(stream: Stream, at: Address, indices: npt.NDArray[np.uint64]) -> F32:
    """The numbers at canonical `indices` [rows, columns], each row of consecutive ones: float32 [rows, columns]."""
    size, make = _STREAMS[stream]
    first = indices[:, :1] // np.uint64(size)
    count = (indices.shape[1] + size - 2) // size + 1
    numbers = make(block_words(at, first + np.arange(count, dtype=np.uint64)))
    inside = (indices - first * np.uint64(size)).astype(np.int64)
    return np.take_along_axis(numbers.reshape(len(indices), -1), inside, axis=1)


def _tiles(part: Rectangle) -> Iterator[tuple[slice, slice, npt.NDArray[np.uint64]]]:
    """Rows, columns and canonical indices of pieces of the rectangle of about `_CHUNK` elements."""
    for column in range(0, part.columns, _CHUNK):
        columns = min(_CHUNK, part.columns - column)
        # A row costs at least one block of 128, however narrow.
        height = max(1, _CHUNK // max(columns, 128))
        for row in range(0, part.rows, height):
            rows = min(height, part.rows - row)
            starts = np.arange(row, row + rows, dtype=np.uint64) * np.uint64(part.width)
            starts += np.uint64(part.start + column)
            yield (
                slice(row, row + rows),
                slice(column, column + columns),
                np.add(starts[:, None], np.arange(columns, dtype=np.uint64), dtype=np.uint64),
            )


def _product(a: F32, b: F32) -> F32:
    total = a[:, :1] * b[:1]
    for i in range(1, a.shape[1]):
        total = total + a[:, i : i + 1] * b[i]
    return total / np.float32(math.sqrt(a.shape[1]))


class ReferenceKernel(Kernel):
    """NumPy. Slow and plain; the other kernels are tested against it."""

    name = "reference"

    def runs_on(self, device: torch.device) -> bool:
        return device.type != "meta"

    def fill(self, stream: Stream, out: torch.Tensor, at: Address, part: Rectangle) -> None:
        for rows, columns, indices in _tiles(part):
            _write(out, rows, columns, elements(stream, at, indices))

    def place(
        self, stream: Stream, out: torch.Tensor, base: torch.Tensor, step: float, at: Address, part: Rectangle
    ) -> None:
        for rows, columns, indices in _tiles(part):
            _move(out, base, step, rows, columns, elements(stream, at, indices))

    def fill_product(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        left, right = a.cpu().numpy(), b.cpu().numpy()
        for rows in _row_slices(out):
            _write(out, rows, slice(None), _product(left[rows], right))

    def place_product(
        self, out: torch.Tensor, base: torch.Tensor, step: float, a: torch.Tensor, b: torch.Tensor
    ) -> None:
        left, right = a.cpu().numpy(), b.cpu().numpy()
        for rows in _row_slices(out):
            _move(out, base, step, rows, slice(None), _product(left[rows], right))


def _row_slices(out: torch.Tensor) -> Iterator[slice]:
    height = max(1, _CHUNK // out.shape[1])
    for row in range(0, out.shape[0], height):
        yield slice(row, row + height)


def _write(out: torch.Tensor, rows: slice, columns: slice, values: Any) -> None:
    import torch

    out[rows, columns].copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _move(out: torch.Tensor, base: torch.Tensor, step: float, rows: slice, columns: slice, noise: F32) -> None:
    import torch

    # Only the widening and the final rounding to nearest even are torch's; they are exact and defined.
    weights = base[rows, columns].to("cpu", torch.float32).numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        moved = weights + np.float32(step) * noise
    out[rows, columns].copy_(torch.from_numpy(moved).to(out.dtype))


KERNEL = ReferenceKernel()
