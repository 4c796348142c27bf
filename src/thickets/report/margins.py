"""How far a wide margin of the vote can be trusted, as a calibration curve. Knows nothing of how votes are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from thickets.analysis.agreement import Agreement, Margin
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import LINE, VOTE, draw
from thickets.report.wording import count, percent, typeset, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE = "Can a wide margin be trusted?"


def render(found: Agreement) -> Figure | None:
    """Accuracy against the margin; nothing where no question has a vote."""
    if not found.margins:
        return None
    words = _in_words(found.margins)
    return Figure(
        name="accuracy-by-margin.csv",
        title=_TITLE,
        svg=draw("margins", words, 260, lambda axes, _: _paint(axes, found.margins)),
        alternative=words,
        data=table(
            ("from", "up_to", "questions", "accuracy", "low", "high"),
            ((m.low, m.high, m.questions, m.accuracy.value, m.accuracy.low, m.accuracy.high) for m in found.margins),
        ),
        caption=_caption(found),
        sheet=sheet(found),
    )


def sheet(found: Agreement) -> Sheet:
    """The same as a table; draws nothing."""
    rows = [(typeset(m.name), count(m.questions), with_interval(m.accuracy)) for m in found.margins]
    return Sheet(_TITLE, ("margin of the vote", "questions", "right (95 %)"), rows)


def undecided(found: Agreement) -> str:
    """A sentence about questions without a vote; empty where there are none."""
    if not found.undecided:
        return ""
    of = "question" if found.undecided == 1 else "questions"
    return f"On {count(found.undecided)} {of} no member gave an answer that counts."


def _caption(found: Agreement) -> str:
    said = (
        "Accuracy of the vote by its margin: the winner's votes minus those of the next answer, as a share of all "
        f"{found.members}; 100 is a unanimous vote. In brackets: questions. Bars: 95\u202f% intervals."
    )
    return f"{said} {undecided(found)}".rstrip()


def _in_words(margins: Sequence[Margin]) -> str:
    told = "; ".join(f"{typeset(m.name)}: {percent(m.accuracy.value)} right of {m.questions}" for m in margins)
    return f"Accuracy of the vote by its margin. {told}."


def _short(margin: Margin) -> str:
    """`20–40` of per cent, `100` where all agree."""
    return "100" if margin.low == margin.high else f"{margin.low * 100:.0f}–{margin.high * 100:.0f}"


def _paint(axes: Axes, margins: Sequence[Margin]) -> None:
    from matplotlib.ticker import FuncFormatter

    places = range(len(margins))
    low, high, value = ([getattr(m.accuracy, name) for m in margins] for name in ("low", "high", "value"))
    axes.vlines(places, low, high, color=VOTE, linewidth=7, alpha=0.28, capstyle="round")
    axes.plot(places, value, color=VOTE, linewidth=2.4, marker="o", markersize=8)
    axes.set_xlim(-0.5, len(margins) - 0.5)
    axes.set_ylim(-0.02, 1.04)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v * 100:.4g}\u202f%"))
    axes.set_xticks(places, [f"{_short(m)}\n({count(m.questions)})" for m in margins])
    axes.grid(axis="y", color=LINE, linewidth=1)
    axes.set_xlabel("margin of the vote, per cent of the members (questions)")
