"""The numbers behave as independent draws: moments, distribution, and no correlation where none may be.

Seeds are fixed, so nothing here is left to chance: bounds are five standard errors wide.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from thickets.noise import Region, normal, numbers, rademacher

SIZE = 1_000_000
SCHEMES = ("gaussian/1", "rademacher/1")


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(np.corrcoef(one.flatten().double(), other.flatten().double())[0, 1])


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_moments_of_normal_numbers(seed: int) -> None:
    z = normal(seed, "w", (SIZE,)).double().numpy()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**power).mean() - moment) < 5 * math.sqrt(variance / SIZE)
    # P(|z| > 4.9) is 9.6e-7, and nothing lies beyond sqrt(-2 ln 2**-24).
    assert 4.2 < np.abs(z).max() < 5.78


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_distribution_of_normal_numbers(seed: int) -> None:
    assert stats.kstest(normal(seed, "w", (200_000,)).numpy(), "norm").pvalue > 1e-3
    quadrants = normal(seed, "pairs", (SIZE // 2, 2)).numpy() > 0
    assert stats.chisquare(np.bincount(quadrants @ [1, 2], minlength=4)).pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_distribution_of_signs(seed: int) -> None:
    signs = rademacher(seed, "w", (SIZE,)).numpy()
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 5 / math.sqrt(SIZE)
    octets = np.packbits(signs > 0)
    assert stats.chisquare(np.bincount(octets, minlength=256)).pvalue > 1e-3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 31, 32, 64, 127, 128, 512, 4096])
def test_neighbours_are_independent(scheme: str, lag: int) -> None:
    z = numbers(scheme, 11, "w", (SIZE,))
    assert abs(correlation(z[:-lag], z[lag:])) < 5 / math.sqrt(SIZE)
    # Box-Muller's pairs share a radius; their sizes may not be correlated either.
    if scheme == "gaussian/1":
        assert abs(correlation(z[:-lag] ** 2, z[lag:] ** 2)) < 5 / math.sqrt(SIZE)


@pytest.mark.parametrize("scheme", [*SCHEMES, "low_rank/1"])
def test_tensors_and_seeds_are_independent(scheme: str) -> None:
    """Tensors of one shape, the seeds of consecutive candidates, and seeds that share a word."""
    shape = (1000, 500)
    z = numbers(scheme, 100, "layers.0.w", shape)
    others = [numbers(scheme, 100, name, shape) for name in ("layers.1.w", "layers.0.w ", "Layers.0.w")]
    others += [numbers(scheme, seed, "layers.0.w", shape) for seed in (101, 99, 100 + 2**32, 100 << 32)]
    # Rank 8 leaves 8 x (1000 + 500) free numbers in place of 500,000.
    free = 8 * 1000 if scheme == "low_rank/1" else 1000 * 500
    assert all(abs(correlation(z, other)) < 5 / math.sqrt(free) for other in others)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_element_over_many_seeds_and_names(scheme: str) -> None:
    """What a population of candidates sees at one place of the model."""
    at = Region((3, 4), (5, 9))
    over_seeds = torch.cat([numbers(scheme, seed, "w", (8, 16), at, kernel="numba") for seed in range(20_000)])
    over_names = torch.cat([numbers(scheme, 1, f"w{i}", (8, 16), at, kernel="numba") for i in range(20_000)])
    for z in (over_seeds.numpy(), over_names.numpy()):
        assert np.abs(z.mean(axis=0)).max() < 5 / math.sqrt(len(z))
        assert np.abs(z.var(axis=0) - 1).max() < 5 * math.sqrt(2 / len(z))
        assert np.abs(np.corrcoef(z.T) - np.eye(4)).max() < 5 / math.sqrt(len(z))
        assert all(abs(np.corrcoef(z[1:, i], z[:-1, i])[0, 1]) < 5 / math.sqrt(len(z)) for i in range(4))


def test_low_rank_has_the_variance_of_the_others() -> None:
    z = torch.cat([numbers("low_rank/1", seed, "w", (200, 200)).flatten() for seed in range(40)]).double()
    assert abs(float(z.mean())) < 0.02
    assert abs(float(z.var()) - 1) < 0.05


def test_the_released_noise_correlates_tensors_of_one_shape_and_ours_does_not() -> None:
    first, second = (numbers("per_tensor_seed/1", 7, f"layers.{i}.w", (300, 300)) for i in (0, 1))
    assert correlation(first, second) == pytest.approx(1.0)
    first, second = (normal(7, f"layers.{i}.w", (300, 300)) for i in (0, 1))
    assert abs(correlation(first, second)) < 5 / 300
