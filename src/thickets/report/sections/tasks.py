"""Each of several tasks by itself, and whether the same candidates are good at all of them. Works nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thickets.analysis.statistics import Interval
from thickets.analysis.summary import HeldOut, PartFigures, Summary
from thickets.report.figure import Data, Sheet, table
from thickets.report.wording import NONE, count, decimal, points_with_interval, with_interval


def tasks(summary: Summary) -> dict[str, Any] | None:
    """Nothing of a run of one task."""
    if not summary.parts:
        return None
    names = [p.name for p in summary.parts]
    correlation = ((p.name, *(r for _, r in p.correlation)) for p in summary.parts)
    return {
        "results": results(summary),
        "related": related(summary),
        "data": Data("tasks.csv", table(_COLUMNS, map(_data, summary.parts))),
        "related_data": Data("correlation-of-tasks.csv", table(("task", *names), correlation)),
    }


def results(summary: Summary) -> Sheet:
    """Base, the vote of the best over all tasks, and that of the best at each, on the test questions of each task."""
    columns = ("task", "questions", "", "right (95 %)", "over the base, points", "reach the base (95 %)")
    return Sheet("each task by itself", columns, [row for p in summary.parts for row in _rows(p)])


def related(summary: Summary) -> Sheet:
    """How the candidates' ranks go together between tasks."""
    rows = [(p.name, *(decimal(r) for _, r in p.correlation)) for p in summary.parts]
    columns = ("", *(p.name for p in summary.parts))
    return Sheet("correlation of the candidates' ranks between tasks", columns, rows)


def _rows(part: PartFigures) -> Iterator[tuple[str, ...]]:
    own, shared = part.own, part.shared
    questions = NONE if own is None else count(own.questions)
    yield part.name, questions, "base", with_interval(own.base if own else None), "", with_interval(part.density)
    for who, found in (("best over all", shared), ("best at this task", own)):
        gain = points_with_interval(found.gain.difference if found else None)
        yield "", "", who, with_interval(found.ensemble if found else None), gain, ""


_COLUMNS = (
    *("task", "questions", "base", "base_low", "base_high"),
    *("best_over_all", "best_over_all_low", "best_over_all_high"),
    *("best_over_all_minus_base", "best_over_all_minus_base_low", "best_over_all_minus_base_high"),
    *("best_at_it", "best_at_it_low", "best_at_it_high"),
    *("best_at_it_minus_base", "best_at_it_minus_base_low", "best_at_it_minus_base_high"),
    *("base_score", "density", "density_low", "density_high"),
)


def _data(part: PartFigures) -> tuple[object, ...]:
    base = part.own.base if part.own else None
    return (
        *(part.name, part.own.questions if part.own else None, *_bounds(base)),
        *(*_held_out(part.shared), *_held_out(part.own)),
        *(part.base_score, *_bounds(part.density)),
    )


def _held_out(found: HeldOut | None) -> tuple[float | None, ...]:
    return *_bounds(found.ensemble if found else None), *_bounds(found.gain.difference if found else None)


def _bounds(i: Interval | None) -> tuple[float | None, ...]:
    return (None, None, None) if i is None else (i.value, i.low, i.high)
