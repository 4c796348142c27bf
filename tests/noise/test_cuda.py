"""On a GPU: the Triton kernel gives the CPU's weights bit for bit, in place, for every layout.

One command: `pytest tests/noise/test_cuda.py`.
"""

from __future__ import annotations

import pytest
import torch

from tests.noise.tensors import DTYPES, SCHEMES, bits, cut, weights
from tests.noise.test_batch import check, targets
from thickets.errors import WeightsError
from thickets.noise import Batch, Region, Target, add, normal, numbers, place

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

# The released code's noise depends on the device.
PORTABLE = [scheme for scheme in SCHEMES if not scheme.startswith("per_tensor_seed")]

CASES: list[tuple[tuple[int, ...], Region | None]] = [
    ((), None),
    ((1,), None),
    ((576,), None),
    ((70_001,), Region((5, 69_998))),
    ((64, 48), None),
    ((301, 701), None),
    ((301, 701), Region((3, 290))),
    ((301, 701), Region((3, 290), (5, 633))),
    ((301, 701), Region((3, 290), (100, 107))),
    ((7, 5, 3, 3), Region((1, 6))),
    ((2**33, 1024), Region((2**22 - 3, 2**22 + 5), (1, 1000))),
    ((2**33, 1024), Region((2**29 - 3, 2**29 + 5))),
]


@pytest.mark.parametrize("scheme", PORTABLE)
@pytest.mark.parametrize(("shape", "region"), CASES)
def test_numbers_equal_the_cpus(scheme: str, shape: tuple[int, ...], region: Region | None) -> None:
    for seed in (0, 1, 2**31, 2**32, 2**64 - 1):
        have = numbers(scheme, seed, "w", shape, region, device="cuda")
        assert have.is_cuda
        assert torch.equal(bits(have.cpu()), bits(numbers(scheme, seed, "w", shape, region, kernel="reference")))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("scheme", PORTABLE)
@pytest.mark.parametrize(("shape", "region"), [case for case in CASES if len(case[0]) < 2 or case[0][0] < 1000])
def test_weights_equal_the_cpus(scheme: str, dtype: torch.dtype, shape: tuple[int, ...], region: Region | None) -> None:
    whole = weights(shape, dtype)
    base = cut(whole, region)
    want = torch.empty_like(base, memory_format=torch.contiguous_format)
    options = {"scheme": scheme, "seed": 9, "name": "w", "step": 0.0123, "shape": shape, "region": region}
    place(want, base, kernel="reference", **options)  # type: ignore[arg-type]
    on_gpu = whole.cuda()
    before = on_gpu.clone()
    fused = torch.full_like(on_gpu, 7.0)
    for out in (torch.empty_like(want, device="cuda"), cut(fused, region)):
        address = out.data_ptr()
        place(out, cut(on_gpu, region), **options)  # type: ignore[arg-type]
        assert torch.equal(bits(out.cpu()), bits(want))
        assert out.data_ptr() == address
    cut(fused, region).fill_(7.0)
    assert (fused == 7).all()
    assert torch.equal(bits(on_gpu), bits(before))


@pytest.mark.parametrize("scheme", PORTABLE)
@pytest.mark.parametrize(("shape", "region"), [case for case in CASES if len(case[0]) < 2 or case[0][0] < 1000])
def test_sums_equal_the_cpus(scheme: str, shape: tuple[int, ...], region: Region | None) -> None:
    want = cut(weights(shape), region).clone()
    have = want.cuda()
    for total, kernel in ((want, "reference"), (have, "auto")):
        add(
            total,
            [(1, 0.01), (2, -3.0), (1, 0.5)],
            scheme=scheme,
            name="w",
            dtype=torch.bfloat16,
            shape=shape,
            region=region,
            kernel=kernel,
        )
    assert torch.equal(bits(have.cpu()), bits(want))


@pytest.mark.parametrize("scheme", PORTABLE)
def test_many_tensors_at_once_equal_the_cpus(scheme: str) -> None:
    """Some in one launch, some alone, one with its base in host memory."""
    made = targets("cuda")
    made.append(Target(torch.empty(48, 64, device="cuda"), weights((48, 64)).pin_memory(), "pinned"))
    batch = Batch(made, scheme=scheme)
    for seed in (3, 2**63 + 7):
        steps = [0.01 * (i % 3) for i in range(len(made))]
        batch.place(seed, steps)
        check(made, scheme, seed, steps)


