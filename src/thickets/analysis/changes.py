"""Format or reasoning: what became of each held-out question on which the ensemble, or a member, and the base differ.

Reads the run alone; knows nothing of drawing. Whether a text gives the right answer, its task says (`Task.holds`).

A question that the base has wrong and the ensemble right is *formatted* where the base's text gives the right answer
all the same, in a form that its vote key did not catch, and *new* otherwise. One that the base has right and the
ensemble wrong is *lost*. Where both are right or both are wrong nothing is counted, whatever their words.

What is right is known without the task's data: it is what was judged right on this question, in the base's or any
member's answer. The rule for words and numbers stands in `tasks.holding`; tasks whose answers are neither (programs,
puzzles, formulas) have their own, as methods of the task's class. So the decision needs nothing but what the run has
recorded, can be repeated on old runs, and runs no code of the user's. It leans to *new*: a right number in the middle
of a calculation does not count, nor a program that is right but unlike every one that was judged right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from thickets.analysis.parts import parts
from thickets.analysis.statistics import Interval, share
from thickets.analysis.voting import Voted, members_of, voted
from thickets.store import Run
from thickets.tasks import Right, Task, task_class
from thickets.types import Outcome, SplitName

Kind = Literal["formatted", "new", "lost"]

# With so few different answers on a whole split they are a closed set (labels, letters), and each is a rival of each.
_CLOSED = 26
# Right completions that are compared with, for tasks that compare texts.
_TEXTS = 20


@dataclass(frozen=True)
class Difference:
    """One question on which base and ensemble differ. `position` counts from 0 in the split; keys are `None` where
    nothing was answered that counts.
    """

    position: int
    label: str
    kind: Kind
    base_key: str | None
    key: str | None


@dataclass(frozen=True)
class Tally:
    """How many of `questions` one model has right where the base has not (`formatted`, `new`), or `lost`."""

    questions: int
    formatted: int
    new: int
    lost: int

    @property
    def gain(self) -> float:
        """The difference in accuracy to the base, which is the sum of the three."""
        return (self.formatted + self.new - self.lost) / self.questions


@dataclass(frozen=True)
class Changes:
    """Ensemble and members (best first, by their numbers in `candidates`) against the base on one split.

    `form` is the share of the questions gained by the ensemble that were only formatted better; `differences` are all
    that `ensemble` counts, in order.
    """

    split: SplitName
    ensemble: Tally
    form: Interval
    candidates: tuple[int, ...]
    members: tuple[Tally, ...]
    differences: tuple[Difference, ...]


def changes(run: Run, split: SplitName = "test") -> Changes | None:
    """What became of each question of a split; `None` until base and members were evaluated on it."""
    found = voted(run, split, members_of(run, run.scores("selection")))
    return changes_of(run, found) if found is not None and found.base else None


def changes_of(run: Run, found: Voted) -> Changes:
    """What became of each question that was voted on."""
    split, base, members, examples = found.split, found.base, found.members, run.examples(found.split)
    asked: list[_Question] = []
    for start, end, task in _tasks(run, split, len(examples)):
        answers = list(zip(base[start:end], *(m[start:end] for m in members), strict=True))
        closed = _closed(answers)
        asked += [_Question(task, a, e.columns, closed) for a, e in zip(answers, examples[start:end], strict=True)]
    kinds = [question.kind(right) for question, right in zip(asked, found.right, strict=True)]
    ensemble = _tally(kinds)
    return Changes(
        split=split,
        ensemble=ensemble,
        form=share(ensemble.formatted, ensemble.formatted + ensemble.new),
        candidates=found.candidates,
        members=tuple(
            _tally([question.kind(o.judgement.correct) for question, o in zip(asked, outcomes, strict=True)])
            for outcomes in members
        ),
        differences=tuple(
            Difference(i, examples[i].label, kind, base[i].judgement.key, found.votes[i].key)
            for i, kind in enumerate(kinds)
            if kind is not None
        ),
    )


class _Question:
    """One question with everybody's answers, the base's first. Looks at the base's text once, and only where needed."""

    def __init__(
        self, task: type[Task], answers: Sequence[Outcome], columns: Mapping[str, Any], closed: frozenset[str]
    ) -> None:
        self._task, self._base = task, answers[0]
        correct = [o for o in answers if o.judgement.correct]
        keys = frozenset(o.judgement.key for o in correct if o.judgement.key is not None)
        given = {o.judgement.key for o in answers if o.judgement.key is not None} | closed
        texts = dict.fromkeys(o.text for o in correct if o.text is not None)
        self._right = Right(keys, tuple(texts)[:_TEXTS], frozenset(given - keys), columns)

    @cached_property
    def _held(self) -> bool:
        return self._base.text is not None and self._task.holds(self._base.text, self._right)

    def kind(self, right: bool) -> Kind | None:
        """What it is for a model that has it right or wrong; `None` where that is as the base has it."""
        if right == self._base.judgement.correct:
            return None
        if not right:
            return "lost"
        return "formatted" if self._held else "new"


def _tasks(run: Run, split: SplitName, questions: int) -> list[tuple[int, int, type[Task]]]:
    """Which questions are of which task."""
    ranges = parts(run)
    if not ranges:
        return [(0, questions, task_class(run.config.task.name))]
    return sorted(((*where[split], task_class(name)) for name, where in ranges.items()), key=lambda part: part[0])


def _closed(answers: Sequence[Sequence[Outcome]]) -> frozenset[str]:
    """All answers that were ever given, where those are few."""
    keys = {o.judgement.key for outcomes in answers for o in outcomes} - {None}
    return frozenset(key for key in keys if key is not None) if len(keys) <= _CLOSED else frozenset()


def _tally(kinds: Sequence[Kind | None]) -> Tally:
    return Tally(len(kinds), kinds.count("formatted"), kinds.count("new"), kinds.count("lost"))
