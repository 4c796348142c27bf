"""Prints results as tables. Works nothing out: every figure comes from the analysis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from thickets.analysis.answer import sentences
from thickets.analysis.summary import Summary
from thickets.cli.doctor import Finding
from thickets.ensemble import Answer, Member
from thickets.report.chapters import Chapter, chapters, results, task_by_task
from thickets.report.figure import Sheet

# What a page sets finely, as it is typed.
_TYPED = str.maketrans({"\u202f": " ", "−": "-"})
# Columns of a log or a pipe whose width nobody named: no table is torn apart at 80.
_WIDE = 160


def print_result(summary: Summary, directory: Path) -> None:
    """What a finished run ends with: the figures, the sentence, where the report is."""
    console = _console()
    for chapter in (*results(summary), *task_by_task(summary)):
        _chapter(console, chapter)
    for sentence in sentences(summary):
        console.print(sentence, markup=False, highlight=False)
    print(f"run: {directory}")
    print(f"report: {directory / 'report.html'}")


def print_summary(summary: Summary) -> None:
    """The whole run in the terminal."""
    console = _console()
    state = "finished" if summary.finished else f"unfinished: {summary.tried} of {summary.population} candidates"
    console.print(f"[bold]{escape(summary.name)}[/]: {state}", highlight=False)
    for sentence in sentences(summary):
        console.print(sentence, markup=False, highlight=False)
    for chapter in chapters(summary):
        _chapter(console, chapter)


def _console() -> Console:
    found = Console()
    return found if found.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


def _chapter(console: Console, chapter: Chapter) -> None:
    console.print(f"\n[bold]{escape(chapter.title)}[/]", highlight=False)
    for sentence in chapter.words:
        console.print(sentence.translate(_TYPED), markup=False, highlight=False)
    for sheet in chapter.sheets:
        console.print(_table(sheet, titled=len(chapter.sheets) > 1))


def _table(sheet: Sheet, titled: bool) -> Table:
    table = Table(title=escape(sheet.title) if titled else None, title_justify="left")
    for number, column in enumerate(sheet.columns):
        # Half a name or half a seed says little; an interval may stand on two lines where the terminal is narrow.
        whole = number == 0 or not any(" " in row[number] for row in sheet.rows)
        table.add_column(escape(column.translate(_TYPED)), justify="right" if number else "left", no_wrap=whole)
    for number, row in enumerate(sheet.rows):
        style = "bold" if number in sheet.strong else None
        table.add_row(*(escape(cell.translate(_TYPED)) for cell in row), style=style)
    return table


def print_answer(answer: Answer, members: Sequence[Member]) -> None:
    """Every member's words and vote, then the winner."""
    console = Console()
    table = Table(title=escape(answer.question), title_justify="left")
    for column in ("rank", "sigma", "vote", "answer"):
        table.add_column(column)
    for said, member in zip(answer.members, members, strict=False):
        vote = "(abstains)" if said.key is None else escape(said.key)
        table.add_row(str(said.rank), f"{member.sigma:g}", vote, escape(said.text.strip()))
    console.print(table)
    if answer.key is None:
        console.print("No member gave an answer that counts.")
    else:
        tie = ", a tie that goes to the best-ranked" if answer.vote.tie else ""
        of = f"{answer.vote.counts[answer.key]} of {len(answer.members)} votes{tie}"
        console.print(f"{answer.key} ({of})", markup=False, highlight=False)


def print_names(what: str, heading: str, summaries: Mapping[str, str]) -> None:
    """Names of one kind of thing, and a line about each below `heading`."""
    table = Table()
    table.add_column(what)
    table.add_column(heading)
    for name, summary in summaries.items():
        table.add_row(name, escape(summary))
    Console().print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """What doctor found."""
    table = Table(show_header=False)
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
    for f in findings:
        table.add_row(marks[f.state], f.what, f.detail)
    Console().print(table)
