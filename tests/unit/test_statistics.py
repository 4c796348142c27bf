"""Intervals hold what they promise on data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.analysis.statistics import Interval, holm, paired, resampled_mean, share, student_mean


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_is_the_textbook_formula(hits: int, total: int) -> None:
    hits = min(hits, total)
    z, p = 1.959963984540054, hits / total
    centre = (p + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5
    got = share(hits, total)
    assert got.value == p
    assert got.low == pytest.approx(max(0, centre - half), abs=1e-9)
    assert got.high == pytest.approx(min(1, centre + half), abs=1e-9)


def test_the_paired_interval_covers_the_truth_at_its_rate() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        base = random.random(120) < 0.5
        flips = random.random(120)
        other = np.where(base, flips > 0.1, flips < 0.3)  # gains 15 %, loses 5 % of all questions
        d = paired(base.tolist(), other.tolist()).difference
        covered += d.low <= 0.10 <= d.high
    assert covered / 400 >= 0.92


def test_paired_counts_and_exact_p() -> None:
    a = [True] * 5 + [False] * 10 + [True] * 10
    b = [False] * 5 + [True] * 10 + [True] * 10
    p = paired(a, b)
    assert (p.gained, p.lost) == (10, 5)
    assert p.difference.value == pytest.approx(0.2)
    assert p.p_value == pytest.approx(0.3017578125)  # 2 · P(X ≤ 5), X ~ Binomial(15, 1/2)
    assert p.difference.low < 0.2 < p.difference.high


def test_two_equal_models_still_get_an_interval_of_some_width() -> None:
    d = paired([True, False] * 10, [True, False] * 10)
    assert d.difference.value == 0
    assert d.difference.low < 0 < d.difference.high
    assert d.p_value == 1


def test_unpaired_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="not pairs"):
        paired([True], [])


P_VALUES = st.lists(st.floats(0, 1), max_size=8)


@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_rejects_what_stepping_down_rejects(p_values: list[float], level: float) -> None:
    adjusted = holm(p_values)
    rejected = set()
    for place, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if (len(p_values) - place) * p_values[i] > level:
            break
        rejected.add(i)
    assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


@given(P_VALUES)
def test_holm_keeps_the_order_and_never_makes_a_p_value_smaller(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(adjusted)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize("strange", [-0.1, 1.5, float("nan")])
def test_what_is_no_p_value_is_refused(strange: float) -> None:
    with pytest.raises(ValueError, match="is no p-value"):
        holm([0.5, strange])


def test_students_interval() -> None:
    from scipy.stats import ttest_1samp

    values = [0.1, 0.4, -0.2, 0.3]
    wanted = ttest_1samp(values, 0).confidence_interval(0.95)
    made = student_mean(values)
    assert (made.low, made.high) == pytest.approx((wanted.low, wanted.high))
    assert student_mean([1.0]) == type(made)(1.0, -math.inf, math.inf)


def test_a_resampled_mean_is_near_student_s_where_values_are_many() -> None:
    values = np.random.Generator(np.random.PCG64(1)).normal(3.0, 2.0, 400)
    made, wanted = resampled_mean(values), student_mean(values.tolist())
    assert made.value == pytest.approx(wanted.value)
    assert (made.low, made.high) == pytest.approx((wanted.low, wanted.high), abs=0.02)
    assert resampled_mean(values) == made


def test_a_gain_helped_where_its_whole_interval_is_above_0() -> None:
    for low, high, verdict in ((0.1, 0.3, "helped"), (-0.3, -0.1, "hurt"), (0.0, 0.3, "no clear difference")):
        assert Interval((low + high) / 2, low, high).verdict == verdict
