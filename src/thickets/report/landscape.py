"""A plane through the base and two members as a map: better than the base, as good, worse.

Knows nothing of how points are evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from thickets.analysis.landscape import LandscapeFigures, Spot
from thickets.report.figure import Figure, table
from thickets.report.svg import BEST, INK, LINE, MUTED, VOTE, Size, draw, legend_above
from thickets.report.wording import decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("a", "b", "score", "accuracy", "low", "high", "luck", "failure")
_STRONGEST = 0.85


def render(landscapes: Sequence[LandscapeFigures]) -> list[Figure]:
    """A map for each: all questions first, then the tasks where there are several. One scale serves them all."""
    widest = max((abs(_gain(s, f)) for f in landscapes for s in _scored(f)), default=0.0)
    return [_figure(figures, number, widest) for number, figures in enumerate(landscapes)]


def _figure(figures: LandscapeFigures, number: int, widest: float) -> Figure:
    first, second = figures.plane.ranks
    of = f", {figures.task}" if figures.task else ""
    end = f"-{number}" if number else ""
    name = f"{figures.plane.name}{end}"
    words = _in_words(figures)
    return Figure(
        name=f"{name}.csv",
        title=f"A plane through the base and members {first} and {second}{of}",
        svg=draw(name, words, 450, lambda axes, size: _paint(axes, size, figures, widest)),
        alternative=words,
        data=table(_COLUMNS, map(_row, figures.spots)),
        caption=_caption(figures),
    )


def _row(spot: Spot) -> tuple[object, ...]:
    right = spot.accuracy
    bounds = (None, None, None) if right is None else tuple(round(v, 6) for v in (right.value, right.low, right.high))
    return spot.a, spot.b, spot.score, *bounds, spot.luck, spot.failure or ""


def _scored(figures: LandscapeFigures) -> list[Spot]:
    return [s for s in figures.spots if s.score is not None]


def _gain(spot: Spot, figures: LandscapeFigures) -> float:
    if spot.score is None or figures.base.score is None:
        return 0.0
    return spot.score - figures.base.score


def _in_words(figures: LandscapeFigures) -> str:
    first, second = figures.plane.ranks
    scored = _scored(figures)
    said = (
        f"Mean reward on {figures.questions} {figures.plane.split} questions, on a plane through the base "
        f"({decimal(figures.base.score)}), member {first} ({decimal(figures.members[0].score)}) and member {second} "
        f"({decimal(figures.members[1].score)})."
    )
    if not scored:
        return said
    best = max(scored, key=lambda s: s.score or 0.0)
    above = sum(_gain(s, figures) > 1e-9 for s in scored)
    return (
        f"{said} Of {len(scored)} points {above} are above the base; the best, {decimal(best.score)}, is {best.a:g} "
        f"steps towards member {first} and {best.b:g} towards member {second}."
    )


def _caption(figures: LandscapeFigures) -> str:
    failed = sum(s.failure is not None for s in figures.spots)
    parts = [
        f"Green is above the base's score, orange below. {_luck(figures)}",
        "The members were chosen for their scores, so what lies at them is flattered."
        if figures.plane.split == "selection"
        else "The members were chosen on other questions than these.",
    ]
    if failed:
        parts.append(f"{failed} points could not be scored and are left empty.")
    if not figures.complete:
        parts.append(f"{len(figures.spots)} of {figures.plane.grid**2} points are evaluated; the same command goes on.")
    return " ".join(parts)


def _luck(figures: LandscapeFigures) -> str:
    if figures.luck is None:
        return "How far the luck of the questions moves a point's difference to the base cannot be told from these."
    usual, most = (decimal(v) for v in figures.luck)
    return (
        f"By the luck of the {figures.questions} questions alone a point's difference to the base moves by about "
        f"{usual} either way (95 %; the median of those that differ, {most} at most), so smaller patches mean little."
    )


def _paint(axes: Axes, size: Size, figures: LandscapeFigures, widest: float) -> None:
    from matplotlib.patches import Rectangle

    plane = figures.plane
    step = 2 * plane.span / (plane.grid - 1)
    edge = plane.span + step / 2
    for spot in _scored(figures):
        strength = abs(_gain(spot, figures)) / widest * _STRONGEST if widest else 0.0
        colour = VOTE if _gain(spot, figures) >= 0 else BEST
        corner = (spot.a - step * 0.48, spot.b - step * 0.48)
        axes.add_patch(
            Rectangle(corner, step * 0.96, step * 0.96, color=colour, alpha=max(strength, 0.04), linewidth=0)
        )
    axes.axhline(0, color=LINE, linewidth=1)
    axes.axvline(0, color=LINE, linewidth=1)
    for spot, name in _marks(figures):
        axes.plot([spot.a], [spot.b], marker="o", markersize=8, color=INK, linestyle="", clip_on=False)
        axes.annotate(
            f"{name} {decimal(spot.score)}", (spot.a, spot.b), (0, 9), textcoords="offset points", ha="center"
        )
    first, second = plane.ranks
    axes.set_xlim(-edge, edge)
    axes.set_ylim(-edge, edge)
    axes.set_aspect("equal")
    axes.set_xlabel(f"steps towards member {first}")
    axes.set_ylabel(f"steps towards member {second}", color=MUTED)
    ticks = _ticks(plane.span)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.spines["bottom"].set_visible(False)
    _scale(axes, size, widest)


def _ticks(span: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    return [float(t) for t in MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]).tick_values(-span, span) if abs(t) <= span]


def _marks(figures: LandscapeFigures) -> Iterator[tuple[Spot, str]]:
    first, second = figures.plane.ranks
    marks = ((figures.base, "base"), (figures.members[0], f"{first}:"), (figures.members[1], f"{second}:"))
    for spot, name in marks:
        if max(abs(spot.a), abs(spot.b)) <= figures.plane.span:
            yield spot, name


def _scale(axes: Axes, size: Size, widest: float) -> None:
    """What the colours stand for, in words beside them."""
    from matplotlib.patches import Rectangle

    if not widest:
        return
    parts = ((VOTE, "+", 1.0), (VOTE, "+", 0.5), (BEST, "−", 0.5), (BEST, "−", 1.0))
    for colour, sign, part in parts:
        label = f"{sign}{decimal(part * widest)}"
        # Of no size: only the legend shows it.
        axes.add_patch(Rectangle((0, 0), 0, 0, color=colour, alpha=part * _STRONGEST, linewidth=0, label=label))
    legend_above(axes, size)
