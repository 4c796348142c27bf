"""The page in sentences and tables, chapter by chapter, as Markdown and the terminal show it.

Draws nothing, and knows nothing of how a table is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan

from thickets.analysis.agreement import Agreement
from thickets.analysis.answer import Standing, missing, standings
from thickets.analysis.changes import Changes
from thickets.analysis.evidence import Evidence
from thickets.analysis.summary import HeldOut, Summary
from thickets.report import changes, curves, density, discordance, figures, margins
from thickets.report.figure import Sheet
from thickets.report.sections import cost, members, search, tasks, votes
from thickets.report.wording import (
    NONE,
    bounds,
    count,
    decimal,
    p_value,
    percent,
    points,
    points_with_interval,
    signed,
    with_interval,
)


@dataclass(frozen=True)
class Chapter:
    """Sentences, and tables below them. Either may quote a model, a task or a user: all of it is text."""

    title: str
    words: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()


def chapters(summary: Summary) -> Iterator[Chapter]:
    """Everything there are figures for, in the order of the page."""
    yield from results(summary)
    yield from task_by_task(summary)
    evidence = summary.evidence
    if evidence is not None:
        yield from _why(summary, evidence)
    yield _search(summary)
    if evidence is not None and evidence.curves is not None:
        found = curves.sheets(evidence.curves)
        if found:
            yield Chapter("Would more candidates or members help?", (curves.HOW,), found)
    if summary.members:
        yield Chapter("Members", (), (members.sheet(summary),))
    yield from _spent(summary)


def results(summary: Summary) -> Iterator[Chapter]:
    """Base, baselines and RandOpt@K on both held-out splits, and what is missing."""
    for held_out in (summary.test, summary.validation):
        if held_out is not None:
            title = f"{held_out.split.capitalize()}: {count(held_out.questions)} questions"
            sheet = _standings(summary, held_out)
            yield Chapter(title, tuple(_lacking(summary, held_out)), (sheet,))


def task_by_task(summary: Summary) -> Iterator[Chapter]:
    """Each of several tasks by itself, and how the candidates' ranks go together."""
    if summary.parts:
        yield Chapter("Task by task", (), (tasks.results(summary), tasks.related(summary)))


def _standings(summary: Summary, held_out: HeldOut) -> Sheet:
    found = standings(summary, held_out.split)
    p = "p (Holm)" if any(s.adjusted is not None for s in found) else "p"
    columns = ("", "passes", "right (95 %)", f"RandOpt@{len(summary.members)} minus it, points", p)
    strong = [i for i, s in enumerate(found) if s.kind == "vote"]
    return Sheet(held_out.split, columns, list(map(_standing, found)), strong)


def _standing(s: Standing) -> tuple[str, ...]:
    who = (s.title, count(s.passes), with_interval(s.accuracy))
    if s.randopt_over is None:
        return (*who, "", "")
    p = s.randopt_over.p_value if s.adjusted is None else s.adjusted
    return (*who, points_with_interval(s.randopt_over.difference), p_value(p).removeprefix("= "))


def _lacking(summary: Summary, held_out: HeldOut) -> Iterator[str]:
    if held_out.members_failed:
        yield (
            f"{count(held_out.members_failed)} of the {len(summary.members)} members could not be evaluated on the "
            f"{held_out.split} and abstain on all of it."
        )
    if held_out.split != "test":
        return
    lacking = missing(summary)
    if lacking:
        yield f"Not run: {', '.join(lacking)}. `thickets baseline RUN` adds what is missing."
    for b in summary.baselines:
        if b.unsuited and b.reason:
            yield f"Not applicable: {b.title}. {b.reason[:1].upper()}{b.reason[1:]}."


