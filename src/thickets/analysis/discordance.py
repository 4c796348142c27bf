"""Spectral discordance: whether the perturbations that are good at one thing are good at another.

Reads the run alone; knows nothing of drawing.

As the paper defines it (Gan & Isola 2026, as digests of it quote it): take the N x M matrix of percentile ranks of N
perturbations on M tasks, and C, the Pearson correlations between its columns; the discordance is D = 1 - the mean of C
over all pairs of different tasks. 0 means that the same perturbations are good at everything (generalists), 1 that
being good at one task says nothing of another, and M / (M - 1), its largest value, that they are as opposed as M tasks
can be (specialists). The spectrum of C is given too: where its first eigenvalue holds nearly all, one ranking serves
all of them.

Where a run has one task, subsets of its selection questions stand in for tasks. Beware: scores on few questions
are noisy, and noise alone lowers every correlation, so it raises D. `by_noise` is the discordance that would be seen
if all columns measured the very same thing, each as unreliably as it does; only D above it speaks of specialists.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thickets.analysis.parts import parts
from thickets.analysis.statistics import Interval
from thickets.store import Run, Table

# Rewards are kept in single precision, and their means differ by so much where they are equal.
_SLACK = 1e-6
# Subsets of one task: so many at most, of so many questions at least.
_SUBSETS, _QUESTIONS = 6, 10
_DRAWS = 1000
_HALVES = 20

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Discordance:
    """Discordance of the candidates of one sigma (`None`: of all), with its 95 % interval over perturbations.

    NaN where it is not defined: fewer than three candidates, or fewer than two columns on which they differ.
    """

    sigma: float | None
    candidates: int
    value: Interval


@dataclass(frozen=True)
class DiscordanceFigures:
    """How M tasks (or subsets of one, `of_tasks` false) go together, by the ranks of the candidates on each.

    `correlation` is M x M, NaN where all candidates are equal on a task. `spectrum` are the eigenvalues of what is
    defined of it as shares of their sum, largest first. `reliability` is each column's correlation with itself
    measured anew (split halves, Spearman-Brown), NaN where it has fewer than two questions. `largest` is M / (M - 1),
    of the columns on which candidates differ.
    Failed candidates have no rank and are left out. `rows` has all sigmas together first, then each.
    """

    names: tuple[str, ...]
    of_tasks: bool
    questions: tuple[int, ...]
    correlation: tuple[tuple[float, ...], ...]
    spectrum: tuple[float, ...]
    reliability: tuple[float, ...]
    by_noise: float
    largest: float
    rows: tuple[Discordance, ...]


def discordance(run: Run) -> DiscordanceFigures | None:
    """Of the tasks of a run on its selection split, or of subsets of the questions where it has but one.

    `None` where there are too few candidates or questions to speak of it.
    """
    table = run.table("selection")
    if table.base is None or len(table.others.candidates) < 3:
        return None
    places = {name: np.arange(*where["selection"]) for name, where in parts(run).items()}
    of_tasks = len(places) > 1
    columns = places if of_tasks else subsets(table.questions)
    return discordance_of(table.others, columns, of_tasks) if len(columns) > 1 else None


def subsets(questions: int) -> dict[str, NDArray[np.int64]]:
    """Disjoint random subsets of the questions, of sizes that differ by one at most; none where there are too few."""
    number = min(_SUBSETS, questions // _QUESTIONS)
    order = np.random.Generator(np.random.PCG64(0)).permutation(questions)
    chosen = np.array_split(order, number) if number > 1 else []
    return {f"subset {i}": np.sort(numbers) for i, numbers in enumerate(chosen, 1)}


def discordance_of(candidates: Table, columns: Mapping[str, NDArray[np.int64]], of_tasks: bool) -> DiscordanceFigures:
    """Discordance of candidates (a table without the base) over columns, each given by its questions."""
    scores = _scores(candidates, columns)
    correlation = _correlations(percentile_ranks(scores))
    reliability = [_reliability(candidates.rewards[:, where]) for where in columns.values()]
    trusted = np.sqrt(np.clip(reliability, 0.0, 1.0))
    varying = sum(math.isfinite(row[i]) for i, row in enumerate(correlation.tolist()))
    return DiscordanceFigures(
        names=tuple(columns),
        of_tasks=of_tasks,
        questions=tuple(len(where) for where in columns.values()),
        correlation=tuple(tuple(row) for row in correlation.tolist()),
        spectrum=tuple(_spectrum(correlation)),
        reliability=tuple(reliability),
        by_noise=_off_diagonal(np.outer(trusted, trusted)),
        largest=varying / (varying - 1) if varying > 1 else float("nan"),
        rows=tuple(_rows(scores, candidates.sigmas)),
    )


def correlations(candidates: Table, columns: Mapping[str, NDArray[np.int64]]) -> Floats:
    """Of candidates (a table without the base), the correlations of their ranks on each pair of columns: `[M, M]`.

    NaN where all candidates are equal on a column.
    """
    return _correlations(percentile_ranks(_scores(candidates, columns)))


def percentile_ranks(scores: Floats) -> Floats:
    """Each column's scores as ranks from 0 to 1, ties at their mean rank; equal but for the last bits is a tie."""
    from scipy.stats import rankdata

    order = scores.argsort(axis=0)
    ordered = np.take_along_axis(scores, order, axis=0)
    levels = np.zeros(scores.shape, np.int64)
    np.put_along_axis(levels, order, (np.diff(ordered, axis=0, prepend=ordered[:1]) > _SLACK).cumsum(axis=0), axis=0)
    ranks: Floats = (rankdata(levels, axis=0) - 0.5) / len(scores)
    return ranks


