"""Tensors that move together: looked at once, then placed under any seed. Knows nothing of models.

What a switch of a whole model costs beside its memory traffic is the work for each tensor: checks, and on a GPU a
launch. Here the checks are made once, and a kernel may place many tensors in one launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thickets.errors import WeightsError
from thickets.noise.kernel import Entry
from thickets.noise.placing import check_seed, checked, put
from thickets.noise.region import Region
from thickets.noise.schemes import find_scheme

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Target:
    """Live weights, their base, and which part of which tensor they are: the arguments of `noise.place`."""

    out: torch.Tensor
    base: torch.Tensor
    name: str
    shape: Sequence[int] | None = None
    region: Region | None = None


class Batch:
    """`noise.place` for many tensors, bit for bit, under one seed and a step for each.

    The tensors' memory must stay where it is. Raises `WeightsError` for a tensor, scheme or kernel that `place` would
    refuse.
    """

    def __init__(self, targets: Sequence[Target], *, scheme: str, kernel: str = "auto") -> None:
        self._scheme = find_scheme(scheme)
        self._checked = [checked(t.out, t.base, t.name, t.shape, t.region, kernel) for t in targets]
        offered: dict[str, list[int]] = {}
        for i, c in enumerate(self._checked):
            if c.target.numel() and self._scheme.moves(len(c.full)) and c.source.device == c.target.device:
                offered.setdefault(f"{c.engine.name} {c.target.device}", []).append(i)
        self._groups = []
        for numbers in offered.values():
            found = [self._checked[i] for i in numbers]
            entries = [Entry(c.target, c.source, targets[i].name, c.part) for i, c in zip(numbers, found, strict=True)]
            group = self._scheme.group(entries, found[0].engine)
            if group:
                self._groups.append((numbers, group))
        taken = {numbers[i] for numbers, group in self._groups for i in group.taken}
        self._names = [t.name for t in targets]
        self._alone = [i for i, c in enumerate(self._checked) if c.target.numel() and i not in taken]

    def place(self, seed: int, steps: Sequence[float]) -> None:
        """Write `round(float32(base) + float32(step) * noise)` into every tensor.

        Raises `WeightsError`, before it writes, for a seed or step that cannot be used.
        """
        import numpy as np

        check_seed(seed)
        with np.errstate(over="ignore"):
            rounded = np.asarray(steps, dtype=np.float64).astype(np.float32)
        if not np.isfinite(rounded).all():
            i = int(np.flatnonzero(~np.isfinite(rounded))[0])
            raise WeightsError(
                f"step {steps[i]} of tensor {self._names[i]!r} is not a finite float32 number; check sigma and scale"
            )
        moves = rounded.tolist()
        for numbers, group in self._groups:
            group.place(seed, [moves[i] for i in numbers])
        for i in self._alone:
            put(self._scheme, self._checked[i], self._names[i], seed, moves[i])
