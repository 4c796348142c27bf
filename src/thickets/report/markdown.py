"""A summary as Markdown: the answer of the first screen and its tables, to be read in a pull request. Draws nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from thickets.analysis.answer import Standing, missing, sentences, standings
from thickets.analysis.changes import Changes
from thickets.analysis.evidence import Evidence
from thickets.analysis.statistics import Interval
from thickets.analysis.summary import Summary
from thickets.report.sections.answer import status, typeset
from thickets.report.sections.search import by_chance
from thickets.report.wording import NONE, count, decimal, duration, p_value, percent, points, sigma, signed


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
    if summary.test is not None:
        yield from _against(summary)
    if summary.evidence is not None:
        yield from _why(summary.evidence, len(summary.members))
    yield from _search(summary)
    yield from _members(summary)
    yield from _cost(summary)


def _against(summary: Summary) -> Iterator[str]:
    k = len(summary.members)
    for split, held_out in (("test", summary.test), ("validation", summary.validation)):
        if held_out is None:
            continue
        yield f"## {split.capitalize()}: {count(held_out.questions)} questions"
        found = standings(summary, held_out.split)
        p = "p (Holm)" if any(s.adjusted is not None for s in found) else "p"
        columns = ("", "passes", "right", "95 %", f"RandOpt@{k} minus it, points", "95 %", p)
        yield _table(columns, map(_standing, found))
    lacking = missing(summary)
    if lacking:
        yield f"Not run: {', '.join(map(_inert, lacking))}. `thickets baseline RUN` adds what is missing."
    for b in summary.baselines:
        if b.unsuited and b.reason:
            yield f"Not applicable: {_inert(b.title)}. {_inert(b.reason[:1].upper() + b.reason[1:])}."


def _standing(s: Standing) -> tuple[str, ...]:
    title = f"**{s.title}**" if s.kind == "vote" else _inert(s.title)
    who = (title, count(s.passes), percent(s.accuracy.value), _span(s.accuracy))
    if s.randopt_over is None:
        return (*who, "", "", "")
    p = s.randopt_over.p_value if s.adjusted is None else s.adjusted
    d = s.randopt_over.difference
    return (*who, points(d.value), f"{points(d.low)} to {points(d.high)}", p_value(p).removeprefix("= "))


def _why(evidence: Evidence, k: int) -> Iterator[str]:
    if evidence.changes is not None:
        yield "## Format or reasoning?"
        yield _form(evidence.changes)
    agreed = evidence.agreement
    if agreed is not None and k > 1:
        yield "## The vote"
        effective = f"{agreed.effective:.1f}" if agreed.effective == agreed.effective else NONE
        yield (
            f"Two members agree on {percent(agreed.mean)} of the questions that both answer; of the times that both "
            f"are wrong, {percent(agreed.same_errors)} are the same wrong answer. Effective voters: {effective} of {k}."
        )
        rows = [
            (
                m.name,
                count(m.questions),
                percent(m.accuracy.value),
                _span(m.accuracy),
            )
            for m in agreed.margins
        ]
        yield _table(("margin of the vote", "questions", "right", "95 %"), rows)
    if evidence.crossfit is not None or evidence.shrinkage is not None:
        yield "## How much is luck in choosing?"
    fitted = evidence.crossfit
    if fitted is not None:
        yield (
            f"Cross-fitted gain over the base on questions that did not choose: {points(fitted.gain.value)} points "
            f"({points(fitted.gain.low)} to {points(fitted.gain.high)}); between halvings it moves from "
            f"{points(fitted.spread.low)} to {points(fitted.spread.high)}."
        )
    shrunk = evidence.shrinkage
    if shrunk is not None:
        tested = (
            ""
            if shrunk.measured is None
            else f"; its lead over the base changed by {signed(shrunk.measured)} on the test"
        )
        yield (
            f"The best candidate scored {decimal(shrunk.members[0].raw)} on selection and is expected to score "
            f"{decimal(shrunk.members[0].shrunk.value)} on new questions: regression to the mean "
            f"{decimal(shrunk.regression)}{tested}."
        )


def _form(found: Changes) -> str:
    named = [("vote", found.ensemble), *((f"member {i}", t) for i, t in enumerate(found.members, 1))]
    rows = [(who, count(t.formatted), count(t.new), count(t.lost), points(t.gain)) for who, t in named]
    return _table(("", "same answer, better formatted", "new answer", "lost", "sum, points"), rows)


def _search(summary: Summary) -> Iterator[str]:
    yield "## The search"
    yield f"Base on selection: score {decimal(summary.base_score)}. Share of candidates that reach it:"
    chance = by_chance(summary)
    rows = [
        (
            sigma(r.sigma),
            count(r.tried),
            count(r.failed),
            percent(r.density.value),
            _span(r.density),
            percent(chance.get(r.sigma)),
        )
        for r in summary.sigmas
    ]
    yield _table(("sigma", "tried", "failed", "reach the base", "95 %", "by chance alone"), rows)


def _members(summary: Summary) -> Iterator[str]:
    if not summary.members:
        return
    yield "## Members"
    found = summary.evidence.shrinkage if summary.evidence else None
    shrunk = {s.candidate: s.shrunk.value for s in found.members} if found else {}
    rows = []
    for m in summary.members:
        tested = m.held_out.value if m.held_out else None
        step = sigma(m.perturbation.sigma * m.perturbation.sign).replace("-", "−")
        scores = (decimal(m.score), decimal(shrunk.get(m.candidate)), percent(tested))
        rows.append((str(m.rank), str(m.candidate), step, str(m.perturbation.seed), *scores))
    yield _table(("rank", "candidate", "sigma", "seed", "selection score", "luck taken off", "test accuracy"), rows)


def _cost(summary: Summary) -> Iterator[str]:
    if not summary.costs:
        return
    yield "## Cost"
    rows = [
        (
            _inert(c.phase),
            count(c.models),
            count(c.failed),
            duration(c.seconds),
            count(c.prompt_tokens),
            count(c.new_tokens),
        )
        for c in summary.costs
    ]
    yield _table(("phase", "models", "failed", "time", "prompt tokens", "new tokens"), rows)


def _span(i: Interval) -> str:
    return f"{percent(i.low)} to {percent(i.high)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Text on the left, numbers on the right."""
    lines = [columns, ["---", *("---:" for _ in columns[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _inert(text: str) -> str:
    """Words from outside, so that no Markdown or HTML acts in them and no table breaks."""
    return re.sub(r"([\\`*_{}\[\]<>|#!&~])", r"\\\1", " ".join(text.split()))