def _scores(candidates: Table, columns: Mapping[str, NDArray[np.int64]]) -> Floats:
    return np.stack([candidates.rewards[:, where].mean(axis=1, dtype=np.float64) for where in columns.values()], 1)


def _correlations(ranks: Floats) -> Floats:
    """Pearson correlations between the columns; NaN where a column does not vary."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        found: Floats = np.atleast_2d(np.corrcoef(ranks, rowvar=False))
    return found


def _off_diagonal(correlation: Floats) -> float:
    """1 - the mean over pairs of different columns; pairs that are not defined are left out."""
    pairs = correlation[np.triu_indices(len(correlation), 1)]
    pairs = pairs[np.isfinite(pairs)]
    return float(1 - pairs.mean()) if len(pairs) else float("nan")


def _rows(scores: Floats, sigmas: Floats) -> Iterator[Discordance]:
    yield _row(None, scores)
    known: list[float] = sorted(set(sigmas.tolist()))
    if len(known) > 1:
        # Where a large sigma spoils everything, all tasks agree on that: within one sigma they may not.
        yield from (_row(sigma, scores[sigmas == sigma]) for sigma in known)


def _row(sigma: float | None, scores: Floats) -> Discordance:
    if len(scores) < 3:
        return Discordance(sigma, len(scores), Interval(float("nan"), float("nan"), float("nan")))
    ranks = percentile_ranks(scores)
    return Discordance(sigma, len(scores), Interval(_off_diagonal(_correlations(ranks)), *_bootstrap(ranks)))


def _bootstrap(ranks: Floats) -> tuple[float, float]:
    """Percentile bootstrap over perturbations, each keeping the ranks that it has among all of them."""
    number, columns = ranks.shape
    first, second = np.triu_indices(columns, 1)
    draws = np.random.Generator(np.random.PCG64(0)).multinomial(number, np.full(number, 1 / number), _DRAWS) / number
    centred = ranks - ranks.mean(axis=0)
    means, squares = draws @ centred, draws @ centred**2
    together = draws @ (centred[:, first] * centred[:, second]) - means[:, first] * means[:, second]
    spread = np.sqrt(np.clip(squares - means**2, 0, None))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = together / (spread[:, first] * spread[:, second])
    known = np.where(np.isfinite(found), found, 0.0).sum(axis=1) / np.isfinite(found).sum(axis=1).clip(1)
    usable = 1 - known[np.isfinite(found).any(axis=1)]
    if not len(usable):
        return float("nan"), float("nan")
    low, high = np.percentile(usable, [2.5, 97.5])
    return float(low), float(high)


def _spectrum(correlation: Floats) -> list[float]:
    known = np.isfinite(np.diagonal(correlation))
    values: Sequence[float] = np.linalg.eigvalsh(correlation[np.ix_(known, known)]).tolist() if known.any() else []
    total = sum(values)
    return [max(v, 0.0) / total for v in reversed(values)]


def _reliability(rewards: NDArray[np.float32]) -> float:
    """How the ranks on these questions would correlate with those on as many others of the same kind.

    From the correlation between random halves, stepped up to the whole (Spearman 1910, Brown 1910).
    """
    number = rewards.shape[1]
    if number < 2:
        return float("nan")
    random = np.random.Generator(np.random.PCG64(0))
    found = []
    for _ in range(_HALVES):
        order = random.permutation(number)
        halves = [
            rewards[:, order[half]].mean(axis=1, dtype=np.float64)
            for half in np.split(np.arange(number), [number // 2])
        ]
        found.append(_correlations(percentile_ranks(np.stack(halves, 1)))[0, 1])
    known = [r for r in found if np.isfinite(r)]
    if not known:
        return float("nan")
    half = float(np.mean(known))
    return max(2 * half / (1 + half), 0.0) if half > -1 else 0.0
