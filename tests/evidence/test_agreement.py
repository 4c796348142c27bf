"""How members vote, on votes small enough to count by hand and on any others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.recorded import Answer, make_run, make_table, right, wrong
from thickets.analysis.agreement import Agreement, agreement, agreement_of, effective_voters
from thickets.ensemble import vote_rule

Keys = list[list[str | None]]
MAJORITY = vote_rule("majority")
VOTES = st.tuples(st.integers(1, 6), st.integers(1, 8)).flatmap(
    lambda shape: st.lists(
        st.lists(st.sampled_from(["1", "2", "3", None]), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


def _agreement(keys: Keys, base: list[bool] | None = None) -> Agreement:
    """Members' keys, best first; `1` is right."""
    questions = len(keys[0])
    members = make_table([[k == "1" for k in row] for row in keys], keys)
    return agreement_of("test", np.array(base or [False] * questions), members, MAJORITY)


def test_by_hand() -> None:
    found = _agreement(
        [
            ["1", "1", "2", None, None, "1"],
            ["1", "2", "2", None, "1", "1"],
            ["1", "2", "3", "3", None, "1"],
        ],
        [True, False, False, False, False, False],
    )
    assert (found.questions, found.members, found.undecided) == (6, 3, 0)
    # Both answered: the first two on 4 questions, same on 3; first and third on 4 (2 same); second and third on 4 (3).
    assert found.pairs == ((1, 3 / 4, 2 / 4), (3 / 4, 1, 3 / 4), (2 / 4, 3 / 4, 1))
    assert found.mean == pytest.approx(2 / 3)
    # Pairs that are both wrong with an answer: 2 with 2; then 2 with 2, 2 with 3, 2 with 3.
    assert found.same_errors == pytest.approx(2 / 4)
    margins = [(m.low, m.high, m.questions, m.accuracy.value) for m in found.margins]
    # Leads of 3, 1, 1, 1, 1 and 3 votes of 3.
    assert margins == [(0.2, 0.4, 4, 0.25), (1.0, 1.0, 2, 1.0)]
    assert [a.accuracy.value for a in found.additions] == [0.5, 0.5, 2 / 6]
    # The vote of the first alone is right on 3, of two on 4 (a tie goes to the first), of three on 3.
    assert [round(a.marginal * 6) for a in found.additions] == [2, 1, -1]
    last = found.additions[2].over_rest
    assert last is not None
    # Without the third, question 2 is a tie that the first has right.
    assert (last.gained, last.lost) == (0, 1)


def test_nobody_votes() -> None:
    found = _agreement([[None, "1"], [None, None]])
    assert found.undecided == 1
    assert math.isnan(found.pairs[0][1])
    assert math.isnan(found.mean)
    assert math.isnan(found.same_errors)
    assert [(m.low, m.questions) for m in found.margins] == [(0.4, 1)]
    only = _agreement([[None, None]])
    assert (only.undecided, only.margins, only.additions[0].over_rest) == (2, (), None)


def test_effective_voters_of_known_worlds() -> None:
    random = np.random.default_rng(0)
    apart = random.random((10, 20_000)) < 0.7
    assert effective_voters(apart) == pytest.approx(10, rel=0.05)
    assert effective_voters(np.repeat(apart[:1], 10, axis=0)) == pytest.approx(1)
    # Half of the time everyone does as the first one does: correlation 1/4 between two of them, 10 / (1 + 9/4).
    follows = random.random((10, 20_000)) < 0.5
    mixed = np.where(follows, apart[0], random.random((10, 20_000)) < 0.7)
    assert effective_voters(mixed) == pytest.approx(10 / (1 + 9 / 4), rel=0.05)
    assert math.isnan(effective_voters(np.ones((3, 5), np.bool_)))
    assert effective_voters(np.array([[True, False], [False, True]])) == 2


@given(VOTES)
def test_the_parts_hang_together(keys: Keys) -> None:
    found = _agreement(keys)
    members, questions = len(keys), len(keys[0])
    assert sum(m.questions for m in found.margins) + found.undecided == questions
    decided = [MAJORITY.decide(column) for column in zip(*keys, strict=True)]
    hits = sum(m.accuracy.value * m.questions for m in found.margins)
    assert hits == pytest.approx(sum(v.key == "1" for v in decided))
    assert sum(a.marginal for a in found.additions) == pytest.approx(hits / questions)
    for i in range(members):
        for j in range(members):
            assert found.pairs[i][j] == found.pairs[j][i] or math.isnan(found.pairs[i][j])
    assert math.isnan(found.effective) or 1 <= found.effective <= members
    for addition in found.additions:
        rest = [row for i, row in enumerate(keys) if i != addition.rank - 1]
        if addition.over_rest is not None:
            less = [MAJORITY.decide(column).key == "1" for column in zip(*rest, strict=True)]
            assert addition.over_rest.difference.value == pytest.approx((hits - sum(less)) / questions)


@given(VOTES, st.integers(0, 7))
def test_margins_are_the_leads(keys: Keys, question: int) -> None:
    column = [row[question % len(row)] for row in keys]
    counts = sorted(MAJORITY.decide(column).counts.values(), reverse=True)
    found = _agreement([[key] for key in column])
    if not counts:
        assert found.margins == ()
        return
    lead = counts[0] - (counts[1] if len(counts) > 1 else 0)
    (margin,) = found.margins
    assert margin.low * len(keys) <= lead + 1e-9
    assert lead < margin.high * len(keys) - 1e-9 or lead == margin.low * len(keys) == len(keys)


def test_from_a_run_with_a_member_that_failed(tmp_path: Path) -> None:
    answers: dict[int | None, list[Answer]] = {
        None: [right(), wrong()],
        4: [right(), right()],
        2: [],
        7: [wrong(None), right()],
    }
    with make_run(tmp_path / "run", {"test": answers}, [4, 2, 7]) as run:
        found = agreement(run)
        assert found is not None
        assert [a.candidate for a in found.additions] == [4, 2, 7]
        assert [a.accuracy.value for a in found.additions] == [1, 0, 0.5]
        assert found.additions[0].marginal == 0.5
        assert math.isnan(found.pairs[0][1]) and found.pairs[0][2] == 1
        assert agreement(run, "validation") is None
        run.set_meta("members", [4, 5])
        assert agreement(run) is None
