"""How much the gain hangs on which questions selected the members, from stored outcomes alone: no new inference.

Reads the outcomes of the selection split; knows nothing of engines or of drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thickets.analysis.statistics import Interval
from thickets.analysis.voting import right_of
from thickets.ensemble.votes import VoteRule, vote_rule
from thickets.store import Run, Table

# Halves of fewer questions rank nothing.
LEAST_QUESTIONS = 4
# Splits that are scored at once: 5,000 candidates are then 2.5 megabytes of sums.
_AT_ONCE = 64
_NORMAL = 1.959963984540054

Floats = npt.NDArray[np.float64]
Sides = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CrossFit:
    """The gain of the vote over the base on questions that had no part in choosing its members.

    `gain` is the mean over all splits with the combined interval; `spread` has the same value with the 2.5th and
    97.5th percentile over splits: how far the gain moves when nothing but the choice of questions changes. `base` and
    `vote` are mean accuracies, `worse` is the share of splits in which the vote was below the base. `questions` is the
    size of the selection split: members were chosen on half of it and measured on the other half.
    """

    questions: int
    splits: int
    top_k: int
    base: float
    vote: float
    gain: Interval
    spread: Interval
    worse: float


def crossfit(run: Run, splits: int = 200, seed: int = 0) -> CrossFit | None:
    """Repeated cross-fitting over the selection split of a run; `None` where too little is recorded for it."""
    table = run.table("selection")
    ensemble = run.config.ensemble
    if table.base is None or table.questions < LEAST_QUESTIONS or len(table.others.candidates) < ensemble.top_k:
        return None
    return crossfit_table(table, ensemble.top_k, vote_rule(ensemble.vote), splits, seed)


def crossfit_table(table: Table, top_k: int, rule: VoteRule, splits: int = 200, seed: int = 0) -> CrossFit:
    """Many times: halve the questions at random, rank all candidates on one half, let the best `top_k` vote on the
    other, compare with the base there; then the other way round, so that each question is answered once by members
    that it did not choose (cross-fitting: Chernozhukov et al. 2018, section 3).

    The combined interval is normal around the mean, with the variance that Chernozhukov et al. give for estimates
    from several splits (definition 3.3, with means): the mean over splits of the estimate's own variance over
    questions, plus the variance of the estimates between splits. In each, one question gained and one lost are added
    first, as in `statistics.paired`.

    What it is: an estimate of how well this recipe, on these candidates, does on new questions of the same kind, not
    flattered by selection; and how much luck there is in which questions selected. What it is not: the interval of
    the ensemble that was kept, which was chosen on twice as many questions (so it is mostly a little better than
    this), nor a substitute for the test split. Splits overlap, so their spread is no standard error: a hundred times
    more splits make the mean steadier, and the interval no narrower. Variances from cross-validation can be too small
    because folds share data (Bates, Hastie and Tibshirani 2024); adding the whole spread between splits, instead of a
    share of it, leans to the wide side, and the tests measure the coverage on data whose truth is known.
    """
    base, others = table.base, table.others
    if base is None:
        raise ValueError("cross-fitting compares with the base, and the table has no row of it")
    base_right, n = base.correct[0], table.questions
    gains, variances, accuracies = [], [], []
    random = np.random.Generator(np.random.PCG64(seed))
    for begun in range(0, splits, _AT_ONCE):
        chosen = halves(n, min(_AT_ONCE, splits - begun), random)
        right = np.zeros((chosen.shape[1], n), np.bool_)
        for side in (chosen, ~chosen):
            for number, order in enumerate(ranked(others, side)):
                where = ~side[:, number]
                right[number, where] = _vote(others, order[:top_k], where, rule)
        for row in right:
            gained, lost = int((row & ~base_right).sum()), int((base_right & ~row).sum())
            gains.append((gained - lost) / n)
            variances.append(_variance(gained, lost, n))
            accuracies.append(float(row.mean()))
    mean = float(np.mean(gains))
    half = _NORMAL * math.sqrt(float(np.mean(variances)) + float(np.var(gains)))
    low, high = (float(bound) for bound in np.percentile(gains, [2.5, 97.5]))
    return CrossFit(
        questions=n,
        splits=splits,
        top_k=top_k,
        base=float(base_right.mean()),
        vote=float(np.mean(accuracies)),
        gain=Interval(mean, max(-1.0, mean - half), min(1.0, mean + half)),
        spread=Interval(mean, low, high),
        worse=float(np.mean([gain < 0 for gain in gains])),
    )


def halves(n: int, number: int, random: np.random.Generator) -> Sides:
    """Random halves of n questions as columns of `[n, number]`; of an odd number of questions each is the smaller."""
    chosen = np.zeros((n, number), np.bool_)
    for column in chosen.T:
        column[random.permutation(n)[: n // 2]] = True
    return chosen


def ranked(others: Table, chosen: Sides) -> Iterator[npt.NDArray[np.intp]]:
    """The rows of the candidates, best first, on each column's questions: ranked as `searching.rank` does."""
    # Sums of a few hundred float32 numbers are exact in float64, so equal candidates stay equal in any order.
    weights = chosen.astype(np.float64)
    rewards, correct = (rows.astype(np.float64) @ weights for rows in (others.rewards, others.correct))
    for reward, right in zip(rewards.T, correct.T, strict=True):
        yield np.lexsort((others.candidates, -right, -reward))


def _vote(others: Table, members: npt.NDArray[np.intp], where: Sides, rule: VoteRule) -> Sides:
    """Whether the members' vote is right on the questions `where`."""
    some = np.ix_(members, where)
    return right_of(others.correct[some], rule.winners(others.keys[some]))


def _variance(gained: int, lost: int, n: int) -> float:
    """Of the mean of n paired differences, of which so many are +1 and -1; one of each is added first."""
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    return (up + down - (up - down) ** 2) / n
