"""What became of the questions on which a model and the base differ, as stacked bars: better form, new, lost.

Knows nothing of how that is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from thickets.analysis.changes import Changes, Kind, Tally
from thickets.report.figure import Figure, Sheet, table
from thickets.report.svg import INK, LINE, MUTED, SILENT, VOTE, WRONG, Size, draw, legend_above
from thickets.report.wording import count, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# In the order in which they are shown; the words are those of the whole page.
KINDS: Mapping[Kind, str] = {
    "formatted": "same answer, better formatted",
    "new": "new answer",
    "lost": "lost",
}
_TITLE = "What became of the questions"
# More bars than these make a drawing of several screens; the table has all members.
_DRAWN = 12


def render(found: Changes) -> Figure:
    """The vote's bar and below it the first members'; what is lost points to the left."""
    rows = list(_named(found))
    drawn = rows[: _DRAWN + 1]
    few = f" The first {_DRAWN} members; the table has all {len(found.members)}." if len(rows) > len(drawn) else ""
    words = _in_words(drawn)
    return Figure(
        name="format-or-reasoning.csv",
        title=_TITLE,
        svg=draw("form", words, 64 + 25 * len(drawn), lambda axes, size: _paint(axes, size, drawn)),
        alternative=words,
        data=table(("who", "candidate", *KINDS, "questions", "gain"), _data(found)),
        caption=(
            "Questions on which the base and the vote, or one member, differ: to the right those gained, to the left "
            f"those lost. Behind each bar: formatted + new − lost.{few}"
        ),
        sheet=sheet(found),
    )


def sheet(found: Changes) -> Sheet:
    """The same as a table, with every member."""
    rows = [(who, count(t.formatted), count(t.new), count(t.lost), points(t.gain)) for who, t in _named(found)]
    return Sheet(_TITLE, ("", *KINDS.values(), "sum, points"), rows, strong=(0,))


def _named(found: Changes) -> Iterator[tuple[str, Tally]]:
    yield "vote", found.ensemble
    for rank, tally in enumerate(found.members, 1):
        yield f"member {rank}", tally


def _data(found: Changes) -> Iterator[tuple[object, ...]]:
    candidates = (None, *found.candidates)
    for (who, t), candidate in zip(_named(found), candidates, strict=True):
        yield who, candidate, t.formatted, t.new, t.lost, t.questions, t.gain


def _in_words(rows: Sequence[tuple[str, Tally]]) -> str:
    told = "; ".join(f"{who}: {t.formatted} formatted, {t.new} new, {t.lost} lost" for who, t in rows)
    return (
        f"Of {rows[0][1].questions} questions, how many became right with the same answer better formatted, with a "
        f"new answer, or were lost. {told}."
    )


def _paint(axes: Axes, size: Size, rows: Sequence[tuple[str, Tally]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    places = range(len(rows))
    heights = [0.76, *(0.52 for _ in rows[1:])]
    formatted, new, lost = ([getattr(t, kind) for _, t in rows] for kind in KINDS)
    axes.barh(places, formatted, heights, color=SILENT, linewidth=0, label=KINDS["formatted"])
    axes.barh(places, new, heights, left=formatted, color=VOTE, linewidth=0, label=KINDS["new"])
    axes.barh(places, [-n for n in lost], heights, color=WRONG, linewidth=0, label=KINDS["lost"])
    axes.axvline(0, color=MUTED, linewidth=1)
    right = max([1, *(f + n for f, n in zip(formatted, new, strict=True))])
    left = max(lost)
    room = (right + left) * (0.5 if size.name == "narrow" else 0.17)
    for y, (_, t) in enumerate(rows):
        at = t.formatted + t.new + room * 0.06
        axes.text(at, y, f"{t.formatted} + {t.new} − {t.lost}", va="center", color=INK, fontsize=size.text - 1)
    axes.set_xlim(-left * 1.04 - right * 0.01, right + room)
    axes.set_ylim(len(rows) - 0.5, -0.6)
    axes.set_yticks(places, [who for who, _ in rows])
    axes.set_xlabel("questions")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if size.name == "narrow" else 8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: count(abs(v))))
    axes.grid(axis="x", color=LINE, linewidth=1)
    legend_above(axes, size)
