"""`relative`: every tensor moves by the same share of its own spread. Knows nothing of norms.

Source: the follow-up experiments to "Neural Thickets" that compare sigma times the tensor's standard deviation with
plain sigma (they tie); the same normalisation, there by the norm of each filter, is in Li et al. 2018, "Visualizing the
loss landscape of neural nets", section 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thickets.weights.scale.base import ScaleRule
from thickets.weights.scale.norms import standard_deviation

if TYPE_CHECKING:
    import torch

    from thickets.noise import Scheme
    from thickets.weights.names import Kind


class Relative(ScaleRule):
    """Factor: the population standard deviation of the tensor; 1 where it is 0 (norms that are all 1, zero biases)."""

    name = "relative"
    summary = "sigma times the tensor's standard deviation; sigma itself where that is 0"

    def factor(self, name: str, base: torch.Tensor, kind: Kind, scheme: Scheme) -> float:
        return standard_deviation(base) or 1.0
