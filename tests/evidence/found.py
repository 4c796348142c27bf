"""What is kept of the runs of worlds whose truth is known: the figures that are held against it. Draws no reports."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.evidence.worlds import Drawn, Sizes, Step, World, draw, made, number, registered
from thickets.analysis import baselines
from thickets.analysis.baselines import BaselineHeldOut
from thickets.analysis.changes import Changes, changes
from thickets.analysis.crossfit import CrossFit, crossfit
from thickets.analysis.density import density
from thickets.analysis.gate import Gate, gate
from thickets.analysis.shrinkage import Shrinkage, shrinkage
from thickets.analysis.statistics import Interval
from thickets.analysis.summary import HeldOut, Summary
from thickets.analysis.voting import member_outcomes
from thickets.baselines.kinds.self_consistency import SelfConsistency
from thickets.ensemble.deciding import decide_all
from thickets.searching import rank
from thickets.store import Run
from thickets.types import Perturbation

RUNS = 300
# Scores differ by luck alone, and so do RandOpt and self-consistency.
LUCK = World(others="redrawn")
# All candidates are the base.
SAME = World(others="same")
# One candidate in three is really better, the others are really worse.
EXPERTS = World(density=0.35, good="expert", others="worse", finds=0.6)
# The base knows more than it shows; candidates write it down right, and find and lose a little.
FORM = World(density=1.0, good="formatter", formed=0.6, finds=0.2, slips=0.1)
FORM_ALONE = World(density=1.0, good="formatter", formed=0.6, finds=0.0, slips=0.0)
# Candidates of all worths, answering anew; those of the larger sigma are mostly worse.
SMALL, LARGE = Step(0.001, -0.02, 0.1), Step(0.003, -0.15, 0.15)
VARIED = World(others="redrawn", steps=(SMALL, LARGE))

TOP_K = 3
# Wilson's interval of a share of 46 holds it at its rate whatever the share: of few questions it moves in steps, and of
# 50 it would hold one half in 93.5 %.
USUAL = Sizes(population=12, top_k=TOP_K, selection=24, validation=46, test=46)
# Where all candidates are alike, few are enough; where densities are told by sigma, many are needed.
SIZES = {
    LUCK: USUAL,
    EXPERTS: USUAL,
    FORM: replace(USUAL, population=4, selection=8),
    FORM_ALONE: replace(USUAL, population=4, selection=8, validation=4),
    SAME: replace(USUAL, population=4, selection=8, test=20),
    VARIED: replace(USUAL, population=60, validation=4, test=20),
}
NAMES = {LUCK: "luck", SAME: "same", EXPERTS: "experts", FORM: "form", FORM_ALONE: "form alone", VARIED: "varied"}


# Margins at which densities are looked at.
MARGINS = (0.0, 0.1, 0.2)


@dataclass(frozen=True)
class Dense:
    """Of the density of one sigma: the shares at each of the margins, and the intervals at the first, zero."""

    reached: tuple[float, ...]
    by_chance: tuple[float, ...]
    interval: Interval
    with_luck: Interval


@dataclass(frozen=True)
class Found:
    """What one run said; beside it the selection questions, and its members (best first) and all its candidates."""

    asked: Drawn
    members: tuple[Perturbation, ...]
    candidates: tuple[Perturbation, ...]
    test: HeldOut
    # Self-consistency on the test split.
    samples: BaselineHeldOut
    gate: Gate
    shrinkage: Shrinkage
    # The share of candidates that reach the base's score, as the summary has it.
    as_good: float
    # The rest in those worlds alone where it is looked at; densities by sigma.
    crossfit: CrossFit | None
    changes: Changes | None
    density: Mapping[float, Dense]


def _found(world: World, drawn: Drawn, summary: Summary, run: Run) -> Found:
    trials = run.scores("selection")
    kept = rank(trials)[: run.config.ensemble.top_k]
    outcomes = member_outcomes(run, "validation", kept)
    samples = next(b for b in summary.baselines if b.name == SelfConsistency.name)
    decided, tested = samples.on("validation"), samples.on("test")
    assert outcomes is not None and decided is not None and tested is not None and summary.test is not None
    shrunk = shrinkage(run)
    assert shrunk is not None
    return Found(
        drawn.of([number(e.prompt) for e in run.examples("selection")]),
        tuple(t.perturbation for t in kept if isinstance(t.perturbation, Perturbation)),
        tuple(t.perturbation for t in trials if isinstance(t.perturbation, Perturbation)),
        summary.test,
        replace(tested, answers=()),
        gate(len(kept), [right for _, right in decide_all("majority", outcomes)], [a.correct for a in decided.answers]),
        shrunk,
        summary.density.value,
        crossfit(run, splits=30) if world in (LUCK, EXPERTS, SAME) else None,
        changes(run) if world in (FORM, FORM_ALONE, SAME) else None,
        dict(_densities(run)) if world in (LUCK, VARIED, EXPERTS) else {},
    )


def _densities(run: Run) -> Iterator[tuple[float, Dense]]:
    figures = density(run)
    assert figures is not None
    # Where the margins end no candidate reaches them any more.
    places = [min(np.searchsorted(figures.margins, m - 1e-9), len(figures.margins) - 1) for m in MARGINS]
    for curve in figures.curves:
        if curve.sigma is not None:
            reached, chance = (tuple(values[i] for i in places) for values in (curve.reached, curve.by_chance))
            yield curve.sigma, Dense(tuple(r.value for r in reached), chance, reached[0], curve.with_luck[places[0]])


def find(world: World) -> list[Found]:
    """Make all runs of a world."""
    # In memory where that is possible: thousands of small databases are written here.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    sizes, found = SIZES[world], []
    with tempfile.TemporaryDirectory(dir=memory) as folder, registered(), pytest.MonkeyPatch.context() as patch:
        # Of baselines that are not asked for here no figures are worked out.
        patch.setattr(baselines, "known_baselines", lambda: {SelfConsistency.name: SelfConsistency})
        for seed in range(RUNS):
            with made(world, seed, Path(folder), sizes) as (summary, run):
                found.append(_found(world, draw(world, seed, sizes.questions), summary, run))
    return found
