"""The published combinations: pretrain, search, test. Knows nothing of figures or the command line.

Gan & Isola 2026, the 1D-signals experiment; sizes and settings are those of its release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thickets.analysis.statistics import Interval, resampled_mean, share
from thickets.config import SearchConfig, WeightsConfig
from thickets.errors import ConfigError
from thickets.module import Found, ModuleEnsemble, search
from thickets.module.population import Population
from thickets.module.saying import Once, Say
from thickets.module.scoring import Scorer
from thickets.plugins import nearest
from thickets.searching.strategies.random import perturbations
from thickets.signals.families import CONTEXT, check_seed, draw, stream
from thickets.signals.predictor import STEPS, pretrain, roll_out, score, untrained

if TYPE_CHECKING:
    import torch

INITIALISATIONS = ("xavier", "kaiming", "orthogonal")
PUBLISHED: tuple[tuple[str, str], ...] = (
    *(
        (base, task)
        for base in (*INITIALISATIONS, "mixed", "line")
        for task in ("one_line", "one_square", "one_sinusoid")
    ),
    *(("mixed", task) for task in ("line", "sinusoid", "square")),
    ("sinusoid", "square"),
    ("square", "square"),
)
SELECTION, TEST = 1024, 256
SIGMA, SIGMA_UNTRAINED = 0.002, 0.05
# Steps at which the neighbourhood is looked at, as multiples of the search's own.
DENSITY_FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Settings:
    """What a run of one combination may vary. `sigma` `None` is the release's.

    Raises `ConfigError` for what no run can have.
    """

    population: int = 1000
    top_k: int = 10
    sigma: float | None = None
    seed: int = 0
    steps: int = STEPS
    selection: int = SELECTION
    test: int = TEST
    screen: bool = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise ConfigError(f"sigma is {self.sigma:g}; give a positive number, or none for the release's")
        if not 1 <= self.top_k <= self.population:
            raise ConfigError(
                f"top_k is {self.top_k}; keep at least 1 and at most as many as are tried ({self.population})"
            )
        for name in ("steps", "selection", "test"):
            least = 0 if name == "steps" else 1
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; give {least} or more")


@dataclass(frozen=True)
class Errors:
    """Mean squared error of roll-outs on the test signals, with a 95 % interval over signals."""

    name: str
    error: Interval


@dataclass(frozen=True)
class Density:
    """At one sigma: share of candidates no worse than the base.

    `gains` are the base's error `base` minus each candidate's: above 0 for a better candidate, -inf for one whose
    roll-outs run away.
    """

    sigma: float
    base: float
    share: Interval
    gains: Sequence[float]


@dataclass(frozen=True)
class Experiment:
    """One combination, done. Predictions are `[signals, HORIZON]` on the test signals, by what made them.

    `random` and `members` are those of each of the first candidates and of each kept one, `[K, signals, HORIZON]`.
    """

    base: str
    task: str
    settings: Settings
    sigma: float
    found: Found
    errors: Sequence[Errors]
    # Base's error minus the ensemble's on the same signals: above 0, RandOpt helped.
    gain: Interval
    signals: torch.Tensor
    predictions: dict[str, torch.Tensor]
    random: torch.Tensor
    members: torch.Tensor
    density: Sequence[Density]


def make_base(name: str, seed: int, steps: int = STEPS) -> torch.nn.Sequential:
    """An untrained predictor, or one (from Xavier) pretrained on a family."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    if name in INITIALISATIONS:
        return untrained(name, generator)
    model = untrained("xavier", generator)
    pretrain(model, name, generator, steps)
    return model


def check_pair(base: str, task: str) -> None:
    """Raise `ConfigError` for a combination that the release does not have."""
    bases = list(dict.fromkeys(b for b, _ in PUBLISHED))
    if base not in bases:
        raise ConfigError(f"there is no base {base!r}; {nearest(base, bases)}")
    tasks = [t for b, t in PUBLISHED if b == base]
    if task not in tasks:
        raise ConfigError(f"base {base} is not combined with {task!r}; {nearest(task, tasks)}")


def experiment(
    base: str, task: str, settings: Settings, say: Callable[[str], None], heard: Callable[[int], None] = lambda n: None
) -> Experiment:
    """Pretrain, search around the base, test. Raises `ConfigError` for a combination that is not published."""
    import torch

    check_pair(base, task)
    usual = SIGMA_UNTRAINED if base in INITIALISATIONS else SIGMA
    sigma = usual if settings.sigma is None else settings.sigma
    say(f"{base} → {task}: pretraining" if base not in INITIALISATIONS else f"{base} → {task}: no pretraining")
    model = make_base(base, settings.seed, settings.steps)
    selection = draw(task, settings.selection, stream(settings.seed, 1))
    test = draw(task, settings.test, stream(settings.seed, 2))
    hear = Once(say)
    found = search(
        model,
        score,
        selection,
        population=settings.population,
        sigmas=(sigma,),
        top_k=settings.top_k,
        seed=settings.seed,
        screen=settings.screen,
        say=hear,
        heard=heard,
    )
    random, members = _rolled_out(model, found, test, hear)
    with torch.no_grad():
        predictions = {"base": roll_out(model, test[:, :CONTEXT]), "one random candidate": random[0]}
    predictions |= {"mean of random": random.mean(0), "best single": members[0], "ensemble": members.mean(0)}
    truth = test[:, -predictions["base"].shape[1] :]
    wrong = {name: (p - truth).square().mean(1).numpy() for name, p in predictions.items()}
    errors = [Errors(name, resampled_mean(values)) for name, values in wrong.items()]
    gain = resampled_mean(wrong["base"] - wrong["ensemble"])
    density = neighbourhood(model, selection[:64], [sigma * f for f in DENSITY_FACTORS], settings)
    return Experiment(base, task, settings, sigma, found, errors, gain, test, predictions, random, members, density)


def _rolled_out(
    model: torch.nn.Module, found: Found, test: torch.Tensor, say: Say
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of random candidates (those tried first) and of the members, each `[K, signals, HORIZON]`."""
    first = [c.perturbation for c in found.candidates[: len(found.members)]]
    random = ModuleEnsemble(model, first, found.noise, found.weights, say=say)
    random_out, kept_out = (e.predictions(test[:, :CONTEXT], roll_out) for e in (random, found.ensemble(say=say)))
    return random_out, kept_out


def neighbourhood(
    model: torch.nn.Module, signals: torch.Tensor, sigmas: Sequence[float], settings: Settings
) -> list[Density]:
    """Around `model` at several sigmas: 100 candidates each, scored in full."""
    import torch

    around = Population(model, "gaussian/1", WeightsConfig())
    scorer = Scorer(model, score, signals, around, None, lambda sentence: None)
    count, made = min(100, max(10, settings.population)), []
    for sigma in sigmas:
        candidates = perturbations(SearchConfig(population=count, sigmas=(sigma,), seed=settings.seed + 1))
        # Far out roll-outs run away, to infinity and NaN; those are not as good.
        gains = (scorer.table(candidates).mean(1) - scorer.base).nan_to_num(nan=-torch.inf).tolist()
        made.append(Density(sigma, -scorer.base, share(sum(g >= 0 for g in gains), count), gains))
    return made
