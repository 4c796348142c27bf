"""Several tasks in one run: where their questions lie, and who is good at which.

Reads the run alone; knows nothing of drawing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from thickets.searching.loop import rank
from thickets.store import Run
from thickets.types import Perturbation, SplitName, TrialScore


def parts(run: Run) -> Mapping[str, Mapping[SplitName, tuple[int, int]]]:
    """Where the questions of each task lie in each split; empty for a run of one task."""
    recorded: dict[str, Any] = run.meta("parts") or {}
    return {name: {s: (r[0], r[1]) for s, r in ranges.items()} for name, ranges in recorded.items()}


def part_scores(run: Run, part: str) -> list[TrialScore]:
    """The base and all candidates on the selection questions of one task."""
    return run.scores("selection", parts(run)[part]["selection"])


def part_members(run: Run, part: str) -> list[TrialScore]:
    """The best candidates of one task, best first, as many as the ensemble keeps."""
    return rank(part_scores(run, part))[: run.config.ensemble.top_k]


def candidates_by_part(run: Run) -> str:
    """Every candidate's score (mean reward) and accuracy on the selection questions of each task, as CSV."""
    names = list(parts(run))
    by_part = {name: {t.candidate: t for t in part_scores(run, name)} for name in names}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name} {what}" for name in names for what in ("score", "accuracy")]
    writer.writerow(["candidate", "seed", "sigma", "sign", "failure", *columns])
    for trial in run.scores("selection"):
        p = trial.perturbation
        step = [p.seed, p.sigma, p.sign] if isinstance(p, Perturbation) else ["", "", ""]
        who = ["base" if trial.candidate is None else trial.candidate, *step]
        scored = [by_part[name][trial.candidate] for name in names] if trial.failure is None else []
        writer.writerow([*who, trial.failure or "", *(f"{v:.6g}" for t in scored for v in (t.score, t.accuracy))])
    return text.getvalue()
