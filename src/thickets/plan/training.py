"""What baselines take beside evaluations: answers to learn from, memory to train in, sums of steps. Knows no run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from thickets.baselines.base import Baseline
from thickets.config import RunConfig
from thickets.plan.given import Range
from thickets.plan.questions import Questions
from thickets.plan.shape import ModelShape


@dataclass(frozen=True)
class TrainingPlan:
    """One training: the answers that are generated to learn from, with their tokens.

    `memory` is in bytes on each of `gpus` GPUs: weights, gradients and optimiser. Neither time nor activations count.
    """

    name: str
    answers: int
    prompt_tokens: float
    new_tokens: Range
    memory: float
    gpus: int


def plan_trainings(
    config: RunConfig,
    baselines: Sequence[Baseline],
    trained: Collection[str],
    questions: Questions,
    answer: Range,
    shape: ModelShape,
    itemsize: int,
) -> list[TrainingPlan]:
    """What the baselines have to train, but for those that are `trained` already. Raises `ConfigError`."""
    selection = next(s for s in questions.splits if s.split == "selection")
    plans = []
    for baseline in baselines:
        training = baseline.training(config, selection.examples)
        if training is None or baseline.name in trained:
            continue
        n = training.answers
        plans.append(
            TrainingPlan(
                baseline.name.replace("_", " "),
                n,
                n * selection.prompt_tokens / selection.examples,
                answer.times(n),
                shape.parameters * (training.bytes_a_weight or itemsize) / training.gpus,
                training.gpus,
            )
        )
    return plans


def not_counted(trainings: Sequence[TrainingPlan]) -> list[str]:
    """Sentences about what of these trainings no figure of the plan has in it."""
    return [
        f"{t.name}: how long its training takes is not in the hours, no run has measured it; activations, adapters and "
        "the key-value cache of its answers are not in its memory"
        for t in trainings
    ]
