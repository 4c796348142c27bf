"""Intervals for shares, means and paired differences. Knows nothing of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Verdict = Literal["helped", "hurt", "no clear difference"]
# Draws of the bootstrap; its own error on a bound is then well below a tenth of the interval's width.
_DRAWS = 20_000


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Of a gain: whether there is one beyond chance."""
        return "helped" if self.low > 0 else "hurt" if self.high < 0 else "no clear difference"


# A report asks for the same few shares again and again.
@lru_cache(maxsize=4096)
def share(hits: int, total: int) -> Interval:
    """A share with its Wilson score interval (Wilson 1927)."""
    from scipy.stats import binomtest

    if total == 0:
        return Interval(float("nan"), 0.0, 1.0)
    bounds = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return Interval(hits / total, float(bounds.low), float(bounds.high))


def student_mean(values: Sequence[float]) -> Interval:
    """The mean with Student's interval (1908), which is honest about few values; of one value it is infinite."""
    from scipy.stats import t

    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)
    reach = float(t.ppf(0.975, count - 1)) * error
    return Interval(mean, mean - reach, mean + reach)


def resampled_mean(values: ArrayLike) -> Interval:
    """The mean of many values with a percentile bootstrap; the seed is fixed: equal data give equal intervals."""
    numbers = np.asarray(values, dtype=np.float64)
    generator = np.random.Generator(np.random.PCG64(0))
    means = numbers[generator.integers(len(numbers), size=(2000, len(numbers)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(numbers.mean()), float(low), float(high))


@dataclass(frozen=True)
class Paired:
    """How much more often b is right than a on the same questions.

    `gained`: questions that only b has right, `lost`: only a; `p_value` is McNemar's exact test (1947), two-sided.
    """

    difference: Interval
    gained: int
    lost: int
    p_value: float


def paired(a: Sequence[bool], b: Sequence[bool]) -> Paired:
    """Difference in accuracy of b over a on paired questions, with a percentile bootstrap over questions.

    Resampling n questions with replacement draws the counts of (gained, lost, same) from a multinomial, so that
    is drawn directly. One question gained and one lost are added first (the adjustment of Bonett and Price 2012):
    without it, two models that never differ on 20 questions would get an interval of no width.
    The seed is fixed: equal data give equal intervals.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} answers are not pairs")
    n = len(a)
    gained = sum(y and not x for x, y in zip(a, b, strict=True))
    lost = sum(x and not y for x, y in zip(a, b, strict=True))
    if n == 0:
        return Paired(Interval(float("nan"), -1.0, 1.0), 0, 0, 1.0)
    low, high = _resampled(gained, lost, n)
    return Paired(Interval((gained - lost) / n, low, high), gained, lost, _mcnemar(gained, lost))


@lru_cache(maxsize=4096)
def _mcnemar(gained: int, lost: int) -> float:
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


@lru_cache(maxsize=4096)
def _resampled(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Bounds of the bootstrap; a report asks for the same counts again and again."""
    shares = np.array([gained + 1, lost + 1, n - gained - lost]) / (n + 2)
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(n, shares, _DRAWS)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / n, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of several tests, in the order given (Holm 1979, step-down).

    Those at or below 0.05 may all be believed with at most a 5 % chance that any of them is wrong. Each is the smallest
    level at which its test would be rejected: n times the least p-value, n - 1 times the next, and so on, none below
    the one before it and none above 1. Raises `ValueError` for what is no probability.
    """
    if strange := [p for p in p_values if not 0 <= p <= 1]:
        raise ValueError(f"{strange[0]} is no p-value: those lie between 0 and 1")
    adjusted, reached = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        reached = max(reached, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = reached
    return adjusted
