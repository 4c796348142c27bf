"""Expert density: the definition, failed candidates, and what chance alone gives."""

from __future__ import annotations

import csv
import io
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.tables import table
from tests.evidence.recorded import make_run
from thickets.analysis.density import density, density_of, margin_grid, reaching
from thickets.analysis.summary import summarise
from thickets.config import parse
from thickets.randopt import execute
from thickets.report.density import render
from thickets.store import Run

REWARDS = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=n, max_size=n), min_size=2, max_size=9)
)


@given(REWARDS, st.integers(0, 3))
def test_it_is_the_share_that_reaches_the_base_and_the_margin(rewards: list[list[float]], failed: int) -> None:
    base, *others = rewards
    figures = density_of(table(base, others), [0.01] * failed)
    (own, everyone) = figures.curves
    for i, margin in enumerate(figures.margins):
        gains = [sum(row) / len(row) - sum(base) / len(base) for row in others]
        hits = sum(gain >= margin - 1e-6 for gain in gains)
        assert everyone.reached[i].value == pytest.approx(hits / (len(others) + failed))
        assert everyone.reached[i].low <= everyone.reached[i].value + 1e-12
        assert everyone.reached[i].value <= everyone.reached[i].high + 1e-12
    assert own.reached == everyone.reached
    assert own.by_chance == pytest.approx(everyone.by_chance)
    for values in ([r.value for r in everyone.reached], everyone.by_chance, figures.resampled):
        assert all(a >= b for a, b in pairwise(values))
    assert everyone.reached[-1].value == 0
    assert figures.margins[figures.zero] == 0


@given(REWARDS)
def test_a_candidate_that_is_the_base_owes_nothing_to_chance(rewards: list[list[float]]) -> None:
    base = rewards[0]
    figures = density_of(table(base, [base, base]))
    everyone = figures.curves[-1]
    assert everyone.by_chance[figures.zero] == everyone.reached[figures.zero].value == 1
    assert everyone.by_chance[figures.zero + 1] == 0


def test_the_luck_of_a_sigma_is_that_of_its_own_candidates() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2, 40).astype(float)
    # Small steps lose a little on every question alike; large ones win and lose on the same questions together.
    swing = rng.choice([-0.5, 0.5], 40)
    small, large = [base - 0.01] * 6, [base + swing] * 6
    alone = density_of(table(base, small, [0.01] * 6)).curves[0].with_luck
    figures = density_of(table(base, [*small, *large], [0.01] * 6 + [0.1] * 6))
    at = figures.zero
    assert figures.curves[0].with_luck[at] == alone[density_of(table(base, small, [0.01] * 6)).zero]
    assert figures.curves[0].with_luck[at].high < figures.curves[1].with_luck[at].high


