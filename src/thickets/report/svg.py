"""A matplotlib figure as inline SVG in the colours of the page's theme. Knows nothing of what is drawn.

Colours are written as placeholders that no one would pick and then replaced by CSS variables, so that one drawing
serves light and dark. Each chart is drawn twice, for a phone and for a desk, and the style sheet shows one of them:
a drawing that is merely scaled has text too small on the one or too large on the other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NAMES = ("ink", "muted", "line", "base", "best", "vote", "silent", "wrong")
INK, MUTED, LINE, BASE, BEST, VOTE, SILENT, WRONG = (f"#00000{i}" for i in range(1, 1 + len(_NAMES)))
_VARIABLES = dict(zip((INK, MUTED, LINE, BASE, BEST, VOTE, SILENT, WRONG), _NAMES, strict=True))


@dataclass(frozen=True)
class Size:
    """One of the two drawings: width and text in CSS pixels. `name` is its class in the style sheet."""

    name: str
    width: float
    text: float


SIZES = (Size("narrow", 358, 12), Size("wide", 840, 13))


def draw(name: str, alternative: str, height: float, paint: Callable[[Axes, Size], None]) -> Markup:
    """The chart in both sizes. `alternative` says in words what it shows; `height` is in CSS pixels."""
    return Markup("").join(_drawing(f"{name}-{s.name}", alternative, height, s, paint) for s in SIZES)


def _drawing(name: str, alternative: str, height: float, size: Size, paint: Callable[[Axes, Size], None]) -> Markup:
    import matplotlib.style
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        # Simplifying drops points that lie on one another.
        "path.simplify": False,
        "font.size": size.text,
        "axes.labelsize": size.text,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
    }
    # The default style first: a user's own matplotlibrc must not change the report.
    with matplotlib.style.context(["default", settings]):
        figure = Figure(figsize=(size.width / 72, height / 72), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        _quiet(axes)
        paint(axes, size)
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _inline(buffer.getvalue().decode(), name, alternative, size)


def standalone(drawings: Markup) -> str:
    """The wide one of a chart's drawings as an SVG file of its own, in the colours of the light theme."""
    wide = next(part for part in str(drawings).split("<svg ") if part.startswith('class="wide"'))
    style = files("thickets.report").joinpath("style.css").read_text(encoding="utf-8")
    # The first rule is the light theme; programs other than browsers know no CSS variables.
    colours = dict(re.findall(r"--(\w+): (#\w+)", style[: style.index("}")]))
    for variable in _VARIABLES.values():
        wide = wide.replace(f"var(--{variable})", colours[variable])
    wide = wide.replace("var(--font)", "sans-serif")
    head, body = wide.split(">", 1)
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    size = f' width="{found.group(1)}" height="{found.group(2)}"' if found else ""
    page = f'<rect width="100%" height="100%" fill="{colours["page"]}"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {head}{size}>{page}{body}\n'


def legend_above(axes: Axes, size: Size) -> None:
    """The names of the lines above the chart, where they cover nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(len(handles), 2 if size.name == "narrow" else 4)
    text = size.text - 1
    axes.figure.legend(
        handles, labels, loc="outside upper left", ncols=columns, frameon=False, fontsize=text, handlelength=2.2
    )


def _quiet(axes: Axes) -> None:
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.tick_params(length=0, pad=6)
    axes.set_axisbelow(True)


def _inline(text: str, name: str, alternative: str, size: Size) -> Markup:
    """Only what a page needs: no prologue, no namespaces, no style sheet of its own, ids that are the figure's own."""
    body = text[text.index(">", text.index("<svg")) + 1 :]
    found = re.search(r'viewBox="([^"]+)"', text)
    box = found.group(1) if found else f"0 0 {size.width:g} 1"
    body = re.sub(r"<(style|metadata)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = re.sub(r'\sid="([^"]+)"', rf' id="{name}-\1"', body)
    body = re.sub(r'\s(?:xlink:)?href="#([^"]+)"', rf' href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r'\sd="([^"]*)"', lambda m: f' d="{_short(m.group(1))}"', body)
    body = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--font)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    head = f'<svg class="{size.name}" viewBox="{box}" role="img" aria-label="{escape(alternative)}">'
    # What is drawn is numbers and our own words; matplotlib escapes them, and the alternative is escaped above.
    return Markup(head + re.sub(r"\n\s*", "\n", body.strip()))  # noqa: S704


def _short(path: str) -> str:
    """Path data with a tenth of a pixel, which no eye resolves better, and no blanks between commands."""
    rounded = re.sub(r"-?\d+\.\d{2,}", lambda m: f"{float(m.group()):.1f}", path)
    tight = re.sub(r"\s*([A-Za-z])\s*", r"\1", rounded).strip()
    return re.sub(r"M([^A-Z]+)L\1(?![^A-Z])", r"M\1h0", tight)
