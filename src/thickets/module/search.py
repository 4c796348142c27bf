"""`search(module, score, data)`: guess, check, keep the best. Puts the parts together; holds no method of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thickets.config import WeightsConfig
from thickets.errors import RunError
from thickets.module.asked import asked
from thickets.module.found import Found, Scored
from thickets.module.population import Population
from thickets.module.saying import Notes, size_of
from thickets.module.scoring import Scorer
from thickets.module.screening import Scores, in_full, screened
from thickets.searching.strategies.random import perturbations
from thickets.types import Perturbation

if TYPE_CHECKING:
    from torch import nn


def search(
    module: nn.Module,
    score: Callable[[nn.Module, Any], Any],
    data: Any = None,
    *,
    population: int = 1000,
    sigmas: Sequence[float] = (5e-4, 1e-3, 2e-3),
    top_k: int = 10,
    seed: int = 0,
    noise: str = "gaussian/1",
    antithetic: bool = False,
    weights: WeightsConfig | dict[str, Any] | None = None,
    screen: bool = False,
    memory: int | None = None,
    say: Callable[[str], None] | None = None,
    heard: Callable[[int], None] = lambda count: None,
) -> Found:
    """Score `population` candidates around `module` and keep the `top_k` best. The module itself is not written to.

    `score(module, data)` gives one number, larger being better, or a tensor with one for each example of `data` (a
    tensor, or tuples, lists and dictionaries of them; anything else is handed on as it is). It is called once for many
    candidates under `torch.func.vmap` where that works. `screen=True` drops candidates that are clearly worse on part
    of the examples and in bfloat16, and scores only those that may be among the best in full: the same members, sooner.
    `memory` is how many bytes one chunk of candidates may take. `say` hears sentences; where it is absent, those that
    tell of something amiss are warnings. All are kept in `Found.notes`. `heard` hears how many more candidates are
    done.

    Raises a `ThicketsError` for whatever the user can mend, before anything is searched where that is possible:
    `ConfigError` for settings and a score that cannot be, `ModelError` and `WeightsError` for such a module (also for
    one that scoring changes), `TaskError` for a score of another shape, `CandidateFailed` for a base that cannot be
    scored, `EngineError` for data on another device and for want of memory, `RunError` where too few candidates can be.
    """
    config, moved = asked(module, score, top_k, memory, population, sigmas, seed, noise, antithetic, weights)
    around = Population(module, config.noise, moved)
    around.check(config.sigmas)
    notes = Notes(say)
    if around.stays:
        notes.add(around.stays)
    scorer = Scorer(module, score, data, around, memory, notes.add)
    candidates = perturbations(config)
    _announce(scorer, len(candidates), notes)
    scores = screened(scorer, candidates, top_k, heard) if screen else in_full(scorer, candidates, heard)
    around.verify()
    trouble = scorer.trouble(candidates, scores.mean)
    if trouble:
        notes.add(trouble)
    rows = _rows(candidates, scores)
    members = _best(rows, top_k, trouble)
    return Found(module, scorer.base, rows, members, around.scheme, moved, around.fingerprint, notes.kept)


def _announce(scorer: Scorer, candidates: int, notes: Notes) -> None:
    """Say how many go into one call, where that is not all of them."""
    size, memory = scorer.runner.chunk(scorer.data), scorer.runner.memory
    if size < candidates:
        notes.mention(f"{candidates} candidates in chunks of {size}: {size_of(memory)} at a time")


def _rows(candidates: Sequence[Perturbation], scores: Scores) -> list[Scored]:
    return [
        Scored(i, p, float(scores.mean[i]), int(scores.examples[i]), bool(scores.settled[i]))
        for i, p in enumerate(candidates)
    ]


def _best(rows: Sequence[Scored], top_k: int, trouble: str | None) -> list[int]:
    scored = [row for row in rows if row.settled and np.isfinite(row.score)]
    if len(scored) < top_k:
        raise RunError(
            f"only {len(scored)} candidates of {len(rows)} could be scored, fewer than top_k = {top_k} "
            f"({trouble}); mend the score, or try smaller sigmas"
        )
    return [row.candidate for row in sorted(scored, key=lambda row: (-row.score, row.candidate))[:top_k]]
