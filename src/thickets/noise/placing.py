"""What callers do: ask for a tensor's numbers, place weights, and sum steps. Knows nothing of models.

Everything is checked before anything is written.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from thickets.errors import WeightsError
from thickets.noise.kernel import Kernel, choose
from thickets.noise.region import Rectangle, Region, region_shape, resolve
from thickets.noise.schemes import Scheme, Source, find_scheme
from thickets.noise.threads import spread

if TYPE_CHECKING:
    import torch

# Elements of a stack that are worth another thread.
_GRAIN = 1 << 15


def place(
    out: torch.Tensor,
    base: torch.Tensor,
    *,
    scheme: str,
    seed: int,
    name: str,
    step: float,
    shape: Sequence[int] | None = None,
    region: Region | None = None,
    kernel: str = "auto",
) -> None:
    """Write `round(float32(base) + float32(step) * noise)` into `out`'s own memory, in one pass.

    `out` is the part `region` (all, by default) of the tensor called `name` whose unsharded, unfused shape is
    `shape` (by default `out`'s); `base` holds the same part of the untouched weights. The product and the sum are
    each rounded to float32, never fused; the result is rounded to nearest even to the dtype (float32, bfloat16 or
    float16). `step` has the weights' unit: sigma x sign x scale. A step of 0 (in float32), and a tensor that the
    scheme does not move, give `base` back bit for bit. `base` is only read; it may lie on another device than a CUDA
    `out` (pinned host memory is copied without blocking). `kernel` is `auto`, `reference`, `numba` or `triton`.

    Raises `WeightsError`, before it writes, for a dtype, layout, region, step, seed, scheme or kernel it cannot use.
    """
    chosen, found = find_scheme(scheme), checked(out, base, name, shape, region, kernel)
    check_seed(seed)
    step32 = _float32(step, name)
    if found.target.numel():
        put(chosen, found, name, seed, step32)


class Checked(NamedTuple):
    """A tensor that can be placed: matrices `[rows, columns]` of it and its base, its full shape, and its kernel."""

    target: torch.Tensor
    source: torch.Tensor
    full: tuple[int, ...]
    part: Rectangle
    engine: Kernel


def checked(
    out: torch.Tensor,
    base: torch.Tensor,
    name: str,
    shape: Sequence[int] | None,
    region: Region | None,
    kernel: str,
) -> Checked:
    """All that `place` asks of a tensor. Raises `WeightsError`."""
    full = tuple(out.shape) if shape is None else tuple(shape)
    part = resolve(name, full, region)
    _check_pair(out, base, name)
    _check_size(out, full, region, part, name)
    target, source = _matrix(out, part, name), _matrix(base, part, name)
    _check_apart(target, source, name)
    return Checked(target, source, full, part, choose(kernel, target.device))


def put(scheme: Scheme, to: Checked, name: str, seed: int, step: float) -> None:
    """Write `base + step * numbers` into a tensor that is not empty; nothing is checked, `step` is a float32."""
    target, source = to.target, to.source
    if step == 0 or not scheme.moves(len(to.full)):
        target.copy_(source, non_blocking=True)
        return
    if source.device != target.device:
        # Kernels work on one device, and in place: the copy lands where the result goes.
        target.copy_(source, non_blocking=True)
        source = target
    scheme.place(target, source, step, Source(seed, name, to.full, to.part, target.device, target.dtype, to.engine))


def place_stack(
    out: torch.Tensor,
    base: torch.Tensor,
    *,
    scheme: str,
    seeds: Sequence[int],
    name: str,
    steps: Sequence[float],
    kernel: str = "auto",
) -> None:
    """`place` for many seeds at once: `out[c]` becomes the whole tensor `name` under `seeds[c]` and `steps[c]`.

    `out` is `[len(seeds), *base.shape]` in one piece. Bit for bit what `place` writes; what does not hang on the seed
    is checked once. Around a float32 base `out` may be bfloat16 or float16: what `place` writes, rounded once more.
    Raises `WeightsError` as `place` does, before it writes.
    """
    import torch

    full = tuple(base.shape)
    chosen, part = find_scheme(scheme), resolve(name, full, None)
    if not len(out) == len(seeds) == len(steps):
        raise _refusal(out, name, f"there are {len(seeds)} seeds and {len(steps)} steps for a stack of {len(out)}")
    for seed in seeds:
        check_seed(seed)
    rounded = [_float32(step, name) for step in steps]
    if not len(out):
        return
    if not out.is_contiguous():
        raise _refusal(out, name, "a stack must lie in memory in one piece")
    _check_pair(out[0], base, name, lower=True)
    source = _matrix(base, part, name)
    _matrix(out[0], part, name)
    _check_apart(out.detach().view(len(out), -1), source, name)
    engine = choose(kernel, out.device)
    if not out.numel():
        return
    if source.device != out.device:
        source = source.to(out.device)
    stack = out.detach().view(len(out), part.rows, part.columns)

    asked = [Source(seed, name, full, part, out.device, base.dtype, engine) for seed in seeds]
    still = [i for i, step in enumerate(rounded) if step == 0 or not chosen.moves(len(full))]
    if len(still) < len(out):
        # Only CPU kernels round to another type than the base's.
        apart = out.dtype != base.dtype and out.device.type != "cpu"
        placed = torch.empty(stack.shape, dtype=base.dtype, device=out.device) if apart else stack

        def some(first: int, last: int) -> None:
            chosen.place_stack(placed[first:last], source, rounded[first:last], asked[first:last])

        # A small tensor is not worth two threads; many of them are.
        spread(some, len(out), engine.threads(), max(1, _GRAIN // (part.rows * part.columns)))
        if apart:
            stack.copy_(placed)
    for i in still:
        stack[i].copy_(source)


def add(
    total: torch.Tensor,
    terms: Sequence[tuple[int, float]],
    *,
    scheme: str,
    name: str,
    dtype: torch.dtype,
    shape: Sequence[int] | None = None,
    region: Region | None = None,
    kernel: str = "auto",
) -> None:
    """Add `float32(step) * noise` to float32 `total` for every `(seed, step)` of `terms`, in order, in `place`'s way.

    `total` is the part `region` of the tensor `name`, as `out` is in `place`; `dtype` is the weights' own, on which
    `per_tensor_seed` depends. Terms of step 0 (in float32) add nothing. Raises `WeightsError` as `place` does, before
    it writes.
    """
    import torch

    full = tuple(total.shape) if shape is None else tuple(shape)
    chosen, part = find_scheme(scheme), resolve(name, full, region)
    for seed, _ in terms:
        check_seed(seed)
    rounded = [(seed, _float32(step, name)) for seed, step in terms]
    if total.dtype != torch.float32:
        raise _refusal(total, name, "steps are summed in float32; give a float32 tensor to sum them in")
    _check_size(total, full, region, part, name)
    target = _matrix(total, part, name)
    engine = choose(kernel, target.device)
    if not target.numel() or not chosen.moves(len(full)):
        return
    for seed, step in rounded:
        if step != 0:
            chosen.place(target, target, step, Source(seed, name, full, part, target.device, dtype, engine))


def numbers(
    scheme: str,
    seed: int,
    name: str,
    shape: Sequence[int],
    region: Region | None = None,
    *,
    device: str | torch.device = "cpu",
    kernel: str = "auto",
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """The noise of a region of a tensor as float32: `[rows, *shape[1:]]`, or `[rows, columns]` if columns are named.

    `dtype` is the weights' dtype (float32 by default); only `per_tensor_seed` depends on it and on the device.
    Raises `WeightsError` for a region, seed, scheme or kernel that cannot be used.
    """
    import torch

    full = tuple(shape)
    chosen, part = find_scheme(scheme), resolve(name, full, region)
    check_seed(seed)
    where = torch.device(device)
    engine = choose(kernel, where)
    # Zeros only where nothing will be written.
    if not chosen.moves(len(full)):
        return torch.zeros(region_shape(full, region), dtype=torch.float32, device=where)
    out = torch.empty(region_shape(full, region), dtype=torch.float32, device=where)
    if out.numel():
        asked = Source(seed, name, full, part, out.device, dtype or torch.float32, engine)
        chosen.fill(out.view(part.rows, part.columns), asked)
    return out


def normal(seed: int, name: str, shape: Sequence[int], region: Region | None = None) -> torch.Tensor:
    """`gaussian/1` numbers on the CPU, float32. See `numbers`."""
    return numbers("gaussian/1", seed, name, shape, region)


def rademacher(seed: int, name: str, shape: Sequence[int], region: Region | None = None) -> torch.Tensor:
    """`rademacher/1` numbers on the CPU, float32: +1 or -1. See `numbers`."""
    return numbers("rademacher/1", seed, name, shape, region)


def moves(scheme: str, ndim: int) -> bool:
    """Whether `scheme` moves a tensor of `ndim` dimensions. Raises `WeightsError` for an unknown scheme."""
    return find_scheme(scheme).moves(ndim)


def canonical_name(scheme: str) -> str:
    """The full name under which a scheme is recorded: `low_rank/1` is `low_rank/1:8`. Raises `WeightsError`."""
    return find_scheme(scheme).name


def check_seed(seed: int) -> None:
    """Raise `WeightsError` for what is no seed."""
    if not 0 <= seed < 1 << 64:
        raise WeightsError(f"noise seed {seed} must lie from 0 up to, but not including, 2**64")


def _float32(step: float, name: str) -> float:
    try:
        rounded: float = struct.unpack("f", struct.pack("f", step))[0]
    except OverflowError:
        rounded = math.inf
    if not math.isfinite(rounded):
        raise WeightsError(f"step {step} of tensor {name!r} is not a finite float32 number; check sigma and scale")
    return rounded


def _refusal(tensor: torch.Tensor, name: str, reason: str) -> WeightsError:
    layout = f", stride {list(tensor.stride())}" if str(tensor.layout) == "torch.strided" else ""
    return WeightsError(
        f"cannot place noise on tensor {name!r} of shape {list(tensor.shape)}{layout}, dtype {tensor.dtype}, "
        f"on {tensor.device}: {reason}"
    )


def _check_pair(out: torch.Tensor, base: torch.Tensor, name: str, lower: bool = False) -> None:
    if out.shape != base.shape:
        raise _refusal(out, name, f"its base has shape {list(base.shape)}; they must be the same")
    if out.dtype != base.dtype and not (lower and str(base.dtype) == "torch.float32"):
        raise _refusal(out, name, f"its base has dtype {base.dtype}; they must be the same")
    if out.device != base.device and out.device.type != "cuda":
        raise _refusal(out, name, f"its base is on {base.device}; that is possible only for weights on a CUDA device")


def _check_size(out: torch.Tensor, full: tuple[int, ...], region: Region | None, part: Rectangle, name: str) -> None:
    expected = region_shape(full, region)
    if out.shape == expected:
        return
    # A tensor of more dimensions that is cut along its columns keeps its own rank.
    if len(full) > 2 and out.ndim > 1 and (out.shape[0], math.prod(out.shape[1:])) == (part.rows, part.columns):
        return
    raise _refusal(out, name, f"{region or 'the whole'} of shape {list(full)} has shape {list(expected)}")


def _matrix(tensor: torch.Tensor, part: Rectangle, name: str) -> torch.Tensor:
    """`tensor` as a view `[rows, columns]` with the elements of a row side by side. Raises `WeightsError`."""
    import torch

    if tensor.dtype not in (torch.bfloat16, torch.float16, torch.float32):
        raise _refusal(tensor, name, "only float32, bfloat16 and float16 weights can move; leave it out of the scope")
    if tensor.layout != torch.strided or tensor.device.type == "meta":
        raise _refusal(tensor, name, "it has no dense memory; load the weights first")
    matrix: torch.Tensor | None = tensor.detach() if tensor.requires_grad else tensor
    if tensor.ndim != 2:
        try:
            matrix = tensor.detach().view(part.rows, part.columns)
        except RuntimeError:
            matrix = None
    if matrix is None or not _side_by_side(matrix):
        raise _refusal(tensor, name, "the elements of a row must lie side by side in memory, rows apart; copy it first")
    return matrix


def _side_by_side(matrix: torch.Tensor) -> bool:
    rows, columns = matrix.shape
    between, within = matrix.stride()
    return (within == 1 or columns <= 1) and (between >= columns or rows <= 1)


def _check_apart(out: torch.Tensor, base: torch.Tensor, name: str) -> None:
    if out.device != base.device or out.numel() == 0:
        return
    (first, last), (start, end) = _span(out), _span(base)
    if first < end and start < last:
        raise _refusal(out, name, "it shares memory with its base, which must stay as it is; keep a copy of the base")


def _span(matrix: torch.Tensor) -> tuple[int, int]:
    first = matrix.data_ptr()
    return first, first + ((matrix.shape[0] - 1) * matrix.stride(0) + matrix.shape[1]) * matrix.element_size()