def test_each_sigma_has_its_curve_and_failed_candidates_count_in_it() -> None:
    rows = [[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    figures = density_of(table([1, 1, 0, 0], rows, [0.1, 0.1, 0.2]), [0.2, 0.3])
    assert [(c.sigma, c.tried, c.failed) for c in figures.curves] == [
        (0.1, 2, 0),
        (0.2, 2, 1),
        (0.3, 1, 1),
        (None, 5, 2),
    ]
    assert [c.reached[figures.zero].value for c in figures.curves] == [1, 0, 0, 2 / 5]
    above = figures.margins.index(0.2)
    assert [c.reached[above].value for c in figures.curves] == [0.5, 0, 0, 1 / 5]


def test_where_no_candidate_is_better_the_density_is_what_chance_says() -> None:
    draw = np.random.Generator(np.random.PCG64(5))
    found, said = [], []
    for _ in range(100):
        ease = draw.uniform(0.2, 0.8, 60)
        answers = (draw.random((31, 60)) < ease).astype(float)
        figures = density_of(table(answers[0].tolist(), answers[1:]))
        at = [figures.margins.index(m) for m in (0.0, 0.1)]
        found.append([figures.curves[-1].reached[i].value for i in at])
        said.append([figures.curves[-1].by_chance[i] for i in at])
    # One run's base is lucky or not, and all its candidates look bad or good by that; over runs it evens out.
    error = np.std(np.subtract(found, said), axis=0) / np.sqrt(100)
    assert np.abs(np.mean(np.subtract(found, said), axis=0)) == pytest.approx(0, abs=4 * error.max())
    assert error.max() < 0.05


def test_the_base_s_luck_is_in_the_wide_intervals() -> None:
    draw = np.random.Generator(np.random.PCG64(8))
    narrow = wide = 0
    for _ in range(100):
        ease = draw.uniform(0.2, 0.8, 60)
        answers = (draw.random((41, 60)) < ease).astype(float)
        figures = density_of(table(answers[0].tolist(), answers[1:]))
        everyone, at = figures.curves[-1], figures.zero
        narrow += everyone.reached[at].low <= everyone.by_chance[at] <= everyone.reached[at].high
        wide += everyone.with_luck[at].low <= everyone.by_chance[at] <= everyone.with_luck[at].high
        assert all(
            w.low <= r.low and r.high <= w.high for w, r in zip(everyone.with_luck, everyone.reached, strict=True)
        )
    # Over perturbations alone, where no candidate is better, the intervals miss chance more often than not.
    assert narrow < 70
    assert wide >= 92


def test_from_one_question_the_base_s_luck_cannot_be_told() -> None:
    figures = density_of(table([1.0], [[1.0], [0.0]]))
    assert math.isnan(figures.luck)
    assert all(math.isnan(i.low) and math.isnan(i.high) for curve in figures.curves for i in curve.with_luck)
    figure = render(figures)
    assert "Outer band" not in figure.caption
    assert "cannot be told" in figure.caption
    rows = list(csv.DictReader(io.StringIO(figure.data)))
    assert {row["low_with_luck"] for row in rows} == {""}


def test_planted_experts_stand_above_chance() -> None:
    draw = np.random.Generator(np.random.PCG64(6))
    base = (draw.random(200) < 0.5).astype(float)
    better = (draw.random((20, 200)) < 0.8).astype(float)
    same = (draw.random((80, 200)) < 0.5).astype(float)
    figures = density_of(table(base.tolist(), [*better, *same]))
    at = min(range(len(figures.margins)), key=lambda i: abs(figures.margins[i] - 0.2))
    assert figures.curves[-1].reached[at].value == pytest.approx(0.2, abs=0.02)
    assert figures.curves[-1].by_chance[at] < 0.01


@given(st.lists(st.floats(-3, 3), max_size=20))
def test_the_margins_are_even_steps_over_all_gains_and_zero(gains: list[float]) -> None:
    margins = margin_grid(gains)
    assert 0.0 in margins
    assert len(margins) <= 64
    assert margins[0] <= min([0.0, *gains]) + 1e-6
    assert margins[-1] > max([0.0, *gains])
    steps = np.diff(margins)
    assert steps == pytest.approx(steps[0])


def test_a_table_without_a_base_is_a_mistake() -> None:
    whole = table([1, 0], [[1, 1]])
    with pytest.raises(ValueError, match="no base"):
        density_of(whole.others)


def test_a_real_run_has_a_density_and_a_chart(settings: dict[str, Any]) -> None:
    summary = execute(parse(settings))
    with Run.read(parse(settings).directory) as run:
        figures = density(run)
    assert figures is not None
    assert figures.curves[-1].reached[figures.zero] == summary.density
    # The last curve is that of all sigmas together.
    for curve, row in zip(figures.curves[:-1], summary.sigmas, strict=True):
        assert (curve.sigma, curve.tried, curve.failed) == (row.sigma, row.tried, row.failed)
        assert curve.reached[figures.zero] == row.density
    figure = render(figures)
    assert figure.svg.count("<svg") == 2
    rows = list(csv.DictReader(io.StringIO(figure.data)))
    assert len(rows) == len(figures.curves) * len(figures.margins)
    assert figure == render(figures)


@pytest.mark.parametrize(
    ("base", "candidate"), [([0.8, 0.0], [0.1, 0.7]), ([0.8, 0.8], [0.9, 0.7]), ([801.1, 0.0], [100.1, 701.0])]
)
def test_part_marks_that_add_up_to_the_base_s_reach_it_wherever_they_are_counted(
    base: list[float], candidate: list[float], tmp_path: Path
) -> None:
    answers = {who: [(r, r > 0.5, str(r)) for r in rewards] for who, rewards in ((None, base), (0, candidate))}
    with make_run(tmp_path / "run", {"selection": answers}) as run:
        run.set_meta("parts", {"gsm8k": {"selection": [0, 2], "test": [0, 0]}})
        summary, figures = summarise(run), density(run)
    assert figures is not None
    at = figures.zero
    counted = [summary.density, summary.sigmas[0].density, summary.parts[0].density]
    assert counted == [curve.reached[at] for curve in (*figures.curves, figures.curves[-1])]
    assert summary.density.value == 1


@given(REWARDS)
def test_scores_are_counted_as_the_curve_does_at_margin_zero(rewards: list[list[float]]) -> None:
    base, *others = rewards
    scores = [math.fsum(row) / len(row) for row in others]
    figures = density_of(table(base, others))
    reached = figures.curves[-1].reached[figures.zero].value
    assert reaching(scores, math.fsum(base) / len(base)) == pytest.approx(reached * len(others))


def test_a_run_without_trials_has_no_density(settings: dict[str, Any]) -> None:
    config = parse(settings)
    Run.begin(config).close()
    with Run.read(config.directory) as run:
        assert density(run) is None
