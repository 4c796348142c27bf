"""Accuracy against N, K and K/N: votes counted all at once are those counted one by one, and halves never mix."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.tables import table
from thickets.analysis.curves import CurveFigures, CurvePoint, curves, curves_of, grid
from thickets.analysis.statistics import Interval
from thickets.config import parse
from thickets.ensemble.votes import VoteRule, vote_names, vote_rule
from thickets.randopt import execute
from thickets.report.curves import render
from thickets.store import Run

KEYS = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([-1, 3, 5, 8]), min_size=n, max_size=n), min_size=1, max_size=9)
)


@pytest.mark.parametrize("name", sorted(vote_names()))
@given(KEYS)
def test_the_winners_of_every_first_k_are_those_of_the_rule(name: str, keys: list[list[int]]) -> None:
    rule, array = vote_rule(name), np.array(keys)
    found = rule.winners_by_k(array)
    assert found.shape == array.shape
    for k in range(1, len(keys) + 1):
        for question in range(array.shape[1]):
            texts = [None if key < 0 else str(key) for key in array[:k, question]]
            winner = rule.decide(texts).winner
            assert found[k - 1, question] == (-1 if winner is None else winner)
    assert (VoteRule.winners_by_k(rule, array) == found).all()


def test_every_point_is_what_ranking_and_voting_by_hand_give() -> None:
    random = np.random.Generator(np.random.PCG64(4))
    answers = (random.random((13, 10)) < 0.5).astype(float)
    keys = np.where(answers > 0.5, 1, random.integers(2, 4, answers.shape))
    keys[random.random(keys.shape) < 0.1] = -1
    whole = table(answers[0].tolist(), answers[1:], keys=keys)
    rule = vote_rule("majority")
    figures = curves_of(whole, rule, top_k=3, subsamples=1)
    halves = np.random.Generator(np.random.PCG64(0))
    first = np.zeros(10, bool)
    first[halves.permutation(10)[:5]] = True
    place = halves.permutation(12)
    for point in figures.points:
        tried = [c for c in range(12) if place[c] < point.n]
        right = 0
        for question in range(10):
            chosen_on = ~first if first[question] else first
            ranked = sorted(tried, key=lambda c: (-answers[c + 1][chosen_on].sum(), c))[: point.k]
            said = [None if keys[c + 1][question] < 0 else str(keys[c + 1][question]) for c in ranked]
            winner = rule.decide(said).winner
            right += winner is not None and bool(answers[ranked[winner] + 1][question] > 0.5)
        assert point.accuracy.value == pytest.approx(right / 10), point


def test_more_candidates_help_where_some_are_better_and_not_where_none_is() -> None:
    random = np.random.Generator(np.random.PCG64(7))
    ease = random.uniform(0.3, 0.7, 100)
    same = (random.random((201, 100)) < ease).astype(float)
    # Whoever is wrong is wrong in a way of their own, so votes only help where members know more.
    better = (random.random((20, 100)) < 0.95).astype(float)
    null = curves_of(table(same[0].tolist(), same[1:]), vote_rule("majority"), 1, subsamples=30)
    assert [p.n for p in null.against_n()] == [1, 2, 5, 10, 20, 50, 100, 200]
    assert abs(null.against_n()[-1].accuracy.value - null.against_n()[0].accuracy.value) < 0.05
    planted = np.concatenate([same[1:], better])
    found = curves_of(table(same[0].tolist(), planted), vote_rule("majority"), 1, subsamples=30)
    rising = [p.accuracy.value for p in found.against_n()]
    assert rising[-1] > 0.9
    assert rising[0] < 0.7
    for point in found.points:
        assert point.accuracy.low <= point.accuracy.value <= point.accuracy.high


def test_failed_candidates_are_among_those_tried() -> None:
    answers = np.eye(6)[[0, 1, 2, 3]]
    figures = curves_of(table([0.0] * 6, answers), vote_rule("majority"), 2, failed=6, subsamples=20)
    assert figures.tried == 10
    assert {p.n for p in figures.points} <= set(grid(10, 2))
    assert max(p.k for p in figures.against_k()) == 4
    # Of few candidates all may have failed, and then nobody votes.
    assert not [p for p in figures.points if p.n == 1]


@given(st.integers(1, 6000), st.lists(st.integers(1, 6000), max_size=3))
def test_the_grid_ends_at_all_and_has_what_is_asked_for(last: int, others: list[int]) -> None:
    found = grid(last, *others)
    assert found == sorted(set(found))
    assert found[-1] == last
    assert {o for o in others if o <= last} <= set(found)
    assert found[0] >= 1


def test_a_real_run_has_curves_and_charts(settings: dict[str, Any]) -> None:
    config = parse(settings)
    execute(config)
    with Run.read(config.directory) as run:
        figures = curves(run, subsamples=5)
    assert isinstance(figures, CurveFigures)
    assert (figures.tried, figures.top_k, figures.questions) == (10, 3, 16)
    assert [p.n for p in figures.against_n()] == [3, 5, 10]
    drawn = render(figures)
    assert [f.name for f in drawn] == ["accuracy-by-n.csv", "accuracy-by-members.csv", "accuracy-by-share.csv"]
    for figure in drawn:
        assert figure.svg.count("<svg") == 2
        rows = list(csv.DictReader(io.StringIO(figure.data)))
        assert rows
        assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


def test_without_trials_there_are_none(settings: dict[str, Any]) -> None:
    config = parse(settings)
    Run.begin(config).close()
    with Run.read(config.directory) as run:
        assert curves(run) is None


@pytest.mark.parametrize("lines", range(2, 7))
def test_any_number_of_lines_is_drawn(lines: int) -> None:
    # 0.2 + 0.8 * 3 / 3 is above 1 in floating point, and no line can be that strong.
    share = Interval(0.5, 0.4, 0.6)
    points = tuple(CurvePoint(n, k, share) for n in range(5, 5 + lines) for k in (1, 2))
    assert len(render(CurveFigures(40, 4 + lines, 2, 60, 0.4, points))) == 3
