"""Evaluates models on a split: prompts to the pool, completions to the task, trials to the run.

Knows nothing of how models are proposed or kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from thickets.errors import CandidateFailed
from thickets.pool import Done, Pool, Work
from thickets.store import Run
from thickets.tasks.base import Task
from thickets.types import Example, Judgement, Outcome, Perturbation, Sampling, SplitName, Trial


class Evaluator:
    """One task's splits under one pool. Every finished trial is recorded in the run before it is handed on."""

    def __init__(
        self,
        run: Run,
        pool: Pool,
        task: Task,
        splits: Mapping[SplitName, Sequence[Example]],
        sampling: Sampling,
        keep_all_texts: bool = False,
    ) -> None:
        self.run = run
        self.pool = pool
        self.task = task
        self.splits = splits
        self.sampling = sampling
        self.keep_all_texts = keep_all_texts

    def evaluate(self, split: SplitName, models: Iterable[tuple[int | None, Perturbation | None]]) -> Iterator[Trial]:
        """Evaluate models that have no trial on this split yet, in any order; `(None, None)` is the base.

        Raises `CandidateFailed` where the base itself cannot be scored: then nothing can.
        """
        recorded = self.run.recorded(split)
        prompts = [e.prompt for e in self.splits[split]]
        work = (Work(split, n, p, prompts, self.sampling) for n, p in models if n not in recorded)
        for done in self.pool.evaluate(work):
            trial = self._trial(done)
            if trial.failure is not None and trial.candidate is None:
                raise CandidateFailed(f"the base model itself cannot be scored on the {split} split: {trial.failure}")
            # Texts of thousands of candidates are gigabytes; those of the few that the report shows are kept.
            self.run.record(trial, self.keep_all_texts or split != "selection" or trial.candidate is None)
            yield trial

    def _trial(self, done: Done) -> Trial:
        work = done.work
        outcomes: tuple[Outcome, ...] = ()
        failure = done.failure
        if failure is None:
            try:
                judged = self._judge(work.split, [g.text for g in done.generations])
            except CandidateFailed as error:
                failure = str(error)
            else:
                outcomes = tuple(
                    Outcome(j, g.prompt_tokens, g.new_tokens, g.finish, g.text)
                    for j, g in zip(judged, done.generations, strict=True)
                )
        return Trial(
            work.split, work.candidate, work.perturbation, outcomes, failure, done.seconds, done.switch_seconds
        )

    def _judge(self, split: SplitName, texts: Sequence[str]) -> list[Judgement]:
        examples = self.splits[split]
        try:
            judged = self.task.judge_all(examples, texts)
        except CandidateFailed:
            raise
        except Exception as error:
            # A task of the user's own may break on any text; that fails the candidate and not the run.
            raise CandidateFailed(f"task {self.task.name!r} raised {type(error).__name__}: {error}") from error
        if len(judged) != len(examples):
            raise CandidateFailed(f"task {self.task.name!r} gave {len(judged)} judgements for {len(examples)} examples")
        for example, judgement in zip(examples, judged, strict=True):
            if not isinstance(judgement.reward, int | float) or not math.isfinite(judgement.reward):
                raise CandidateFailed(f"the reward of {example.label} is {judgement.reward}, which is not a number")
        return judged
