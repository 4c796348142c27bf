"""Writes a finished search into its directory: ensemble.json, report.json, grid.png, report.html. Decides nothing."""

from __future__ import annotations

import base64
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from thickets.analysis.statistics import Interval
from thickets.diffusion.found import FoundImages
from thickets.diffusion.grid import columns, draw_grid, number
from thickets.diffusion.held_out import MODELS
from thickets.errors import RunError
from thickets.store import write_atomically

_TONES = {"helped": "gain", "hurt": "worse"}


def publish(found: FoundImages, directory: Path) -> None:
    """All files of a finished search; what was there is replaced. Raises `RunError` where that cannot be written."""
    found.save(directory / "ensemble.json")
    write_atomically(directory / "report.json", json.dumps(found.as_json(), indent=1, allow_nan=False) + "\n")
    grid = None
    if found.test is not None and columns(found.test):
        try:
            grid = draw_grid(found.test, directory).read_bytes()
        except OSError as error:
            raise RunError(f"cannot write {directory / 'grid.png'}: {error.strerror or error}") from error
    write_atomically(directory / "report.html", render(found, directory.name, grid))


def render(found: FoundImages, name: str, grid: bytes | None) -> str:
    """The page: it needs nothing from outside, and is the same bytes for the same search."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, bounds=bounds)
    template = files("thickets.diffusion").joinpath("template.html.j2").read_text(encoding="utf-8")
    style = files("thickets.report").joinpath("style.css").read_text(encoding="utf-8")
    return environment.from_string(template).render(_context(found, name, grid) | {"style": Markup(style)})  # noqa: S704 -- a file of this package


def _context(found: FoundImages, name: str, grid: bytes | None) -> dict[str, Any]:
    model = (found.model or {}).get("name", type(found.denoiser.pipe).__name__)
    density = [
        (sigma, sum(p.sigma == sigma for p in found.candidates), share, _best_of(found, sigma))
        for sigma, share in found.density.items()
    ]
    return {
        "name": name,
        "found": found,
        "model": model,
        "tone": _TONES.get(found.test.verdict, "") if found.test else "",
        "figures": [(MODELS[m], f) for m, f in found.test.figures.items()] if found.test else [],
        "grid": base64.b64encode(grid).decode() if grid else None,
        "density": density,
        "members": [
            (rank, i, found.candidates[i], found.trials[i].score) for rank, i in enumerate(found.members, start=1)
        ],
        "settings": json.dumps(found.settings.fixed(), indent=1),
    }


def _best_of(found: FoundImages, sigma: float) -> float:
    rows = zip(found.candidates, found.trials, strict=True)
    return max((t.score for p, t in rows if p.sigma == sigma and t.failure is None), default=float("nan"))


def bounds(interval: Interval, sign: str = "") -> str:
    """The two bounds of an interval."""
    return f"{number(interval.low, sign)} to {number(interval.high, sign)}"
