"""What a baseline is: another way to spend the same inference, evaluated beside a run. Knows nothing of drawing.

A new baseline is one file in `baselines/kinds` with one subclass of `Baseline`; it is found by its `name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from thickets.config import RunConfig
from thickets.errors import ConfigError
from thickets.plugins import discover, lookup
from thickets.pool import Pool
from thickets.searching.evaluation import Asking, Evaluator, Model
from thickets.searching.progress import Progress
from thickets.searching.scoring import Scorer
from thickets.store import Run
from thickets.tasks import Task
from thickets.types import Example, Sampling, SplitName, TrialScore

# What is reported on; a baseline that chooses something does so on the selection split.
HELD_OUT: tuple[SplitName, ...] = ("validation", "test")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a baseline says to one question: its vote key (`None`: none that counts) and whether that is right."""

    key: str | None
    correct: bool


@dataclass(frozen=True)
class Spent:
    """What a baseline took.

    `passes` is generations a question at inference, to be held against RandOpt's K. `models` were evaluated, on
    whatever split, with all their tokens and engine seconds; `training_seconds` is what was spent outside the engines,
    `None` where that is not known.
    Each baseline is counted as if it stood alone: what two of them share is in the figures of both.
    """

    passes: int
    models: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    training_seconds: float | None = 0.0


@dataclass(frozen=True)
class Training:
    """What is trained before it is evaluated: on so many answers to selection questions, generated for it.

    `bytes_a_weight` are those of trained weights, their gradients and the optimiser, divided among `gpus` GPUs; 0 where
    the weights stay as they are and only adapters are trained.
    """

    answers: int
    bytes_a_weight: int
    gpus: int = 1


class Setting:
    """What a baseline works with: the run it stands beside, and the engines, which start when first asked for.

    `config` is the run's, with what may differ when a run goes on (`baselines`, `engine`, …) as it is now.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        task: Task,
        splits: Mapping[SplitName, Sequence[Example]],
        sampling: Sampling,
        scorer: Scorer,
        progress: Progress,
        start: Callable[[], Pool],
        stop: Callable[[], None],
    ) -> None:
        self.run, self.config, self.task, self.splits, self.sampling = run, config, task, splits, sampling
        self.scorer, self.progress = scorer, progress
        self._start, self._stop = start, stop

    @cached_property
    def pool(self) -> Pool:
        """The run's engines, with its base model."""
        return self._start()

    def release(self) -> None:
        """Close the engines, whose memory is wanted for something else; `pool` starts them again."""
        vars(self).pop("pool", None)
        self._stop()

    def evaluator(self, name: str, asking: Asking | None = None, pool: Pool | None = None) -> Evaluator:
        """Records under the baseline's name what it evaluates. `pool`: engines of another model."""
        return Evaluator(
            self.run,
            pool or self.pool,
            self.scorer,
            self.splits,
            self.sampling,
            self.config.keep_texts == "all",
            self.run.ledger(name),
            asking,
        )

    def evaluate(
        self,
        name: str,
        title: str,
        split: SplitName,
        models: Sequence[Model],
        asking: Asking | None = None,
        pool: Pool | None = None,
    ) -> None:
        """Evaluate what has no trial under that name yet, and show how far it is. Starts no engine for nothing.

        `pool`: engines of another model.
        """
        recorded = self.run.ledger(name).recorded(split)
        earlier = sum(number in recorded for number, _ in models)
        if earlier == len(models) or not self.splits[split]:
            return
        evaluator = self.evaluator(name, asking, pool)
        self.progress.begin(f"{title}, {split}", len(models), earlier, None)
        for trial in evaluator.evaluate(split, models):
            self.progress.trial(trial)
        self.progress.end()


class Baseline(ABC):
    """One baseline. `evaluate` does what is missing; the rest reads the run alone, so that reports need no engine."""

    name: ClassVar[str]
    # One line for `thickets baseline --list`.
    summary: ClassVar[str]
    # Whether `--baselines default` has it.
    default: ClassVar[bool] = False
    # Baselines whose trials it reads; they are evaluated before it.
    needs: ClassVar[tuple[str, ...]] = ()
    # Whether its models share steps, whose float32 sum engines keep beside the copy of the base.
    shares_steps: ClassVar[bool] = False

    @classmethod
    def missing(cls) -> str | None:
        """Why this cannot be run here (an extra that is not installed), or `None` if it can."""
        return None

    def unsuited(self, task: Task, config: RunConfig) -> str | None:
        """Why this says nothing about such a run, in a sentence for the report; `None` where it does."""
        return None

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        """What has to stay as it is from its first trial to its last, as JSON values by readable name."""
        return {}

    def check(self, setting: Setting) -> None:
        """Raise a `ThicketsError` for what would stop it, before hours are spent on what comes first."""

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        """How many models it evaluates on which split, for `thickets plan`."""
        return {}

    def training(self, config: RunConfig, questions: int) -> Training | None:
        """What it trains before that on so many selection questions, for `thickets plan`; `None`: nothing."""
        return None

    @abstractmethod
    def title(self, run: Run) -> str:
        """What reports call it, with its number of passes: `self-consistency@10`."""

    @abstractmethod
    def evaluate(self, setting: Setting) -> None:
        """Evaluate what the run has no record of yet. Raises a `ThicketsError`; what was recorded is kept."""

    @abstractmethod
    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        """Its answers to the questions of a held-out split, in order; `None` until all have been recorded."""

    @abstractmethod
    def spent(self, run: Run) -> Spent:
        """What it took so far."""

    def same_as(self, run: Run) -> str | None:
        """Whose answers its own are in this run, so that comparing them is no comparison: `vote` where it is
        RandOpt@K itself, `base` where they are the base's; `None` where they are its own.
        """
        return None

    def details(self, run: Run) -> Mapping[str, Any]:
        """Its settings and whatever else the report should say of it, as JSON values by readable name."""
        return {}


def spent_on(passes: int, trials: Iterable[TrialScore]) -> Spent:
    """What these evaluations took."""
    counted = list(trials)
    return Spent(
        passes,
        len(counted),
        sum(t.prompt_tokens for t in counted),
        sum(t.new_tokens for t in counted),
        sum(t.seconds for t in counted),
    )


def baseline_names() -> dict[str, str]:
    """Names and one-line summaries."""
    return {name: cls.summary for name, cls in known_baselines().items()}


def make_baseline(name: str) -> Baseline:
    """The baseline of that name. Raises `ConfigError`."""
    return lookup("baseline", name, known_baselines(), ConfigError)()


def known_baselines() -> dict[str, type[Baseline]]:
    """All baselines by name."""
    return discover("thickets.baselines.kinds", Baseline)
