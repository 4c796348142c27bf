"""A two-dimensional slice of the landscape: scores on a plane through the base and two members.

Reads the run alone; knows nothing of engines or of drawing. A point `(a, b)` of the plane is the base plus `a` times
the one member's step plus `b` times the other's: `(0, 0)` is the base, `(1, 0)` and `(0, 1)` are the members. Random
steps in so many dimensions are nearly at right angles, so the plane may be drawn with square corners.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median, stdev

from thickets.analysis.parts import parts
from thickets.analysis.statistics import Interval, share
from thickets.store import Run
from thickets.types import Blend, Judgement, Perturbation, Point, SplitName, Trial


@dataclass(frozen=True)
class Plane:
    """What is looked at: the ranks (from 1) and candidate numbers of two members, and where.

    `grid` x `grid` points, each coordinate even from `-span` to `span`. `questions` is how many of the split's are
    asked, evenly from each task where there are several.
    """

    ranks: tuple[int, int]
    candidates: tuple[int, int]
    split: SplitName
    grid: int
    span: float
    questions: int

    @property
    def name(self) -> str:
        """Of its files and figures; with other separators, of its ledger."""
        return f"landscape-{self.ranks[0]}-{self.ranks[1]}-{self.split}-{self.digest}"

    @property
    def ledger(self) -> str:
        """Under which its points are recorded in the run."""
        return self.name.replace("-", "_")

    @property
    def digest(self) -> str:
        """Tells planes of the same members apart."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def coordinates(self) -> tuple[float, ...]:
        """Of the points on either axis, ascending."""
        last = self.grid - 1
        # Of an odd grid the middle is 0 exactly: the base itself.
        return tuple(float(f"{self.span * (2 * i - last) / last:.9g}") for i in range(self.grid))

    def points(self) -> Iterator[tuple[int, float, float]]:
        """The number and the coordinates of every point, row by row, `b` ascending, in each `a` ascending."""
        for number in range(self.grid**2):
            row, column = divmod(number, self.grid)
            yield number, self.coordinates[column], self.coordinates[row]


@dataclass(frozen=True)
class Spot:
    """One point of the plane: mean reward and accuracy there, or why it could not be scored.

    `luck` is by how much its difference to the base moves with the questions: half the 95 % interval of the paired
    difference of mean rewards. `None` where it cannot be told, from fewer than two questions.
    """

    a: float
    b: float
    score: float | None
    accuracy: Interval | None
    failure: str | None = None
    luck: float | None = None


@dataclass(frozen=True)
class LandscapeFigures:
    """The plane on the questions of one task (`task` is `None` where the run has one, or for all together).

    `spots` are the points evaluated so far, in the plane's order; `base` and `members` are the marks, from the run's
    own trials.
    """

    plane: Plane
    task: str | None
    questions: int
    base: Spot
    members: tuple[Spot, Spot]
    spots: tuple[Spot, ...]

    @property
    def luck(self) -> tuple[float, float] | None:
        """The median and the largest luck of the points that differ from the base; `None` where it cannot be told."""
        known = sorted(s.luck for s in self.spots if s.luck)
        return (median(known), known[-1]) if known else None

    @property
    def complete(self) -> bool:
        """Whether every point has been evaluated."""
        return len(self.spots) == self.plane.grid**2


def blend(steps: tuple[Perturbation, Perturbation], a: float, b: float) -> Point | None:
    """The point `base + a · the first step + b · the second`; `None` is the base."""
    terms = [_scaled(step, by) for step, by in zip(steps, (a, b), strict=True) if by]
    return terms[0] if len(terms) == 1 else Blend(tuple(terms)) if terms else None


def _scaled(step: Perturbation, by: float) -> Perturbation:
    return Perturbation(step.seed, step.sigma * abs(by), step.sign if by > 0 else -step.sign)


def asked(run: Run, split: SplitName, questions: int) -> tuple[list[int], dict[str, tuple[int, int]]]:
    """The positions in the split of the questions that are asked, and where each task's lie among them."""
    places = {name: where[split] for name, where in parts(run).items() if split in where}
    if not places:
        return list(range(questions)), {}
    chosen: list[int] = []
    found: dict[str, tuple[int, int]] = {}
    for left, (name, (first, last)) in zip(range(len(places), 0, -1), places.items(), strict=True):
        number = min(last - first, math.ceil((questions - len(chosen)) / left))
        found[name] = (len(chosen), len(chosen) + number)
        chosen += range(first, first + number)
    return chosen, found


def shared(run: Run, plane: Plane) -> dict[int, Trial]:
    """The points of the plane that are the base or a member, by number: these have answered the split already."""
    known = {t.candidate: t for t in run.trials(plane.split, [None, *plane.candidates])}
    marks = {(0.0, 0.0): known[None]} | dict(
        zip(((1.0, 0.0), (0.0, 1.0)), (known[c] for c in plane.candidates), strict=True)
    )
    return {number: marks[a, b] for number, a, b in plane.points() if (a, b) in marks}


def landscape_figures(run: Run, plane: Plane) -> list[LandscapeFigures]:
    """The plane over all its questions and, where the run is of several tasks, on those of each."""
    chosen, places = asked(run, plane.split, plane.questions)
    marks = {t.candidate: t for t in run.trials(plane.split, [None, *plane.candidates])}
    ledger = {t.candidate: t for t in run.ledger(plane.ledger).trials(plane.split)}
    known = {n: t for n, t in shared(run, plane).items() if n not in ledger}
    where: dict[str | None, Sequence[int]] = {None: range(len(chosen))}
    where |= {name: range(*ends) for name, ends in places.items()} if len(places) > 1 else {}
    found = []
    for task, numbers in where.items():
        own = [chosen[i] for i in numbers]
        base, one, other = (_judged(marks[c], own) for c in (None, *plane.candidates))
        at = {n: _judged(t, own) for n, t in known.items()} | {n: _judged(t, numbers) for n, t in ledger.items()}
        found.append(
            LandscapeFigures(
                plane,
                task,
                len(own),
                _spot(0.0, 0.0, base, base),
                (_spot(1.0, 0.0, one, base), _spot(0.0, 1.0, other, base)),
                tuple(_spot(a, b, at[n], base) for n, a, b in plane.points() if n in at),
            )
        )
    return found


def _judged(trial: Trial, numbers: Sequence[int]) -> list[Judgement] | str:
    """What was said to some of a trial's questions, or why it has no answers."""
    return trial.failure if trial.failure is not None else [trial.outcomes[i].judgement for i in numbers]


def _spot(a: float, b: float, found: list[Judgement] | str, base: list[Judgement] | str) -> Spot:
    """What a model shows on some questions, beside the base on the same ones."""
    if isinstance(found, str):
        return Spot(a, b, None, None, found)
    if not found:
        return Spot(a, b, None, None)
    right = share(sum(j.correct for j in found), len(found))
    luck = None if isinstance(base, str) else _luck([j.reward - o.reward for j, o in zip(found, base, strict=True)])
    return Spot(a, b, math.fsum(j.reward for j in found) / len(found), right, None, luck)


def _luck(differences: Sequence[float]) -> float | None:
    n = len(differences)
    return 1.96 * stdev(differences) / math.sqrt(n) if n > 1 else None
