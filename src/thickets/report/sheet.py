"""A page of figures and nothing else, each with its words and its data to download. Knows nothing of what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from thickets.report.figure import Figure, Sheet, data_link


def render_sheet(title: str, figures: Sequence[Figure], words: Sequence[str] = (), tables: Sequence[Sheet] = ()) -> str:
    """The page as HTML: self-contained, and the same bytes for the same figures. The tables stand below them."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = Markup(_file("style.css"))  # noqa: S704 -- a file of this package
    page = environment.from_string(_file("sheet.html.j2")).render(
        title=title, figures=figures, words=words, tables=tables, style=style, data=data_link
    )
    # Half a character (a lone surrogate) can be in a name and cannot be in a file.
    return page.encode("utf-8", "replace").decode("utf-8")


def _file(name: str) -> str:
    return files("thickets.report").joinpath(name).read_text(encoding="utf-8")
