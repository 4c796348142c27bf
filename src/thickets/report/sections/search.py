"""The search: all scores, how dense the better ones are, who is good at what, what more would bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thickets.analysis.statistics import Interval
from thickets.analysis.summary import Summary
from thickets.report import curves, density, discordance
from thickets.report.axis import Axis
from thickets.report.figure import Data, Sheet, table
from thickets.report.figures import scores_by_sigma
from thickets.report.wording import NONE, count, decimal, percent, sigma, with_interval


def search(summary: Summary) -> dict[str, Any]:
    """Also of a run that has not finished, with what there is."""
    evidence = summary.evidence
    found = evidence.density if evidence else None
    related = evidence.discordance if evidence else None
    chance = by_chance(summary)
    return {
        "scores": scores_by_sigma(summary),
        "axis": Axis(0.0, 1.0, (0.0, 0.5, 1.0)),
        "rows": [(row, chance.get(row.sigma)) for row in summary.sigmas],
        "chance": chance.get(None),
        "with_luck": wide if found and (wide := found.curves[-1].with_luck[found.zero]).low == wide.low else None,
        "density": density.render(found) if found else None,
        "discordance": [discordance.render(related), discordance.render_spectrum(related)] if related else [],
        "related": related.rows[0].value if related else None,
        "by_noise": related.by_noise if related else None,
        "data": Data("density-by-sigma.csv", table(_COLUMNS, _data(summary, chance))),
    }


def more(summary: Summary) -> dict[str, Any] | None:
    """What more candidates or members would bring; nothing where too little is recorded."""
    found = summary.evidence.curves if summary.evidence else None
    figures = curves.render(found) if found else []
    return {"first": figures[0], "rest": figures[1:]} if figures else None


def sheet(summary: Summary) -> Sheet:
    """How many candidates of each sigma reach the base, beside what chance alone gives, and of all together."""
    chance = by_chance(summary)
    rows = [
        (
            *(sigma(r.sigma), count(r.tried), count(r.failed), decimal(max(r.scores, default=None))),
            *(with_interval(r.density) if r.tried else NONE, percent(chance.get(r.sigma))),
        )
        for r in summary.sigmas
    ]
    best = max((s for r in summary.sigmas for s in r.scores), default=None)
    failed = sum(r.failed for r in summary.sigmas)
    density = with_interval(summary.density) if summary.tried else NONE
    rows.append(("all", count(summary.tried), count(failed), decimal(best), density, percent(chance.get(None))))
    columns = ("σ", "tried", "failed", "best score", "reach the base (95 %)", "by chance alone")
    return Sheet("Candidates", columns, rows, strong=[len(rows) - 1])


_COLUMNS = ("sigma", "tried", "failed", "density", "low", "high", "low_with_luck", "high_with_luck", "by_chance")


def by_chance(summary: Summary) -> dict[float | None, float]:
    """Which share would reach the base if candidates were exactly as good, by sigma (`None`: all)."""
    found = summary.evidence.density if summary.evidence else None
    return {c.sigma: c.by_chance[found.zero] for c in found.curves} if found else {}


def _data(summary: Summary, chance: dict[float | None, float]) -> Iterator[tuple[object, ...]]:
    found = summary.evidence.density if summary.evidence else None
    wide = {c.sigma: c.with_luck[found.zero] for c in found.curves} if found else {}

    def row(of: float | None, tried: int, failed: int, density: Interval) -> tuple[object, ...]:
        low, high = (wide[of].low, wide[of].high) if of in wide else (None, None)
        name = "all" if of is None else of
        return name, tried, failed, density.value, density.low, density.high, low, high, chance.get(of)

    for r in summary.sigmas:
        yield row(r.sigma, r.tried, r.failed, r.density)
    yield row(None, sum(r.tried for r in summary.sigmas), sum(r.failed for r in summary.sigmas), summary.density)
