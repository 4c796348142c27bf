"""What the numbers are: golden values, accuracy, equality of kernels, and independence from how a tensor is cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.noise.tensors import SCHEMES, bits, cut, regions
from thickets.errors import WeightsError
from thickets.noise import Region, normal, numbers, rademacher
from thickets.noise import normal_constants as k
from thickets.noise.counter import address, block_words
from thickets.noise.reference import _radius, _turn

NAME, SEED = "model.layers.0.mlp.up_proj.weight", 2**40 + 5

# Fixed for ever: a change here is a new version of the scheme.
GOLDEN_GAUSSIAN = [
    0.43060991168022156, 1.0029361248016357, -0.36957913637161255, 0.3891637325286865, -0.087077297270298,
    0.6720383763313293, -0.13757337629795074, 0.09630823880434036, 0.5589767098426819, 0.45838555693626404,
    -1.7280545234680176, 0.009528358466923237, 0.7264274954795837, 2.8453307151794434, 1.883279800415039,
]  # fmt: skip
GOLDEN_LOW_RANK = [
    -0.2948113679885864, -0.4655342400074005, 0.6981537342071533, -0.8000169992446899, -1.6545926332473755,
    -0.3796527087688446, 2.674278974533081, -0.00220272084698081, -0.4897412061691284, 0.8082894682884216,
    0.9743287563323975, -1.1819779872894287, 0.05321498215198517, -0.33185043931007385, -1.6459083557128906,
]  # fmt: skip
GOLDEN_WORDS = ["8d1b9c99", "2f79f9d6", "dda9c3db", "5ef2d597"]


@pytest.mark.parametrize("kernel", ["reference", "numba"])
def test_golden_values(kernel: str) -> None:
    gaussian = numbers("gaussian/1", SEED, NAME, (3, 5), kernel=kernel)
    assert gaussian.flatten().tolist() == GOLDEN_GAUSSIAN
    assert numbers("low_rank/1", SEED, NAME, (3, 5), kernel=kernel).flatten().tolist() == GOLDEN_LOW_RANK
    signs = numbers("rademacher/1", SEED, NAME, (128,), kernel=kernel)
    words = block_words(address(SEED, NAME), np.array(0, dtype=np.uint64))
    assert [f"{word:08x}" for word in words] == GOLDEN_WORDS
    assert signs.tolist() == [1 - 2 * (int(words[i // 32]) >> i % 32 & 1) for i in range(128)]


def test_short_names_are_the_schemes() -> None:
    assert torch.equal(normal(1, "w", (9, 9)), numbers("gaussian/1", 1, "w", (9, 9)))
    part = Region((2, 5), (1, 8))
    assert torch.equal(rademacher(1, "w", (9, 9), part), numbers("rademacher/1", 1, "w", (9, 9), part))


def test_radius_and_turn_are_accurate_for_every_word() -> None:
    """Each depends on 24 bits, so all inputs are tried; together they bound the error of any normal number."""
    upper = np.arange(1 << 24, dtype=np.uint32)
    exact = np.sqrt(-2 * np.log((upper + 1.0) * 2.0**-24))
    worst_radius = np.abs(_radius(upper << np.uint32(8)) - exact).max()
    angle = upper * (2 * np.pi * 2.0**-24)
    cosine, sine = _turn(upper << np.uint32(8))
    worst_turn = max(np.abs(cosine - np.cos(angle)).max(), np.abs(sine - np.sin(angle)).max())
    largest = exact.max()
    product_rounding = 2.0**-22
    assert worst_radius + largest * worst_turn + product_rounding < 1.4e-6 < 2e-6


def test_gaussian_follows_the_specification() -> None:
    """Box-Muller in float64, straight from the design's formulas, on words from Philox."""
    shape = (501, 333)
    x = block_words(address(SEED, NAME), np.arange(math.prod(shape) // 4 + 1, dtype=np.uint64)).astype(np.float64)
    x = np.floor(x / 256)
    z = np.empty_like(x)
    for pair in (0, 2):
        r, angle = np.sqrt(-2 * np.log((x[:, pair] + 1) * 2.0**-24)), 2 * np.pi * x[:, pair + 1] * 2.0**-24
        z[:, pair], z[:, pair + 1] = r * np.cos(angle), r * np.sin(angle)
    found = normal(SEED, NAME, shape).double().flatten()
    assert np.abs(found.numpy() - z.flatten()[: math.prod(shape)]).max() < 2e-6


def test_constants_are_float32() -> None:
    values = [v for v in vars(k).values() if isinstance(v, float)]
    assert len(values) == 17
    assert all(float(np.float32(v)) == v for v in values)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kernel", ["reference", "numba"])
@given(case=regions(), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=120)
def test_a_region_is_a_piece_of_the_whole(
    scheme: str, kernel: str, case: tuple[tuple[int, ...], Region], seed: int
) -> None:
    shape, region = case
    whole = numbers(scheme, seed, "w", shape, kernel=kernel)
    part = numbers(scheme, seed, "w", shape, region, kernel=kernel)
    assert torch.equal(bits(part), bits(cut(whole, region)))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(case=regions(most=3000), seed=st.integers(0, 2**64 - 1), name=st.text(max_size=20))
@settings(max_examples=120)
def test_kernels_agree_bit_for_bit(scheme: str, case: tuple[tuple[int, ...], Region], seed: int, name: str) -> None:
    shape, region = case
    plain = numbers(scheme, seed, name, shape, region, kernel="reference")
    fast = numbers(scheme, seed, name, shape, region, kernel="numba")
    assert torch.equal(bits(plain), bits(fast))


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
@pytest.mark.parametrize("kernel", ["reference", "numba"])
def test_large_tensors_agree(scheme: str, kernel: str) -> None:
    """Larger than one chunk of the reference and one thread's share of the CPU kernel."""
    whole = numbers(scheme, 3, "w", (700_001,), kernel=kernel)
    pieces = [numbers(scheme, 3, "w", (700_001,), Region(r), kernel="reference") for r in ((0, 9), (9, 700_001))]
    assert torch.equal(whole, torch.cat(pieces))


@pytest.mark.parametrize("kernel", ["reference", "numba"])
@pytest.mark.parametrize(("scheme", "size"), [("gaussian/1", 4), ("rademacher/1", 128)])
def test_block_indices_are_64_bits_wide(kernel: str, scheme: str, size: int) -> None:
    """A run across the block where the counter's low word overflows, in a tensor no machine could hold."""
    rows = 2**33 // 2**10 * size
    edge = 2**32 * size
    around = numbers(scheme, 3, "w", (rows, 1024), Region((edge // 1024 - 2, edge // 1024 + 2)), kernel=kernel)
    words = block_words(address(3, "w"), np.array([2**32 - 1, 2**32], dtype=np.uint64))
    assert words[0].tolist() != words[1].tolist()
    flat = around.flatten()[2048 - size : 2048 + size]
    if size == 128:
        expected = [1 - 2 * (int(words[i // 128, i % 128 // 32]) >> i % 32 & 1) for i in range(256)]
        assert flat.tolist() == expected
    else:
        radius = [math.sqrt(-2 * math.log(((int(w) >> 8) + 1) * 2**-24)) for w in words[:, (0, 2)].flatten()]
        turn = [2 * math.pi * (int(w) >> 8) * 2**-24 for w in words[:, (1, 3)].flatten()]
        exact = [f for r, t in zip(radius, turn, strict=True) for f in (r * math.cos(t), r * math.sin(t))]
        assert np.abs(flat.numpy() - np.array(exact)).max() < 2e-6


def test_low_rank_is_the_product_of_its_factors() -> None:
    shape, rank = (40, 30), 5
    a, b = normal(9, "w#A", (40, rank)), normal(9, "w#B", (30, rank))
    expected = a.double() @ b.double().T / math.sqrt(rank)
    found = numbers(f"low_rank/1:{rank}", 9, "w", shape)
    assert (found - expected).abs().max() < 1e-5
    assert torch.linalg.matrix_rank(found.double(), rtol=1e-5) == rank
    assert not numbers("low_rank/1", 9, "w", (40,)).any()
    assert not numbers("low_rank/1", 9, "w", (4, 3, 3)).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_per_tensor_seed_is_the_released_codes_noise(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(7)
    expected = torch.randn((33, 20), generator=generator, dtype=dtype).float()
    assert torch.equal(numbers("per_tensor_seed/1", 7, "any", (33, 20), dtype=dtype), expected)
    part = Region((3, 9), (1, 7))
    assert torch.equal(numbers("per_tensor_seed/1", 7, "other", (33, 20), part, dtype=dtype), expected[3:9, 1:7])


@pytest.mark.parametrize(
    ("region", "shape"),
    [
        (Region((0, 5)), (4, 3)),
        (Region((-1, 2)), (4, 3)),
        (Region((3, 2)), (4, 3)),
        (Region((0, 4), (0, 4)), (4, 3)),
        (Region((0, 4), (0, 1)), (4,)),
        (Region((0, 2)), ()),
    ],
)
def test_a_region_outside_its_tensor_is_refused(region: Region, shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match="'w'"):
        numbers("gaussian/1", 1, "w", shape, region)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(WeightsError, match=str(seed)):
        numbers("gaussian/1", seed, "w", (2,))


def test_odd_shapes() -> None:
    assert numbers("gaussian/1", 1, "w", ()).shape == ()
    assert numbers("gaussian/1", 1, "w", (0, 5)).shape == (0, 5)
    assert numbers("rademacher/1", 1, "w", (3, 0)).shape == (3, 0)
    assert numbers("gaussian/1", 1, "w", (4, 3, 2), Region((1, 3))).shape == (2, 3, 2)
    assert numbers("gaussian/1", 1, "w", (4, 3, 2), Region((1, 3), (0, 5))).shape == (2, 5)
    with pytest.raises(WeightsError, match="shape"):
        numbers("gaussian/1", 1, "w", (-1,))
