"""Expert density: how large a share of the perturbations reaches the base's score plus a margin.

Reads the run alone; knows nothing of drawing.

Density is the paper's delta(m) = Pr[s(base + step) >= s(base) + m] (Gan & Isola 2026), with the scores that were
observed on the selection split. Those scores are noisy, and noise spreads them: of candidates that are all exactly as
good as the base, about half reach its score, and some of them a margin above it. So an observed density is larger
than the share of real experts wherever the margin is above what most candidates are worth, and it says little until
it is read beside what chance alone would give. Two such controls stand beside each curve:

- `by_chance`, for candidates that are as good as the base: where a candidate and the base differ on a question, a fair
  coin decides which of the two did better. It keeps how often they differ, and takes away who was better.
- `resampled`, for the base itself: its score on questions drawn anew (with replacement) from those it was scored on.
  It shows how far one model's score moves with the choice of questions alone.

The intervals (Wilson) are over the perturbations drawn; the questions are taken as they are. But all candidates are
compared with the same base on the same questions, so the base's own luck there moves every curve sideways at once:
where the base was unlucky, all candidates look better. `luck` is how far, and the intervals `with_luck` hold that too.
Over many runs density at the base's score is right on average; in one run it may be far off either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thickets.analysis.statistics import Interval, share
from thickets.store import Run, Table
from thickets.types import Perturbation

# Rewards are sums of floats, in arrays of single precision: a score that is equal but for the last bits reaches the
# margin. As a share of the base's score where that is above 1.
_SLACK = 1e-6
_MARGINS = 60
_DRAWS = 4000
_COINS = 500
# Candidates whose coins are thrown together; bounds the memory.
_TOGETHER = 500

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DensityCurve:
    """Density of the candidates of one sigma (`None`: of all) at each margin, and what coins give in its place.

    `failed` of the `tried` could not be scored; they reach no margin and count in every share. The intervals of
    `reached` are over perturbations; those `with_luck` reach as far as the curve would if the base had been as lucky,
    or as unlucky, as 95 % of bases are; their bounds are NaN where that luck cannot be told.
    """

    sigma: float | None
    tried: int
    failed: int
    reached: tuple[Interval, ...]
    by_chance: tuple[float, ...]
    with_luck: tuple[Interval, ...]


@dataclass(frozen=True)
class DensityFigures:
    """Density against the margin. Margins and `base` are mean rewards on `questions` selection questions.

    The margins are even steps with zero among them, from where all scored candidates reach to where none does
    and hardly a redrawn base.
    `curves` has one for each sigma, smallest first, and the last for all together; `resampled` is the share of
    redrawn sets of questions on which the base itself would reach its score plus the margin. `luck` is half the
    95 % interval, over questions, of how much better than the base the candidates are on average; NaN where that cannot
    be told, from one question or without a scored candidate.
    """

    base: float
    questions: int
    margins: tuple[float, ...]
    curves: tuple[DensityCurve, ...]
    resampled: tuple[float, ...]
    luck: float

    @property
    def zero(self) -> int:
        """Where in `margins` the margin is nothing: there density is the share that is no worse than the base."""
        return min(range(len(self.margins)), key=lambda i: abs(self.margins[i]))


def density(run: Run) -> DensityFigures | None:
    """Density of a run on its selection split; `None` before any trial."""
    table = run.table("selection")
    without = run.recorded("selection") - {None, *table.others.candidates.tolist()}
    failed = [t.perturbation for t in run.trials("selection", list(without))] if without else []
    sigmas = [p.sigma for p in failed if isinstance(p, Perturbation)]
    if table.base is None or not len(table.others.candidates) + len(sigmas):
        return None
    return density_of(table, sigmas)


def density_of(table: Table, failed: Sequence[float] = ()) -> DensityFigures:
    """Density of a table that has the base. `failed` are the sigmas of candidates without a score, one for each."""
    if table.base is None:
        raise ValueError("density is counted from the base's score, and the table has no base")
    base = table.base.rewards[0].astype(np.float64)
    others = table.others
    differences = others.rewards - base
    redrawn = _redrawn(base)
    # Where all candidates are worse than the base, chance still reaches above it.
    margins = margin_grid([*differences.mean(axis=1), np.percentile(redrawn, 97.5)])
    least = _least(float(base.mean()), margins)
    sigmas = sorted({*others.sigmas.tolist(), *failed})
    luck, lost = _luck(differences), list(failed)
    of_sigma = [differences[others.sigmas == s] for s in sigmas]
    # The questions move the candidates of one sigma more than those of another.
    curves = [_curve(s, own, lost.count(s), least, _luck(own)) for s, own in zip(sigmas, of_sigma, strict=True)]
    coins = [sum(c.by_chance[i] * c.tried for c in curves) / sum(c.tried for c in curves) for i in range(len(margins))]
    return DensityFigures(
        float(base.mean()),
        len(base),
        tuple(margins),
        (*curves, _shares(None, differences, len(lost), least, luck, coins)),
        tuple((_reaching(redrawn, least) / _DRAWS).tolist()),
        luck,
    )


def reaching(scores: Sequence[float], base: float) -> int:
    """How many of the scores reach the base's, as the curves count it at margin zero."""
    return int(_reaching(np.asarray(scores, np.float64) - base, _least(base, [0.0]))[0])


