"""`absolute`: every tensor takes the same step, sigma. Looks at no tensor.

Source: Gan & Isola, "Neural Thickets", 2026: theta + sigma * epsilon with one sigma for all weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thickets.weights.scale.base import ScaleRule

if TYPE_CHECKING:
    import torch

    from thickets.noise import Scheme
    from thickets.weights.names import Kind


class Absolute(ScaleRule):
    """Factor 1: sigma is the standard deviation of the step of every weight."""

    name = "absolute"
    summary = "sigma for every tensor, as the paper does"

    def factor(self, name: str, base: torch.Tensor, kind: Kind, scheme: Scheme) -> float:
        return 1.0
