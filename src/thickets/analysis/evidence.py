"""Whether it was worth it, how sure that is, and why: all of a run's evidence in one place. Knows no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thickets.analysis.agreement import Agreement, agreement
from thickets.analysis.baselines import BaselineFigures
from thickets.analysis.changes import Changes, changes_of
from thickets.analysis.crossfit import CrossFit, crossfit
from thickets.analysis.curves import CurveFigures, curves
from thickets.analysis.density import DensityFigures, density
from thickets.analysis.discordance import DiscordanceFigures, discordance
from thickets.analysis.gate import Gate, gate
from thickets.analysis.shrinkage import Shrinkage, shrinkage
from thickets.analysis.statistics import holm, paired
from thickets.analysis.voting import Voted
from thickets.store import Run
from thickets.types import SplitName

# The baseline that the gate is about.
_CONTROL = "self_consistency"


@dataclass(frozen=True)
class Evidence:
    """What the report rests on beside plain accuracies; `None` where too little is recorded for it.

    `gate` decides on the validation split; `adjusted` are, by held-out split, the p-values of RandOpt@K against the
    base (`base`) and each baseline (by name), Holm-adjusted because those of a split are tested together.
    """

    gate: Gate
    adjusted: Mapping[SplitName, Mapping[str, float]]
    changes: Changes | None
    agreement: Agreement | None
    crossfit: CrossFit | None
    shrinkage: Shrinkage | None
    density: DensityFigures | None
    discordance: DiscordanceFigures | None
    curves: CurveFigures | None


def gather(run: Run, votes: Mapping[SplitName, Voted], baselines: Sequence[BaselineFigures]) -> Evidence:
    """All of it. `votes` are those on the held-out splits that have been answered."""
    k = run.config.ensemble.top_k
    return Evidence(
        gate=_gate(run, k, votes, baselines),
        adjusted={
            split: adjusted(baselines, split, paired(found.base_right, found.right).p_value)
            for split, found in votes.items()
        },
        changes=changes_of(run, votes["test"]) if "test" in votes else None,
        agreement=agreement(run),
        crossfit=crossfit(run),
        shrinkage=shrinkage(run),
        density=density(run),
        discordance=discordance(run),
        curves=curves(run),
    )


def _gate(run: Run, k: int, votes: Mapping[SplitName, Voted], baselines: Sequence[BaselineFigures]) -> Gate:
    if not run.config.splits.validation:
        return gate(k, [], None)
    control = next((b for b in baselines if b.name == _CONTROL), None)
    measured = control.on("validation") if control else None
    ensemble = votes["validation"].right if "validation" in votes else None
    return gate(k, ensemble, [a.correct for a in measured.answers] if measured else None)


def adjusted(baselines: Sequence[BaselineFigures], split: SplitName, against_base: float) -> dict[str, float]:
    """The adjusted p-values of one split, by name. `against_base` is that of RandOpt@K and the base as it came out.

    What is no comparison raises no other's: RandOpt@K under another name has no p-value, and who answers as the base
    does has the base's.
    """
    tested = [(b, found.randopt_over.p_value) for b in baselines if (found := b.on(split)) is not None]
    compared = {"base": against_base} | {b.name: p for b, p in tested if b.same_as is None}
    values = dict(zip(compared, holm(list(compared.values())), strict=True))
    return values | {b.name: values["base"] for b, _ in tested if b.same_as == "base"}
