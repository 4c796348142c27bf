"""How the landscape around a predictor grows while it is pretrained. Draws nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from thickets.errors import ConfigError
from thickets.module.landscape import Landscape, landscape
from thickets.module.saying import Once
from thickets.signals.experiment import SIGMA
from thickets.signals.families import draw, stream
from thickets.signals.predictor import STEPS, pretrain, score, untrained

if TYPE_CHECKING:
    from torch import nn

TASKS = ("sinusoid", "harmonic", "sawtooth")
# Few signals: the picture's cells differ by far more than these errors do.
SIGNALS, CANDIDATES, POINTS = 32, 100, 17


def growth(
    family: str = "mixed",
    tasks: Sequence[str] = TASKS,
    steps: Sequence[int] = (0, 50, 100, 200, 400, 700, STEPS),
    seed: int = 0,
    say: Callable[[str], None] = lambda sentence: None,
    points: int = POINTS,
    candidates: int = CANDIDATES,
) -> list[tuple[int, Landscape]]:
    """Landscapes of `tasks` after so many steps of pretraining on `family`, all in the slice of the last one.

    Raises `ConfigError` for steps that do not grow, and for an unknown family.
    """
    if not steps or sorted(set(steps)) != list(steps) or steps[0] < 0:
        raise ConfigError(f"steps are {list(steps)}; give whole numbers that grow, from 0")
    data = {task: (score, draw(task, SIGNALS, stream(seed, 16 + i))) for i, task in enumerate(tasks)}
    bases = _bases(family, steps, seed)
    done: list[tuple[int, Landscape]] = []
    hear = Once(say)
    through = None
    for step, base in reversed(bases):
        say(f"the landscape after {step} steps of pretraining on {family}")
        land = landscape(
            base, data, sigma=SIGMA, candidates=candidates, points=points, seed=seed, through=through, say=hear
        )
        through = through or land.through
        done.insert(0, (step, land))
    return done


def _bases(family: str, steps: Sequence[int], seed: int) -> list[tuple[int, nn.Module]]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    model = untrained("xavier", generator)
    kept: list[tuple[int, nn.Module]] = []

    def keep(step: int) -> None:
        if step in steps:
            kept.append((step, copy.deepcopy(model)))

    pretrain(model, family, generator, max(steps), keep)
    return kept
