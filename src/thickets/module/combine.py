"""How the members' predictions become one tensor: vote, mean or median. Knows nothing of modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from thickets.errors import ConfigError, EnsembleError
from thickets.plugins import nearest

if TYPE_CHECKING:
    import torch

    Combine = Callable[[torch.Tensor], torch.Tensor]


def find_combine(name: str) -> Combine:
    """The rule of that name, from predictions `[members, ...]`, best member first. Raises `ConfigError`."""
    if name not in _RULES:
        raise ConfigError(f"there is no way to combine predictions called {name!r}; {nearest(name, _RULES)}")
    return _RULES[name]


def _vote(predictions: torch.Tensor) -> torch.Tensor:
    """The label that most members gave; a tie goes to the best-ranked member in it, as everywhere."""
    if predictions.is_floating_point():
        raise EnsembleError(
            f"a vote needs labels, and the members predicted {str(predictions.dtype).removeprefix('torch.')}; let "
            "predict return integers (`model(x).argmax(-1)`), or combine by mean or median"
        )
    votes = (predictions.unsqueeze(0) == predictions.unsqueeze(1)).sum(1)
    # Of equal counts argmax must take the first, which torch does not promise; so counts are made different.
    members = len(predictions)
    rank = votes.new_tensor(range(members, 0, -1)).view(-1, *[1] * (predictions.ndim - 1))
    return predictions.gather(0, (votes * (members + 1) + rank).argmax(0, keepdim=True)).squeeze(0)


def _mean(predictions: torch.Tensor) -> torch.Tensor:
    """The mean, of values, logits or probabilities."""
    return _numbers(predictions).mean(0)


def _median(predictions: torch.Tensor) -> torch.Tensor:
    """The median: of an even number of members the mean of the two in the middle."""
    ordered = _numbers(predictions).sort(0).values
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _numbers(predictions: torch.Tensor) -> torch.Tensor:
    return predictions if predictions.is_floating_point() else predictions.float()


_RULES: dict[str, Combine] = {"vote": _vote, "mean": _mean, "median": _median}
