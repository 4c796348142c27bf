"""What a scale rule is: how sigma becomes the step of one tensor. Knows no rule, no engine and no seed.

A new rule is one file in this folder with one subclass of `ScaleRule`; it is found by its `name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from thickets.config import WeightsConfig

if TYPE_CHECKING:
    import torch

    from thickets.noise import Scheme
    from thickets.weights.names import Kind


class ScaleRule(ABC):
    """Gives every tensor its factor: the step of a tensor is `sign * sigma * factor`, in the weights' unit."""

    name: ClassVar[str]
    summary: ClassVar[str]
    # The fields of `WeightsConfig` that this rule reads; setting those of another rule is an error.
    options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, config: WeightsConfig) -> None:
        self.config = config

    @abstractmethod
    def factor(self, name: str, base: torch.Tensor, kind: Kind, scheme: Scheme) -> float:
        """The factor of the tensor called `name` with the untouched weights `base`, moved by noise of `scheme`.

        Positive and finite for finite weights, those that are all 0 too. The same for every seed, and the same bits on
        every machine once `factors` has rounded it: sums are taken in float64.
        """
