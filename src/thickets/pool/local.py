"""The pool of one engine in this process. Knows nothing of clusters."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from thickets.engines import Engine
from thickets.errors import CandidateFailed
from thickets.pool.base import Done, Pool, Work
from thickets.types import Generation, Prompt, Sampling


class LocalPool(Pool):
    """Evaluates one piece of work after the other on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.fingerprint = engine.fingerprint
        self.description = engine.description
        self.factors = engine.factors

    def evaluate(self, work: Iterable[Work]) -> Iterator[Done]:
        for item in work:
            start = time.perf_counter()
            generations: list[Generation] = []
            failure = None
            self.engine.place(item.perturbation)
            placed = time.perf_counter()
            try:
                generations = self.engine.generate(item.prompts, item.sampling)
            except CandidateFailed as error:
                failure = str(error)
            yield Done(item, generations, failure, time.perf_counter() - start, placed - start)

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self.engine.check(prompts, sampling)

    def verify_base(self) -> None:
        self.engine.verify_base()

    def close(self) -> None:
        self.engine.close()
