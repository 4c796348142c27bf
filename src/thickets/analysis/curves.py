"""What more candidates and more members are worth: accuracy of the vote against N, against K and against K/N.

Reads the run alone; knows nothing of drawing.

Only the members that were kept have answers on the held-out splits, so these curves come from the selection split, by
cross-fitting: the candidates are ranked on one half of its questions and vote on the other half, and the other way
round; so no question is answered by members that it helped to choose. That is repeated over random halves and, for
each N, over random subsets of N of the candidates tried, failed ones among them.

A curve is therefore a little below what the run itself reaches (members are chosen on half as many questions), and
its band is how far it moves with the halves and the subset: not the uncertainty that comes from having so few
questions, which `crossfit` adds. At N = all candidates only the halves differ, so bands grow narrow towards it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thickets.analysis.crossfit import LEAST_QUESTIONS, halves, ranked
from thickets.analysis.statistics import Interval
from thickets.analysis.voting import right_of
from thickets.ensemble.votes import VoteRule, vote_rule
from thickets.store import Run, Table

_SUBSAMPLES = 60
# Members that vote at most, as a multiple of those kept: enough to see whether more would help.
_BEYOND, _AT_LEAST = 4, 50
# Subsamples whose votes are counted at once; bounds the memory.
_TOGETHER = 15

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
    """Mean accuracy when the best k of n candidates vote, with the 2.5th and 97.5th percentile over subsamples."""

    n: int
    k: int
    accuracy: Interval


@dataclass(frozen=True)
class CurveFigures:
    """Accuracy over a grid of N and K, by cross-fitting on the selection split; `base` is the base's on all of it.

    `tried` counts failed candidates too; `top_k` is how many the run keeps. `points` ascend by n, then by k.
    """

    questions: int
    tried: int
    top_k: int
    subsamples: int
    base: float
    points: tuple[CurvePoint, ...]

    def against_n(self, k: int | None = None) -> list[CurvePoint]:
        """Accuracy of the best `k` (by default as many as the run keeps) against the number of candidates tried."""
        wanted = self.top_k if k is None else k
        return [p for p in self.points if p.k == wanted]

    def against_k(self, n: int | None = None) -> list[CurvePoint]:
        """Accuracy against the number of voting members, of `n` candidates (by default all)."""
        wanted = self.tried if n is None else n
        return [p for p in self.points if p.n == wanted]

    def against_share(self) -> dict[int, list[CurvePoint]]:
        """For each n the points in order of k / n: what share of the candidates should vote."""
        return {n: self.against_k(n) for n in sorted({p.n for p in self.points})}


def curves(run: Run, subsamples: int = _SUBSAMPLES) -> CurveFigures | None:
    """The curves of a run; `None` where too little is recorded for them."""
    table = run.table("selection")
    failed = len(run.recorded("selection") - {None}) - len(table.others.candidates)
    if table.base is None or table.questions < LEAST_QUESTIONS or not len(table.others.candidates):
        return None
    ensemble = run.config.ensemble
    return curves_of(table, vote_rule(ensemble.vote), ensemble.top_k, failed, subsamples)


def curves_of(
    table: Table, rule: VoteRule, top_k: int, failed: int = 0, subsamples: int = _SUBSAMPLES, seed: int = 0
) -> CurveFigures:
    """The curves of a table with a base. `failed` more candidates were tried and have no score."""
    if table.base is None:
        raise ValueError("the curves stand beside the base's accuracy, and the table has no base")
    tried = len(table.others.candidates) + failed
    draws = list(_draws(table, tried, subsamples, seed))
    most, points = max(_BEYOND * top_k, _AT_LEAST), []
    for n in grid(tried, top_k):
        # Of some subsample there may be fewer than n candidates with a score.
        usable = min(draw.scored(n) for draw in draws)
        ks = grid(min(usable, most), top_k)
        if ks:
            pieces = (draws[i : i + _TOGETHER] for i in range(0, len(draws), _TOGETHER))
            accuracy = np.concatenate(
                [_accuracies(table.others, rule, [d.members(n, ks[-1]) for d in piece], ks) for piece in pieces]
            )
            points += [CurvePoint(n, k, _band(column)) for k, column in zip(ks, accuracy.T, strict=True)]
    base = float(table.base.correct.mean())
    return CurveFigures(table.questions, tried, top_k, subsamples, base, tuple(points))


def grid(last: int, *others: int) -> list[int]:
    """1, 2, 5, 10, 20, … below `last`, `last` itself, and the others that are not above it."""
    rounded = (f * 10**power for power in range(12) for f in (1, 2, 5))
    return sorted({last, *(v for v in (*rounded, *others) if v < last)} - {0})


@dataclass(frozen=True, eq=False)
class _Draw:
    """One halving of the questions, and one order in which the candidates are tried.

    `first` says of each question whether it is in the first half; `ranked` are all rows of candidates in the order of
    their rank on the first half, and on the second; `place` is each row's place in the order of trial.
    """

    first: npt.NDArray[np.bool_]
    ranked: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
    place: npt.NDArray[np.intp]

    def scored(self, n: int) -> int:
        """How many of the first n candidates have a score."""
        return int((self.place < n).sum())

    def members(self, n: int, k: int) -> npt.NDArray[np.intp]:
        """The best k of the first n, best first, for each question those chosen on the other half: `[k, question]`."""
        on_first, on_second = (ranked[self.place[ranked] < n][:k] for ranked in self.ranked)
        return np.where(self.first, on_second[:, None], on_first[:, None])


def _draws(table: Table, tried: int, number: int, seed: int) -> Iterator[_Draw]:
    random = np.random.Generator(np.random.PCG64(seed))
    others = table.others
    for _ in range(number):
        first = halves(table.questions, 1, random)
        on_first, on_second = ranked(others, np.hstack([first, ~first]))
        place = random.permutation(tried)[: len(others.candidates)]
        yield _Draw(first[:, 0], (on_first, on_second), place)


def _accuracies(others: Table, rule: VoteRule, chosen: Sequence[npt.NDArray[np.intp]], ks: Sequence[int]) -> Floats:
    """Accuracy over all questions when the first k of the members of each question vote: `[subsample, k]`."""
    members = np.concatenate(chosen, axis=1)
    every = np.tile(np.arange(others.questions), len(chosen))
    keys, correct = others.keys[members, every], others.correct[members, every]
    right = right_of(correct, rule.winners_by_k(keys)[np.array(ks) - 1])
    found: Floats = right.reshape(len(ks), len(chosen), others.questions).mean(axis=2).T
    return found


def _band(values: Floats) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high))
