"""Several runs as one figure, density against the size of the model, and as a table. Works nothing out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from thickets.analysis.comparison import ComparedRun, Comparison, SigmaDensity
from thickets.analysis.statistics import Interval
from thickets.report.figure import Figure, Sheet, table
from thickets.report.plain import plain
from thickets.report.sheet import render_sheet
from thickets.report.svg import BEST, INK, LINE, MUTED, VOTE, Size, draw, legend_above, standalone
from thickets.report.wording import NONE, bounds, capped, count, percent, points_with_interval, sigma, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE = "Expert density against model size"
_CAPTION = (
    "The share of perturbations that score at least as well as the base on the selection questions: large dots for all "
    "of a run's candidates, small ones for each sigma, the larger the sigma the darker. Thick lines are 95 % intervals "
    "over perturbations; thin ones hold the luck of the base on these questions too, which moves all its candidates "
    "at once. The orange dash is what candidates as good as the base would show by chance alone: better models are "
    "shown where it lies below the thin line, and a step that mostly harms where it lies above."
)


def render(comparison: Comparison) -> Figure:
    """The chart; its data are the whole table."""
    words = _in_words(comparison)
    return Figure(
        name="comparison.csv",
        title=_TITLE,
        svg=draw("comparison", words, 380, lambda axes, size: _paint(axes, size, comparison)),
        alternative=words,
        data=as_csv(comparison),
        caption=_CAPTION,
    )


def as_html(comparison: Comparison) -> str:
    """A page with the figure and the tables."""
    return render_sheet("Runs beside each other", [render(comparison)], comparison.notes, tables(comparison))


def as_json(comparison: Comparison) -> str:
    """Everything, as JSON; what is no number is null."""
    return json.dumps(plain(comparison), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(comparison: Comparison) -> str:
    """A row for each run and sigma, and one for all sigmas together, with the run's own figures in each."""
    controls = _control_titles(comparison)
    columns = (
        *("run", "model", "parameters", "task", "sigma", "tried", "density", "low", "high"),
        *("low_with_luck", "high_with_luck", "by_chance", "k"),
        *("base", "ensemble", "gain", "gain_low", "gain_high", "test_questions", *controls),
    )
    return table(columns, _rows(comparison, list(controls)))


