"""What RandOpt is held against: each baseline's figures on the held-out splits. Reads the run alone; draws nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thickets.analysis.statistics import Interval, Paired, paired, share
from thickets.analysis.voting import Voted
from thickets.baselines.base import HELD_OUT, Answer, Baseline, Spent, known_baselines
from thickets.store import Run
from thickets.types import SplitName


@dataclass(frozen=True)
class BaselineHeldOut:
    """A baseline on one held-out split. `randopt_over` is RandOpt@K minus the baseline, on the same questions;
    `over_base` the baseline minus the base. `abstained` is the share of questions without an answer that counts.
    """

    split: SplitName
    accuracy: Interval
    randopt_over: Paired
    over_base: Paired
    abstained: float
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class BaselineFigures:
    """One baseline. Without figures on any split, `reason` says why: it says nothing here, or was not run.

    `default` are those without which a gain says little: the report names what is missing of them. `same_as` is whose
    answers its own are (`vote`, `base`), as `Baseline.same_as` says.
    """

    name: str
    title: str
    default: bool
    held_out: tuple[BaselineHeldOut, ...]
    spent: Spent | None
    details: Mapping[str, Any]
    reason: str | None
    same_as: str | None = None

    def on(self, split: SplitName) -> BaselineHeldOut | None:
        """Its figures on a split."""
        return next((h for h in self.held_out if h.split == split), None)

    @property
    def unsuited(self) -> bool:
        """Whether it says nothing about such a run, so that nothing is missing without it."""
        return self.reason is not None and self.reason != NOT_RUN and self.reason != UNFINISHED


NOT_RUN = "not run"
UNFINISHED = "not finished"


def baseline_figures(run: Run, votes: Mapping[SplitName, Voted]) -> tuple[BaselineFigures, ...]:
    """Every default baseline, whether or not it was run, and every other one that was; on the splits voted on."""
    found = (_figures(cls(), run, votes) for cls in known_baselines().values())
    return tuple(f for f in found if f.default or f.reason != NOT_RUN)


def _figures(baseline: Baseline, run: Run, votes: Mapping[SplitName, Voted]) -> BaselineFigures:
    held_out = tuple(_held_out(baseline, run, votes))
    return BaselineFigures(
        name=baseline.name,
        title=baseline.title(run),
        default=baseline.default,
        held_out=held_out,
        spent=baseline.spent(run) if held_out else None,
        details=baseline.details(run) if held_out else {},
        reason=None if held_out else _reason(baseline, run),
        same_as=baseline.same_as(run) if held_out else None,
    )


def _held_out(baseline: Baseline, run: Run, votes: Mapping[SplitName, Voted]) -> Iterator[BaselineHeldOut]:
    if baseline.name in (run.meta("unsuited") or {}):
        return
    for split in HELD_OUT:
        answers = baseline.answers(run, split) if split in votes else None
        if not answers:
            continue
        right = [a.correct for a in answers]
        yield BaselineHeldOut(
            split,
            share(sum(right), len(right)),
            paired(right, votes[split].right),
            paired(votes[split].base_right, right),
            sum(a.key is None for a in answers) / len(answers),
            tuple(answers),
        )


def _reason(baseline: Baseline, run: Run) -> str:
    unsuited: Mapping[str, str] = run.meta("unsuited") or {}
    if baseline.name in unsuited:
        return unsuited[baseline.name]
    return UNFINISHED if baseline.name in run.ledgers() else NOT_RUN
