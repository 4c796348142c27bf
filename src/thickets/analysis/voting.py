"""What members answered, and whether their vote is right. Reads the run alone; knows nothing of vote rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from thickets.ensemble.deciding import outcomes_of
from thickets.store import Run
from thickets.types import Outcome, SplitName, Trial, TrialScore


def right_of(correct: npt.NDArray[np.bool_], winners: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether votes are right: that of each winner (`[..., n]`, ranks from 0) among members' `[K, n]` correctness.

    Where nobody votes (-1) it is wrong.
    """
    found: npt.NDArray[np.bool_] = correct[winners, np.arange(correct.shape[1])] & (winners >= 0)
    return found


def members_of(run: Run, scores: Sequence[TrialScore]) -> list[TrialScore]:
    """The members as the run kept them, best first, by their scores on selection; none before they are chosen."""
    by_candidate = {t.candidate: t for t in scores}
    return [by_candidate[candidate] for candidate in run.meta("members") or ()]


def member_outcomes(
    run: Run, split: SplitName, kept: Sequence[TrialScore], part: tuple[int, int] | None = None
) -> list[tuple[Outcome, ...]] | None:
    """Each member's outcomes on a split (or part of it), best-ranked first; `None` until all of them are there.

    A member whose held-out evaluation failed (NaN on some question) abstains on every question.
    """
    trials = run.trials(split, [None, *(t.candidate for t in kept)])
    by_candidate = {t.candidate: within(t, part) for t in trials}
    if not kept or None not in by_candidate or any(t.candidate not in by_candidate for t in kept):
        return None
    base = by_candidate[None]
    return outcomes_of([by_candidate[t.candidate] for t in kept], len(base.outcomes))


def within(trial: Trial, part: tuple[int, int] | None) -> Trial:
    """The trial on part of its questions."""
    return trial if part is None else replace(trial, outcomes=trial.outcomes[slice(*part)])
