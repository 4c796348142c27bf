"""Self-consistency: several samples of the base model answer, and the most frequent answer counts.

Wang et al. (2023), "Self-consistency improves chain of thought reasoning in language models". It spends what RandOpt
spends on a question, and needs no search. Knows nothing of perturbations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, spent_on
from thickets.baselines.running import recorded_settings
from thickets.baselines.voting import voted
from thickets.config import RunConfig
from thickets.ensemble.deciding import outcomes_of
from thickets.store import Run
from thickets.types import Prompt, Sampling, SplitName, Trial

# As those of perturbations: exact in any JSON reader.
_SEEDS = 2**53
# Beside the run's own seed, which makes the candidates: another stream of numbers.
_STREAM = 2


class SelfConsistency(Baseline):
    """K samples of the base, each a pass with a seed of its own; they vote by the run's rule, the first one first."""

    name: ClassVar[str] = "self_consistency"
    summary: ClassVar[str] = "As many samples of the base as RandOpt has members, and their vote (Wang et al. 2023)."
    default: ClassVar[bool] = True

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        """How the samples are drawn."""
        return {
            "samples": config.ensemble.top_k,
            "temperature": config.baselines.temperature,
            "top_p": config.baselines.top_p,
            "seed": config.search.seed,
        }

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        return dict.fromkeys(HELD_OUT, config.ensemble.top_k)

    def title(self, run: Run) -> str:
        return f"self-consistency@{run.config.ensemble.top_k}"

    def evaluate(self, setting: Setting) -> None:
        seeds, chosen = sample_seeds(setting.config), setting.config.baselines
        prompts = {split: [e.prompt for e in examples] for split, examples in setting.splits.items()}

        def asking(split: SplitName, number: int | None) -> tuple[Sequence[Prompt], Sampling]:
            drawn = seeds[number or 0]
            how = replace(setting.sampling, temperature=chosen.temperature, top_p=chosen.top_p, seed=drawn)
            return prompts[split], how

        for split in HELD_OUT:
            # Every pass is the base model; its number says which of the samples it is.
            passes = [(number, None) for number in range(len(seeds))]
            setting.evaluate(self.name, self.title(setting.run), split, passes, asking)

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        drawn = samples(run, split)
        if drawn is None:
            return None
        return voted(run.config.ensemble.vote, outcomes_of(drawn, len(run.examples(split))))

    def spent(self, run: Run) -> Spent:
        ledger = run.ledger(self.name)
        return spent_on(run.config.ensemble.top_k, (t for split in HELD_OUT for t in ledger.scores(split)))

    def details(self, run: Run) -> Mapping[str, Any]:
        return recorded_settings(self.name, run) or {}


def sample_seeds(config: RunConfig) -> list[int]:
    """A seed for each sample; one more of them leaves the others as they are."""
    generator = np.random.Generator(np.random.PCG64([config.search.seed, _STREAM]))
    return [int(generator.integers(_SEEDS)) for _ in range(config.ensemble.top_k)]


def samples(run: Run, split: SplitName) -> list[Trial] | None:
    """Each sample's pass over a held-out split, in order, failed ones too; `None` until all of them are there."""
    k = run.config.ensemble.top_k
    drawn = run.ledger(SelfConsistency.name).trials(split, list(range(k)))
    return drawn if len(drawn) == k else None
