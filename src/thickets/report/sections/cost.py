"""What it cost: the run by phase, and each baseline as if it stood alone. Works nothing out but sums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from thickets.analysis.summary import Cost, Summary
from thickets.baselines.base import Spent
from thickets.report.figure import Data, Sheet, table
from thickets.report.wording import NONE, capped, count, duration, percent, ratio

_NAMES = ("models", "failed", "prompt_tokens", "new_tokens", "seconds", "switch_seconds")
# Longest detail, in characters: a template of the user's may be long.
_DETAIL = 300
_SPENT = ("passes", "models", "prompt_tokens", "new_tokens", "seconds", "training_seconds")


def cost(summary: Summary) -> dict[str, Any]:
    """Tables of what was recorded, with failures and notes."""
    spent = [(b, b.spent) for b in summary.baselines if b.spent is not None]
    return {
        "phases": phases(summary) if summary.costs else None,
        "baselines": baselines(summary) if spent else None,
        "details": [(b.title, [(name, in_words(v)) for name, v in b.details.items()]) for b, _ in spent if b.details],
        "data": Data(
            "cost.csv", table(("phase", *_NAMES), [(c.phase, *_numbers(c)) for c in _with_sum(summary.costs)])
        ),
        "baseline_data": Data(
            "cost-of-baselines.csv",
            table(("model", *_SPENT), ((who, *(getattr(s, n) for n in _SPENT)) for who, s in _alone(summary))),
        ),
    }


def phases(summary: Summary) -> Sheet:
    """What each phase took, and below several their sum."""
    columns = (
        *("phase", "models", "failed", "time", "new tokens", "new tokens/s", "prompt tokens", "placing weights"),
    )
    found = _with_sum(summary.costs)
    return Sheet("Cost by phase", columns, list(map(_phase, found)), strong=[len(found) - 1] if len(found) > 1 else [])


def _phase(c: Cost) -> tuple[str, ...]:
    speed, placing = ratio(c.new_tokens, c.seconds), ratio(c.switch_seconds, c.seconds)
    spent = (duration(c.seconds), count(c.new_tokens), count(speed), count(c.prompt_tokens), percent(placing))
    return c.phase, count(c.models), count(c.failed), *spent


def baselines(summary: Summary) -> Sheet:
    """What each baseline took as if it stood alone, and below them RandOpt."""
    found = list(_alone(summary))
    trained = any(s.training_seconds is None or s.training_seconds for _, s in found)
    columns = ("", "passes a question", "models", "prompt tokens", "new tokens", "time")
    rows = [
        (
            *(who, count(s.passes), count(s.models), count(s.prompt_tokens), count(s.new_tokens), duration(s.seconds)),
            *([_training(s)] if trained else []),
        )
        for who, s in found
    ]
    strong = [len(rows) - 1] if _randopt(summary) else []
    return Sheet("Cost of each as if it stood alone", (*columns, *(["training"] if trained else [])), rows, strong)


def _training(spent: Spent) -> str:
    """Trained elsewhere is not trained for nothing."""
    if spent.training_seconds is None:
        return "not known"
    return duration(spent.training_seconds) if spent.training_seconds else NONE


def _alone(summary: Summary) -> Iterator[tuple[str, Spent]]:
    yield from ((b.title, b.spent) for b in summary.baselines if b.spent is not None)
    spent = _randopt(summary)
    if spent is not None:
        yield f"RandOpt@{spent.passes}", spent


def _randopt(summary: Summary) -> Spent | None:
    """The search, and what its phases on the held-out splits took, the base's answers there among them."""
    mine = summary.randopt
    if summary.test is None or not mine:
        return None
    models, prompts, tokens = (sum(getattr(c, n) for c in mine) for n in ("models", "prompt_tokens", "new_tokens"))
    return Spent(len(summary.members), models, prompts, tokens, sum(c.seconds for c in mine))


def in_words(value: Any) -> str:
    """One of a baseline's details, whatever JSON value it is."""
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", "−") if math.isfinite(value) else NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {in_words(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return capped(str(value), _DETAIL)


def _with_sum(costs: Sequence[Cost]) -> list[Cost]:
    """A row for each phase and, below several, their sum."""
    return [*costs, *([Cost("all", *map(sum, zip(*map(_numbers, costs), strict=True)))] if len(costs) > 1 else [])]


def _numbers(c: Cost) -> list[Any]:
    return [getattr(c, name) for name in _NAMES]
