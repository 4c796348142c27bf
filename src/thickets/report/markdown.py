"""A summary as Markdown: the answer of the first screen and the tables, to be read in a pull request. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from thickets.analysis.answer import sentences
from thickets.analysis.summary import Summary
from thickets.report.chapters import Chapter, chapters
from thickets.report.figure import Sheet
from thickets.report.sections.answer import status
from thickets.report.wording import THIN, count, typeset

_CODE = re.compile(r"(`thickets [\w .-]+`)")


def render_markdown(summary: Summary) -> str:
    """One heading, the sentences, then a table for each part that the run has figures for."""
    text = "\n\n".join(_blocks(summary)) + "\n"
    # Half a character (a lone surrogate) can be in a name and cannot be in a file.
    return text.encode("utf-8", "replace").decode("utf-8")


def _blocks(summary: Summary) -> Iterator[str]:
    yield f"# {_inert(summary.name)}"
    sizes = ", ".join(f"{count(n)} {split}" for split, n in summary.sizes.items())
    model, task = (_inert(str(summary.config[part]["name"])) for part in ("model", "task"))
    kept = f", {len(summary.members)} kept" if summary.members else ""
    yield f"Model {model}, task {task}; questions: {sizes}; {count(summary.tried)} candidates{kept}."
    unfinished = status(summary)
    if unfinished:
        yield unfinished
    for number, sentence in enumerate(map(typeset, sentences(summary))):
        yield sentence if number else f"**{sentence}**"
    for chapter in chapters(summary):
        yield from _chapter(chapter)


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {_inert(chapter.title)}"
    yield from map(_prose, chapter.words)
    for sheet in chapter.sheets:
        if len(chapter.sheets) > 1:
            yield f"**{_inert(sheet.title[:1].upper() + sheet.title[1:])}**"
        yield _table(sheet)


def _table(sheet: Sheet) -> str:
    """Text on the left, numbers on the right."""
    rows = [list(map(_inert, row)) for row in sheet.rows]
    for number in sheet.strong:
        rows[number][0] = f"**{rows[number][0]}**"
    lines = [list(map(_inert, sheet.columns)), ["---", *("---:" for _ in sheet.columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _prose(text: str) -> str:
    """A sentence of ours, with its commands as code; what it quotes from outside is inert."""
    parts = _CODE.split(_in_one_line(text))
    return "".join(part if _CODE.fullmatch(part) else _escaped(part) for part in parts)


def _inert(text: str) -> str:
    """Words from outside, so that no Markdown or HTML acts in them and no table breaks."""
    return _escaped(_in_one_line(text))


def _in_one_line(text: str) -> str:
    """Every break a blank, but for the thin space within a number."""
    return re.sub(rf"[^\S{THIN}]+", " ", text).strip()


def _escaped(text: str) -> str:
    # A "<" before a blank opens nothing, and p-values are easier to read without.
    return re.sub(r"([\\`*_{}\[\]|#!&~>]|<(?! ))", r"\\\1", text)
