"""The CPU kernel's inner loops, compiled by Numba. Knows nothing of names, schemes, torch or threads.

Written for LLVM's vectoriser: no call, no branch and no memory but the weights inside a loop. Integers are cast at
every step because Numba widens any integer arithmetic to 64 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thickets.noise import counter as p
from thickets.noise import normal_constants as k
from thickets.noise.jit import array_at, chosen_by_type, compiled, inlined

u32, u64, i32, f32 = np.uint32, np.uint64, np.int32, np.float32

_M0, _M1, _W0, _W1 = u64(p.M0), u64(p.M1), u32(p.W0), u32(p.W1)
_SQRT_HALF = i32(k.SQRT_HALF_BITS)
_TWO_LN2, _QUARTER, _ONE = f32(k.TWO_LN2), f32(k.QUARTER), f32(1)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (f32(c) for c in (k.L0, k.L1, k.L2, k.L3, k.L4, k.L5, k.L6, k.L7))
_S0, _S1, _S2, _S3 = f32(k.S0), f32(k.S1), f32(k.S2), f32(k.S3)
_C1, _C2, _C3 = f32(k.C1), f32(k.C2), f32(k.C3)


@inlined
def _float(bits: Any) -> Any:
    return u32(bits).view(f32)


@inlined
def _bits(x: Any) -> Any:
    return f32(x).view(u32)


@inlined
def _philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    for _ in range(10):
        a, b = _M0 * u64(c0), _M1 * u64(c2)
        c0, c1, c2, c3 = u32(u32(b >> u64(32)) ^ c1 ^ k0), u32(b), u32(u32(a >> u64(32)) ^ c3 ^ k1), u32(a)
        k0, k1 = u32(k0 + _W0), u32(k1 + _W1)
    return c0, c1, c2, c3


@inlined
def _radius(x: Any) -> Any:
    m = f32(i32(u32(x >> u32(8)) + u32(1)))
    bits = i32(i32(_bits(m)) - _SQRT_HALF)
    e = i32(bits >> i32(23))
    t = _float(i32(i32(bits & i32(0x7FFFFF)) + _SQRT_HALF)) - _ONE
    log = t * (_L0 + t * (_L1 + t * (_L2 + t * (_L3 + t * (_L4 + t * (_L5 + t * (_L6 + t * _L7)))))))
    return np.sqrt(f32(i32(i32(24) - e)) * _TWO_LN2 + log)


@inlined
def _pair(x: Any, y: Any) -> Any:
    r = _radius(x)
    n = i32(u32(y >> u32(8)))
    q = i32(i32(n + i32(1 << 21)) >> i32(22))
    s = f32(i32(n - i32(q << i32(22)))) * _QUARTER
    w = s * s
    sine = s * (_S0 + w * (_S1 + w * (_S2 + w * _S3)))
    cosine = _ONE + w * (_C1 + w * (_C2 + w * _C3))
    odd = i32(q & i32(1)) != i32(0)
    c = cosine if not odd else sine
    d = sine if not odd else cosine
    # The sign bit is flipped, not multiplied, so that zeros are the same everywhere.
    flip_c = u32(u32(i32(i32(q + i32(1)) & i32(2))) << u32(30))
    flip_d = u32(u32(i32(q & i32(2))) << u32(30))
    return r * _float(_bits(c) ^ flip_c), r * _float(_bits(d) ^ flip_d)


@inlined
def _four(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    x0, x1, x2, x3 = _philox(c0, c1, c2, c3, k0, k1)
    z0, z1 = _pair(x0, x1)
    z2, z3 = _pair(x2, x3)
    return z0, z1, z2, z3


def _put(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    """Write one weight, `base[j] + move`. Which implementation is compiled depends on the arrays' types."""
    raise NotImplementedError


