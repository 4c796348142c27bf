"""Placing is exactly the stated arithmetic, in place, from an untouched base, and refuses before it writes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noise.tensors import DTYPES, SCHEMES, bits, cut, regions, weights
from thickets.errors import WeightsError
from thickets.noise import Region, numbers, place, place_stack

KERNELS = ("reference", "numba")


def expected(base: torch.Tensor, noise: torch.Tensor, step: float) -> torch.Tensor:
    """The specification as torch operations, each of which rounds."""
    return (base.float() + noise.view(base.shape) * torch.tensor(step, dtype=torch.float32)).to(base.dtype)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scheme", SCHEMES)
@given(case=regions(), step=st.floats(-1, 1, width=32), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=25)
def test_placing_is_base_plus_step_times_noise(
    scheme: str, dtype: torch.dtype, kernel: str, case: tuple[tuple[int, ...], Region], step: float, seed: int
) -> None:
    """The base is a strided view of a larger tensor, as slices of fused or sharded weights are."""
    shape, region = case
    whole = weights(shape, dtype)
    before = whole.clone()
    base = cut(whole, region)
    out = torch.full(base.shape, 7.0, dtype=dtype)
    address = out.data_ptr()
    place(out, base, scheme=scheme, seed=seed, name="w", step=step, shape=shape, region=region, kernel=kernel)
    noise = numbers(scheme, seed, "w", shape, region, kernel="reference", dtype=dtype)
    still = step == 0 or (scheme.startswith("low_rank") and len(shape) != 2)
    assert torch.equal(bits(out), bits(base if still else expected(base, noise, step)))
    assert out.data_ptr() == address
    assert torch.equal(bits(whole), bits(before))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_only_the_target_of_a_strided_view_is_written(scheme: str, kernel: str) -> None:
    fused = torch.full((50, 90), 5.0, dtype=torch.bfloat16)
    view, base = fused[10:40, 20:83], weights((30, 63), torch.bfloat16)
    place(view, base, scheme=scheme, seed=1, name="w", step=0.01, kernel=kernel)
    noise = numbers(scheme, 1, "w", (30, 63), dtype=torch.bfloat16)
    assert torch.equal(view, expected(base, noise, 0.01))
    view.fill_(5.0)
    assert (fused == 5.0).all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
def test_fused_and_sharded_layouts_hold_the_whole_tensors_noise(scheme: str, kernel: str) -> None:
    """q, k and v in one matrix, each placed under its own name; two column shards of another matrix."""
    parts = {"q": weights((16, 24), torch.bfloat16, 1), "k": weights((8, 24), torch.bfloat16, 2)}
    fused, first = torch.empty(24, 24, dtype=torch.bfloat16), 0
    for name, base in parts.items():
        rows = fused.narrow(0, first, len(base))
        place(rows, base, scheme=scheme, seed=4, name=name, step=0.01, kernel=kernel)
        alone = torch.empty_like(base)
        place(alone, base, scheme=scheme, seed=4, name=name, step=0.01, kernel=kernel)
        assert torch.equal(rows, alone)
        first += len(base)
    whole = torch.empty_like(parts["q"])
    place(whole, parts["q"], scheme=scheme, seed=4, name="o", step=0.01, kernel=kernel)
    for shard in ((0, 11), (11, 24)):
        region, columns = Region((0, 16), shard), slice(*shard)
        out, base = torch.empty(16, shard[1] - shard[0], dtype=torch.bfloat16), parts["q"][:, columns].contiguous()
        place(out, base, scheme=scheme, seed=4, name="o", step=0.01, shape=(16, 24), region=region, kernel=kernel)
        assert torch.equal(out, whole[:, columns])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
def test_every_weight_is_rounded_as_torch_rounds(scheme: str, dtype: torch.dtype) -> None:
    """All 65,536 patterns of the half types, infinities, subnormals and NaNs among them; many of float32."""
    if dtype == torch.float32:
        base = torch.from_numpy(np.random.default_rng(0).integers(0, 2**32, 65536, np.uint32).view(np.float32))
    else:
        base = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    for step in (1e-3, 1e-8, 30.0, 3e38):
        out = torch.empty_like(base)
        place(out, base, scheme=scheme, seed=5, name="w", step=step, kernel="numba")
        exact = expected(base, numbers(scheme, 5, "w", base.shape), step)
        assert torch.equal(out.isnan(), exact.isnan())
        assert torch.equal(bits(out)[~out.isnan()], bits(exact)[~out.isnan()])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_step_of_zero_gives_the_base_bit_for_bit(dtype: torch.dtype, kernel: str) -> None:
    base = torch.tensor([0.0, -0.0, math.nan, -math.inf, 1e-40, 1.0], dtype=dtype)
    for scheme, step in (("gaussian/1", 0.0), ("rademacher/1", -0.0), ("gaussian/1", 1e-60), ("low_rank/1", 0.5)):
        out = torch.ones_like(base)
        place(out, base, scheme=scheme, seed=1, name="w", step=step, kernel=kernel)
        assert torch.equal(bits(out), bits(base))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_base_comes_back_after_many_switches(scheme: str) -> None:
    base = weights((64, 48), torch.bfloat16)
    live = base.clone()
    for seed in range(200):
        place(live, base, scheme=scheme, seed=seed, name="w", step=0.01)
    assert not torch.equal(live, base)
    place(live, base, scheme=scheme, seed=0, name="w", step=0)
    assert torch.equal(bits(live), bits(base))


def test_a_sign_mirrors_the_step() -> None:
    base = torch.zeros(1000)
    one, other = torch.empty_like(base), torch.empty_like(base)
    place(one, base, scheme="gaussian/1", seed=1, name="w", step=0.01)
    place(other, base, scheme="gaussian/1", seed=1, name="w", step=-0.01)
    assert torch.equal(one, -other)


def test_parameters_and_read_only_bases_can_be_used() -> None:
    parameter = torch.nn.Parameter(torch.zeros(8, 8))
    array = np.ones((8, 8), dtype=np.float32)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = torch.from_numpy(array)
    place(parameter, base, scheme="rademacher/1", seed=1, name="w", step=0.5)
    assert set(parameter.flatten().tolist()) == {0.5, 1.5}


def test_a_convolution_cut_along_its_input_channels() -> None:
    base, region = weights((6, 10, 3, 3)), Region((1, 5), (2 * 9, 7 * 9))
    whole, part = torch.empty_like(base), torch.empty(4, 5, 3, 3)
    place(whole, base, scheme="gaussian/1", seed=1, name="w", step=0.1)
    piece = base[1:5, 2:7].contiguous()
    place(part, piece, scheme="gaussian/1", seed=1, name="w", step=0.1, shape=base.shape, region=region)
    assert torch.equal(part, whole[1:5, 2:7])


def refused(match: str, out: torch.Tensor, base: torch.Tensor, **changes: Any) -> None:
    arguments: dict[str, Any] = {"scheme": "gaussian/1", "seed": 1, "name": "layer.w", "step": 0.1, **changes}
    before = None if out.is_meta else out.clone()
    with pytest.raises(WeightsError, match=match) as caught:
        place(out, base, **arguments)
    assert before is None or torch.equal(out, before)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_placed_is_refused_before_anything_is_written() -> None:
    out, base = torch.zeros(4, 6), torch.ones(4, 6)
    refused("gaussian/1, low_rank/1, per_tensor_seed/1, rademacher/1", out, base, scheme="gauss")
    refused("low_rank/1:0", out, base, scheme="low_rank/1:0")
    refused("low_rank/1:x", out, base, scheme="low_rank/1:x")
    refused("takes no option", out, base, scheme="gaussian/1:3")
    refused("reference, numba, triton", out, base, kernel="cuda")
    refused("'layer.w'.*not a finite", out, base, step=math.nan)
    refused("'layer.w'.*not a finite", out, base, step=1e39)
    refused("18446744073709551616", out, base, seed=2**64)
    refused("'layer.w'.*its base has shape", out, base[:3])
    refused("'layer.w'.*its base has dtype", out, base.double())
    refused("'layer.w'.*int8.*only float32", out.to(torch.int8), base.to(torch.int8))
    refused("'layer.w'.*float64", out.double(), base.double())
    refused("'layer.w'.*float8", *(t.to(torch.float8_e4m3fn) for t in (out, base)))
    refused("'layer.w'.*has shape", out, base, shape=(5, 6))
    refused("'layer.w'.*outside", out, base, shape=(5, 6), region=Region((2, 6)))
    refused("'layer.w'.*has shape", out, base, shape=(5, 6), region=Region((2, 5)))
    refused("'layer.w'.*on meta", out.to("meta"), base.to("meta"))
    refused("'layer.w'.*base is on meta", out, base.to("meta"))


def test_layouts_that_cannot_be_written_in_runs_are_refused() -> None:
    base = torch.ones(4, 6)
    refused("'layer.w'.*side by side", torch.zeros(6, 4).T, base)
    refused("'layer.w'.*side by side", torch.zeros(4, 12)[:, ::2], base)
    refused("'layer.w'.*side by side", torch.zeros(1, 6).expand(4, 6), base)
    refused("'layer.w'.*side by side", torch.zeros(12)[::2], base[0])
    refused("'layer.w'.*side by side", torch.zeros(2, 3, 2, 2).permute(0, 3, 1, 2), torch.zeros(2, 2, 3, 2))


def test_a_base_that_shares_memory_is_refused() -> None:
    memory = torch.ones(10, 6)
    refused("'layer.w'.*shares memory", memory, memory)
    refused("'layer.w'.*shares memory", memory, memory.view(10, 6))
    refused("'layer.w'.*shares memory", memory[:6], memory[4:])
    place(memory[:5], memory[5:], scheme="gaussian/1", seed=1, name="layer.w", step=0.1)


def test_a_kernel_that_does_not_fit_the_device_is_refused() -> None:
    refused("triton", torch.zeros(4), torch.ones(4), kernel="triton")


def test_a_stack_is_the_same_by_one_thread_and_by_several() -> None:
    base = torch.randn(40, 300, generator=torch.Generator().manual_seed(0))
    seeds, before = list(range(12)), torch.get_num_threads()
    stacks = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            stacks.append(torch.empty(12, 40, 300))
            place_stack(stacks[-1], base, scheme="gaussian/1", seeds=seeds, name="w", steps=[0.1] * 11 + [0.0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*stacks)
    assert torch.equal(stacks[0][11], base)
    alone = torch.empty_like(base)
    place(alone, base, scheme="gaussian/1", seed=5, name="w", step=0.1)
    assert torch.equal(stacks[0][5], alone)


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1", "low_rank/1:3", "per_tensor_seed/1"])
@pytest.mark.parametrize("kernel", ["reference", "numba"])
@pytest.mark.parametrize("shape", [(7,), (9, 31), (180, 200)])
def test_a_stack_is_what_place_writes_also_rounded_once_more(scheme: str, kernel: str, shape: tuple[int, ...]) -> None:
    base = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    base.view(-1)[:3] = torch.tensor([float("nan"), -0.0, 70000.0])
    seeds, steps = [3, 2**63 + 1, 5, 6], [0.1, -0.2, 0.0, 3.0]
    common: dict[str, Any] = {"scheme": scheme, "name": "w", "kernel": kernel}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        stack = torch.empty(4, *shape, dtype=dtype)
        place_stack(stack, base, seeds=seeds, steps=steps, **common)
        for made, seed, step in zip(stack, seeds, steps, strict=True):
            alone = torch.empty_like(base)
            place(alone, base, seed=seed, step=step, **common)
            assert torch.equal(made.nan_to_num(nan=7.0), alone.to(dtype).nan_to_num(nan=7.0))
            assert made.isnan().sum() == 1
    small = base.to(torch.bfloat16)
    with pytest.raises(WeightsError, match=r"its base has dtype torch\.bfloat16"):
        place_stack(torch.empty(1, *shape), small, seeds=[1], steps=[0.1], **common)
