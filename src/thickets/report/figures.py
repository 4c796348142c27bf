"""The two charts of a report: accuracy against K, and candidates' scores by sigma. Knows nothing of the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from thickets.analysis.statistics import Interval
from thickets.analysis.summary import HeldOut, SigmaFigures, Summary
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import BASE, BEST, INK, LINE, MUTED, VOTE, Size, draw
from thickets.report.wording import count, decimal, percent, sigma, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More dots than this in a row hide one another; every so-manieth is drawn then, and the caption says so.
DOTS = 2000
_BY_K = "Accuracy as members join, best-ranked first"
_GOLDEN = 0.6180339887498949


def accuracy_by_k(held_out: HeldOut) -> Figure | None:
    """Accuracy of the vote against the number of members, with base and best single member as lines."""
    rows = [(k, i) for k, i in held_out.by_k if math.isfinite(i.value)]
    if not rows:
        return None
    steps = f"{percent(rows[0][1].value)} with {rows[0][0]}, {percent(rows[-1][1].value)} with {rows[-1][0]} voting"
    alternative = (
        f"Accuracy on the {held_out.split} split against the number of voting members: {steps}; "
        f"base {percent(held_out.base.value)}, best single member {percent(held_out.best.value)}."
    )
    return Figure(
        name="accuracy-by-k.csv",
        title=_BY_K,
        svg=draw("by-k", alternative, 280, lambda axes, _: _paint_by_k(axes, held_out, rows)),
        alternative=alternative,
        data=table(
            ("k", "accuracy", "low", "high", "base", "best_single"),
            ((k, i.value, i.low, i.high, held_out.base.value, held_out.best.value) for k, i in held_out.by_k),
        ),
        caption=(
            f"On the {held_out.split} split. All K are measured on the same questions, so neighbouring points move "
            "together, and K must not be chosen by this curve: that would be choosing on the test."
        ),
        sheet=sheet_by_k(held_out),
    )


def sheet_by_k(held_out: HeldOut) -> Sheet:
    """The same as a table; draws nothing."""
    beside = percent(held_out.best.value), percent(held_out.base.value)
    rows = [(count(k), with_interval(i), *beside) for k, i in held_out.by_k]
    return Sheet(_BY_K, ("members that vote (K)", "vote (95 %)", "best single member", "base"), rows)


def _paint_by_k(axes: Axes, held_out: HeldOut, rows: Sequence[tuple[int, Interval]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ks = [k for k, _ in rows]
    low, high, value = ([getattr(i, name) for _, i in rows] for name in ("low", "high", "value"))
    axes.axhline(held_out.base.value, color=BASE, linewidth=2, linestyle=(0, (5, 3)))
    axes.axhline(held_out.best.value, color=BEST, linewidth=2, linestyle=(0, (1.5, 2)))
    if len(ks) == 1:
        axes.vlines(ks, low, high, color=VOTE, linewidth=6, alpha=0.25)
    axes.fill_between(ks, low, high, color=VOTE, alpha=0.16, linewidth=0)
    axes.plot(ks, value, color=VOTE, linewidth=2.5, marker="o" if len(ks) <= 25 else "", markersize=6)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_xlabel("members that vote, best-ranked first (K)")
    axes.set_xlim(min(ks) - 0.4, max(ks) + 0.4)
    axes.set_xticks(_whole_ticks(ks[-1]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))


def _whole_ticks(last: int) -> list[int]:
    """1, the last, and round numbers between that are not too near to either."""
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 10**9) if last <= 10 * s)
    return sorted({1, last, *(n for n in range(step, last, step) if n > step / 2 and last - n > step / 2)})


def scores_by_sigma(summary: Summary) -> Figure | None:
    """Every candidate's selection score as a dot, a row for each sigma, kept ones marked, the base as a line."""
    rows = [s for s in summary.sigmas if any(map(math.isfinite, s.scores))]
    if not rows:
        return None
    height = 64 + (92 if len(rows) < 4 else 64) * len(rows)
    words = _in_words(summary, rows)
    even = " (in full rows only an even part of them is drawn)" if any(len(r.scores) > DOTS for r in rows) else ""
    return Figure(
        name="scores.csv",
        title="Scores of all candidates",
        svg=draw("scores", words, height, lambda axes, size: _paint_scores(axes, size, summary, rows)),
        alternative=words,
        data=table(("sigma", "score", "kept", "candidate", "base"), _scored(summary, rows)),
        caption=f"One dot for each candidate{even}; height within a row means nothing.",
    )


