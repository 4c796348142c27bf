"""Cross-fitting ranks on one half and measures on the other, and its interval covers the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.evidence.recorded import make_run, make_table, right, wrong
from thickets.analysis.crossfit import crossfit, crossfit_table, halves, ranked
from thickets.analysis.voting import right_of
from thickets.ensemble import vote_rule
from thickets.searching import rank
from thickets.types import Judgement, Outcome, Perturbation, Trial

MAJORITY = vote_rule("majority")


def test_luck_in_selection_is_no_gain() -> None:
    random = np.random.default_rng(0)
    # Everyone is a coin. Chosen and measured on the same 100 questions, the best of 300 have a clear lead.
    table = make_table((random.random((301, 100)) < 0.5).tolist())
    flattering = table.correct[1:].mean(axis=1).max() - 0.5
    found = crossfit_table(table, 1, MAJORITY, splits=100)
    assert flattering > 0.1
    assert abs(found.vote - 0.5) < flattering / 2
    assert found.gain.low < 0 < found.gain.high


def test_a_real_expert_is_found_and_its_gain_measured() -> None:
    random = np.random.default_rng(1)
    chances = np.full(40, 0.3)
    chances[[7, 20, 33]] = 0.8
    table = make_table((random.random((40, 200)) < chances[:, None]).tolist())
    found = crossfit_table(table, 3, MAJORITY, splits=100)
    truth = 3 * 0.8**2 * 0.2 + 0.8**3 - 0.3
    assert found.gain.low < truth < found.gain.high
    assert found.gain.low > 0.3
    assert found.worse == 0
    assert found.spread.low <= found.gain.value <= found.spread.high
    assert found.vote - found.base == pytest.approx(found.gain.value)


def test_candidates_like_the_base_give_a_narrow_interval_with_zero_in_it() -> None:
    table = make_table([[i % 3 == 0 for i in range(60)]] * 9)
    found = crossfit_table(table, 3, MAJORITY, splits=20)
    assert found.gain.value == 0
    assert (found.spread.low, found.spread.high) == (0, 0)
    assert -0.1 < found.gain.low < 0 < found.gain.high < 0.1


def test_members_that_abstain_are_wrong() -> None:
    table = make_table([[True] * 8, [False] * 8, [False] * 8], [["1"] * 8, [None] * 8, [None] * 8])
    assert crossfit_table(table, 2, MAJORITY, splits=5).gain.value == -1


@given(
    st.integers(2, 6).flatmap(
        lambda n: st.lists(
            st.lists(st.tuples(st.sampled_from([0.0, 0.1, 1.0, 1.06]), st.booleans()), min_size=n, max_size=n),
            min_size=2,
            max_size=7,
        )
    )
)
@hypothesis_settings(max_examples=50)
def test_a_half_ranks_as_the_search_does(models: list[list[tuple[float, bool]]]) -> None:
    table = make_table([[c for _, c in row] for row in models])
    table.rewards[:] = [[r for r, _ in row] for row in models]
    n = table.questions
    chosen = np.array([q % 2 == 0 for q in range(n)])[:, None]
    trials = [
        Trial(
            "selection",
            number - 1,
            Perturbation(number, 0.1),
            tuple(Outcome(Judgement(float(np.float32(r)), c, None), 1, 1, "eos") for r, c in row[::2]),
        )
        for number, row in enumerate(models)
        if number > 0
    ]
    (found,) = ranked(table.others, chosen)
    assert table.others.candidates[found].tolist() == [t.candidate for t in rank(trials)]


@given(st.integers(0, 30), st.integers(1, 5))
def test_halves_are_drawn_one_by_one(n: int, number: int) -> None:
    together = halves(n, number, np.random.default_rng(3))
    random = np.random.default_rng(3)
    assert (together == np.hstack([halves(n, 1, random) for _ in range(number)])).all()
    assert together.sum(axis=0).tolist() == [n // 2] * number


def test_a_vote_is_as_right_as_its_winner_and_wrong_where_nobody_votes() -> None:
    correct = np.array([[True, False, True], [False, True, True]])
    assert right_of(correct, np.array([0, 1, -1])).tolist() == [True, True, False]
    assert right_of(correct, np.array([[0, 0, 0], [1, 1, -1]])).tolist() == [[True, False, True], [False, True, False]]


@given(st.integers(4, 15), st.integers(1, 5), st.integers(0, 10))
@hypothesis_settings(max_examples=30)
def test_its_figures_hang_together_and_are_the_same_every_time(n: int, top_k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    table = make_table((random.random((7, n)) < 0.5).tolist())
    found = crossfit_table(table, top_k, MAJORITY, splits=70, seed=seed)
    assert found == crossfit_table(table, top_k, MAJORITY, splits=70, seed=seed)
    assert -1 <= found.gain.low <= found.spread.low <= found.spread.high <= found.gain.high <= 1
    assert found.gain.value == pytest.approx(found.vote - found.base)


def test_from_a_run(tmp_path: Path) -> None:
    base = [right() if q % 2 else wrong() for q in range(20)]
    candidates = {c: [right()] * 20 if c == 4 else base for c in range(6)}
    with make_run(tmp_path / "run", {"selection": {None: base, 6: [], **candidates}}, [4]) as run:
        found = crossfit(run, splits=30)
        assert found is not None
        assert (found.gain.value, found.questions, found.top_k, found.splits) == (0.5, 20, 1, 30)


def test_the_base_alone_or_three_questions_are_too_little(tmp_path: Path) -> None:
    for questions, known in ((4, True), (3, False)):
        models = {None: [right()] * questions, 0: [right()] * questions}
        with make_run(tmp_path / str(questions), {"selection": models}, [0]) as run:
            assert (crossfit(run, splits=2) is not None) == known
    with make_run(tmp_path / "run", {"selection": {None: [right()] * 20}}) as run:
        assert crossfit(run) is None
    with make_run(tmp_path / "none", {}) as run:
        assert crossfit(run) is None
