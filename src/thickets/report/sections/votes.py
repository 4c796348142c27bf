"""The vote explained: how alike the members are, what a margin is worth, what each member adds. Works nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thickets.analysis.agreement import Addition, Agreement
from thickets.analysis.statistics import Interval
from thickets.analysis.summary import Summary
from thickets.report import margins
from thickets.report.figure import Data, Sheet, table
from thickets.report.figures import accuracy_by_k
from thickets.report.wording import NONE, count, points, points_with_interval, with_interval

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
        "margins": margins.render(found),
        "undecided": margins.undecided(found),
        "pairs": found.pairs if found.members <= _PAIRS else None,
        "pair_data": Data("agreement.csv", table(("member", *range(1, found.members + 1)), _pairs(found))),
        "additions": additions(found),
        "member_data": Data("what-members-add.csv", table(_ADDITIONS, map(_addition, found.additions))),
    }


_ADDITIONS = (
    *("rank", "candidate", "accuracy", "low", "high", "marginal"),
    *("vote_minus_vote_without", "difference_low", "difference_high", "gained", "lost"),
)


def additions(found: Agreement) -> Sheet:
    """What each member adds: joining in the order of rank, and left out of the whole."""
    columns = (
        *("rank", "alone (95 %)", "joining in order, points", "vote minus vote without it, points"),
        *("gained by it", "lost by it"),
    )
    return Sheet("What each member adds", columns, list(map(_added, found.additions)))


def _added(a: Addition) -> tuple[str, ...]:
    over = a.over_rest
    rest = (points_with_interval(over.difference), count(over.gained), count(over.lost)) if over else (NONE,) * 3
    return str(a.rank), with_interval(a.accuracy), points(a.marginal), *rest


def _pairs(found: Agreement) -> Iterator[tuple[object, ...]]:
    for number, row in enumerate(found.pairs, 1):
        yield number, *row


def _addition(a: Addition) -> tuple[object, ...]:
    over = a.over_rest
    rest = (*_bounds(over.difference), over.gained, over.lost) if over else (None,) * 5
    return a.rank, a.candidate, *_bounds(a.accuracy), a.marginal, *rest


def _bounds(i: Interval) -> tuple[float, float, float]:
    return i.value, i.low, i.high
