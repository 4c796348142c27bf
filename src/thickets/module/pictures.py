"""Draws landscapes, still and as a film of several. Knows nothing of modules or of how points were scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thickets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from thickets.module.landscape import Landscape

INK, MUTED, FAINT = "#1f2328", "#6e7781", "#d8dee4"
STYLE: dict[str, Any] = {
    "font.size": 10,
    "svg.hashsalt": "thickets",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}
# Blue is better and red is worse; told apart with any colour vision, and by lightness from the base's own white.
MAP = "RdBu"
# Of lines, one a task (Okabe & Ito 2008), with markers that tell them apart without colour.
LINES = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#56b4e9", "v"), ("#e69f00", "P"))


def draw_landscape(land: Landscape, stem: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """A panel for each task. Writes `stem` with the ending of every format, and gives the files."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(2.2 + 3.2 * len(land.tasks), 4.6), layout="compressed")
        panels = [figure.add_subplot(1, len(land.tasks), i + 1) for i in range(len(land.tasks))]
        _paint_slices(figure, panels, land)
        _legend(figure, land, land)
        return saved(figure, stem, formats)


def animate(films: Sequence[tuple[float, Landscape]], stem: Path, what: str, seconds: float = 0.8) -> Path:
    """Landscapes one after the other as `stem.gif`, beside the density of experts against `what` (steps, say).

    Each comes with its place on that axis. All must have the same tasks; each is shown for so many seconds, in
    hundredths as GIF counts them, and the last one four times as long. Raises `ConfigError` for a film without
    landscapes, and for seconds that no frame can last.
    """
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    if not films:
        raise ConfigError("a film needs a landscape; give at least one")
    if not 0.02 <= seconds <= 100:
        raise ConfigError(f"a frame cannot last {seconds:g} seconds; give 0.02 to 100")
    path = stem.with_suffix(".gif")
    path.parent.mkdir(parents=True, exist_ok=True)
    last = films[-1][1]
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(6.4 + 2.6 * len(last.tasks), 4.2), layout="constrained")
        figure.set_dpi(80)
        canvas, frames = FigureCanvasAgg(figure), []
        for number, (at, land) in enumerate(films):
            figure.clear()
            count = len(land.tasks)
            spec = figure.add_gridspec(1, count + 1, width_ratios=[*[1] * count, 1.35])
            slices = [figure.add_subplot(spec[0, i]) for i in range(count)]
            _paint_slices(figure, slices, land)
            _paint_density(figure.add_subplot(spec[0, count]), films, number, what)
            _legend(figure, land, last)
            figure.suptitle(f"{at:g} {what}", fontsize=13, color=INK)
            canvas.draw()  # type: ignore[no-untyped-call]
            pixels = np.array(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
            frames.append(Image.fromarray(pixels).convert("RGB"))
    each = 10 * round(100 * seconds)
    lasting = [each] * (len(frames) - 1) + [4 * each]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lasting, loop=0)
    return path


def _paint_slices(figure: Figure, panels: Sequence[Axes], land: Landscape) -> None:
    half = (land.axis[1] - land.axis[0]) / 2
    extent = (land.axis[0] - half, land.axis[-1] + half) * 2
    image: Any = None
    for axes, task in zip(panels, land.tasks, strict=True):
        gains = task.gains.clamp(-1, 1).numpy()
        image = axes.imshow(gains, origin="lower", extent=extent, cmap=MAP, vmin=-1, vmax=1)
        if float(task.gains.min()) < land.margin <= float(task.gains.max()):
            axes.contour(land.axis, land.axis, gains, levels=[land.margin], colors=INK, linewidths=1.2)
        _mark(axes, 0, 0, "o", "base")
        _mark(axes, 1, 0, "*", "A")
        _mark(axes, 0, 1, "*", "B")
        axes.set_title(f"{task.name}\n{task.density.value:.0%} of candidates are experts", fontsize=10)
        ends = [land.axis[0], 0, land.axis[-1]]
        axes.set_xticks(ends, [f"{v:g}" for v in ends])
        axes.set_yticks(ends, [f"{v:g}" for v in ends] if axes is panels[0] else [])
        axes.set_xlabel("towards A")
    panels[0].set_ylabel("towards B")
    bar = figure.colorbar(image, ax=list(panels), shrink=0.75, extend="min", pad=0.02, aspect=25)
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["-100 %", "-50 %", "the base", "+50 %", "+100 %"])
    bar.outline.set_visible(False)
    bar.ax.set_title("score", fontsize=9, color=INK)


def _mark(axes: Axes, x: float, y: float, marker: str, label: str) -> None:
    size = 13 if marker == "*" else 7
    axes.plot(
        [x], [y], marker=marker, markersize=size, color="white", markeredgecolor=INK, markeredgewidth=1.2, linestyle=""
    )
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    axes.annotate(label, (x, y), xytext=(8, 7), textcoords="offset points", fontsize=9, color=INK, bbox=box, zorder=5)


def _legend(figure: Figure, land: Landscape, named_by: Landscape) -> None:
    """What A and B are, in one line below; their names are those that they have in `named_by`."""
    words = []
    for letter, perturbation in zip("AB", land.through, strict=True):
        of = [task.name for task in named_by.tasks if task.expert == perturbation]
        words.append(f"{letter}: the best candidate of {' and '.join(of)}" if of else f"{letter}: {perturbation}")
    words.append(f"outline: where experts are ({land.margin:.0%} better than the base), σ = {land.sigma:g}")
    figure.supxlabel("\n" + "     ".join(words), fontsize=9, color=MUTED)


def _paint_density(axes: Axes, films: Sequence[tuple[float, Landscape]], number: int, what: str) -> None:
    places = [at for at, _ in films]
    for i, task in enumerate(films[-1][1].tasks):
        colour, marker = LINES[i % len(LINES)]
        density = [land.tasks[i].density.value for _, land in films]
        axes.plot(places, density, color=colour, linewidth=1.2, alpha=0.25)
        axes.plot(
            places[: number + 1], density[: number + 1], color=colour, marker=marker, markersize=5, label=task.name
        )
    axes.axvline(places[number], color=MUTED, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlim(min(places) - 0.03 * (max(places) or 1), max(places) * 1.03 or 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(what)
    axes.set_title("share of candidates\nthat are experts", fontsize=10)
    axes.grid(axis="y", color=FAINT)
    axes.legend(frameon=False, fontsize=9, loc="upper right")


def saved(figure: Any, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure as `stem` with the ending of every format; gives the files."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for form in formats:
        metadata = {"Date": None} if form == "svg" else {}
        figure.savefig(stem.with_suffix(f".{form}"), dpi=120, facecolor="white", metadata=metadata)
        files.append(stem.with_suffix(f".{form}"))
    return files
