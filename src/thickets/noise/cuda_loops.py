"""The CUDA kernel's inner loops, in Triton. Knows nothing of names, schemes or how it is launched.

The float32 arithmetic is that of `normal_constants` and has to be launched without fusing of multiplication and
addition (`enable_fp_fusion=False`); then every bit is the CPU's. Indices are 64 bits wide. A line is a run of
consecutive canonical elements; a program works on one tile of one line.
"""

# Triton's decorators are untyped, and its language is not quite Python.
# mypy: disallow-untyped-decorators=False, disallow-untyped-defs=False, disallow-untyped-calls=False
# mypy: disable-error-code="no-untyped-def, untyped-decorator, import-not-found, import-untyped, unused-ignore"
from __future__ import annotations

import triton
import triton.language as tl

from thickets.noise import counter as p
from thickets.noise import normal_constants as k

_M0, _M1, _W0, _W1 = tl.constexpr(p.M0), tl.constexpr(p.M1), tl.constexpr(p.W0), tl.constexpr(p.W1)
_SQRT_HALF, _TWO_LN2, _QUARTER = tl.constexpr(k.SQRT_HALF_BITS), tl.constexpr(k.TWO_LN2), tl.constexpr(k.QUARTER)
_L0, _L1, _L2, _L3 = tl.constexpr(k.L0), tl.constexpr(k.L1), tl.constexpr(k.L2), tl.constexpr(k.L3)
_L4, _L5, _L6, _L7 = tl.constexpr(k.L4), tl.constexpr(k.L5), tl.constexpr(k.L6), tl.constexpr(k.L7)
_S0, _S1, _S2, _S3 = tl.constexpr(k.S0), tl.constexpr(k.S1), tl.constexpr(k.S2), tl.constexpr(k.S3)
_C1, _C2, _C3 = tl.constexpr(k.C1), tl.constexpr(k.C2), tl.constexpr(k.C3)


@triton.jit
def _philox(block, k0, k1, c2, c3):
    """Words of the blocks [n] (int64). Key and name words come as int32 and are only reinterpreted."""
    zero = (block * 0).to(tl.uint32)
    c0, c1 = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    x2, x3 = zero + c2.to(tl.uint32, bitcast=True), zero + c3.to(tl.uint32, bitcast=True)
    k0, k1 = zero + k0.to(tl.uint32, bitcast=True), zero + k1.to(tl.uint32, bitcast=True)
    m0, m1 = zero + _M0, zero + _M1
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(c0, m0), c0 * m0
        high1, low1 = tl.umulhi(x2, m1), x2 * m1
        c0, c1, x2, x3 = high1 ^ c1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = k0 + _W0, k1 + _W1
    return c0, c1, x2, x3


@triton.jit
def _radius(x):
    m = ((x >> 8) + 1).to(tl.int32).to(tl.float32)
    bits = m.to(tl.int32, bitcast=True) - _SQRT_HALF
    e = bits >> 23
    t = ((bits & 0x7FFFFF) + _SQRT_HALF).to(tl.float32, bitcast=True) - 1.0
    log = t * (_L0 + t * (_L1 + t * (_L2 + t * (_L3 + t * (_L4 + t * (_L5 + t * (_L6 + t * _L7)))))))
    return tl.sqrt_rn((24 - e).to(tl.float32) * _TWO_LN2 + log)


@triton.jit
def _pair(x, y):
    r = _radius(x)
    n = (y >> 8).to(tl.int32)
    q = (n + 2097152) >> 22
    s = (n - (q << 22)).to(tl.float32) * _QUARTER
    w = s * s
    sine = s * (_S0 + w * (_S1 + w * (_S2 + w * _S3)))
    cosine = 1.0 + w * (_C1 + w * (_C2 + w * _C3))
    odd = (q & 1) != 0
    c, d = tl.where(odd, sine, cosine), tl.where(odd, cosine, sine)
    c = (c.to(tl.int32, bitcast=True) ^ (((q + 1) & 2) << 30)).to(tl.float32, bitcast=True)
    d = (d.to(tl.int32, bitcast=True) ^ ((q & 2) << 30)).to(tl.float32, bitcast=True)
    return r * c, r * d


