"""A flat slice of weight space around a module: scores of several tasks in it, and their experts. Draws nothing.

As Gan & Isola 2026 picture thickets: the base in the middle, around it the regions where one task or another goes
better. The slice goes through the base and through two experts, so that they stand in it and are not projected into it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from thickets.analysis.statistics import Interval, share
from thickets.config import WeightsConfig
from thickets.errors import CandidateFailed, ConfigError
from thickets.module.asked import check_memory, check_module, check_score, settings_of
from thickets.module.population import Population
from thickets.module.saying import Once, warn
from thickets.module.scoring import Scorer
from thickets.noise import numbers
from thickets.searching.strategies.random import perturbations
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch
    from torch import nn

    Score = Callable[[nn.Module, Any], Any]


class Place(NamedTuple):
    """A point of the slice: the base is (0, 0), the two perturbations that span it are (1, 0) and (0, 1)."""

    x: float
    y: float


@dataclass(frozen=True)
class TaskSlice:
    """One task. `gains` `[points, points]`, rows from low y to high y: score minus `base`, as a share of its size.

    `base` is its score. `density` is the share of candidates (in all directions, not of the slice) that are experts:
    whose gain is at least the landscape's margin. `expert` is the best of them, `best_gain` its gain.
    """

    name: str
    base: float
    gains: torch.Tensor
    density: Interval
    expert: Perturbation
    best_gain: float


@dataclass(frozen=True)
class Landscape:
    """The slice, on `axis` x `axis`. `through` are the perturbations at (1, 0) and (0, 1)."""

    axis: Sequence[float]
    through: tuple[Perturbation, Perturbation]
    sigma: float
    margin: float
    tasks: Sequence[TaskSlice]


def landscape(
    module: nn.Module,
    scores: Mapping[str, tuple[Score, Any]],
    *,
    sigma: float,
    candidates: int = 200,
    margin: float = 0.1,
    through: tuple[Perturbation, Perturbation] | None = None,
    reach: float = 2.0,
    points: int = 21,
    seed: int = 0,
    noise: str = "gaussian/1",
    weights: WeightsConfig | dict[str, Any] | None = None,
    memory: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Landscape:
    """Look for experts of each task around `module`, and score a slice through two of them.

    `scores` has for each task its score and data, as `search` takes them. An expert of a task is a candidate whose
    score is above the base's by `margin` of the base's size (0.1: a tenth less error). The slice goes through the best
    candidates of the first and the last task (of a single task its two best), or through the two that are given, and
    `reach` times as far to all sides, at `points` x `points` places. The module is not written to. `say` hears
    sentences, which are warnings where it is absent.

    Raises a `ThicketsError` as `search` does, and `ConfigError` for a slice that cannot be.
    """
    check_module(module)
    _check(scores, candidates, points, reach)
    check_memory(memory)
    config, moved = settings_of(candidates, (sigma,), seed, noise, False, weights)
    # Once each: every task is scored twice, around the base and in the slice.
    say = Once(say or warn)
    around = Population(module, config.noise, moved)
    if around.stays:
        say(around.stays)
    around.check(config.sigmas)
    tried = perturbations(config)
    scorers = {name: Scorer(module, score, data, around, memory, say) for name, (score, data) in scores.items()}
    gains = {name: _gains(scorer, tried, name, say) for name, scorer in scorers.items()}
    through = through or _spanning(gains, tried)
    plane = Plane(module, noise, moved, through)
    axis = [reach * (2 * i / (points - 1) - 1) for i in range(points)]
    places = [Place(x, y) for y in axis for x in axis]
    tasks = []
    for name, (score, data) in scores.items():
        flat = _gains(Scorer(module, score, data, plane, memory, say), places, name, say)
        tasks.append(_slice(name, scorers[name].base, flat.view(points, points), gains[name], tried, margin))
    around.verify()
    return Landscape(axis, through, sigma, margin, tasks)


def _slice(
    name: str, base: float, flat: torch.Tensor, gains: torch.Tensor, tried: Sequence[Perturbation], margin: float
) -> TaskSlice:
    best = int(gains.argmax())
    density = share(int((gains >= margin).sum()), len(tried))
    return TaskSlice(name, base, flat, density, tried[best], float(gains[best]))


class Plane(Population):
    """The points of the slice as candidates: base + x · step · noise of the one + y · step · noise of the other."""

    def __init__(
        self,
        module: nn.Module,
        scheme: str,
        config: WeightsConfig,
        through: tuple[Perturbation, Perturbation],
    ) -> None:
        import torch

        super().__init__(module, scheme, config)
        self.steps = {}
        for name, base in self.base.items():
            both = [
                numbers(self.scheme, p.seed, name, base.shape, device=base.device, dtype=base.dtype) * p.sign * p.sigma
                for p in through
            ]
            self.steps[name] = torch.stack(both).mul_(self.factors[name]).flatten(1)

    def stack(self, places: Sequence[Any], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
        """As a population does it, of points in place of perturbations."""
        import torch

        rows = torch.tensor([[0.0, 0.0] if place is None else [place.x, place.y] for place in places])
        stacks = {}
        for name, base in self.base.items():
            moved = (rows.to(base.device) @ self.steps[name]).view(len(rows), *base.shape).add_(base.float())
            stacks[name] = moved.to(dtype if dtype is not None and base.dtype == torch.float32 else base.dtype)
        return stacks


def _check(scores: Any, candidates: Any, points: Any, reach: Any) -> None:
    if not isinstance(scores, Mapping) or not scores:
        raise ConfigError("a landscape needs a task; give scores={name: (score, data)}")
    for name, task in scores.items():
        if not isinstance(task, tuple | list) or len(task) != 2:
            raise ConfigError(f"task {name} of the landscape is not a pair; give {{{name!r}: (score, data)}}")
        check_score(task[0])
    whole = isinstance(candidates, int) and isinstance(points, int)
    if not whole or candidates < 2 or points < 2 or not isinstance(reach, Real) or not 0 < float(reach) < math.inf:
        raise ConfigError(
            f"candidates is {candidates}, points {points}, reach {reach}; a slice needs two candidates to go through, "
            "two points to a side, and a finite reach above 0"
        )


def _gains(scorer: Scorer, points: Sequence[Any], task: str, say: Callable[[str], None]) -> torch.Tensor:
    import torch

    if scorer.base == 0:
        raise CandidateFailed(f"the base's score of {task} is 0, so gains have no scale; shift the score")
    means = scorer.table(points).mean(1)
    if trouble := scorer.trouble(points, means):
        say(f"{task}: {trouble}")
    gains = (means - scorer.base) / abs(scorer.base)
    # A point that failed is as bad as can be; it is never an expert.
    return gains.nan_to_num(nan=-torch.inf, posinf=-torch.inf)


def _spanning(gains: Mapping[str, torch.Tensor], tried: Sequence[Perturbation]) -> tuple[Perturbation, Perturbation]:
    """The best of the first task and the best of the last, or whoever comes next where that is the same."""
    first, *_, last = (next(iter(gains.values())), *gains.values())
    one = int(first.argmax())
    other = next(i for i in last.argsort(descending=True).tolist() if i != one)
    return tried[one], tried[other]
