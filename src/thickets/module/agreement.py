"""Whether candidates' values at once are those of each alone. Knows nothing of how either came about.

Values near each other prove little: a small step moves a score by less than a hundredth, so that of the base, given to
every candidate, is near as well. What must agree is how far each candidate's values are from the base's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Times its own size that a step is tried at, as long as no value moves: of an accuracy, or by a minute sigma.
FACTORS = (1.0, 30.0, 1000.0)
# A value has moved that is so many roundings from the base's.
ROUNDINGS = 20.0


def moves(together: torch.Tensor, alone: torch.Tensor, precision: float) -> torch.Tensor | None:
    """For each row after the first, the base, whether any of its values moved; `None` where the two ways differ.

    Both are `[1 + candidates, ...]`; `precision` is the relative one of their number type. An answer on the edge may
    flip by rounding; a step that is ignored, in whole or in part, shows in nearly all values that it moves.
    """
    import torch

    if together.shape != alone.shape:
        return None
    first, second = (t.detach().to("cpu").double().reshape(len(t), t[0].numel()) for t in (together, alone))
    near = torch.isclose(first, second, rtol=2e-2, atol=1e-4, equal_nan=True)
    if near.numel() and near.double().mean() < 0.95:
        return None
    finite = torch.isfinite(first) & torch.isfinite(second)
    base = (first[0] - second[0]).abs()[finite[0]]
    size = torch.maximum(second[1:].abs(), second[0].abs())
    # The base's weights are the same both ways, so what its values differ by is rounding.
    rounding = precision * size + (base.median() if len(base) else 0.0)
    steps = [values[1:] - values[0] for values in (first, second)]
    moved = torch.maximum(steps[0].abs(), steps[1].abs()) > ROUNDINGS * rounding
    moved &= finite[1:] & finite[0]
    agree = (steps[0] - steps[1]).abs() <= 0.02 * steps[1].abs() + 4 * rounding
    if moved.any() and agree[moved].double().mean() < 0.9:
        return None
    return moved.any(1)