def test_a_table_of_hundreds_of_tensors_and_a_large_one() -> None:
    shapes = [(16 * (1 + i % 7), 32) for i in range(700)] + [(70_000, 1024)]
    bases = [weights(shape, torch.bfloat16) for shape in shapes]
    made = [Target(torch.empty_like(b, device="cuda"), b.cuda(), f"t{i}") for i, b in enumerate(bases)]
    for scheme in ("gaussian/1", "rademacher/1"):
        Batch(made, scheme=scheme).place(11, [0.02] * len(made))
        for i in (0, 1, 511, 512, 699, 700):
            place(want := torch.empty_like(bases[i]), bases[i], scheme=scheme, seed=11, name=f"t{i}", step=0.02)
            assert torch.equal(bits(made[i].out.cpu()), bits(want)), (scheme, i)


@pytest.mark.parametrize("scheme", PORTABLE)
@pytest.mark.parametrize("pinned", [True, False])
def test_a_base_in_host_memory(scheme: str, pinned: bool) -> None:
    base = weights((300, 700), torch.bfloat16)
    base = base.pin_memory() if pinned else base
    want, out = torch.empty_like(base), torch.empty_like(base, device="cuda")
    for target in (want, out):
        place(target, base, scheme=scheme, seed=9, name="w", step=0.01)
    assert torch.equal(out.cpu(), want)
    place(out, base, scheme=scheme, seed=9, name="w", step=0)
    assert torch.equal(out.cpu(), base)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_half_precision_weight(dtype: torch.dtype) -> None:
    base = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    for step in (1e-3, 1e-8, 30.0, 3e38):
        want, out = torch.empty_like(base), torch.empty_like(base, device="cuda")
        place(want, base, scheme="gaussian/1", seed=9, name="w", step=step, kernel="reference")
        place(out, base.cuda(), scheme="gaussian/1", seed=9, name="w", step=step)
        have = out.cpu()
        assert torch.equal(have.isnan(), want.isnan())
        assert torch.equal(bits(have)[~have.isnan()], bits(want)[~want.isnan()])


def test_every_radius_and_turn() -> None:
    """Enough numbers that nearly all of the 2**24 inputs of each polynomial occur."""
    for first in range(0, 2**28, 2**26):
        part = Region((first, first + 2**26))
        have = numbers("gaussian/1", 1, "w", (2**28,), part, device="cuda")
        assert torch.equal(bits(have), bits(numbers("gaussian/1", 1, "w", (2**28,), part)).cuda())


def test_a_tensor_of_more_than_two_billion_elements() -> None:
    size = 2**31 + 4096
    if torch.cuda.mem_get_info()[0] < 5 * size:
        pytest.skip("needs 11 GB of GPU memory")
    base = torch.zeros(1, dtype=torch.bfloat16, device="cuda").expand(size).contiguous()
    out = torch.empty_like(base)
    place(out, base, scheme="gaussian/1", seed=1, name="w", step=1.0)
    tail = normal(1, "w", (size,), Region((size - 8192, size)))
    assert torch.equal(out[-8192:].cpu(), tail.bfloat16())


def test_the_reference_runs_on_a_gpu_too() -> None:
    base = weights((40, 50), torch.bfloat16).cuda()
    one, other = torch.empty_like(base), torch.empty_like(base)
    place(one, base, scheme="gaussian/1", seed=1, name="w", step=0.1, kernel="reference")
    place(other, base, scheme="gaussian/1", seed=1, name="w", step=0.1)
    assert torch.equal(one, other)


def test_the_released_codes_noise_is_drawn_on_the_device() -> None:
    generator = torch.Generator(device="cuda").manual_seed(3)
    want = torch.randn((40, 50), generator=generator, dtype=torch.bfloat16, device="cuda").float()
    have = numbers("per_tensor_seed/1", 3, "w", (40, 50), device="cuda", dtype=torch.bfloat16)
    assert torch.equal(have, want)


def test_placing_inside_a_cuda_graph() -> None:
    """A replay places the captured perturbation again: nothing in it depends on the host."""
    base = weights((300, 700), torch.bfloat16).cuda()
    want, out = torch.empty_like(base), torch.empty_like(base)
    place(want, base, scheme="gaussian/1", seed=1, name="w", step=0.1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        place(out, base, scheme="gaussian/1", seed=1, name="w", step=0.1)
    out.zero_()
    graph.replay()
    assert torch.equal(out, want)


def test_the_cpu_kernel_refuses_a_gpu() -> None:
    out = torch.zeros(4, device="cuda")
    with pytest.raises(WeightsError, match="numba"):
        place(out, torch.ones(4, device="cuda"), scheme="gaussian/1", seed=1, name="w", step=1.0, kernel="numba")
    with pytest.raises(WeightsError, match="only for weights on a CUDA device"):
        place(torch.zeros(4), torch.ones(4, device="cuda"), scheme="gaussian/1", seed=1, name="w", step=1.0)
