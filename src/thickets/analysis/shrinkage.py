"""What a candidate is worth when its luck on the selection questions is taken off (empirical Bayes).

Reads the outcomes of the selection split; knows nothing of engines or of drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thickets.analysis.statistics import Interval
from thickets.store import Run, Table

# From fewer candidates of one sigma no spread can be told; they are then taken together with all others.
_LEAST = 20
_NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Prior:
    """How candidates of one sigma differ: their true scores are taken as normal around `centre`.

    `between` is the standard deviation of true scores, `noise` that of a measured score around its true one, `kept`
    the share of a candidate's distance from the centre that is believed: 0 where all differences look like luck.
    `sigma` is `None` where all sigmas were taken together. Scores are mean rewards.
    """

    sigma: float | None
    candidates: int
    centre: float
    between: float
    noise: float

    @property
    def kept(self) -> float:
        """`between² / (between² + noise²)`, the reliability of one score."""
        total = self.between**2 + self.noise**2
        return float(self.between**2 / total) if total > 0 else 0.0


@dataclass(frozen=True)
class Shrunk:
    """One candidate: the score it was given, and the one to expect of it on new questions with a 95 % interval.

    The interval is for questions as hard as those that selected; how hard these happened to be is not in it.
    """

    candidate: int
    raw: float
    shrunk: Interval


@dataclass(frozen=True)
class Shrinkage:
    """Raw and shrunken scores of the members, best-ranked first; `regression` is what the best is expected to lose.

    `base` is the base's score on the same questions, which nothing selected. `measured` is what the best one's lead
    over the base lost from selection to test in truth (lead there minus lead here, mostly negative), where the test
    has been made.
    """

    base: float
    priors: tuple[Prior, ...]
    members: tuple[Shrunk, ...]
    regression: float
    measured: float | None


def shrinkage(run: Run) -> Shrinkage | None:
    """Shrink the scores of a run's members; `None` before they are known or with fewer than two candidates."""
    table = run.table("selection")
    base, others = table.base, table.others
    if base is None or not run.meta("members") or len(others.candidates) < 2 or table.questions < 2:
        return None
    # Not from the table, which has them in single precision: raw scores are those of the rest of the report.
    scores = {t.candidate: t.score for t in run.scores("selection") if t.failure is None}
    priors, everyone = shrink(others, [scores[candidate] for candidate in others.candidates.tolist()])
    found = {shrunk.candidate: shrunk for shrunk in everyone}
    members = tuple(found[candidate] for candidate in run.meta("members"))
    best = members[0]
    return Shrinkage(
        base=scores[None],
        priors=priors,
        members=members,
        regression=best.raw - best.shrunk.value,
        measured=_measured(run, best, scores[None]),
    )


def shrink(table: Table, scores: Sequence[float]) -> tuple[tuple[Prior, ...], list[Shrunk]]:
    """The priors, smallest sigma first, and all candidates of a table (without the base) with these scores.

    Within one sigma, measured scores are normal around true ones, and true ones around a common centre (Efron and
    Morris 1975); the estimate is the posterior mean. All candidates answer the same questions, so hard questions lower
    every score alike and are no noise between them: the noise is what is left of a reward after candidate and question
    (two-way analysis of variance). The spread comes from moments of the upper half: a step that breaks the model makes
    a long tail of bad scores, which says nothing of how the good ones differ; the lower half is taken as its mirror
    image. The interval also allows for spread and centre being estimates (as Morris 1983 does), so it is too wide,
    not too narrow, where candidates differ by little: of the best it holds the true score in 94 % of cases or more.
    What this is not: proof that a single candidate is good. A few real experts among many others are no normal
    spread and are shrunken too much; where nearly half of all candidates are broken, the centre is too low and too
    little is taken off.
    """
    priors = dict(_priors(table))
    models = zip(table.candidates.tolist(), table.sigmas.tolist(), scores, strict=True)
    found = [Shrunk(candidate, score, _posterior(score, priors[sigma])) for candidate, sigma, score in models]
    return tuple(dict.fromkeys(priors.values())), found


def _priors(table: Table) -> Iterator[tuple[float, Prior]]:
    """The prior of every sigma; those with few candidates share one that is made from all."""
    everyone: Prior | None = None
    for sigma in np.unique(table.sigmas).tolist():
        mine = table.rewards[table.sigmas == sigma]
        if len(mine) >= _LEAST:
            yield sigma, _prior(mine, sigma)
            continue
        everyone = everyone or _prior(table.rewards, None)
        yield sigma, everyone


def _prior(rewards: npt.NDArray[np.float32], sigma: float | None) -> Prior:
    scores = rewards.mean(axis=1, dtype=np.float64)
    centre = float(np.median(scores))
    # The upper half and its mirror image; what lies at the centre itself has no distance.
    total = 2 * float((np.maximum(scores - centre, 0) ** 2).mean())
    upper = rewards[scores >= centre]
    noise = _noise((upper if len(upper) > _LEAST / 2 else rewards).astype(np.float64))
    return Prior(sigma, len(rewards), centre, math.sqrt(max(0.0, total - noise)), math.sqrt(noise))


def _noise(rewards: npt.NDArray[np.float64]) -> float:
    """Variance of a candidate's mean reward around its true one, questions being common to all."""
    candidates, questions = len(rewards), len(rewards[0])
    if candidates < 2:
        return 0.0
    left = rewards - rewards.mean(axis=0) - rewards.mean(axis=1, keepdims=True) + rewards.mean()
    total = float((left**2).sum())
    return total / ((candidates - 1) * (questions - 1)) / questions


def _posterior(score: float, prior: Prior) -> Interval:
    value = prior.centre + prior.kept * (score - prior.centre)
    # The spread is an estimate: a variance from half of M candidates is off by its sqrt(4 / M). So `kept` may be larger
    # than it looks, above all where it looks like 0, and with it what a true score can lie beside the posterior mean.
    unsure = math.sqrt(4 / prior.candidates) * (1 - prior.kept)
    most = prior.noise**2 * min(1.0, prior.kept + unsure)
    # The centre is an estimate too, a median.
    centre = (1 - prior.kept) ** 2 * math.pi / 2 * (prior.between**2 + prior.noise**2) / prior.candidates
    half = _NORMAL * math.sqrt(most + (unsure * (score - prior.centre)) ** 2 + centre)
    return Interval(value, value - half, value + half)


def _measured(run: Run, best: Shrunk, base: float) -> float | None:
    tested = {t.candidate: t for t in run.scores("test") if t.failure is None}
    if None not in tested or best.candidate not in tested:
        return None
    return (tested[best.candidate].score - tested[None].score) - (best.raw - base)
