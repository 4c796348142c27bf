"""What a drawn chart is made of: the drawing, its words and its data. Knows nothing of what is drawn, nor of pages.

A chart's data are there three times: as the drawing, as a table to read, and as a file to reckon with.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Sheet:
    """A table for people. The first column names the row; `strong` are the rows, from 0, that stand out."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    strong: Sequence[int] = ()


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows in words and as data. `name` is the CSV's file name, `data` the CSV text.

    `svg` is the drawing in both widths (`report/svg.py`), `alternative` what a reader who cannot see it is told,
    `caption` what stands below it, `sheet` its numbers as a table.
    """

    name: str
    title: str
    svg: Markup
    alternative: str
    data: str
    caption: str = ""
    sheet: Sheet | None = None


@dataclass(frozen=True)
class Data:
    """What a chart that is made of HTML shows, or a table, as a CSV file: its name and its text."""

    name: str
    data: str


def data_link(shown: Figure | Data) -> str:
    """The data as an address that a browser saves as a file; needs no network, and works from `file://`."""
    text = base64.b64encode(shown.data.encode("utf-8", "replace")).decode()
    return f"data:text/csv;charset=utf-8;base64,{text}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The data of a figure as CSV: numbers in the shortest form that reads back the same, nothing where none is."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if v is None or v != v else v for v in row] for row in rows)
    return text.getvalue()
