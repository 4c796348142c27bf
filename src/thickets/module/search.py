"""`search(module, score, data)`: guess, check, keep the best. Puts the parts together; holds no method of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thickets.config import SearchConfig, WeightsConfig
from thickets.config.reading import validate
from thickets.errors import ConfigError, RunError
from thickets.module.found import Found, Scored
from thickets.module.population import Population
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
    say: Callable[[str], None] = lambda sentence: None,
    heard: Callable[[int], None] = lambda count: None,
) -> Found:
    """Score `population` candidates around `module` and keep the `top_k` best. The module itself is not written to.

    `score(module, data)` gives one number, larger being better, or a tensor with one for each example of `data` (a
    tensor, or tuples, lists and dictionaries of them; anything else is handed on as it is). It is called once for many
    candidates under `torch.func.vmap` where that works. `screen=True` drops candidates that are clearly worse on part
    of the examples and in bfloat16, and scores only those that may be among the best in full: the same members, sooner.
    `memory` is how many bytes one chunk of candidates may take. `say` hears sentences, `heard` how many more
    candidates are done.

    Raises a `ThicketsError` for whatever the user can mend, before anything is searched where that is possible.
    """
    if top_k < 1 or top_k > population:
        raise ConfigError(f"top_k is {top_k}; keep at least 1 and at most as many as are tried ({population})")
    config, moved = settings_of(population, sigmas, seed, noise, antithetic, weights)
    around = Population(module, config.noise, moved)
    around.check(config.sigmas)
    notes = _Notes(say)
    scorer = Scorer(module, score, data, around, memory, notes.add)
    candidates = perturbations(config)
    _announce(scorer, len(candidates), say)
    scores = screened(scorer, candidates, top_k, heard) if screen else in_full(scorer, candidates, heard)
    around.verify()
    trouble = scorer.trouble(candidates, scores.mean)
    if trouble:
        notes.add(trouble)
    rows = _rows(candidates, scores)
    members = _best(rows, top_k, trouble)
    return Found(module, scorer.base, rows, members, around.scheme, moved, around.fingerprint, notes.kept)


class _Notes:
    """Sentences that are said and kept."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.kept: list[str] = []
        self._say = say

    def add(self, sentence: str) -> None:
        self.kept.append(sentence)
        self._say(sentence)


def _announce(scorer: Scorer, candidates: int, say: Callable[[str], None]) -> None:
    """Say how many go into one call, where that is not all of them."""
    size, memory = scorer.runner.chunk(scorer.data), scorer.runner.memory
    if size < candidates:
        say(f"{candidates} candidates in chunks of {size}: {memory / 2**20:.0f} MiB at a time")


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
            f"({trouble or 'the others are NaN or infinite'}); mend the score, or try smaller sigmas"
        )
    return [row.candidate for row in sorted(scored, key=lambda row: (-row.score, row.candidate))[:top_k]]


def settings_of(
    population: int,
    sigmas: Sequence[float],
    seed: int,
    noise: str,
    antithetic: bool,
    weights: WeightsConfig | dict[str, Any] | None,
) -> tuple[SearchConfig, WeightsConfig]:
    """Checked by the same rules as a run's. Raises `ConfigError`."""
    given = {
        "population": population,
        "sigmas": tuple(sigmas),
        "seed": seed,
        "noise": noise,
        "antithetic": antithetic,
    }
    config = validate(SearchConfig, given, "the search")
    moved = weights if isinstance(weights, WeightsConfig) else validate(WeightsConfig, weights or {}, "weights")
    return config, moved