def _rows(comparison: Comparison, controls: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for run in comparison.runs:
        accuracy = {c.name: c.accuracy.value for c in run.controls}
        gain = run.gain.difference if run.gain else None
        own = (
            *(_value(run.base), _value(run.ensemble)),
            *((gain.value, gain.low, gain.high) if gain else (None, None, None)),
            run.test_questions,
            *(accuracy.get(name) for name in controls),
        )
        for found in run.densities:
            d, wide = found.density, found.with_luck
            of = "all" if found.sigma is None else found.sigma
            yield (
                *(run.name, run.model, run.parameters, run.task, of, found.tried),
                *(round(v, 6) for v in (d.value, d.low, d.high, wide.low, wide.high, found.by_chance)),
                run.top_k,
                *(round(v, 6) if isinstance(v, float) else v for v in own),
            )


def _value(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def _control_titles(comparison: Comparison) -> dict[str, str]:
    """Every control that some run has, by name; without the number of passes, which differs from run to run."""
    return {c.name: c.name.replace("_", " ") for run in comparison.runs for c in run.controls}


def tables(comparison: Comparison) -> list[Sheet]:
    """The table for people, in two that fit on a page: densities, and results on the test split."""
    controls = _control_titles(comparison)
    return [
        Sheet(
            "Perturbations at or above the base",
            (
                "model",
                "parameters",
                "task",
                "sigma",
                "at or above base (95 % interval)",
                "with the base's luck",
                "by chance alone",
            ),
            [row for run in comparison.runs for row in _density_rows(run)],
        ),
        Sheet(
            "Right on the test split (95 % interval)",
            ("model", "base", "RandOpt", "over base, points", *controls.values()),
            [_result_row(run, list(controls)) for run in comparison.runs],
        ),
    ]


def _density_rows(run: ComparedRun) -> Iterator[list[str]]:
    """All candidates, and below them each sigma where there are several."""
    if not run.densities:
        return
    *each, everyone = run.densities
    for first, found in enumerate((everyone, *(each if len(each) > 1 else ()))):
        yield [
            "" if first else run.model,
            "" if first else size_of(run),
            "" if first else run.task,
            "all" if found.sigma is None else sigma(found.sigma),
            f"{with_interval(found.density)} of {found.tried}",
            bounds(found.with_luck),
            percent(found.by_chance),
        ]


def _result_row(run: ComparedRun, controls: Sequence[str]) -> list[str]:
    accuracy = {c.name: with_interval(c.accuracy) for c in run.controls}
    gain = run.gain.difference if run.gain else None
    vote = f"{with_interval(run.ensemble)} @{run.top_k}"
    return [
        run.model,
        with_interval(run.base),
        vote,
        points_with_interval(gain),
        *(accuracy.get(c, NONE) for c in controls),
    ]


def size_of(run: ComparedRun) -> str:
    """The number of parameters in short: `1.54B`, `494M`."""
    if run.parameters is None:
        return NONE
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if run.parameters >= unit:
            return f"{run.parameters / unit:.3g}{name}"
    return count(run.parameters)


def _in_words(comparison: Comparison) -> str:
    parts = []
    for run in comparison.runs:
        if run.densities:
            everyone = run.densities[-1]
            said = f"{percent(everyone.density.value)}, by chance alone {percent(everyone.by_chance)}"
            parts.append(f"{run.model} ({size_of(run)} parameters, {run.task}): {said}")
    return f"Share of perturbations that reach the base's score, by model. {'; '.join(parts)}."


def _paint(axes: Axes, size: Size, comparison: Comparison) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    drawn = [(run, run.parameters) for run in comparison.runs if run.parameters is not None and run.densities]
    sizes = [parameters for _, parameters in drawn]
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    if comparison.one_task and len(drawn) > 1:
        values = [run.densities[-1].density.value for run, _ in drawn]
        axes.plot(sizes, values, color=VOTE, linewidth=1.5, alpha=0.5)
    room = (max(sizes) / min(sizes)) ** (1 / max(3 * len(sizes), 6)) if len(set(sizes)) > 1 else 1.3
    for run, parameters in drawn:
        _paint_run(axes, run.densities, float(parameters), room)
        name = run.model if comparison.one_task else f"{run.model}, {run.task}"
        top = max(i.high for d in run.densities for i in (d.density, run.densities[-1].with_luck))
        axes.annotate(
            capped(name, 16 if size.name == "narrow" else 28), (parameters, top), (0, 6),
            textcoords="offset points", ha="center", color=INK,
        )  # fmt: skip
    if sizes:
        edge = max(room, 1.2) ** 2.2
        axes.set_xlim(min(sizes) / edge, max(sizes) * edge)
        names = {parameters: size_of(run) for run, parameters in drawn}
        axes.set_xticks(list(names), list(names.values()))
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_xlabel("parameters of the model")
    legend_above(axes, size)


def _paint_run(axes: Axes, densities: Sequence[SigmaDensity], parameters: float, room: float) -> None:
    """All candidates in the middle, and the sigmas, where there are several, beside it in their order."""
    *each, everyone = densities
    known = set(axes.get_legend_handles_labels()[1])

    def label(text: str) -> str:
        return "" if text in known else text

    d, wide = everyone.density, everyone.with_luck
    axes.vlines([parameters], [wide.low], [wide.high], color=VOTE, linewidth=1.2)
    axes.vlines([parameters], [d.low], [d.high], color=VOTE, linewidth=4, alpha=0.6)
    axes.plot(
        [parameters], [d.value], color=VOTE, marker="o", markersize=9, linestyle="", label=label("all candidates")
    )
    axes.plot(
        [parameters], [everyone.by_chance], color=BEST, marker="_", markersize=18, markeredgewidth=2.5, linestyle="",
        label=label("by chance alone"),
    )  # fmt: skip
    some = [s for s in each if s.tried] if len(each) > 1 else []
    for number, found in enumerate(some, 1):
        x = parameters * room ** (0.35 + 0.5 * number / len(some))
        strength = 0.3 + 0.7 * (number / len(some))
        axes.vlines([x], [found.density.low], [found.density.high], color=MUTED, linewidth=1.5, alpha=strength)
        axes.plot(
            [x], [found.density.value], color=MUTED, marker="o", markersize=5, linestyle="", alpha=strength,
            label=label("each sigma") if number == len(some) else "",
        )  # fmt: skip


def as_svg(comparison: Comparison) -> str:
    """The figure alone."""
    return standalone(render(comparison).svg)


# What each kind of file holds, by its ending.
WRITTEN: Mapping[str, Callable[[Comparison], str]] = {
    ".html": as_html,
    ".svg": as_svg,
    ".csv": as_csv,
    ".json": as_json,
}
