"""The vote explained: how alike the members are, how far a wide margin can be trusted, what each member adds.

Reads a held-out split of the run; knows nothing of engines or of drawing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thickets.analysis.statistics import Interval, Paired, paired, share
from thickets.analysis.voting import right_of
from thickets.ensemble.votes import VoteRule, vote_rule
from thickets.store import ABSTAINS, Run, Table
from thickets.types import SplitName

# Borders of the margins that are counted together; a unanimous vote stands by itself.
_BORDERS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Right = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Margin:
    """Questions whose vote was decided by a margin from `low` up to (not including) `high`; 1 to 1 is unanimous.

    The margin is the winner's votes minus those of the next answer, over all members, abstaining ones included.
    """

    low: float
    high: float
    questions: int
    accuracy: Interval

    @property
    def name(self) -> str:
        """`20 to 40 %`, or `unanimous`."""
        return "unanimous" if self.low == self.high else f"{self.low * 100:.0f} to {self.high * 100:.0f} %"


@dataclass(frozen=True)
class Addition:
    """What one member adds. `marginal` is the accuracy of the vote of the best `rank` members minus that of one fewer;
    for the first it is its own accuracy minus the base's. `over_rest` is the whole vote over that of all others
    without this one, paired: `gained` are questions that only its presence gets right; `None` where it is alone.
    """

    rank: int
    candidate: int
    accuracy: Interval
    marginal: float
    over_rest: Paired | None


@dataclass(frozen=True)
class Agreement:
    """How the members voted on a split.

    `pairs[i][j]` is the share of questions with the same answer among those on which both members i and j (from 0,
    best first) answered, NaN where there are none; `mean` is the mean over pairs. `same_errors`: of all times that two
    members both gave a wrong answer to a question, the share in which it was the same one; only those can outvote what
    is right. `effective` is the number of independent voters whose accuracy would vary as much from question to
    question as the mean of these members does (Kish 1965, design effect): K where they err apart, 1 where all are
    right and wrong together, NaN where nobody's answers vary. `undecided` questions have no vote at all.
    """

    split: SplitName
    questions: int
    members: int
    pairs: tuple[tuple[float, ...], ...]
    mean: float
    same_errors: float
    effective: float
    margins: tuple[Margin, ...]
    undecided: int
    additions: tuple[Addition, ...]


def agreement(run: Run, split: SplitName = "test") -> Agreement | None:
    """How a run's members voted; `None` until all of them were evaluated on the split."""
    members = run.meta("members") or []
    if not members or not {None, *members} <= run.recorded(split):
        return None
    table = run.table(split)
    base = table.base
    if base is None or not table.questions:
        return None
    return agreement_of(split, base.correct[0], _ranked(table, members), vote_rule(run.config.ensemble.vote))


def agreement_of(split: SplitName, base: Right, members: Table, rule: VoteRule) -> Agreement:
    """How `members` (best first) voted, where the base's correctness is `base` `[n]`."""
    keys, correct = members.keys, members.correct
    pairs = _pairs(keys)
    above = np.array(pairs)[np.triu_indices(len(keys), 1)]
    known = above[~np.isnan(above)]
    by_k = rule.winners_by_k(keys)
    winners = by_k[-1]
    return Agreement(
        split=split,
        questions=members.questions,
        members=len(keys),
        pairs=pairs,
        mean=float(known.mean()) if len(known) else float("nan"),
        same_errors=_same_errors(keys, correct),
        effective=effective_voters(correct),
        margins=tuple(_margins(keys, right_of(correct, winners), winners)),
        undecided=int((winners < 0).sum()),
        additions=tuple(_additions(members, base, rule, right_of(correct, by_k))),
    )


def effective_voters(correct: Right) -> float:
    """K members' `[K, n]` correctness as a number of independent voters: mean variance over variance of the mean.

    NaN where no member's correctness varies over the questions. Between 1 and K.
    """
    single = float(correct.var(axis=1).mean())
    if single == 0:
        return float("nan")
    together = float(correct.mean(axis=0).var())
    return len(correct) if together * len(correct) <= single else max(1.0, single / together)


def _ranked(table: Table, members: list[int]) -> Table:
    """The members' rows, best first; one that failed here abstains on every question."""
    rows = {candidate: row for row, candidate in enumerate(table.candidates.tolist())}
    failed = np.array([c not in rows for c in members])
    found = table.rows([rows.get(c, 0) for c in members])
    rewards, correct, keys = found.rewards.copy(), found.correct.copy(), found.keys.copy()
    rewards[failed], correct[failed], keys[failed] = 0, False, ABSTAINS
    return Table(np.array(members, np.int64), found.sigmas, rewards, correct, keys)


def _pairs(keys: Keys) -> tuple[tuple[float, ...], ...]:
    rows = []
    for mine in keys:
        both = (keys != ABSTAINS) & (mine != ABSTAINS)
        asked, same = both.sum(axis=1), (both & (keys == mine)).sum(axis=1)
        rows.append(tuple(s / a if a else float("nan") for s, a in zip(same.tolist(), asked.tolist(), strict=True)))
    return tuple(rows)


def _same_errors(keys: Keys, correct: Right) -> float:
    wrong = ~correct & (keys != ABSTAINS)
    both = same = 0
    for row in range(len(keys)):
        pairs = wrong[row] & wrong[row + 1 :]
        both += int(pairs.sum())
        same += int((pairs & (keys[row] == keys[row + 1 :])).sum())
    return same / both if both else float("nan")


def _margins(keys: Keys, right: Right, winners: Keys) -> list[Margin]:
    decided = winners >= 0
    support = np.zeros(keys.shape, np.int64)
    for row in keys:
        support += (keys == row) & (keys != ABSTAINS)
    places = np.arange(keys.shape[1])
    first = support[winners, places]
    rivals = np.where(keys == keys[winners, places], 0, support).max(axis=0)
    # In whole votes, so that no rounding moves a question over a border.
    lead = (first - rivals)[decided]
    found = []
    for low, high in zip(_BORDERS, (*_BORDERS[1:], 1.0), strict=True):
        least, most = round(low * 10) * len(keys), round(high * 10) * len(keys)
        inside = (lead * 10 >= least) & ((lead * 10 < most) | (low == high))
        if inside.any():
            hits, total = int(right[decided][inside].sum()), int(inside.sum())
            found.append(Margin(low, high, total, share(hits, total)))
    return found


def _additions(members: Table, base: Right, rule: VoteRule, by_k: Right) -> list[Addition]:
    """`by_k` is whether the vote of the first member alone, of the first two, … is right, as rows of `[K, n]`."""
    keys, correct = members.keys, members.correct
    k, n = keys.shape
    whole, reached = by_k[-1].tolist(), by_k.mean(axis=1).tolist()
    before = [float(base.mean()), *reached[:-1]]
    found = []
    for row in range(k):
        rest = np.arange(k) != row
        without = right_of(correct[rest], rule.winners(keys[rest])).tolist() if k > 1 else None
        found.append(
            Addition(
                row + 1,
                int(members.candidates[row]),
                share(int(correct[row].sum()), n),
                reached[row] - before[row],
                None if without is None else paired(without, whole),
            )
        )
    return found
