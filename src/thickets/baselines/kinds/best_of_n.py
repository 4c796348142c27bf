"""The best of several samples of the base, chosen by the reward. Knows nothing of how the samples are drawn.

It needs a verifier: where the reward looks at the right answer, choosing by it would be looking the answers up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from thickets.baselines.base import Answer, Baseline, Setting, Spent
from thickets.baselines.kinds.self_consistency import SelfConsistency, samples
from thickets.baselines.voting import answers_of
from thickets.config import RunConfig
from thickets.store import Run
from thickets.tasks import Task
from thickets.types import SplitName


class BestOfN(Baseline):
    """Of the samples of self-consistency, for each question the one with the highest reward, the first of equals."""

    name: ClassVar[str] = "best_of_n"
    summary: ClassVar[str] = "The best of as many samples of the base by reward, where the reward needs no answer key."
    default: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = (SelfConsistency.name,)

    def unsuited(self, task: Task, config: RunConfig) -> str | None:
        if task.verifiable:
            return None
        return (
            f"the reward of task {config.task.name} is not known to do without the right answers, so choosing among "
            "samples by it would look at the answers"
        )

    def title(self, run: Run) -> str:
        return f"best of {run.config.ensemble.top_k} by reward"

    def evaluate(self, setting: Setting) -> None:
        """Nothing: the samples are there."""

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        drawn = samples(run, split)
        if drawn is None:
            return None
        # A pass that failed said nothing that could be chosen; its silence is no answer with a reward of 0.
        said = [t.outcomes for t in drawn if t.failure is None]
        if not said:
            return [Answer(None, False)] * len(run.examples(split))
        # `max` keeps the first of equals.
        return answers_of([max(outcomes, key=lambda o: o.judgement.reward) for outcomes in zip(*said, strict=True)])

    def spent(self, run: Run) -> Spent:
        return SelfConsistency().spent(run)

    def details(self, run: Run) -> Mapping[str, Any]:
        return {**SelfConsistency().details(run), "samples of": SelfConsistency.name}
