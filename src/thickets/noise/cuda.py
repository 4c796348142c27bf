"""The CUDA kernel: Triton, one pass, no noise tensor in memory. Knows nothing of names or schemes.

Under Triton's interpreter (`TRITON_INTERPRET=1`) it also takes CPU tensors, which is how it is tested without a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]

from thickets.noise import cuda_loops
from thickets.noise.counter import address
from thickets.noise.kernel import Entry, Group, Kernel, Stream, lines

if TYPE_CHECKING:
    from thickets.noise.counter import Address
    from thickets.noise.region import Rectangle

# Elements that one Philox block makes, and the most blocks that one program works on.
_STREAMS: dict[Stream, tuple[Any, int, int]] = {
    "gaussian": (cuda_loops.gaussian, 4, 256),
    "rademacher": (cuda_loops.rademacher, 128, 32),
}
_ROWS, _COLUMNS = 16, 128
_TYPES = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16, torch.float32: tl.float32}
# Blocks of a tile where many tensors are placed at once; on an H200 gaussian is 12 % quicker with 512 than with 256.
_TILES: dict[Stream, int] = {"gaussian": 512, "rademacher": 32}
# What addresses in bytes and lengths in elements are multiples of where memory is read in the widest pieces.
_ALIGNED = 16


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

    def group(self, stream: Stream, entries: Sequence[Entry]) -> Group | None:
        fitting = [i for i, entry in enumerate(entries) if _unbroken(entry, _STREAMS[stream][1])]
        # Alone it would only take longer to prepare.
        return _Together(stream, entries, fitting) if len(fitting) > 1 else None

    def fill_product(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        _product(out, None, 1.0, a, b)

    def place_product(
        self, out: torch.Tensor, base: torch.Tensor, step: float, a: torch.Tensor, b: torch.Tensor
    ) -> None:
        _product(out, base, step, a, b)


class _Together(Group):
    """Unbroken tensors on one device: one launch for each of their types, whatever their number."""

    def __init__(self, stream: Stream, entries: Sequence[Entry], fitting: Sequence[int]) -> None:
        self.taken = frozenset(fitting)
        self._stream: Stream = stream
        # What is pointed to must live as long as the pointers.
        self._entries = [entries[i] for i in fitting]
        self._device = self._entries[0].out.device
        self._launches = []
        for dtype, of_triton in _TYPES.items():
            own = [i for i in fitting if entries[i].out.dtype == dtype]
            if own:
                self._launches.append((own, of_triton, *self._tables([entries[i] for i in own])))

    def _tables(self, entries: Sequence[Entry]) -> tuple[torch.Tensor, torch.Tensor, int]:
        """What `cuda_loops.many` reads: the table, where each tensor's tiles begin, and how many tiles there are."""
        size, tile = _STREAMS[self._stream][1], _TILES[self._stream]
        rows, firsts, tiles = [], [], 0
        for out, base, name, part in entries:
            at = address(0, name)
            rows.append([out.data_ptr(), base.data_ptr(), part.start // size, out.numel(), at.c2, at.c3])
            firsts.append(tiles)
            tiles += -(-out.numel() // (size * tile))
        table = torch.from_numpy(np.array(rows, dtype=np.uint64).astype(np.int64)).to(self._device)
        return table, torch.tensor(firsts, dtype=torch.int64, device=self._device), tiles

    def place(self, seed: int, steps: Sequence[float]) -> None:
        at = address(seed, "")
        for own, dtype, table, firsts, tiles in self._launches:
            with _on(self._device):
                cuda_loops.many[(tiles,)](
                    table,
                    firsts,
                    torch.tensor([steps[i] for i in own], dtype=torch.float32, device=self._device),
                    len(own),
                    _signed(at.k0),
                    _signed(at.k1),
                    dtype=dtype,
                    has_signs=self._stream == "rademacher",
                    halvings=max(1, (len(own) - 1).bit_length()),
                    blocks=_TILES[self._stream],
                    enable_fp_fusion=False,
                )


def _unbroken(entry: Entry, size: int) -> bool:
    """Whether a tensor lies in one piece, as its elements do in the whole, and can be read in the widest pieces."""
    out, base, _, part = entry
    return (
        out.device == base.device
        and part.whole_rows
        and out.is_contiguous()
        and base.is_contiguous()
        and part.start % size == 0
        and out.numel() % _ALIGNED == 0
        and out.data_ptr() % _ALIGNED == base.data_ptr() % _ALIGNED == 0
    )


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
            # Rounded to float32, as the launch would, so that no path sees more digits.
            float(torch.tensor(math.sqrt(b.shape[0]), dtype=torch.float32)),
            rank=b.shape[0],
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
