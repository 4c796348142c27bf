"""Numbers in words and places on an axis."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.analysis.curves import CurveFigures, CurvePoint
from thickets.analysis.density import DensityCurve, DensityFigures
from thickets.analysis.statistics import Interval
from thickets.report import curves, density, wording
from thickets.report.axis import axis_over
from thickets.report.figures import DOTS, _dots, _whole_ticks
from thickets.report.sections.cost import in_words

NAN = float("nan")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (wording.percent(0.45), "45.0\u202f%"),
        (wording.percent(NAN), "–"),
        (wording.percent(None), "–"),
        (wording.points(0.21), "+21.0"),
        (wording.points(-0.034), "−3.4"),
        (wording.points(-0.0001), "0.0"),
        (wording.points(0.0), "0.0"),
        (wording.decimal(-0.0001), "0.000"),
        (wording.count(1234567), "1\u202f234\u202f567"),
        (wording.p_value(0.00001), "< 0.001"),
        (wording.p_value(0.0312), "= 0.031"),
        (wording.duration(3.21), "3.2\u202fs"),
        (wording.duration(245), "4\u202fmin 05\u202fs"),
        (wording.duration(7630), "2\u202fh 07\u202fmin"),
        (wording.duration(math.inf), "–"),
        (wording.sigma(0.002), "0.002"),
        (wording.moment("2026-11-12T15:03:22.123+01:00"), "12 November 2026, 14:03 UTC"),
        (wording.moment("yesterday"), "yesterday"),
        (wording.moment(None), "–"),
        (wording.capped("abcdef", 4), "abc…"),
        (wording.ratio(1, 0), None),
    ],
)
def test_words(words: str | None, expected: str | None) -> None:
    assert words == expected


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, shares).map(sorted), max_size=4))
def test_an_axis_holds_what_it_is_made_over(bounds: list[list[float]]) -> None:
    intervals = [Interval(b, a, c) for a, b, c in bounds]
    axis = axis_over(intervals, 0.2, (0.0, 1.0))
    assert 0.0 <= axis.low < axis.high <= 1.0
    assert len(axis.ticks) >= 2
    for interval in intervals:
        assert axis.low - 1e-9 <= interval.low <= interval.high <= axis.high + 1e-9
        assert 0 <= float(axis.at(interval.value).rstrip("%")) <= 100


def test_an_axis_over_nothing_is_whole() -> None:
    axis = axis_over([Interval(NAN, 0.0, 1.0)], 0.2, (0.0, 1.0))
    assert (axis.low, axis.high) == (0.0, 1.0)


def test_an_axis_of_differences_shows_zero() -> None:
    axis = axis_over([Interval(0.2, 0.15, 0.25)], 0.1, (-1.0, 1.0), 0.0)
    assert 0.0 in axis.ticks


@pytest.mark.parametrize("last", [1, 2, 10, 11, 50, 200])
def test_ticks_of_k_end_at_both_ends(last: int) -> None:
    ticks = _whole_ticks(last)
    assert ticks[0] == 1
    assert ticks[-1] == last
    assert len(ticks) <= 12


def test_full_rows_are_thinned_and_kept_ones_stay() -> None:
    from collections import Counter

    scores = [i / 50_000 for i in range(50_000)]
    dots = _dots(scores, Counter([scores[-1], scores[777]]))
    assert DOTS <= len(dots) <= DOTS + 2
    assert {scores[-1], scores[777]} <= {x for x, _ in dots}
    assert dots == _dots(scores, Counter([scores[-1], scores[777]]))


@pytest.mark.parametrize("lines", [1, 2, 3, 5])
def test_a_chart_of_any_number_of_curves_is_drawn(lines: int) -> None:
    points = [CurvePoint(n, k, Interval(0.5, 0.4, 0.6)) for n in range(10, 10 + lines) for k in (1, 2)]
    figures = CurveFigures(20, 9 + lines, 2, 3, 0.4, tuple(points))
    shown = curves.render(figures)[-1]
    assert str(shown.svg).count("<svg") == 2
    assert len(shown.data.splitlines()) == 1 + 2 * lines
    assert curves.sheets(figures) == [f.sheet for f in curves.render(figures)]


@pytest.mark.parametrize("margins", [1, 3, 12, 13, 60, 61])
def test_a_table_of_margins_has_zero_and_is_short(margins: int) -> None:
    grid = tuple((i - margins // 3) / 100 for i in range(margins))
    half = Interval(0.5, 0.4, 0.6)
    curve = DensityCurve(None, 10, 0, (half,) * margins, (0.5,) * margins, (half,) * margins)
    figures = DensityFigures(0.5, 20, grid, (replace(curve, sigma=0.1), curve), (0.5,) * margins, 0.1)
    shown = density.sheet(figures)
    assert "0" in [row[0] for row in shown.rows]
    assert 1 <= len(shown.rows) <= 13
    assert {len(row) for row in shown.rows} == {len(shown.columns)}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        ([], "none"),
        (0.123456, "0.1235"),
        (-1e-5, "−1e−05"),
        ({"as asked": 0.5, "twice": NAN}, "as asked 0.5, twice –"),
        ([0.25, None], "0.25, none"),
        (True, "yes"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_a_baselines_details_in_words(value: object, words: str) -> None:
    assert in_words(value) == words
