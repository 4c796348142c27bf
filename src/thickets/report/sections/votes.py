"""The vote explained: how alike the members are, what a margin is worth, what each member adds. Works nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thickets.analysis.agreement import Addition, Agreement, Margin
from thickets.analysis.statistics import Interval
from thickets.analysis.summary import Summary
from thickets.report.axis import Axis
from thickets.report.figure import Data, table
from thickets.report.figures import accuracy_by_k
from thickets.report.wording import typeset

# More members than this make no table of pairs that could be read; the data has them all.
_PAIRS = 16


def votes(summary: Summary) -> dict[str, Any] | None:
    """Nothing before the test, nor where there is no vote."""
    if summary.test is None or len(summary.members) < 2:
        return None
    found = summary.evidence.agreement if summary.evidence else None
    by_k = accuracy_by_k(summary.test)
    if found is None:
        return {"found": None, "by_k": by_k}
    return {
        "found": found,
        "by_k": by_k,
        "margins": [(typeset(m.name), m) for m in found.margins],
        "axis": Axis(0.0, 1.0, (0.0, 0.5, 1.0)),
        "pairs": found.pairs if found.members <= _PAIRS else None,
        "margin_data": Data("accuracy-by-margin.csv", table(_MARGINS, map(_margin, found.margins))),
        "pair_data": Data("agreement.csv", table(("member", *range(1, found.members + 1)), _pairs(found))),
        "member_data": Data("what-members-add.csv", table(_ADDITIONS, map(_addition, found.additions))),
    }


_MARGINS = ("from", "up_to", "questions", "accuracy", "low", "high")
_ADDITIONS = (
    *("rank", "candidate", "accuracy", "low", "high", "marginal"),
    *("vote_minus_vote_without", "difference_low", "difference_high", "gained", "lost"),
)


def _margin(m: Margin) -> tuple[object, ...]:
    return m.low, m.high, m.questions, *_bounds(m.accuracy)


def _pairs(found: Agreement) -> Iterator[tuple[object, ...]]:
    for number, row in enumerate(found.pairs, 1):
        yield number, *row


def _addition(a: Addition) -> tuple[object, ...]:
    over = a.over_rest
    rest = (*_bounds(over.difference), over.gained, over.lost) if over else (None,) * 5
    return a.rank, a.candidate, *_bounds(a.accuracy), a.marginal, *rest


def _bounds(i: Interval) -> tuple[float, float, float]:
    return i.value, i.low, i.high
