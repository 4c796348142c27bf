"""How many answers a training may generate, and how they are dealt out. Knows nothing of what trains."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.config import RunConfig
from thickets.errors import ConfigError


@dataclass(frozen=True)
class Budget:
    """`steps` of `questions` questions with `group` answers to each."""

    steps: int
    questions: int
    group: int

    @property
    def samples(self) -> int:
        """Answers over all steps."""
        return self.steps * self.a_step

    @property
    def a_step(self) -> int:
        """Answers of one step."""
        return self.questions * self.group

    def at_once(self, most: int) -> int:
        """The largest part of a step, of at most `most` answers, that divides it evenly."""
        return max(n for n in range(1, min(most, self.a_step) + 1) if self.a_step % n == 0)


def searched(config: RunConfig, questions: int) -> int:
    """Answers that the search itself generated: each candidate's to all `questions` of the selection split.

    Of several tasks each has as many questions there as the settings name, so these cannot say it.
    """
    return config.search.population * questions


def budget(allowed: int, questions: int, group: int, there: int, multiple: int = 1) -> Budget:
    """Whole steps within the answers that are allowed; `there` are so many questions, a step takes a `multiple`.

    A small budget makes the steps smaller rather than going over it. Raises `ConfigError`.
    """
    asked = min(questions, there, allowed // group) // multiple * multiple
    if asked < 1:
        raise ConfigError(
            f"{allowed} answers (samples) to {there} questions, with {group} to each and {questions} questions a step, "
            f"make no step of {multiple} question{'' if multiple == 1 else 's'}; allow more samples, or make steps of "
            "fewer answers"
        )
    return Budget(allowed // (asked * group), asked, group)