@chosen_by_type(_put)
def _put_by_type(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    """No base: the move itself. uint16 holds bfloat16 bits and int16 float16 bits, as Numba has neither."""
    kind = getattr(getattr(base, "dtype", None), "name", "none")
    return {
        ("float32", "none"): _put_number,
        ("float32", "float32"): _put_float32,
        ("uint16", "uint16"): _put_bfloat16,
        ("int16", "int16"): _put_float16,
        # A base of higher precision than what is wanted.
        ("uint16", "float32"): _put_as_bfloat16,
        ("int16", "float32"): _put_as_float16,
    }[out.dtype.name, kind]


def _put_number(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = move


def _put_float32(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = base[j] + move


def _put_bfloat16(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = _to_bfloat16(_float(u32(base[j]) << u32(16)) + move)


def _put_float16(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = _to_half(_from_half(base[j]) + move)


def _put_as_bfloat16(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = _to_bfloat16(base[j] + move)


def _put_as_float16(out: Any, i: Any, base: Any, j: Any, move: Any) -> Any:
    out[i] = _to_half(base[j] + move)


def _open(address: int, size: int, like: Any) -> Any:
    """The weights at an address; None if there are none."""
    raise NotImplementedError


@chosen_by_type(_open)
def _open_by_type(address: int, size: int, like: Any) -> Any:
    return _open_nothing if not hasattr(like, "dtype") else _open_array


def _open_nothing(address: int, size: int, like: Any) -> Any:
    return None


def _open_array(address: int, size: int, like: Any) -> Any:
    return array_at(address, size, like)


@inlined
def _to_bfloat16(x: Any) -> Any:
    bits = _bits(x)
    rounded = u32(u32(bits + u32(0x7FFF)) + u32(u32(bits >> u32(16)) & u32(1)))
    # Rounding could carry a NaN's bits over into infinity or zero.
    return np.uint16(u32(rounded if x == x else u32(bits | u32(0x400000))) >> u32(16))


@inlined
def _from_half(half: Any) -> Any:
    word = u32(np.uint16(half))
    sign = u32(u32(word & u32(0x8000)) << u32(16))
    body = u32(u32(word & u32(0x7FFF)) << u32(13))
    normal = u32(body + u32(0x38000000))
    special = u32(body + u32(0x70000000))
    # A subnormal half is an integer multiple of 2**-24.
    small = _bits(f32(i32(u32(word & u32(0x3FF)))) * f32(2.0**-24))
    exponent = u32(word & u32(0x7C00))
    bits = normal if exponent != u32(0) else small
    bits = bits if exponent != u32(0x7C00) else special
    return _float(bits | sign)


@inlined
def _to_half(x: Any) -> Any:
    word = _bits(x)
    sign = u32(u32(word >> u32(16)) & u32(0x8000))
    body = u32(word & u32(0x7FFFFFFF))
    odd = u32(u32(body >> u32(13)) & u32(1))
    normal = u32(u32(u32(body + u32(0xC8000FFF)) + odd) >> u32(13))
    # Adding 0.5 leaves a multiple of 2**-24, rounded to nearest even, in the lowest bits.
    small = u32(_bits(_float(body) + f32(0.5)) - u32(0x3F000000))
    bits = normal if body >= u32(0x38800000) else small
    bits = bits if body < u32(0x47800000) else u32(0x7C00)
    bits = bits if body <= u32(0x7F800000) else u32(0x7E00)
    return np.int16(np.uint16(u32(bits | sign)))


@inlined
def _gaussian_edge(out: Any, i: Any, base: Any, j: Any, step: Any, first: Any, count: Any, at: Any) -> None:
    """`count` elements from canonical index `first` on, all of one block of four."""
    block = u64(first >> u64(2))
    z0, z1, z2, z3 = _four(u32(block), u32(block >> u64(32)), at[2], at[3], at[0], at[1])
    for n in range(count):
        lane = u64(u64(first + u64(n)) & u64(3))
        z = (z0 if lane == u64(0) else z1) if lane < u64(2) else (z2 if lane == u64(2) else z3)
        _put(out, u64(i + u64(n)), base, u64(j + u64(n)), step * z)


@inlined
def _gaussian_blocks(out: Any, i: Any, base: Any, j: Any, step: Any, block: Any, count: Any, at: Any) -> None:
    """`count` whole blocks of four from `block` on, whose low words do not overflow."""
    k0, k1, c2, c3 = at[0], at[1], at[2], at[3]
    low, high = u32(block), u32(block >> u64(32))
    for n in range(count):
        z0, z1, z2, z3 = _four(u32(low + u32(n)), high, c2, c3, k0, k1)
        to, of = u64(i + u64(u64(4) * u64(n))), u64(j + u64(u64(4) * u64(n)))
        _put(out, to, base, of, step * z0)
        _put(out, u64(to + u64(1)), base, u64(of + u64(1)), step * z1)
        _put(out, u64(to + u64(2)), base, u64(of + u64(2)), step * z2)
        _put(out, u64(to + u64(3)), base, u64(of + u64(3)), step * z3)


@inlined
def _gaussian_run(out: Any, i: Any, base: Any, j: Any, step: Any, first: Any, count: Any, at: Any, words: Any) -> None:
    done = u64(min(count, u64(u64(u64(0) - first) & u64(3))))
    if done > u64(0):
        _gaussian_edge(out, i, base, j, step, first, done, at)
    while u64(count - done) >= u64(4):
        block = u64(u64(first + done) >> u64(2))
        # Up to where the counter's low word overflows.
        room = u64(u64(0x100000000) - u64(block & u64(0xFFFFFFFF)))
        blocks = min(u64(u64(count - done) >> u64(2)), room)
        _gaussian_blocks(out, u64(i + done), base, u64(j + done), step, block, blocks, at)
        done = u64(done + u64(blocks << u64(2)))
    if done < count:
        _gaussian_edge(out, u64(i + done), base, u64(j + done), step, u64(first + done), u64(count - done), at)


@inlined
def _fill_words(words: Any, block: Any, count: Any, at: Any) -> None:
    """The words of `count` blocks from `block` on, whose low words do not overflow."""
    k0, k1, c2, c3 = at[0], at[1], at[2], at[3]
    low, high = u32(block), u32(block >> u64(32))
    for n in range(count):
        x0, x1, x2, x3 = _philox(u32(low + u32(n)), high, c2, c3, k0, k1)
        to = u64(u64(4) * u64(n))
        words[to], words[u64(to + u64(1))], words[u64(to + u64(2))], words[u64(to + u64(3))] = x0, x1, x2, x3


@inlined
def _signs(out: Any, i: Any, base: Any, j: Any, step: Any, word: Any, first: Any, count: Any) -> None:
    """`count` elements whose signs are the bits of `word` from bit `first` on."""
    step_bits = _bits(step)
    for n in range(count):
        sign = u32(u32(word << u32(u32(31) - u32(u32(first) + u32(n)))) & u32(0x80000000))
        _put(out, u64(i + u64(n)), base, u64(j + u64(n)), _float(step_bits ^ sign))


@inlined
def _rademacher_run(
    out: Any, i: Any, base: Any, j: Any, step: Any, first: Any, count: Any, at: Any, words: Any
) -> None:
    done = u64(0)
    while done < count:
        block = u64(u64(first + done) >> u64(7))
        last = u64(u64(u64(first + count) - u64(1)) >> u64(7))
        # As many blocks as `words` holds, up to where the counter's low word overflows.
        room = u64(u64(0x100000000) - u64(block & u64(0xFFFFFFFF)))
        blocks = min(u64(u64(last - block) + u64(1)), min(room, u64(words.size >> 2)))
        _fill_words(words, block, blocks, at)
        inside = u64(u64(first + done) & u64(127))
        stop = min(u64(inside + u64(count - done)), u64(blocks << u64(7)))
        i0, j0 = u64(u64(i + done) - inside), u64(u64(j + done) - inside)
        # Part of a word, whole words (the loop that matters), part of a word.
        if inside & u64(31):
            size = min(u64(u64(32) - u64(inside & u64(31))), u64(stop - inside))
            word = words[u64(inside >> u64(5))]
            _signs(out, u64(i0 + inside), base, u64(j0 + inside), step, word, u64(inside & u64(31)), size)
            done, inside = u64(done + size), u64(inside + size)
        whole = u64(u64(stop - inside) >> u64(5))
        for n in range(whole):
            at_bit = u64(inside + u64(u64(n) << u64(5)))
            word = words[u64(at_bit >> u64(5))]
            _signs(out, u64(i0 + at_bit), base, u64(j0 + at_bit), step, word, u64(0), u64(32))
        done, inside = u64(done + u64(whole << u64(5))), u64(inside + u64(whole << u64(5)))
        if inside < stop:
            word = words[u64(inside >> u64(5))]
            _signs(out, u64(i0 + inside), base, u64(j0 + inside), step, word, u64(0), u64(stop - inside))
            done = u64(done + u64(stop - inside))


@compiled
def gaussian(
    like: Any,
    out_address: int,
    out_stride: int,
    base_like: Any,
    base_address: int,
    base_stride: int,
    step: float,
    start: int,
    pitch: int,
    length: int,
    first: int,
    last: int,
    at: Any,
    words: Any,
) -> None:
    """Elements `first` to `last` of lines of `length` elements, counted line after line.

    `like` and `base_like` are arrays of the weights' type, or None for no base: then the moves themselves,
    `step * noise`, are written. Line n begins n times the stride after the address and holds the canonical elements
    from `start + n * pitch` on. `at` is k0, k1, c2, c3 and `words` room for words of Philox, both uint32.
    """
    out, base = _open(out_address, length, like), _open(base_address, length, base_like)
    position = u64(first)
    while position < u64(last):
        line, column = u64(position // u64(length)), u64(position % u64(length))
        count = min(u64(u64(length) - column), u64(u64(last) - position))
        to, of = u64(u64(line * u64(out_stride)) + column), u64(u64(line * u64(base_stride)) + column)
        index = u64(u64(u64(start) + u64(line * u64(pitch))) + column)
        _gaussian_run(out, to, base, of, f32(step), index, count, at, words)
        position = u64(position + count)


@compiled
def rademacher(
    like: Any,
    out_address: int,
    out_stride: int,
    base_like: Any,
    base_address: int,
    base_stride: int,
    step: float,
    start: int,
    pitch: int,
    length: int,
    first: int,
    last: int,
    at: Any,
    words: Any,
) -> None:
    """As `gaussian`."""
    out, base = _open(out_address, length, like), _open(base_address, length, base_like)
    position = u64(first)
    while position < u64(last):
        line, column = u64(position // u64(length)), u64(position % u64(length))
        count = min(u64(u64(length) - column), u64(u64(last) - position))
        to, of = u64(u64(line * u64(out_stride)) + column), u64(u64(line * u64(base_stride)) + column)
        index = u64(u64(u64(start) + u64(line * u64(pitch))) + column)
        _rademacher_run(out, to, base, of, f32(step), index, count, at, words)
        position = u64(position + count)


@compiled
def gaussian_stack(memory: Any, between: int, steps: Any, run: Any, at: Any, words: Any) -> None:
    """`gaussian` once for each of `steps` (float32) and row of `at`, into memory `between` bytes apart.

    `memory` is its first six arguments and `run` is start, pitch, length and number of elements.
    """
    like, address, stride, base_like, base, base_stride = memory
    start, pitch, length, total = run
    for n in range(steps.size):
        to, step = address + n * between, steps[n]
        gaussian(like, to, stride, base_like, base, base_stride, step, start, pitch, length, 0, total, at[n], words)


@compiled
def rademacher_stack(memory: Any, between: int, steps: Any, run: Any, at: Any, words: Any) -> None:
    """`rademacher` once for each of `steps` (float32) and row of `at`, into memory `between` bytes apart.

    `memory` is its first six arguments and `run` is start, pitch, length and number of elements.
    """
    like, address, stride, base_like, base, base_stride = memory
    start, pitch, length, total = run
    for n in range(steps.size):
        to, step = address + n * between, steps[n]
        rademacher(like, to, stride, base_like, base, base_stride, step, start, pitch, length, 0, total, at[n], words)


@compiled
def product(
    like: Any,
    out_address: int,
    out_stride: int,
    base_like: Any,
    base_address: int,
    base_stride: int,
    step: float,
    a: Any,
    b: Any,
    first: int,
    last: int,
    sums: Any,
) -> None:
    """Rows `first` to `last` of `base + step * (a @ b / sqrt(r))`; `a` [rows, r], `b` [r, columns], float32.

    `sums` (float32) is room for some columns.
    """
    rank, columns = b.shape
    out, base = _open(out_address, columns, like), _open(base_address, columns, base_like)
    divisor = f32(np.sqrt(rank))
    for row in range(first, last):
        for left in range(0, columns, sums.size):
            width = min(sums.size, columns - left)
            for c in range(width):
                sums[c] = a[row, 0] * b[0, left + c]
            for r in range(1, rank):
                factor = a[row, r]
                for c in range(width):
                    sums[c] = sums[c] + factor * b[r, left + c]
            to, of = u64(row * out_stride + left), u64(row * base_stride + left)
            for c in range(width):
                _put(out, u64(to + u64(c)), base, u64(of + u64(c)), f32(step) * (sums[c] / divisor))
