"""Expert density against the margin as a chart, a line for each sigma, beside what chance alone gives.

Knows nothing of how density is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from thickets.analysis.density import DensityCurve, DensityFigures
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import BASE, BEST, LINE, VOTE, Size, draw, legend_above
from thickets.report.wording import bounds, decimal, percent, sigma, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More lines than this cannot be told apart; the largest sigmas are drawn then, and the data has them all.
_LINES = 5
# Margins in the table to read; the file has them all.
_ROWS = 12
_TITLE = "Expert density against the margin"


def render(figures: DensityFigures) -> Figure:
    """The chart of one run, or of one task of it."""
    return Figure(
        name="density.csv",
        title=_TITLE,
        svg=draw("density", _in_words(figures), 340, lambda axes, size: _paint(axes, size, figures)),
        alternative=_in_words(figures),
        data=table(_COLUMNS, _rows(figures)),
        caption=_caption(figures),
        sheet=sheet(figures),
    )


def sheet(figures: DensityFigures) -> Sheet:
    """The curves at about a dozen margins, zero among them; draws nothing."""
    *each, everyone = figures.curves
    own = each if len(each) > 1 else []
    columns = (
        *("margin m", "all candidates (95 %)", "with the base's luck", "chance alone", "base, questions redrawn"),
        *(f"σ\u00a0{sigma(c.sigma or 0.0)}" for c in own),
    )
    step = math.ceil(len(figures.margins) / _ROWS)
    rows = [
        (
            f"{margin:+g}".replace("-", "−") if margin else "0",
            with_interval(everyone.reached[i]),
            bounds(everyone.with_luck[i]),
            percent(everyone.by_chance[i]),
            percent(figures.resampled[i]),
            *(percent(c.reached[i].value) for c in own),
        )
        for i, margin in enumerate(figures.margins)
        if (i - figures.zero) % step == 0
    ]
    return Sheet(_TITLE, columns, rows)


def _caption(figures: DensityFigures) -> str:
    return (
        "Read the curves beside the dotted one: it is what candidates that are exactly as good as the base would show, "
        "because scores on a limited number of questions spread by luck. The dashed line is the base itself on "
        f"questions drawn anew. {_bands(figures)}"
    )


def _bands(figures: DensityFigures) -> str:
    if figures.luck != figures.luck:
        return "Band: 95 % interval over perturbations; the luck of the base on these questions cannot be told."
    return (
        "Inner band: 95 % interval over perturbations. Outer band: with the luck of the base on these questions too, "
        f"which moves all curves sideways by up to {decimal(figures.luck)}; better models are shown where chance lies "
        "below it."
    )


_COLUMNS = (
    *("sigma", "margin", "tried", "failed", "density", "low", "high"),
    *("low_with_luck", "high_with_luck", "by_chance", "base_resampled"),
)


def _rows(figures: DensityFigures) -> Iterator[tuple[object, ...]]:
    for curve in figures.curves:
        of = "all" if curve.sigma is None else curve.sigma
        for i, (margin, found) in enumerate(zip(figures.margins, curve.reached, strict=True)):
            wide = curve.with_luck[i]
            counts = (found.value, found.low, found.high, wide.low, wide.high, curve.by_chance[i], figures.resampled[i])
            yield of, margin, curve.tried, curve.failed, *(round(v, 6) for v in counts)


def _in_words(figures: DensityFigures) -> str:
    at = figures.zero
    parts = []
    for curve in figures.curves:
        of = "all sigmas together" if curve.sigma is None else f"sigma {sigma(curve.sigma)}"
        found = percent(curve.reached[at].value)
        parts.append(f"{of}: {found} of {curve.tried}, by chance alone {percent(curve.by_chance[at])}")
    return (
        f"Share of perturbations whose score reaches the base's ({decimal(figures.base)} on {figures.questions} "
        f"questions) plus a margin. At margin zero: {'; '.join(parts)}."
    )


def _paint(axes: Axes, size: Size, figures: DensityFigures) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    margins, everyone = figures.margins, figures.curves[-1]
    own = [c for c in figures.curves[:-1] if c.tried][-_LINES:]
    axes.axvline(0, color=LINE, linewidth=1)
    for intervals, strength in ((everyone.with_luck, 0.1), (everyone.reached, 0.2)):
        low, high = ([getattr(i, name) for i in intervals] for name in ("low", "high"))
        axes.fill_between(margins, low, high, color=VOTE, alpha=strength, linewidth=0)
    if len(own) > 1:
        for number, curve in enumerate(own, 1):
            # The larger sigma, the stronger the line.
            strength = 0.25 + 0.6 * number / len(own)
            axes.plot(margins, _values(curve), color=VOTE, linewidth=1.3, alpha=strength, label=_name(curve))
    axes.plot(margins, _values(everyone), color=VOTE, linewidth=3, label=f"all {everyone.tried}")
    dots, dashes = (0, (1.2, 1.6)), (0, (6, 3))
    axes.plot(margins, everyone.by_chance, color=BEST, linewidth=2.2, linestyle=dots, label="chance alone")
    axes.plot(margins, figures.resampled, color=BASE, linewidth=1.6, linestyle=dashes, label="base, questions redrawn")
    axes.set_xlim(margins[0], margins[-1])
    axes.set_ylim(-0.01, 1.02)
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_xlabel("margin m over the base's score (mean reward)")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5 if size.name == "narrow" else 9, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
    legend_above(axes, size)


def _values(curve: DensityCurve) -> list[float]:
    return [i.value for i in curve.reached]


def _name(curve: DensityCurve) -> str:
    return f"σ {sigma(curve.sigma or 0.0)} ({curve.tried})"
