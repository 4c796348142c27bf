"""What a search around a pipeline found: candidates, scores, members, and the test. Knows nothing of how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.analysis.statistics import Interval, share
from thickets.config.diffusion import ImageSearchConfig
from thickets.diffusion.denoiser import Denoiser
from thickets.diffusion.ensemble import PipelineEnsemble, PipelineMember
from thickets.diffusion.held_out import Test
from thickets.diffusion.records import Trial
from thickets.types import Perturbation


@dataclass(frozen=True)
class FoundImages:
    """A finished search. `trials` are the candidates' in their order, `members` the numbers of the kept, best first.

    `test` is absent where none was asked for.
    """

    denoiser: Denoiser
    base: Trial
    candidates: Sequence[Perturbation]
    trials: Sequence[Trial]
    members: Sequence[int]
    test: Test | None
    settings: ImageSearchConfig
    reward: str
    model: Mapping[str, Any] | None = None

    @property
    def failed(self) -> int:
        """How many candidates could not be scored."""
        return sum(t.failure is not None for t in self.trials)

    @property
    def density(self) -> dict[float, Interval]:
        """By sigma: share of candidates that reach the base's mean reward, with a 95 % interval; failed ones do not."""
        found = {}
        for sigma in sorted({p.sigma for p in self.candidates}):
            here = [t for p, t in zip(self.candidates, self.trials, strict=True) if p.sigma == sigma]
            found[sigma] = share(sum(t.score >= self.base.score for t in here), len(here))
        return found

    def ensemble(self, members: int | None = None, hold: bool = False) -> PipelineEnsemble:
        """The members, or the best so many of them, drawing together. `hold` keeps all their weights in memory."""
        kept = [
            PipelineMember(
                rank=rank,
                candidate=number,
                seed=self.candidates[number].seed,
                sigma=self.candidates[number].sigma,
                sign=1 if self.candidates[number].sign > 0 else -1,
                score=self.trials[number].score,
            )
            for rank, number in enumerate(self.members[:members], 1)
        ]
        results = {"verdict": self.test.verdict, "sentence": self.test.sentence()} if self.test else {}
        return PipelineEnsemble(self.denoiser, kept, self.settings.call(), self.reward, hold, self.model, results)

    def as_json(self) -> dict[str, Any]:
        """The figures, as JSON values; what is not a finite number is null."""
        rows = zip(self.candidates, self.trials, strict=True)
        return {
            "pipeline": type(self.denoiser.pipe).__name__,
            "model": None if self.model is None else dict(self.model),
            "denoiser": self.denoiser.name,
            "reward": self.reward,
            "settings": self.settings.fixed(),
            "selection_images": len(self.base.rewards),
            "base": self.base.score,
            "failed": self.failed,
            "members": list(self.members),
            "density": {f"{sigma:g}": _interval(i) for sigma, i in self.density.items()},
            "test": None if self.test is None else _test(self.test),
            "candidates": [
                {"seed": p.seed, "sigma": p.sigma, "sign": p.sign, "score": _finite(t.score), "failure": t.failure}
                for p, t in rows
            ],
        }

    def save(self, path: str | Path) -> None:
        """Write the members as a JSON file of a few kilobytes, for `PipelineEnsemble.load`."""
        self.ensemble().save(path)


def _test(test: Test) -> dict[str, Any]:
    return {
        "verdict": test.verdict,
        "sentence": test.sentence(),
        "over": test.over,
        "chosen": _interval(test.chosen),
        "failures": test.failures,
        "prompts": list(dict.fromkeys(shot.prompt for shot in test.shots)),
        "seeds": [shot.seed for shot in test.shots],
        "figures": {
            name: {"reward": _interval(f.reward), "gain": _interval(f.gain), "rewards": list(f.rewards)}
            for name, f in test.figures.items()
        },
    }


def _interval(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [_finite(interval.value), _finite(interval.low), _finite(interval.high)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
