"""The first screen: the sentences, who got how much right at how many passes, and what is missing. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from thickets.analysis.answer import Standing, missing, sentences, standings, tone
from thickets.analysis.summary import Summary
from thickets.report.axis import axis_over
from thickets.report.figure import Data, table
from thickets.report.wording import count, typeset
from thickets.types import SplitName

_COLUMNS = (
    *("split", "model", "passes", "accuracy", "low", "high"),
    *("randopt_minus_it", "difference_low", "difference_high", "gained", "lost", "p", "p_holm"),
)


def answer(summary: Summary) -> dict[str, Any] | None:
    """Nothing before the test."""
    if summary.test is None:
        return None
    tested, checked = standings(summary), standings(summary, "validation")
    first, *rest = (typeset(s) for s in sentences(summary))
    return {
        "first": first,
        "rest": rest,
        "tone": tone(summary),
        "rows": tested,
        "axis": axis_over([s.accuracy for s in tested], 0.2, (0.0, 1.0), steps=4),
        "validation": checked,
        "validation_axis": axis_over([s.accuracy for s in checked], 0.2, (0.0, 1.0), steps=4),
        "missing": missing(summary),
        "unsuited": [b for b in summary.baselines if b.unsuited],
        "corrected": sum(s.adjusted is not None and s.same_as is None for s in tested),
        "data": Data("accuracy.csv", table(_COLUMNS, [*_rows("test", tested), *_rows("validation", checked)])),
    }


def _rows(split: SplitName, found: Sequence[Standing]) -> Iterator[tuple[object, ...]]:
    for s in found:
        who = (split, s.title, s.passes, s.accuracy.value, s.accuracy.low, s.accuracy.high)
        if s.randopt_over is None:
            yield (*who, *(None,) * 7)
            continue
        d = s.randopt_over.difference
        yield (
            *who,
            d.value,
            d.low,
            d.high,
            s.randopt_over.gained,
            s.randopt_over.lost,
            s.randopt_over.p_value,
            s.adjusted,
        )


def status(summary: Summary) -> str | None:
    """What is missing of the run itself, in a sentence; nothing if it is complete."""
    if summary.test is None and not summary.sizes.get("test", 0):
        if summary.validation is not None:
            return "This run has no test questions: the validation split decides, and nothing says how large a gain is."
        return "The data of this run has no test questions, so there is nothing here that a claim could rest on."
    if summary.test is None:
        scored = f"{count(summary.tried)} of {count(summary.population)} candidates are scored"
        return (
            f"This run is not finished: {scored}, and the test is not done. "
            "What is below comes from the selection split and is not a result. The same command goes on with the run."
        )
    if summary.finished is None:
        return (
            "The test is done, but the run did not end: the base weights have not been checked to be what they were. "
            "The same command does what is left."
        )
    return None
