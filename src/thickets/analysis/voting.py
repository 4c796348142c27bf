"""What base and members answered on a held-out split, and their vote. Reads the run alone; draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from thickets.ensemble.deciding import decide_all, outcomes_of
from thickets.ensemble.votes import Vote, vote_rule
from thickets.store import Run, key_number
from thickets.types import Outcome, SplitName, Trial, TrialScore


@dataclass(frozen=True)
class Voted:
    """A held-out split, or part of it: what the base and each member (best first) answered to every question, the vote,
    and whether it is right. Members that `failed` here abstain on every question.
    """

    split: SplitName
    rule: str
    base: tuple[Outcome, ...]
    candidates: tuple[int, ...]
    members: tuple[tuple[Outcome, ...], ...]
    failed: frozenset[int]
    votes: tuple[Vote, ...]
    right: tuple[bool, ...]

    @property
    def base_right(self) -> list[bool]:
        """Whether the base is right on each question."""
        return [o.judgement.correct for o in self.base]

    def right_by_k(self) -> npt.NDArray[np.bool_]:
        """Whether the vote of the first member alone, of the first two, … is right on each question: `[K, n]`."""
        judged = [[o.judgement for o in outcomes] for outcomes in self.members]
        keys = np.array([[key_number(j.key) for j in row] for row in judged], np.int64)
        correct = np.array([[j.correct for j in row] for row in judged], np.bool_)
        return right_of(correct, vote_rule(self.rule).winners_by_k(keys))

    def within(self, part: tuple[int, int]) -> Voted:
        """The same on part of the questions."""
        where = slice(*part)
        return replace(
            self,
            base=self.base[where],
            members=tuple(outcomes[where] for outcomes in self.members),
            votes=self.votes[where],
            right=self.right[where],
        )


def right_of(correct: npt.NDArray[np.bool_], winners: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether votes are right: that of each winner (`[..., n]`, ranks from 0) among members' `[K, n]` correctness.

    Where nobody votes (-1) it is wrong.
    """
    found: npt.NDArray[np.bool_] = correct[winners, np.arange(correct.shape[1])] & (winners >= 0)
    return found


def members_of(run: Run, scores: Sequence[TrialScore]) -> list[TrialScore]:
    """The members as the run kept them, best first, by their scores on selection; none before they are chosen."""
    by_candidate = {t.candidate: t for t in scores}
    return [by_candidate[candidate] for candidate in run.meta("members") or ()]


def member_outcomes(
    run: Run, split: SplitName, kept: Sequence[TrialScore], part: tuple[int, int] | None = None
) -> list[tuple[Outcome, ...]] | None:
    """Each member's outcomes on a split (or part of it), best-ranked first; `None` until all of them are there.

    A member whose held-out evaluation failed (NaN on some question) abstains on every question.
    """
    trials = run.trials(split, [None, *(t.candidate for t in kept)])
    by_candidate = {t.candidate: within(t, part) for t in trials}
    if not kept or None not in by_candidate or any(t.candidate not in by_candidate for t in kept):
        return None
    base = by_candidate[None]
    return outcomes_of([by_candidate[t.candidate] for t in kept], len(base.outcomes))


def within(trial: Trial, part: tuple[int, int] | None) -> Trial:
    """The trial on part of its questions."""
    return trial if part is None else replace(trial, outcomes=trial.outcomes[slice(*part)])


def voted(run: Run, split: SplitName, kept: Sequence[TrialScore], part: tuple[int, int] | None = None) -> Voted | None:
    """The members' vote on a split (or part of it), each question decided once; `None` until all have answered."""
    members = member_outcomes(run, split, kept, part)
    if members is None:
        return None
    rule = run.config.ensemble.vote
    decided = decide_all(rule, members)
    candidates = tuple(t.candidate for t in kept if t.candidate is not None)
    return Voted(
        split,
        rule,
        within(run.trials(split, [None])[0], part).outcomes,
        candidates,
        tuple(members),
        frozenset(t.candidate for t in run.scores(split) if t.failure is not None and t.candidate is not None),
        tuple(vote for vote, _ in decided),
        tuple(right for _, right in decided),
    )
