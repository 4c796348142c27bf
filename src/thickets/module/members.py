"""The members' weights, kept from call to call where they are small. Knows nothing of what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from thickets.module.memory import CPU_BYTES
from thickets.module.population import Population
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch

# As many bytes as a chunk of candidates may take on a CPU.
KEPT_BYTES = CPU_BYTES


class Members(Population):
    """A population of which the same few are asked for again and again."""

    _kept: tuple[tuple[object, ...], dict[str, torch.Tensor], list[int]] | None = None

    def around(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        """Whether these are the very tensors that it is around, where they were."""
        return tensors.keys() == self.tensors.keys() and all(
            t is self.tensors[n] and (n not in self.base or _same_memory(t, self.base[n])) for n, t in tensors.items()
        )

    def stack(
        self, perturbations: Sequence[Perturbation | None], dtype: torch.dtype | None = None
    ) -> dict[str, torch.Tensor]:
        """As a population does it."""
        asked = (*perturbations, dtype)
        # A function may write to the weights that it is given: then they are made anew.
        kept = self._kept
        if kept is not None and kept[0] == asked and kept[2] == _writes(kept[1]):
            return dict(kept[1])
        stacks = super().stack(perturbations, dtype)
        if self.bytes * len(perturbations) <= KEPT_BYTES and not any(stack.is_inference() for stack in stacks.values()):
            self._kept = (asked, stacks, _writes(stacks))
        return dict(stacks)


def _same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.device == other.device and (not one.is_contiguous() or one.data_ptr() == other.data_ptr())


def _writes(stacks: Mapping[str, torch.Tensor]) -> list[int]:
    return [stack._version for stack in stacks.values()]
