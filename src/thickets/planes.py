"""`thickets landscape`: evaluates the points of a plane through the base and two members, beside a finished run.

Puts the layers together; what a plane is and what is shown of it is in `analysis` and `report`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.analysis.landscape import LandscapeFigures, Plane, asked, blend, landscape_figures, shared
from thickets.config import RunConfig
from thickets.errors import ConfigError, RunError
from thickets.provenance import by_name, check_data, relocated
from thickets.randopt import Engines, beside
from thickets.report.figure import Figure
from thickets.report.landscape import render
from thickets.report.sheet import render_sheet
from thickets.report.svg import standalone
from thickets.searching import Progress
from thickets.searching.evaluation import Model
from thickets.store import Run, write_atomically
from thickets.tasks import Task, make_task
from thickets.tasks.splits import Splits, split_task
from thickets.types import Perturbation, SplitName

_SPLITS: tuple[SplitName, ...] = ("selection", "validation")
_MOST_POINTS = 10_000


@dataclass(frozen=True)
class Wanted:
    """Which plane: ranks of two members, points along each side, how far out, and the questions (`None`: all)."""

    members: tuple[int, int] = (1, 2)
    grid: int = 9
    span: float = 2.0
    split: str = "selection"
    questions: int | None = None


@dataclass(frozen=True)
class Landscape:
    """What came of it: the figures, over all questions and for each of several tasks, and the files written."""

    figures: tuple[LandscapeFigures, ...]
    files: tuple[Path, ...]


def landscape(
    config: RunConfig,
    wanted: Wanted,
    progress: Progress | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    task: Task | None = None,
) -> Landscape:
    """Evaluate what is missing of a plane beside the finished run in the configuration's directory, and draw it.

    `model` is the base where it is not where it was: another folder or Hub id, or a loaded model with its `tokenizer`.
    `task` stands in for the run's. Every point is recorded as it ends, so the same call goes on after a kill.
    Raises a `ThicketsError`.
    """
    progress = progress or Progress()
    with Run.read(config.directory) as before:
        if not before.meta("finished"):
            raise RunError(
                f"the run in {config.directory} has not finished; repeat its `thickets run` command to go on with it"
            )
        plane = plane_of(before, wanted)
    task = task or make_task(config.task)
    splits = split_task(task, config)
    with Run.begin(config) as run:
        check_data(run, splits)
        if missing(run, plane):
            engines = Engines(run, relocated(run, config, model), progress, model, tokenizer)
            _evaluate(run, plane, task, splits, engines)
        figures = landscape_figures(run, plane)
        return Landscape(tuple(figures), tuple(_write(run, plane, render(figures))))


def plane_of(run: Run, wanted: Wanted) -> Plane:
    """The plane with the members' candidates and the number of questions. Raises `ConfigError`."""
    members: list[int] = run.meta("members")
    first, second = wanted.members
    for rank in wanted.members:
        if not 1 <= rank <= len(members):
            raise ConfigError(f"--members {first},{second}: this run has members of rank 1 to {len(members)}")
    if first == second:
        raise ConfigError(f"--members {first},{second}: a plane needs two different members")
    if not 2 <= wanted.grid <= _MOST_POINTS**0.5:
        raise ConfigError(f"--grid {wanted.grid}: give 2 to {int(_MOST_POINTS**0.5)} points along each side")
    if not 0 < wanted.span < 1e6:
        raise ConfigError(f"--span {wanted.span:g}: give a positive number; at 1 the members lie on the edge")
    if wanted.split not in _SPLITS:
        raise ConfigError(f"--split {wanted.split}: take selection or validation; the test split is for the report")
    split = _SPLITS[_SPLITS.index(wanted.split)]
    candidates = (members[first - 1], members[second - 1])
    seeds = {p.seed for p in _steps(run, candidates)}
    if len(seeds) < 2:
        raise ConfigError(f"--members {first},{second} are one step with opposite signs; take two others")
    there = len(run.examples(split))
    if not there:
        raise ConfigError(f"--split {split}: this run has no {split} split; take selection")
    questions = there if wanted.questions is None else wanted.questions
    if not 1 <= questions <= there:
        raise ConfigError(f"--questions {questions}: the {split} split has {there}; ask 1 to {there} of them")
    return Plane(wanted.members, candidates, split, wanted.grid, wanted.span, questions)


def _steps(run: Run, candidates: Sequence[int]) -> tuple[Perturbation, Perturbation]:
    known = {t.candidate: t.perturbation for t in run.trials("selection", list(candidates))}
    one, other = (known[c] for c in candidates)
    if not isinstance(one, Perturbation) or not isinstance(other, Perturbation):
        raise RunError(f"the members of {run.directory} are not single steps; a plane through them is not defined")
    return one, other


def _evaluate(run: Run, plane: Plane, task: Task, splits: Splits, engines: Engines) -> None:
    """The points that the run has no record of yet."""
    chosen, _ = asked(run, plane.split, plane.questions)
    some = {plane.split: [by_name(splits)[plane.split][i] for i in chosen]}
    with engines, beside(run, task, splits, engines, some) as setting:
        evaluator, owed = setting.evaluator(plane.ledger), missing(run, plane)
        setting.progress.begin("landscape", plane.grid**2, plane.grid**2 - len(owed), None)
        for trial in evaluator.evaluate(plane.split, _models(plane, owed, _steps(run, plane.candidates))):
            setting.progress.trial(trial)
        setting.progress.end()
        engines.verify()


def missing(run: Run, plane: Plane) -> set[int]:
    """The points that are owed; the base and the members have been asked these questions already."""
    known = run.ledger(plane.ledger).recorded(plane.split) | shared(run, plane).keys()
    return {number for number, _, _ in plane.points()} - known


def _models(plane: Plane, owed: set[int], steps: tuple[Perturbation, Perturbation]) -> Iterator[Model]:
    return ((number, blend(steps, a, b)) for number, a, b in plane.points() if number in owed)


def _write(run: Run, plane: Plane, figures: Sequence[Figure]) -> Iterator[Path]:
    """The page, and each figure's drawing and data."""
    page = run.directory / f"{plane.name}.html"
    title = f"Landscape around the base: {run.directory.name}"
    write_atomically(page, render_sheet(title, figures))
    yield page
    for number, figure in enumerate(figures):
        end = f"-{number}" if number else ""
        for path, text in (
            (run.directory / f"{plane.name}{end}.svg", standalone(figure.svg)),
            (run.directory / f"{plane.name}{end}.csv", figure.data),
        ):
            write_atomically(path, text)
            yield path
