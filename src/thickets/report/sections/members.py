"""The members, with what their scores are worth, and how much of the gain hangs on luck. Works nothing out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from thickets.analysis.crossfit import CrossFit
from thickets.analysis.shrinkage import Shrinkage, Shrunk
from thickets.analysis.summary import MemberFigures, Summary
from thickets.report.axis import axis_over
from thickets.report.figure import Data, Sheet, table
from thickets.report.wording import NONE, count, decimal, percent, sigma, with_interval


@dataclass(frozen=True)
class Kept:
    """A member with its shrunken score, where that is known."""

    member: MemberFigures
    shrunk: Shrunk | None


def members(summary: Summary) -> dict[str, Any] | None:
    """Nothing before they are chosen."""
    if not summary.members:
        return None
    rows = list(_rows(summary))
    return {
        "rows": rows,
        "axis": axis_over([m.held_out for m in summary.members if m.held_out], 0.2, (0.0, 1.0)),
        "shrunken": any(r.shrunk for r in rows),
        "data": Data("members.csv", table(_COLUMNS, map(_data, rows))),
    }


def luck(summary: Summary) -> dict[str, Any] | None:
    """Cross-fitting and regression to the mean; nothing where neither is known."""
    evidence = summary.evidence
    if evidence is None or (evidence.crossfit is None and evidence.shrinkage is None):
        return None
    found = evidence.crossfit
    return {
        "crossfit": found,
        "axis": axis_over([found.gain, found.spread], 0.1, (-1.0, 1.0), 0.0) if found else None,
        "crossfit_data": Data("cross-fitting.csv", table(_CROSSFIT, [_crossfit(found)])) if found else None,
        "shrinkage": evidence.shrinkage,
        "priors": priors(evidence.shrinkage) if evidence.shrinkage else None,
        "prior_data": Data("shrinkage.csv", table(_PRIORS, _priors(summary))) if evidence.shrinkage else None,
    }


def priors(found: Shrinkage) -> Sheet:
    """What part of the differences between scores is real, by sigma."""
    rows = [
        (
            *("all" if p.sigma is None else sigma(p.sigma), count(p.candidates)),
            *(decimal(p.centre), decimal(p.between), decimal(p.noise), percent(p.kept)),
        )
        for p in found.priors
    ]
    columns = ("σ", "candidates", "middle", "true scores spread by", "luck spreads by", "kept")
    return Sheet("What part of the scores is real", columns, rows)


def sheet(summary: Summary) -> Sheet:
    """The members as a table."""
    columns = (
        *("rank", "candidate", "σ", "seed", "selection score", "luck taken off (95 %)"),
        *("selection accuracy", "test accuracy (95 %)", "no answer"),
    )
    return Sheet("Members", columns, [_member(row) for row in _rows(summary)])


def _member(row: Kept) -> tuple[str, ...]:
    m, p, s = row.member, row.member.perturbation, row.shrunk.shrunk if row.shrunk else None
    step = sigma(p.sign * p.sigma).replace("-", "−") if p.sign < 0 else sigma(p.sigma)
    shrunk = NONE if s is None else f"{decimal(s.value)} ({decimal(s.low)} to {decimal(s.high)})"
    rights = (percent(m.selection_accuracy), with_interval(m.held_out), percent(m.abstained))
    return str(m.rank), str(m.candidate), step, str(p.seed), decimal(m.score), shrunk, *rights


_COLUMNS = (
    *("rank", "candidate", "seed", "sigma", "sign", "score", "shrunken_score", "shrunken_low", "shrunken_high"),
    *("selection_accuracy", "test_accuracy", "test_low", "test_high", "abstained"),
)
_CROSSFIT = (
    *("questions", "splits", "k", "base", "vote", "gain", "gain_low", "gain_high"),
    *("spread_low", "spread_high", "worse"),
)
_PRIORS = ("sigma", "candidates", "centre", "between", "noise", "kept")


def _rows(summary: Summary) -> Iterator[Kept]:
    found = summary.evidence.shrinkage if summary.evidence else None
    shrunk = {s.candidate: s for s in found.members} if found else {}
    for member in summary.members:
        yield Kept(member, shrunk.get(member.candidate))


def _data(row: Kept) -> tuple[object, ...]:
    m, p = row.member, row.member.perturbation
    shrunk = (row.shrunk.shrunk.value, row.shrunk.shrunk.low, row.shrunk.shrunk.high) if row.shrunk else (None,) * 3
    tested = (m.held_out.value, m.held_out.low, m.held_out.high) if m.held_out else (None,) * 3
    first = (m.rank, m.candidate, p.seed, p.sigma, p.sign, m.score)
    return *first, *shrunk, m.selection_accuracy, *tested, m.abstained


def _crossfit(c: CrossFit) -> tuple[object, ...]:
    gain = (c.gain.value, c.gain.low, c.gain.high, c.spread.low, c.spread.high)
    return c.questions, c.splits, c.top_k, c.base, c.vote, *gain, c.worse


def _priors(summary: Summary) -> Iterator[tuple[object, ...]]:
    found = summary.evidence.shrinkage if summary.evidence else None
    for p in found.priors if found else ():
        yield "all" if p.sigma is None else p.sigma, p.candidates, p.centre, p.between, p.noise, p.kept
