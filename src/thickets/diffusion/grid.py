"""The picture of a test: the same prompts from the same latents by base, best member and ensemble. Knows no search."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thickets.diffusion.held_out import MODELS, Test, image_path
from thickets.module.pictures import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Models of the columns.
COLUMNS = ("base", "best", "ensemble")
ROWS = 6
# Below this width in pixels an image is shown pixel by pixel, not blurred.
_SMALL = 128


def draw_grid(test: Test, directory: Path) -> Path:
    """Write `grid.png`: a row for an image of each prompt, up to `ROWS`, a column for each of `columns`; its path."""
    import matplotlib.style
    from matplotlib.figure import Figure

    numbers, models = rows(test), columns(test)
    with matplotlib.style.context(["default", {"font.size": 9, "text.color": INK}]):
        figure = Figure(figsize=(1.7 + 2.1 * len(models), 0.9 + 2.3 * len(numbers)), dpi=130, layout="constrained")
        cells = figure.subplots(len(numbers), 1 + len(models), squeeze=False, width_ratios=[0.75] + [1] * len(models))
        for row, shot in enumerate(numbers):
            _write_prompt(cells[row, 0], test.shots[shot].prompt)
            for column, model in enumerate(models, 1):
                _paint(cells[row, column], test, model, shot, directory)
                if row == 0:
                    mean = test.figures[model].reward.value
                    cells[row, column].set_title(f"{MODELS[model]}\nmean {number(mean)}", fontsize=10, weight="bold")
        figure.suptitle(_title(test), fontsize=10)
        path = directory / "grid.png"
        figure.savefig(path, metadata={"Software": None})
        return path


def columns(test: Test) -> list[str]:
    """Which models are shown: of `COLUMNS` those that did not fail."""
    return [model for model in COLUMNS if model in test.figures]


def rows(test: Test) -> list[int]:
    """Which test images are shown: of every prompt the first, then the second, until there are `ROWS`."""
    seen: dict[str, int] = {}
    turns = []
    for number, shot in enumerate(test.shots):
        seen[shot.prompt] = seen.get(shot.prompt, 0) + 1
        turns.append((seen[shot.prompt], number))
    # Images of one prompt stand together.
    return sorted(number for _, number in sorted(turns)[:ROWS])


def _paint(axes: Axes, test: Test, model: str, shot: int, directory: Path) -> None:
    from PIL import Image

    with Image.open(image_path(directory / "images" / model, shot), formats=["PNG"]) as image:
        how: dict[str, Any] = {"interpolation": "nearest"} if image.width < _SMALL else {}
        axes.imshow(image.convert("RGB"), **how)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(number(test.figures[model].rewards[shot]), color=MUTED, labelpad=3)


def _write_prompt(axes: Axes, prompt: str) -> None:
    axes.set_axis_off()
    # A dollar sign would begin a formula.
    words = textwrap.fill(textwrap.shorten(prompt, 140, placeholder=" …"), 20).replace("$", r"\$")
    axes.text(0.0, 0.5, words, transform=axes.transAxes, va="center", ha="left", color=INK)


def _title(test: Test) -> str:
    how = "The same latents in every row; under an image its reward."
    if test.gain is None:
        return f"RandOpt: {test.verdict}, as the test could not be finished.\n{how}"
    low, high = number(test.gain.low, "+"), number(test.gain.high, "+")
    over = f"{number(test.gain.value, '+')} ({low} to {high}) over the base"
    return f"RandOpt: {test.verdict}; the ensemble's reward is {over}.\n{how}"


def number(value: float, sign: str = "") -> str:
    """Four decimals with a true minus sign; a dash for none."""
    return format(value, f"{sign}.4f").replace("-", "−") if abs(value) < float("inf") else "–"
