"""How the candidates' ranks on several tasks go together, as a heat map, and the spectrum of that as bars.

Knows nothing of how ranks are compared.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from thickets.analysis.discordance import Discordance, DiscordanceFigures
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import BEST, INK, LINE, MUTED, VOTE, Size, draw
from thickets.report.wording import NONE, capped, count, percent, sigma

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAME = 18
_SPECTRUM = "Spectrum of the correlations"


def render(figures: DiscordanceFigures) -> Figure:
    """The heat map of correlations between tasks, or between subsets of one."""
    height = 70 + 46 * len(figures.names)
    of = "tasks" if figures.of_tasks else "subsets of the questions"
    return Figure(
        name="discordance.csv",
        title=f"Are the same perturbations good at all {of}?",
        svg=draw("discordance", _in_words(figures), height, lambda axes, size: _paint(axes, size, figures)),
        alternative=_in_words(figures),
        data=table(
            ("", *figures.names, "reliability", "questions"),
            (
                (name, *_rounded(row), *_rounded((figures.reliability[i],)), figures.questions[i])
                for i, (name, row) in enumerate(zip(figures.names, figures.correlation, strict=True))
            ),
        ),
        caption=caption(figures),
        sheet=sheets(figures)[0],
    )


def render_spectrum(figures: DiscordanceFigures) -> Figure:
    """The eigenvalues of the correlations as shares of their sum."""
    shares = ", ".join(percent(v) for v in figures.spectrum)
    alternative = f"Eigenvalues of the correlations as shares of their sum, largest first: {shares}."
    height = 60 + 30 * max(len(figures.spectrum), 1)
    return Figure(
        name="spectrum.csv",
        title=_SPECTRUM,
        svg=draw("spectrum", alternative, height, lambda axes, _: _paint_spectrum(axes, figures)),
        alternative=alternative,
        data=table(("eigenvalue", "share"), ((i, round(v, 6)) for i, v in enumerate(figures.spectrum, 1))),
        caption=(
            "One long bar: one ranking of the perturbations serves everything. Even bars: each thing has its own. "
            "The line is where all bars would end if nothing went together."
        ),
        sheet=sheets(figures)[-1],
    )


def sheets(figures: DiscordanceFigures) -> list[Sheet]:
    """Correlations, the discordance within each sigma, and the spectrum as tables; draws nothing."""
    rows = zip(figures.names, figures.correlation, figures.reliability, figures.questions, strict=True)
    within = (
        (
            *("all" if r.sigma is None else sigma(r.sigma), count(r.candidates), _value(r)),
            _number(figures.by_noise) if r.sigma is None else "",
        )
        for r in figures.rows
    )
    return [
        Sheet(
            "Correlation of the candidates' ranks on the selection questions",
            ("", *figures.names, "with itself, measured anew", "questions"),
            [(name, *map(_number, row), _number(own), count(number)) for name, row, own, number in rows],
        ),
        Sheet(
            "Spectral discordance",
            ("σ", "candidates", "discordance (95 %)", "by noise alone, all sigmas"),
            list(within),
        ),
        Sheet(
            _SPECTRUM,
            ("eigenvalue", "share of their sum"),
            [(str(i), percent(v)) for i, v in enumerate(figures.spectrum, 1)],
        ),
    ]


def _rounded(row: tuple[float, ...]) -> list[float]:
    return [round(v, 6) for v in row]


def _number(value: float) -> str:
    return NONE if not math.isfinite(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _value(row: Discordance) -> str:
    found = row.value
    return f"{_number(found.value)} ({_number(found.low)} to {_number(found.high)})"


def _in_words(figures: DiscordanceFigures) -> str:
    everyone = figures.rows[0]
    pairs = [
        f"{a} and {b} {_number(figures.correlation[i][j])}"
        for i, a in enumerate(figures.names)
        for j, b in enumerate(figures.names)
        if i < j
    ]
    what = "tasks" if figures.of_tasks else "subsets of the questions"
    return (
        f"Correlation of the ranks of {everyone.candidates} candidates between {what}: {'; '.join(pairs)}. "
        f"Discordance {_number(everyone.value.value)}."
    )


def caption(figures: DiscordanceFigures) -> str:
    """The discordance in words, beside what noise alone would show."""
    everyone, *each = figures.rows
    said = (
        f"Spectral discordance: {_value(everyone)} of at most {_number(figures.largest)}. 0: the same perturbations "
        f"are good at everything; 1: being good at one says nothing of another. Noise in the scores alone would show "
        f"{_number(figures.by_noise)} if all columns measured the same; only what is above that speaks of specialists."
    )
    if not figures.of_tasks:
        said += " This run has one task, so random subsets of its questions stand in for tasks."
    if each:
        said += f" Within one sigma: {'; '.join(f'σ {sigma(r.sigma or 0)}: {_value(r)}' for r in each)}."
    return said


def _paint(axes: Axes, size: Size, figures: DiscordanceFigures) -> None:
    from matplotlib.patches import Rectangle

    number = len(figures.names)
    for y, row in enumerate(figures.correlation):
        for x, value in enumerate(row):
            known = math.isfinite(value)
            colour = LINE if not known else VOTE if value >= 0 else BEST
            strength = 0.3 if not known else 0.08 + 0.72 * min(abs(value), 1.0) * (0.25 if x == y else 1.0)
            axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, color=colour, alpha=strength, linewidth=0))
            text = "itself" if x == y and known else _number(value)
            axes.text(x, y, text, ha="center", va="center", color=MUTED if x == y else INK)
    axes.set_xlim(-0.5, number - 0.5)
    axes.set_ylim(number - 0.5, -0.5)
    short = [capped(name, _NAME) for name in figures.names]
    crowded = size.name == "narrow" and (number > 3 or max(map(len, short)) > 8)
    axes.set_xticks(range(number), short, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.set_yticks(range(number), short)
    axes.spines["bottom"].set_visible(False)


def _paint_spectrum(axes: Axes, figures: DiscordanceFigures) -> None:
    from matplotlib.ticker import FuncFormatter

    number = len(figures.spectrum)
    axes.barh(range(number), figures.spectrum, height=0.62, color=VOTE, alpha=0.75, linewidth=0)
    if number:
        axes.axvline(1 / number, color=MUTED, linewidth=1.5, linestyle=(0, (4, 3)))
    for y, value in enumerate(figures.spectrum):
        axes.text(max(value, 1 / number) + 0.01, y, percent(value), va="center", color=INK)
    axes.set_ylim(max(number, 1) - 0.5, -0.5)
    axes.set_yticks(range(number), [str(i + 1) for i in range(number)])
    axes.set_xlim(0, 1.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
    axes.grid(axis="x", color=LINE, linewidth=1)