def margin_grid(gains: Sequence[float] | Floats) -> list[float]:
    """Even steps of 1, 2 or 5 times a power of ten, at most about `_MARGINS`, over all gains and zero."""
    finite = [float(g) for g in gains if math.isfinite(g)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    least = max((high - low) / _MARGINS, 1e-5)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= least * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6) + 1
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _least(base: float, margins: Sequence[float]) -> Floats:
    """The gain over the base's score from which on each margin is reached."""
    return np.asarray(margins, np.float64) - _SLACK * max(1.0, abs(base))


def _curve(sigma: float, differences: Floats, failed: int, least: Floats, luck: float) -> DensityCurve:
    by_chance = _coins(differences, least) * len(differences) / (len(differences) + failed)
    return _shares(sigma, differences, failed, least, luck, by_chance.tolist())


def _shares(
    sigma: float | None,
    differences: Floats,
    failed: int,
    least: Floats,
    luck: float,
    by_chance: Sequence[float],
) -> DensityCurve:
    tried, gains = len(differences) + failed, differences.mean(axis=1)

    reached, fewer, more = (
        [share(int(hits), tried) for hits in _reaching(gains, least + by)] for by in (0.0, luck, -luck)
    )
    wide = [Interval(r.value, f.low, m.high) for r, f, m in zip(reached, fewer, more, strict=True)]
    if math.isnan(luck):
        wide = [Interval(r.value, luck, luck) for r in reached]
    return DensityCurve(sigma, tried, failed, tuple(reached), tuple(by_chance), tuple(wide))


def _luck(differences: Floats) -> float:
    """By how much the mean gain of all candidates moves with the questions, the base's luck on each among it."""
    candidates, questions = differences.shape
    if not candidates or questions < 2:
        return float("nan")
    return 1.96 * float(differences.mean(axis=0).std(ddof=1)) / math.sqrt(questions)


def _reaching(gains: Floats, least: Floats) -> NDArray[np.int64]:
    """How many of the gains are each of these at least."""
    return len(gains) - np.searchsorted(np.sort(gains), least, side="left")


def _coins(differences: Floats, least: Floats) -> Floats:
    """The share that reaches each margin when a coin decides every difference between a candidate and the base."""
    candidates, questions = differences.shape
    hits = np.zeros(len(least))
    if not candidates:
        return hits
    signs = np.random.Generator(np.random.PCG64(0)).choice((-1.0, 1.0), size=(questions, _COINS))
    for first in range(0, candidates, _TOGETHER):
        gains = (differences[first : first + _TOGETHER] @ signs / questions).ravel()
        # Every throw and its opposite: what is likely as a gain is likely as a loss, exactly.
        hits += _reaching(gains, least) + _reaching(-gains, least)
    shares: Floats = hits / (candidates * 2 * _COINS)
    return shares


def _redrawn(base: Floats) -> Floats:
    """How much better than it was the base would score on each of many sets of questions drawn from its own."""
    n = len(base)
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(n, np.full(n, 1 / n), _DRAWS)
    gains: Floats = draws @ base / n - base.mean()
    return gains
