"""Accuracy of the vote against candidates tried, against members, and against the share of candidates that vote.

Knows nothing of how accuracy was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thickets.analysis.curves import CurveFigures, CurvePoint
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import BASE, BEST, LINE, VOTE, Size, draw, legend_above
from thickets.report.wording import NONE, count, percent, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_N, _K = "What more candidates are worth", "What more members are worth"
_SHARE = "How large a share should vote"
# Curves for more numbers of candidates than this cannot be told apart.
_LINES = 4
HOW = (
    "Measured on the selection questions by cross-fitting: members chosen on one half vote on the other, so the level "
    "is a little below that of the run, which chooses on all of them. Bands: where 95 % of random halves and subsets "
    "of candidates lie."
)


@dataclass(frozen=True)
class _Shown:
    """What is worth showing: each empty with fewer than two points. `one` is the best single beside `by_n`."""

    by_n: Sequence[CurvePoint]
    one: Sequence[CurvePoint]
    by_k: Sequence[CurvePoint]
    shares: Mapping[int, Sequence[CurvePoint]]


def render(figures: CurveFigures) -> list[Figure]:
    """The charts that have at least two points: against N, against K, against K / N."""
    found = _shown(figures)
    return [
        *([_by_n(figures, found)] if found.by_n else []),
        *([_by_k(figures, found.by_k)] if found.by_k else []),
        *([_by_share(figures, found.shares)] if found.shares else []),
    ]


def sheets(figures: CurveFigures) -> list[Sheet]:
    """The same as tables, in the same order; draws nothing."""
    found = _shown(figures)
    return [
        *([_n_sheet(figures, found)] if found.by_n else []),
        *([_k_sheet(figures, found.by_k)] if found.by_k else []),
        *([_share_sheet(found.shares)] if found.shares else []),
    ]


def _shown(figures: CurveFigures) -> _Shown:
    by_n, by_k = figures.against_n(), figures.against_k()
    one = [p for p in figures.against_n(1) if p.n >= by_n[0].n] if figures.top_k > 1 and by_n else []
    shares = {n: points for n, points in figures.against_share().items() if len(points) > 1}
    chosen = {n: shares[n] for n in sorted(shares)[-_LINES:]} if len(shares) > 1 else {}
    return _Shown(by_n if len(by_n) > 1 else [], one, by_k if len(by_k) > 1 else [], chosen)


def _n_sheet(figures: CurveFigures, found: _Shown) -> Sheet:
    single = {p.n: with_interval(p.accuracy) for p in found.one}
    rows = [
        (count(p.n), with_interval(p.accuracy), *([single.get(p.n, NONE)] if single else []), percent(figures.base))
        for p in found.by_n
    ]
    columns = ("candidates tried (N)", f"vote of the best {figures.top_k} (band)")
    return Sheet(_N, (*columns, *(["best single (band)"] if single else []), "base"), rows)


def _k_sheet(figures: CurveFigures, points: Sequence[CurvePoint]) -> Sheet:
    columns = ("members that vote (K)", "K / N", "vote (band)", "base")
    rows = [(count(p.k), percent(p.k / p.n), with_interval(p.accuracy), percent(figures.base)) for p in points]
    return Sheet(_K, columns, rows)


def _share_sheet(shares: Mapping[int, Sequence[CurvePoint]]) -> Sheet:
    rows = [
        (count(p.n), count(p.k), percent(p.k / p.n), with_interval(p.accuracy))
        for points in shares.values()
        for p in points
    ]
    return Sheet(_SHARE, ("candidates tried (N)", "members that vote (K)", "K / N", "vote (band)"), rows)


def _by_n(figures: CurveFigures, found: _Shown) -> Figure:
    points, one = found.by_n, found.one
    words = (
        f"Accuracy of the vote of the best {figures.top_k} against the number of candidates tried: "
        f"{_ends(points, 'n', 'candidates')}; base {percent(figures.base)}."
    )

    def paint(axes: Axes, size: Size) -> None:
        if one:
            _line(axes, [p.n for p in one], one, BEST, "best single")
        _line(axes, [p.n for p in points], points, VOTE, f"vote of the best {figures.top_k}")
        _finish(axes, size, figures, "candidates tried (N)", [p.n for p in points])

    return Figure(
        "accuracy-by-n.csv",
        _N,
        draw("accuracy-by-n", words, 320, paint),
        words,
        _data(figures, [*one, *points]),
        HOW,
        _n_sheet(figures, found),
    )


def _by_k(figures: CurveFigures, points: Sequence[CurvePoint]) -> Figure:
    words = (
        f"Accuracy of the vote against the number of members, of {count(figures.tried)} candidates: "
        f"{_ends(points, 'k', 'members')}; base {percent(figures.base)}."
    )

    def paint(axes: Axes, size: Size) -> None:
        axes.axvline(figures.top_k, color=LINE, linewidth=2)
        _line(axes, [p.k for p in points], points, VOTE, "vote of the best K")
        _finish(axes, size, figures, "members that vote, best-ranked first (K)", [p.k for p in points])

    return Figure(
        "accuracy-by-members.csv",
        _K,
        draw("accuracy-by-members", words, 320, paint),
        words,
        _data(figures, points),
        f"The upright line is what this run keeps (K = {figures.top_k}). {HOW}",
        _k_sheet(figures, points),
    )


def _by_share(figures: CurveFigures, shares: Mapping[int, Sequence[CurvePoint]]) -> Figure:
    best = {n: max(points, key=lambda p: p.accuracy.value) for n, points in shares.items()}
    parts = [
        f"of {count(n)} candidates {percent(p.accuracy.value)} at best, with {p.k} voting ({percent(p.k / n)})"
        for n, p in best.items()
    ]
    words = f"Accuracy of the vote against the share of candidates that vote: {'; '.join(parts)}."

    def paint(axes: Axes, size: Size) -> None:
        for number, (n, points) in enumerate(shares.items(), 1):
            last = number == len(shares)
            strength = 0.2 + 0.8 * (number / len(shares))
            _line(axes, [p.k / p.n for p in points], points, VOTE, f"N = {count(n)}", strength, band=last)
        _finish(axes, size, figures, "share of the candidates that vote (K / N)", None)

    return Figure(
        "accuracy-by-share.csv",
        _SHARE,
        draw("accuracy-by-share", words, 320, paint),
        words,
        _data(figures, figures.points),
        f"A line for each number of candidates; the band is that of the largest. {HOW}",
        _share_sheet(shares),
    )


def _ends(points: Sequence[CurvePoint], name: str, what: str) -> str:
    first, last = (f"{percent(p.accuracy.value)} with {count(getattr(p, name))}" for p in (points[0], points[-1]))
    return f"{first}, {last} {what}"


def _data(figures: CurveFigures, points: Sequence[CurvePoint]) -> str:
    rows = (
        (p.n, p.k, *(round(v, 6) for v in (p.k / p.n, p.accuracy.value, p.accuracy.low, p.accuracy.high, figures.base)))
        for p in points
    )
    return table(("n", "k", "share", "accuracy", "low", "high", "base"), rows)


def _line(
    axes: Axes,
    xs: Sequence[float],
    points: Sequence[CurvePoint],
    colour: str,
    label: str,
    strength: float = 1.0,
    band: bool = True,
) -> None:
    if band:
        low, high = [p.accuracy.low for p in points], [p.accuracy.high for p in points]
        axes.fill_between(xs, low, high, color=colour, alpha=0.14, linewidth=0)
    values = [p.accuracy.value for p in points]
    axes.plot(xs, values, color=colour, linewidth=2.4, marker="o", markersize=5, alpha=strength, label=label)


def _finish(axes: Axes, size: Size, figures: CurveFigures, label: str, whole: Sequence[int] | None) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    axes.axhline(figures.base, color=BASE, linewidth=2, linestyle=(0, (5, 3)), label="base")
    axes.set_xscale("log")
    if whole:
        axes.set_xticks(_ticks(whole, 5 if size.name == "narrow" else 9))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: count(v)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_xlabel(label)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
    legend_above(axes, size)


def _ticks(values: Sequence[int], most: int) -> list[int]:
    """The last, and before it those that are far enough away on a logarithmic scale."""
    apart = (max(values) / min(values)) ** (1 / most)
    kept: list[int] = []
    for value in sorted(set(values), reverse=True):
        if not kept or kept[-1] / value >= apart:
            kept.append(value)
    return kept
