"""The pictures of a combination: predictions, errors, and what the neighbourhood is like. Knows nothing of searches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thickets.module.pictures import FAINT, INK, MUTED, STYLE, saved
from thickets.signals.experiment import Density, Errors, Experiment
from thickets.signals.families import CONTEXT, grid
from thickets.signals.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart with any colour vision (Okabe & Ito 2008).
COLOURS = {
    "base": "#d55e00",
    "one random candidate": "#cc79a7",
    "random candidates": "#cc79a7",
    "members": "#56b4e9",
    "mean of random": "#8f4f78",
    "best single": "#0072b2",
    "ensemble": "#009e73",
}
# Above this share of candidates as good as the base a neighbourhood is a plateau or a thicket; below, a needle.
DENSE = 0.1
# The best candidate of a thicket has less error than the base by at least this share: an expert, as in a landscape.
EXPERT = 0.1


def draw_experiment(done: Experiment, directory: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write the picture of one combination in every format; gives the files."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        grid_of = figure.add_gridspec(2, 6, height_ratios=(1, 1.05))
        # Three signals, or one where all are the same.
        width = 6 if bool((done.signals == done.signals[0]).all()) else 2
        for i in range(6 // width):
            _paint_signal(figure.add_subplot(grid_of[0, width * i : width * (i + 1)]), done, i)
        _paint_errors(figure.add_subplot(grid_of[1, 0:3]), done.errors)
        _paint_density(figure.add_subplot(grid_of[1, 3:6]), done.density, done.sigma)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        for line in legend.get_lines():
            # Lines that are thin because there are many must be seen here too.
            line.set(linewidth=max(line.get_linewidth(), 1.8), alpha=0.25 if line.get_label() == "truth" else 1)
        figure.suptitle(_title(done), fontsize=12, color=INK)
        return saved(figure, directory / f"{done.base}-{done.task}", formats)


def draw_summary(all_done: Sequence[Record], directory: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Errors of base, best single and ensemble of several combinations, a row each."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(8.5, 1.2 + 0.36 * len(all_done)), layout="constrained")
        axes = figure.add_subplot()
        for y, done in enumerate(all_done):
            for shift, name in zip((-0.2, 0.0, 0.2), ("base", "best single", "ensemble"), strict=True):
                _dot(axes, done.errors[name], y + shift, COLOURS[name], name if y == 0 else None)
        axes.set_yticks(range(len(all_done)), [f"{d.base} → {d.task}" for d in all_done])
        axes.set_ylim(len(all_done) - 0.5, -0.5)
        _log_axis(axes)
        axes.set_xlabel("mean squared error on test signals (95 % interval)")
        axes.grid(axis="x", color=FAINT)
        figure.legend(loc="outside upper center", ncols=3, frameon=False)
        return saved(figure, directory / "summary", formats)


def _title(done: Experiment) -> str:
    errors = {e.name: e.error.value for e in done.errors}
    return (
        f"{done.base} → {done.task}: mean squared error {errors['base']:.3g} (base), "
        f"{errors['best single']:.3g} (best of {done.settings.population}), "
        f"{errors['ensemble']:.3g} (ensemble of {done.settings.top_k}), σ = {done.sigma:g}"
    )


def _paint_signal(axes: Axes, done: Experiment, row: int) -> None:
    x = grid()
    truth = done.signals[row]
    axes.axvspan(float(x[0]), float(x[CONTEXT - 1]), color="#f3f5f7", linewidth=0)
    axes.plot(x, truth, color=INK, linewidth=3, alpha=0.25, label="truth")
    # Many thin lines behind the three that the figure is about.
    for each, name, width in ((done.random, "random candidates", 0.7), (done.members, "members", 0.8)):
        for i, predicted in enumerate(each):
            label = f"{len(each)} {name if len(each) > 1 else name.removesuffix('s')}" if i == 0 else None
            axes.plot(x[CONTEXT:], predicted[row], color=COLOURS[name], linewidth=width, alpha=0.55, label=label)
    for name in ("base", "best single", "ensemble"):
        style: dict[str, Any] = {"linewidth": 1.8}
        if name == "best single":
            style = {"linewidth": 1.4, "linestyle": (0, (4, 1.5))}
        axes.plot(x[CONTEXT:], done.predictions[name][row], color=COLOURS[name], label=name, **style)
    # A roll-out that runs away must not flatten the others.
    low, high = float(truth.min()), float(truth.max())
    room = max(high - low, 0.5)
    axes.set_ylim(low - 0.8 * room, high + 0.8 * room)
    axes.set_xlabel("x")
    if row == 0:
        axes.set_ylabel("signal")
        axes.text(float(x[0]) + 0.05, low - 0.74 * room, "given", color=MUTED, fontsize=9)


def _paint_errors(axes: Axes, errors: Sequence[Errors]) -> None:
    for y, row in enumerate(errors):
        _dot(axes, row.error, y, COLOURS[row.name], None)
        axes.annotate(
            f"{row.error.value:.3g}",
            (row.error.value, y),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    axes.set_yticks(range(len(errors)), [e.name for e in errors])
    axes.set_ylim(len(errors) - 0.5, -0.7)
    axes.margins(x=0.12)
    _log_axis(axes)
    axes.set_xlabel("mean squared error on test signals (95 % interval)")
    axes.grid(axis="x", color=FAINT)


def _log_axis(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    # Within a decade or so 2 and 5 too, and within less every digit; over many only powers of ten have room.
    subs: Sequence[float] = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    subs = range(1, 10) if high / low < 3 else subs
    axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _dot(axes: Axes, error: Any, y: float, colour: str, label: str | None) -> None:
    axes.plot([max(error.low, 1e-12), error.high], [y, y], color=colour, linewidth=5, alpha=0.3, solid_capstyle="round")
    axes.plot([error.value], [y], color=colour, marker="o", markersize=6, linestyle="", label=label)


def _paint_density(axes: Axes, density: Sequence[Density], sigma: float) -> None:
    sigmas = [d.sigma for d in density]
    axes.fill_between(sigmas, [d.share.low for d in density], [d.share.high for d in density], color="#d6ebe2")
    axes.plot(sigmas, [d.share.value for d in density], color=COLOURS["ensemble"], marker="o", linewidth=2)
    axes.axvline(sigma, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    axes.annotate(
        "searched", (sigma, 1.0), xytext=(4, 0), textcoords="offset points", color=MUTED, fontsize=9, va="top"
    )
    _log_axis(axes)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("σ")
    axes.set_ylabel("share as good as the base")
    axes.set_title(f"around the base\n{kind(density, sigma)}", fontsize=10)
    axes.grid(axis="y", color=FAINT)


def kind(density: Sequence[Density], sigma: float) -> str:
    """`needle`, `plateau` or `thicket`, in a word with what is meant by it, at the searched sigma.

    Few candidates as good as the base make a needle. Many make a thicket where the best of them is an expert, and a
    plateau where it is hardly better.
    """
    here = min(density, key=lambda d: abs(math.log(d.sigma / sigma)))
    as_good = f"{here.share.value:.0%} as good"
    if here.share.value < DENSE:
        return f"a needle ({as_good})"
    best = max(here.gains) / here.base if here.base > 0 else 0.0
    return f"a {'thicket' if best >= EXPERT else 'plateau'} ({as_good}, the best with {best:.0%} less error)"