@triton.jit
def _to_bfloat16(x):
    """Round to nearest even in integers: not every GPU, nor Triton's interpreter, rounds so by itself."""
    bits = x.to(tl.uint32, bitcast=True)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    # Rounding could carry a NaN's bits over into infinity or zero.
    kept = tl.where(x == x, rounded, bits | 0x400000)
    return (kept >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit
def _rounded(x, dtype: tl.constexpr):
    if dtype == tl.bfloat16:
        return _to_bfloat16(x)
    else:  # noqa: RET505 - Triton compiles one branch only if they are two
        return x.to(dtype)


@triton.jit
def _put(out, out_at, base, base_at, move, mask, has_base: tl.constexpr):
    if has_base:
        weights = tl.load(base + base_at, mask=mask, other=0.0).to(tl.float32)
        move = weights + move
    tl.store(out + out_at, _rounded(move, out.dtype.element_ty), mask=mask)


@triton.jit
def _gaussian_tile(block, k0, k1, c2, c3):
    """Numbers of the blocks [n]: [4n], in order."""
    x0, x1, x2, x3 = _philox(block, k0, k1, c2, c3)
    z0, z1 = _pair(x0, x1)
    z2, z3 = _pair(x2, x3)
    return tl.interleave(tl.interleave(z0, z2), tl.interleave(z1, z3))


@triton.jit
def _negative_tile(block, k0, k1, c2, c3):
    """Whether the numbers of the blocks [n] are -1: [4n, 32], a row for each word, a column for each bit."""
    x0, x1, x2, x3 = _philox(block, k0, k1, c2, c3)
    words = tl.interleave(tl.interleave(x0, x2), tl.interleave(x1, x3))
    return ((words[:, None] >> tl.arange(0, 32)[None, :].to(tl.uint32)) & 1) != 0


_WORDS_ARE_NOT_SIZES = ["k0", "k1", "c2", "c3"]


@triton.jit(do_not_specialize=_WORDS_ARE_NOT_SIZES)
def gaussian(
    out,
    base,
    out_stride,
    base_stride,
    step,
    start,
    pitch,
    length,
    tiles,
    k0,
    k1,
    c2,
    c3,
    has_base: tl.constexpr,
    blocks: tl.constexpr,
):
    """One tile of blocks blocks of four of line `program // tiles`: move, or `base` plus it, into `out`."""
    program = tl.program_id(0).to(tl.int64)
    line, tile = program // tiles, program % tiles
    first = line * pitch + start
    block = first // 4 + tile * blocks
    noise = _gaussian_tile(block + tl.arange(0, blocks), k0, k1, c2, c3)
    column = block * 4 - first + tl.arange(0, blocks * 4)
    mask = (column >= 0) & (column < length)
    _put(out, line * out_stride + column, base, line * base_stride + column, noise * step, mask, has_base)


@triton.jit(do_not_specialize=_WORDS_ARE_NOT_SIZES)
def rademacher(
    out,
    base,
    out_stride,
    base_stride,
    step,
    start,
    pitch,
    length,
    tiles,
    k0,
    k1,
    c2,
    c3,
    has_base: tl.constexpr,
    blocks: tl.constexpr,
):
    """As `gaussian`, with blocks of 128: a row of the tile for each word, a column for each bit."""
    program = tl.program_id(0).to(tl.int64)
    line, tile = program // tiles, program % tiles
    first = line * pitch + start
    block = first // 128 + tile * blocks
    # step times +1 or -1 is exact.
    move = tl.where(_negative_tile(block + tl.arange(0, blocks), k0, k1, c2, c3), -step, step)
    column = block * 128 - first + (tl.arange(0, blocks * 4) * 32)[:, None] + tl.arange(0, 32)[None, :]
    mask = (column >= 0) & (column < length)
    _put(out, line * out_stride + column, base, line * base_stride + column, move, mask, has_base)


@triton.jit(do_not_specialize=["k0", "k1", "count"])
def many(
    table,
    first_tiles,
    steps,
    count,
    k0,
    k1,
    dtype: tl.constexpr,
    has_signs: tl.constexpr,
    halvings: tl.constexpr,
    blocks: tl.constexpr,
):
    """One tile of one of `count` tensors: base plus move, into live weights.

    A row of `table` holds a tensor's addresses, live and base (multiples of 16), its first block, its length (a
    multiple of 16), and the words of its name. `first_tiles` ascends from 0; the tile belongs to the last tensor that
    does not begin after it. A step of 0 copies.
    """
    program = tl.program_id(0)
    entry, beyond = program * 0, program * 0 + count
    for _ in tl.static_range(halvings):
        middle = (entry + beyond) // 2
        begun = tl.load(first_tiles + middle) <= program
        entry, beyond = tl.where(begun, middle, entry), tl.where(begun, beyond, middle)
    tile = (program - tl.load(first_tiles + entry)).to(tl.int64)
    row = table + entry * 6
    out = tl.multiple_of(tl.load(row).to(tl.pointer_type(dtype)), 16)
    base = tl.multiple_of(tl.load(row + 1).to(tl.pointer_type(dtype)), 16)
    length = tl.multiple_of(tl.load(row + 3), 16)
    c2, c3 = tl.load(row + 4).to(tl.int32), tl.load(row + 5).to(tl.int32)
    step = tl.load(steps + entry)
    block = tl.load(row + 2) + tile * blocks + tl.arange(0, blocks)
    if has_signs:
        move = tl.where(_negative_tile(block, k0, k1, c2, c3), -step, step)
        column = tile * (blocks * 128) + (tl.arange(0, blocks * 4) * 32)[:, None] + tl.arange(0, 32)[None, :]
    else:
        move = _gaussian_tile(block, k0, k1, c2, c3) * step
        column = tile * (blocks * 4) + tl.arange(0, blocks * 4)
    mask = column < length
    weights = tl.load(base + column, mask=mask, other=0.0)
    moved = weights.to(tl.float32) + move
    rounded = _rounded(moved, dtype)
    tl.store(out + column, tl.where(step == 0.0, weights, rounded), mask=mask)


@triton.jit
def product(
    out,
    base,
    out_stride,
    base_stride,
    step,
    a,
    b,
    rows,
    columns,
    tiles,
    divisor,
    rank: tl.constexpr,
    has_base: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    """One tile of `a @ b / divisor`, `a` [rows, rank], `b` [rank, columns], summed over the rank in order."""
    program = tl.program_id(0).to(tl.int64)
    row = (program // tiles) * tile_rows + tl.arange(0, tile_rows)
    column = (program % tiles) * tile_columns + tl.arange(0, tile_columns)
    in_rows, in_columns = row < rows, column < columns
    left, right = a + row * rank, b + column
    total = tl.load(left, mask=in_rows, other=0.0)[:, None] * tl.load(right, mask=in_columns, other=0.0)[None, :]
    for _ in range(1, rank):
        left += 1
        right += columns
        factor = tl.load(left, mask=in_rows, other=0.0)
        total = total + factor[:, None] * tl.load(right, mask=in_columns, other=0.0)[None, :]
    move = tl.div_rn(total, divisor) * step
    mask = in_rows[:, None] & in_columns[None, :]
    out_at, base_at = row[:, None] * out_stride + column[None, :], row[:, None] * base_stride + column[None, :]
    _put(out, out_at, base, base_at, move, mask, has_base)
