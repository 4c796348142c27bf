"""The families of 1D signals, drawn whole batches at a time. Knows nothing of models or searches.

As the authors' release of "Neural Thickets" (Gan & Isola 2026) draws them: a phase, an amplitude and an offset for each
signal, on the grid x = -2.5, -2.4, ... of `CONTEXT` values that are given and `HORIZON` to predict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from thickets.errors import ConfigError
from thickets.plugins import nearest

if TYPE_CHECKING:
    import torch

CONTEXT, HORIZON = 10, 60
START, SPACING = -2.5, 0.1
# Seeds of a run lie below this, so that a seed with the number of a stream in its last byte fits 64 bits.
SEEDS = 2**56


@cache
def grid() -> torch.Tensor:
    """The points `[CONTEXT + HORIZON]` at which every signal is known. One tensor for all, not to be written to."""
    import torch

    return START + SPACING * torch.arange(CONTEXT + HORIZON, dtype=torch.float32)


def draw(family: str, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` signals of a family as `[count, CONTEXT + HORIZON]`, float32. Raises `ConfigError` for an unknown one.

    `mixed` draws one of the six families for each signal.
    """
    import torch

    if family in _FIXED:
        return _FIXED[family](grid()).expand(count, -1).clone()
    if family in _DRAWN:
        return _DRAWN[family](grid(), Parameters(count, generator))
    if family != "mixed":
        raise ConfigError(f"there is no family of signals {family!r}; {nearest(family, families())}")
    which = torch.randint(len(_DRAWN), (count,), generator=generator)
    signals = torch.empty(count, CONTEXT + HORIZON)
    for number, make in enumerate(_DRAWN.values()):
        rows = torch.nonzero(which == number).squeeze(1)
        signals[rows] = make(grid(), Parameters(len(rows), generator))
    return signals


def families() -> tuple[str, ...]:
    """All names."""
    return (*_DRAWN, *_FIXED, "mixed")


def is_fixed(family: str) -> bool:
    """Whether all signals of the family are one and the same."""
    return family in _FIXED


def stream(seed: int, number: int) -> torch.Generator:
    """The generator of one set of signals of a run: more signals in one set leave the other sets as they are."""
    import torch

    return torch.Generator().manual_seed((check_seed(seed) << 8) + number)


def check_seed(seed: int) -> int:
    """The seed. Raises `ConfigError` for one that has no streams."""
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed is {seed}; give a whole number from 0 to {SEEDS - 1}")
    return seed


class Parameters:
    """Draws one number for each of `count` signals, as a column."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator

    def uniform(self, low: float, high: float) -> torch.Tensor:
        """`[count, 1]`, uniform between `low` and `high`."""
        import torch

        return torch.empty(self.count, 1).uniform_(low, high, generator=self.generator)

    def phase(self) -> torch.Tensor:
        return self.uniform(0, 2 * math.pi)

    def amplitude(self) -> torch.Tensor:
        return self.uniform(0.8, 1.2)

    def offset(self) -> torch.Tensor:
        return self.uniform(-0.5, 0.5)


# sin(kt) with t = 4x + phase is a sum of sin(4kx) and cos(4kx), so a family is a product of one small matrix with the
# waves that all its signals are made of: no sine is taken for each signal, and none at all of the grid but once.


@cache
def _waves(count: int) -> torch.Tensor:
    """`[2 count + 1, points]`: sin(4kx) and cos(4kx) for k = 1 ... `count`, and ones."""
    import torch

    x = grid().double()
    waves = [wave(4 * k * x) for k in range(1, count + 1) for wave in (torch.sin, torch.cos)]
    return torch.stack([*waves, torch.ones_like(x)]).float()


@cache
def _row(values: tuple[float, ...]) -> torch.Tensor:
    """These numbers, made into a tensor once."""
    import torch

    return torch.tensor(values)


def _sum_of_sines(sizes: tuple[float, ...], phase: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a · (sum of sizes[k-1] · sin(k(4x + phase))) + b for columns `phase`, `a` and `b`."""
    import torch

    turns = phase * _row(tuple(range(1, len(sizes) + 1)))
    parts = torch.stack([turns.cos(), turns.sin()], 2).mul_(a.unsqueeze(2)).mul_(_row(sizes).unsqueeze(1))
    return torch.cat([parts.flatten(1), b], 1) @ _waves(len(sizes))


def _line(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    return (p.uniform(-0.5, 0.5) * x).add_(p.uniform(-1, 1))


def _sigmoid(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    t = p.uniform(-math.pi, math.pi).add(x, alpha=0.1)
    return t.tanh_().mul_(p.uniform(0.5, 1.5)).add_(p.offset())


def _harmonic(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    phase, a, b = p.phase(), p.amplitude(), p.offset()
    # The 0.3 sin 8x has no phase.
    return _sum_of_sines((0.5,), phase, a, b).addcmul_(a, (8 * x).sin(), value=0.3)


def _sinusoid(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    return _sum_of_sines((1.0,), p.phase(), p.amplitude(), p.offset())


def _square(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    phase, a, sharpness = p.phase(), p.uniform(0.2, 0.4), p.uniform(4, 6)
    steps = _sum_of_sines((1.0,), phase, sharpness, sharpness.new_zeros(sharpness.shape))
    return steps.tanh_().mul_(a).add_(p.offset())


def _sawtooth(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    return _sum_of_sines((0.5, -0.25, 0.165, -0.125), p.phase(), p.amplitude(), p.offset())


def _one_line(x: torch.Tensor) -> torch.Tensor:
    return -0.25 * x


def _one_sinusoid(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * (4 * x).sin()


def _one_square(x: torch.Tensor) -> torch.Tensor:
    return 0.3 * (5 * (4 * x).sin()).tanh()


_DRAWN: dict[str, Callable[[torch.Tensor, Parameters], torch.Tensor]] = {
    "line": _line,
    "sigmoid": _sigmoid,
    "harmonic": _harmonic,
    "sinusoid": _sinusoid,
    "square": _square,
    "sawtooth": _sawtooth,
}
_FIXED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "one_line": _one_line,
    "one_square": _one_square,
    "one_sinusoid": _one_sinusoid,
}