def _scored(summary: Summary, rows: Sequence[SigmaFigures]) -> Iterator[tuple[object, ...]]:
    """A row for each candidate with a score."""
    kept = {m.candidate for m in summary.members}
    for row in rows:
        for score, candidate in zip(row.scores, row.candidates, strict=True):
            yield row.sigma, round(score, 6), int(candidate in kept), candidate, round(summary.base_score, 6)


def _in_words(summary: Summary, rows: Sequence[SigmaFigures]) -> str:
    parts = []
    for row in rows:
        scores = [s for s in row.scores if math.isfinite(s)]
        parts.append(
            f"sigma {sigma(row.sigma)}: {count(len(scores))} candidates from {decimal(min(scores))} to "
            f"{decimal(max(scores))}, median {decimal(median(scores))}"
        )
    return f"Scores on the selection split. Base {decimal(summary.base_score)}; " + "; ".join(parts) + "."


def _paint_scores(axes: Axes, size: Size, summary: Summary, rows: Sequence[SigmaFigures]) -> None:
    from matplotlib.ticker import MaxNLocator

    for y, row in enumerate(rows):
        wanted = Counter(m.score for m in summary.members if m.perturbation.sigma == row.sigma)
        rest: list[tuple[float, float]] = []
        kept: list[tuple[float, float]] = []
        for x, jitter in _dots(row.scores, wanted):
            # Candidates with equal scores cannot be told apart here, so any of them may carry the mark.
            marked = wanted[x] > 0
            wanted[x] -= marked
            (kept if marked else rest).append((x, y + jitter))
        full = len(rest) > (200 if size.name == "narrow" else 600)
        _scatter(axes, rest, MUTED, 2.5 if full else 5.5, 0.6)
        _scatter(axes, kept, VOTE, 5.5 if full else 8, 1.0)
    if math.isfinite(summary.base_score):
        axes.axvline(summary.base_score, color=BASE, linewidth=2, linestyle=(0, (5, 3)))
    axes.grid(axis="x", color=LINE, linewidth=1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [f"σ {sigma(r.sigma)}" for r in rows])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if size.name == "narrow" else 9, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel("score: mean reward on the selection split", color=INK)


def _dots(scores: Sequence[float], keep: Counter[float]) -> list[tuple[float, float]]:
    """Scores with a vertical shift each, the same in every drawing; thinned evenly above `DOTS`, kept ones never."""
    finite = [s for s in scores if math.isfinite(s)]
    if len(finite) > DOTS:
        step = len(finite) / DOTS
        even = {int(i * step) for i in range(DOTS)}
        finite = [s for i, s in enumerate(finite) if i in even or s in keep]
    return [(s, ((i * _GOLDEN) % 1 - 0.5) * 0.62) for i, s in enumerate(finite)]


def _scatter(axes: Axes, dots: Sequence[tuple[float, float]], colour: str, width: float, alpha: float) -> None:
    """Dots as one path of strokes without length under round caps: a tenth of the size of a scatter plot's marks."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not dots:
        return
    vertices = [v for dot in dots for v in (dot, dot)]
    path = Path(vertices, [Path.MOVETO, Path.LINETO] * len(dots))
    patch = PathPatch(path, fill=False, edgecolor=colour, linewidth=width, alpha=alpha, capstyle="round", clip_on=False)
    axes.add_patch(patch)
    axes.update_datalim(vertices)
    axes.autoscale_view()
