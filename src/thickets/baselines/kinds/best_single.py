"""The best candidate alone: RandOpt without its vote. Knows nothing of votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, spent_on
from thickets.baselines.voting import answers_of
from thickets.ensemble.deciding import outcomes_of
from thickets.store import Run
from thickets.types import SplitName


class BestSingle(Baseline):
    """The member that ranks first on selection; the run has its answers already."""

    name: ClassVar[str] = "best_single"
    summary: ClassVar[str] = "The best single member: the first by rank, at one pass a question."
    default: ClassVar[bool] = True

    def title(self, run: Run) -> str:
        return "best single member"

    def evaluate(self, setting: Setting) -> None:
        """Nothing: members answer the held-out questions in every run."""

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        questions, best = len(run.examples(split)), _best(run)
        trials = [] if best is None else run.trials(split, [best])
        return answers_of(outcomes_of(trials, questions)[0]) if questions and trials else None

    def same_as(self, run: Run) -> str | None:
        """A vote of one member is that member's answer."""
        return "vote" if run.config.ensemble.top_k == 1 else None

    def spent(self, run: Run) -> Spent:
        """The search, without which it could not have been chosen, and its own answers."""
        best = _best(run)
        held_out = [t for split in HELD_OUT for t in run.scores(split) if t.candidate == best and best is not None]
        return spent_on(1, [*(t for t in run.scores("selection") if t.candidate is not None), *held_out])

    def details(self, run: Run) -> Mapping[str, Any]:
        best = _best(run)
        return {} if best is None else {"candidate": best}


def _best(run: Run) -> int | None:
    members: list[int] = run.meta("members") or []
    return members[0] if members else None
