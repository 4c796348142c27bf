"""Shrunken scores are right on average where raw ones flatter the best."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.evidence.recorded import make_run, make_table, right, wrong
from thickets.analysis.shrinkage import Prior, Shrunk, _posterior, shrink, shrinkage
from thickets.store import Table


def _table(chances: npt.NDArray[np.float64], random: np.random.Generator, hardness: float = 0.2) -> Table:
    """Candidates with these chances (one a row), on 100 questions that are not all equally hard."""
    hard = random.normal(0, hardness, 100)
    rows = random.random((len(chances), 100)) < np.clip(chances[:, None] + hard, 0, 1)
    return make_table([[False] * 100, *rows.tolist()]).others


def _shrunk(table: Table) -> list[Shrunk]:
    return shrink(table, table.rewards.mean(axis=1, dtype=np.float64).tolist())[1]


def test_the_best_is_expected_to_lose_what_it_loses() -> None:
    random = np.random.default_rng(0)
    raw, shrunk, covered = [], [], 0
    for _ in range(200):
        chances = random.normal(0.5, 0.03, 150)
        found = _shrunk(_table(chances, random, hardness=0))
        best = max(range(150), key=lambda c: found[c].raw)
        raw.append(found[best].raw - chances[best])
        shrunk.append(found[best].shrunk.value - chances[best])
        covered += found[best].shrunk.low <= chances[best] <= found[best].shrunk.high
    assert np.mean(raw) > 0.08
    assert abs(np.mean(shrunk)) < 0.01
    assert covered / 200 > 0.9


@pytest.mark.parametrize(("candidates", "spread"), [(30, 1.0), (100, 1.0), (1000, 0.3), (5000, 0.2), (5000, 0.3)])
def test_the_interval_of_the_best_holds_its_true_score(candidates: int, spread: float) -> None:
    """Where candidates differ by as little as in real searches, and where few tell by how much; `spread` is in luck."""
    random = np.random.default_rng(4)
    runs, covered = 600, 0
    for _ in range(runs):
        true = random.normal(0, spread, candidates)
        scores = true + random.normal(0, 1, candidates)
        centre = float(np.median(scores))
        between = 2 * float((np.maximum(scores - centre, 0) ** 2).mean()) - 1
        prior = Prior(None, candidates, centre, max(0.0, between) ** 0.5, 1.0)
        best = int(scores.argmax())
        held = _posterior(float(scores[best]), prior)
        covered += held.low <= true[best] <= held.high
    # Three standard errors below.
    assert covered / runs >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5


def test_hard_questions_are_no_noise_between_candidates() -> None:
    random = np.random.default_rng(1)
    # Every question is right or wrong for all but one in twenty answers: nearly all variance is the questions'.
    hard = random.random(100) < 0.5
    rows = np.array([hard ^ (random.random(100) < 0.05) for _ in range(200)])
    rows[:100] |= random.random((100, 100)) < 0.3
    found = _shrunk(make_table([[False] * 100, *rows.tolist()]).others)
    better = np.mean([f.shrunk.value for f in found[:100]]) - np.mean([f.shrunk.value for f in found[100:]])
    raw = np.mean([f.raw for f in found[:100]]) - np.mean([f.raw for f in found[100:]])
    # Were the questions' variance taken for noise, 0.6 of it would be left.
    assert better > 0.8 * raw


def test_broken_candidates_do_not_make_the_best_credible() -> None:
    random = np.random.default_rng(2)
    chances = np.concatenate([np.full(160, 0.5), random.uniform(0, 0.2, 40)])
    found = _shrunk(_table(chances, random, hardness=0))
    best = max(found, key=lambda f: f.raw)
    assert best.raw > 0.6
    assert abs(best.shrunk.value - 0.5) < 0.06


def test_differences_that_are_all_luck_are_not_believed_and_none_at_all_stay() -> None:
    random = np.random.default_rng(3)
    found = _shrunk(_table(np.full(2000, 0.5), random, hardness=0))
    assert max(f.raw for f in found) > 0.62
    assert max(f.shrunk.value for f in found) < 0.53
    same = _shrunk(make_table([[True, False, True]] * 30).others)
    assert {(f.raw, f.shrunk.value, f.shrunk.low, f.shrunk.high) for f in same} == {(2 / 3,) * 4}


@given(st.integers(2, 30), st.integers(2, 12), st.integers(0, 50))
@hypothesis_settings(max_examples=60)
def test_shrinking_moves_towards_the_centre_and_keeps_the_order(candidates: int, questions: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    found = _shrunk(make_table((random.random((candidates + 1, questions)) < 0.5).tolist()).others)
    centre = float(np.median([f.raw for f in found]))
    for f in found:
        assert abs(f.shrunk.value - centre) <= abs(f.raw - centre) + 1e-12
        assert f.shrunk.low <= f.shrunk.value <= f.shrunk.high
    order = sorted(found, key=lambda f: f.raw)
    assert all(a.shrunk.value <= b.shrunk.value + 1e-12 for a, b in pairwise(order))


def test_sigmas_are_told_apart_where_there_are_enough() -> None:
    random = np.random.default_rng(4)
    table = _table(np.concatenate([np.full(50, 0.3), np.full(50, 0.7), np.full(3, 0.5)]), random, hardness=0)
    table.sigmas[:] = [0.1] * 50 + [0.2] * 50 + [0.3] * 3
    found = [f.shrunk.value for f in _shrunk(table)]
    assert max(found[:50]) < 0.45
    assert min(found[50:100]) > 0.55
    assert 0.3 < found[101] < 0.7


def test_from_a_run(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    answers = {c: [right() if random.random() < 0.5 else wrong() for _ in range(40)] for c in range(30)}
    best = max(answers, key=lambda c: (sum(a[0] for a in answers[c]), -c))
    base = [right() if q % 2 else wrong() for q in range(40)]
    test = {None: [wrong()] * 10, best: [right()] * 6 + [wrong()] * 4}
    with make_run(tmp_path / "run", {"selection": {None: base, 99: [], **answers}, "test": test}, [best]) as run:
        found = shrinkage(run)
    assert found is not None
    assert [m.candidate for m in found.members] == [best]
    assert found.base == 0.5
    assert found.priors[0].sigma == 0.001
    assert found.priors[0].candidates == 30
    assert 0 <= found.priors[0].kept < 0.5
    assert found.regression == pytest.approx(found.members[0].raw - found.members[0].shrunk.value)
    assert found.regression > 0
    assert found.measured == pytest.approx(0.6 - (found.members[0].raw - 0.5))


def test_before_members_are_known_there_is_nothing(tmp_path: Path) -> None:
    with make_run(tmp_path / "run", {"selection": {None: [right()] * 4, 1: [right()] * 4, 2: [right()] * 4}}) as run:
        assert shrinkage(run) is None
        run.set_meta("members", [1])
        found = shrinkage(run)
        assert found is not None
        assert (found.regression, found.measured) == (0, None)


def test_the_members_are_those_that_the_run_kept_with_the_scores_that_it_ranked_by(tmp_path: Path) -> None:
    marks = {None: [0.1, 0.7], 5: [0.3, 0.6], 1: [0.1, 0.3], 2: [0.7, 0.9]}
    answers = {who: [(r, False, "x") for r in rewards] for who, rewards in marks.items()}
    with make_run(tmp_path / "run", {"selection": answers}, [5, 1]) as run:  # type: ignore[arg-type]
        found = shrinkage(run)
        scores = {t.candidate: t.score for t in run.scores("selection")}
    assert found is not None
    assert found.base == scores[None]
    assert [(m.candidate, m.raw) for m in found.members] == [(5, scores[5]), (1, scores[1])]
