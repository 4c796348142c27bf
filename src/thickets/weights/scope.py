"""The scope: which tensors a perturbation moves. Knows only names, types and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from thickets.errors import WeightsError

if TYPE_CHECKING:
    import torch

# Left out unless a pattern names them exactly: vision towers are frozen in the paper's vision-language runs.
VISION_TOWERS = ("visual.*", "*.visual.*", "vision_tower.*", "*.vision_tower.*", "vision_model.*", "*.vision_model.*")


def moving(tensors: Mapping[str, torch.Tensor], include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """The names that move, in the order of the model.

    Buffers, integer and FP8 tensors (quantised weights) never move. Raises `WeightsError` for a pattern that
    matches nothing, or when nothing is left to move.
    """
    for pattern in (*include, *exclude):
        if not any(fnmatchcase(name, pattern) for name in tensors):
            some = ", ".join(list(tensors)[:3])
            raise WeightsError(f"no tensor is named like {pattern!r}; names look like {some}")
    names = [n for n, t in tensors.items() if _movable(t) and _matches(n, include) and not _matches(n, exclude)]
    named_outright = set(include)
    names = [n for n in names if n in named_outright or not _matches(n, VISION_TOWERS)]
    if not names:
        raise WeightsError(
            "the scope leaves nothing to move: of the tensors that "
            f"{list(include)} includes and {list(exclude)} does not exclude, none is a floating-point parameter"
        )
    return names


def _movable(tensor: torch.Tensor) -> bool:
    import torch

    return isinstance(tensor, torch.nn.Parameter) and tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
