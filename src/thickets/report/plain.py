"""A summary as JSON: every figure as a plain number, what is not a number as null. Knows nothing of drawing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from thickets.analysis.answer import missing, sentences
from thickets.analysis.summary import Question, Summary


def render_json(summary: Summary) -> str:
    """The summary by its own names, with the sentences of the answer; the same text for the same summary.

    Of each test question there is who had it right and the keys, not the texts: those are in the run.
    """
    # The directory's place on the owner's disk is nobody's business.
    config = {k: v for k, v in summary.config.items() if k not in ("out", "progress")}
    whole = {
        "answer": {"sentences": list(sentences(summary)), "missing": list(missing(summary))},
        **{field.name: plain(getattr(summary, field.name)) for field in fields(summary)},
        "config": plain(config),
    }
    return json.dumps(whole, ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def plain(value: Any) -> Any:
    """A value of which JSON can be made: dataclasses as objects, numbers that are none as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Question):
        return _question(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _question(question: Question) -> dict[str, Any]:
    judged = [o.judgement for o in question.members]
    return {
        "label": question.label,
        "base": {"key": question.base.judgement.key, "correct": question.base.judgement.correct},
        "members": [{"key": j.key, "correct": j.correct} for j in judged],
        "vote": {"key": question.vote.key, "correct": question.correct, "tie": question.vote.tie},
    }
