"""A split is voted on once: every question by the rule, and again for each first k by the same rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.recorded import Answer, make_run, right, wrong
from thickets.analysis.statistics import share
from thickets.analysis.summary import summarise
from thickets.analysis.voting import Voted
from thickets.ensemble.deciding import decide_all
from thickets.ensemble.rules.majority import MajorityVote
from thickets.ensemble.votes import Vote
from thickets.store import Run
from thickets.types import Judgement, Outcome, SplitName, Trial

KEYS = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=n, max_size=n), min_size=1, max_size=6)
)


@given(KEYS, st.integers(0, 3))
def test_every_first_k_votes_as_the_rule_does_and_a_part_as_the_whole(keys: list[list[str | None]], cut: int) -> None:
    members = tuple(tuple(Outcome(Judgement(0.0, k == "1", k), 1, 1, "eos") for k in row) for row in keys)
    decided = decide_all("majority", members)
    votes, rights = tuple(vote for vote, _ in decided), tuple(right for _, right in decided)
    found = Voted("test", "majority", members[0], tuple(range(len(keys))), members, frozenset(), votes, rights)
    by_k = [[right for _, right in decide_all("majority", members[:k])] for k in range(1, len(members) + 1)]
    assert found.right_by_k().tolist() == by_k
    assert tuple(by_k[-1]) == found.right
    part = found.within((cut, len(keys[0])))
    assert part.right_by_k().tolist() == [row[cut:] for row in by_k]
    assert (part.votes, part.right, part.base_right) == (votes[cut:], rights[cut:], found.base_right[cut:])


def test_a_report_loads_and_decides_every_split_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[Sequence[str | None]] = []
    loaded: list[SplitName] = []

    class Counted(MajorityVote):
        def decide(self, keys: Sequence[str | None]) -> Vote:
            decided.append(keys)
            return super().decide(keys)

    trials = Run.trials

    def counted(self: Run, split: SplitName, candidates: Sequence[int | None] | None = None) -> list[Trial]:
        if candidates and set(candidates) >= {4, 2, 7}:
            loaded.append(split)
        return trials(self, split, candidates)

    monkeypatch.setattr(Run, "trials", counted)
    monkeypatch.setattr("thickets.ensemble.deciding.vote_rule", lambda name: Counted())
    answers: dict[int | None, list[Answer]] = {
        None: [wrong(), right(), wrong(None)],
        4: [right(), right(), wrong(None)],
        2: [right(), wrong(), wrong(None)],
        7: [],
    }
    selection = {who: found or [wrong()] * 3 for who, found in answers.items()}
    splits: dict[SplitName, dict[int | None, list[Answer]]] = {
        "selection": selection,
        "validation": answers,
        "test": answers,
    }
    with make_run(tmp_path / "run", splits, [4, 2, 7]) as run:
        summary = summarise(run, in_depth=True)
    assert loaded == ["validation", "test"]
    assert decided == [["1", "1", None], ["1", "0", None], [None, None, None]] * 2
    assert summary.test is not None
    assert summary.test.members_failed == 1
    assert [m.held_out for m in summary.members] == [share(2, 3), share(1, 3), None]
    assert [a for _, a in summary.test.by_k] == [share(2, 3)] * 3
    assert [q.correct for q in summary.questions] == [True, True, False]
