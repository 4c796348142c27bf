"""Format or reasoning: how the questions that changed divide, for the vote and each member, with examples to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from thickets.analysis.changes import Changes, Kind
from thickets.analysis.summary import Question, Summary
from thickets.report import changes
from thickets.report.changes import KINDS
from thickets.report.wording import capped

_EXAMPLES, _TEXT = 2, 700
_NOBODY = "No member gave an answer that counts, so there is no text that stands for the vote."


@dataclass(frozen=True)
class Sample:
    """A question to read: what was asked, what the base wrote, what the member wrote that stands for the vote.

    Where there is no such text, `base` and `vote` say why.
    """

    label: str
    prompt: str
    base: str
    vote: str
    base_key: str | None
    key: str | None


def form(summary: Summary) -> dict[str, Any] | None:
    """Nothing before the test."""
    found = summary.evidence.changes if summary.evidence else None
    if found is None or summary.test is None:
        return None
    return {
        "found": found,
        "chart": changes.render(found),
        "kinds": KINDS,
        "samples": _samples(summary, found),
        "silent": (summary.test.base_abstained, summary.test.ensemble_abstained),
    }


def kinds_by_position(summary: Summary) -> dict[int, Kind]:
    """What became of each test question on which base and vote differ."""
    found = summary.evidence.changes if summary.evidence else None
    return {d.position: d.kind for d in found.differences} if found and found.split == "test" else {}


def _samples(summary: Summary, found: Changes) -> dict[Kind, list[Sample]]:
    chosen: dict[Kind, list[Sample]] = {kind: [] for kind in KINDS}
    for difference in found.differences:
        if len(chosen[difference.kind]) < _EXAMPLES and difference.position < len(summary.questions):
            chosen[difference.kind].append(_sample(summary.questions[difference.position]))
    return {kind: samples for kind, samples in chosen.items() if samples}


def _sample(question: Question) -> Sample:
    winner = question.vote.winner
    return Sample(
        capped(question.label, 200),
        capped(question.prompt.strip(), _TEXT),
        _words(question.base.text),
        _NOBODY if winner is None else _words(question.members[winner].text),
        _key(question.base.judgement.key),
        _key(question.vote.key),
    )


def _words(text: str | None) -> str:
    return "The text was not kept." if text is None else capped(text.strip(), _TEXT) or "(empty)"


def _key(key: str | None) -> str | None:
    return None if key is None else capped(key.strip(), _TEXT)