def _why(summary: Summary, evidence: Evidence) -> Iterator[Chapter]:
    if evidence.changes is not None and summary.test is not None:
        told = (_form(evidence.changes), _silent(summary.test))
        yield Chapter("Format or reasoning?", told, (changes.sheet(evidence.changes),))
    if evidence.agreement is not None and summary.test is not None and len(summary.members) > 1:
        yield _vote(evidence.agreement, summary.test)
    words = [*_crossfit(evidence), *_shrinkage(evidence)]
    if words:
        sheets = (members.priors(evidence.shrinkage),) if evidence.shrinkage else ()
        yield Chapter("How much is luck in choosing?", words, sheets)


def _form(found: Changes) -> str:
    t = found.ensemble
    if not t.formatted + t.new:
        return f"The vote gained no question that the base has wrong; it lost {count(t.lost)} of {count(t.questions)}."
    return (
        f"The vote gained {count(t.formatted + t.new)} of {count(t.questions)} questions. On {count(t.formatted)} of "
        f"them, {with_interval(found.form)}, the base's text gives the same answer in a form that did not count; on "
        f"{count(t.new)} the answer is new. It lost {count(t.lost)}."
    )


def _silent(test: HeldOut) -> str:
    base, vote = percent(test.base_abstained), percent(test.ensemble_abstained)
    return f"No answer that counts: base {base} of the questions, vote {vote}."


def _vote(found: Agreement, test: HeldOut) -> Chapter:
    effective = f"{found.effective:.1f}" if found.effective == found.effective else NONE
    words = [
        f"Two members agree on {percent(found.mean)} of the questions that both answer; of the times that both are "
        f"wrong, {percent(found.same_errors)} are the same wrong answer. Effective voters: {effective} of "
        f"{found.members}.",
        *filter(None, (margins.undecided(found),)),
    ]
    return Chapter("The vote", words, (margins.sheet(found), figures.sheet_by_k(test), votes.additions(found)))


def _crossfit(evidence: Evidence) -> Iterator[str]:
    found = evidence.crossfit
    if found is not None:
        yield (
            "Cross-fitted gain over the base on questions that did not choose: "
            f"{points(found.gain.value)} points ({points(found.gain.low)} to {points(found.gain.high)}); between "
            f"halvings it moves from {points(found.spread.low)} to {points(found.spread.high)}, and in "
            f"{percent(found.worse)} of them it is below the base."
        )


def _shrinkage(evidence: Evidence) -> Iterator[str]:
    found = evidence.shrinkage
    if found is not None:
        tested = ""
        if found.measured is not None:
            tested = f"; its lead over the base changed by {signed(found.measured)} on the test"
        yield (
            f"The best candidate scored {decimal(found.members[0].raw)} on selection and is expected to score "
            f"{decimal(found.members[0].shrunk.value)} on new questions: regression to the mean "
            f"{decimal(found.regression)}{tested}."
        )


def _search(summary: Summary) -> Chapter:
    words = [
        f"Base on selection: score {decimal(summary.base_score)} (mean reward), accuracy "
        f"{percent(summary.base_selection_accuracy)}."
    ]
    sheets = [search.sheet(summary)]
    evidence = summary.evidence
    if evidence is not None and evidence.density is not None:
        wide = evidence.density.curves[-1].with_luck[evidence.density.zero]
        if not isnan(evidence.density.luck):
            words.append(f"With the base's own luck on these questions, the share over all sigmas is {bounds(wide)} %.")
        sheets.append(density.sheet(evidence.density))
    if evidence is not None and evidence.discordance is not None:
        words.append(discordance.caption(evidence.discordance))
        sheets += discordance.sheets(evidence.discordance)
    return Chapter("The search", words, sheets)


def _spent(summary: Summary) -> Iterator[Chapter]:
    alone = any(b.spent is not None for b in summary.baselines)
    if summary.costs:
        sheets = (cost.phases(summary), *([cost.baselines(summary)] if alone else []))
        yield Chapter("Cost", (), sheets)
    if summary.failures:
        words = [f"{count(times)} × {reason}" for reason, times in summary.failures]
        yield Chapter("Candidates that could not be scored", words)
    if summary.notes:
        yield Chapter("Notes", summary.notes)
