"""What a pool is: work goes in, finished work comes out in any order. Knows nothing of scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thickets.types import Generation, Perturbation, Prompt, Sampling, SplitName


@dataclass(frozen=True)
class Work:
    """One model to be run over one split. `candidate` is `None` for the base."""

    split: SplitName
    candidate: int | None
    perturbation: Perturbation | None
    prompts: Sequence[Prompt]
    sampling: Sampling


@dataclass(frozen=True)
class Done:
    """Work that ended: generations in the order of its prompts, or the reason why there are none."""

    work: Work
    generations: Sequence[Generation]
    failure: str | None
    seconds: float
    switch_seconds: float


class Pool(ABC):
    """Takes work as engines become free and gives it back as they finish; there are no barriers."""

    # Of the base weights, the same on every engine.
    fingerprint: str
    description: Mapping[str, Any]
    # Of every tensor that moves, by name; the same on every engine.
    factors: Mapping[str, float]

    @abstractmethod
    def evaluate(self, work: Iterable[Work]) -> Iterator[Done]:
        """Evaluate all work, taking the next item only when an engine is free. Order of results is free."""

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Raise `EngineError` for prompts that could not be generated from, before hours are spent on others."""

    @abstractmethod
    def verify_base(self) -> None:
        """Check on every engine that the base comes back bit for bit. Raises `ModelError`."""

    def close(self) -> None:
        """Stop the engines."""
