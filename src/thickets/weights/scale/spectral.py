"""`spectral`: every tensor moves by the same share of its own operator norm. Knows nothing of seeds.

Sources: the follow-up experiments to "Neural Thickets" with a step set per tensor from its spectral norm (3 to 12 times
fewer candidates for the same accuracy at 1.5B); Yang, Simon & Bernstein 2023, "A spectral condition for feature
learning": what counts is the spectral norm of an update against that of the weights; Large et al. 2024, "Scalable
optimization in the modular norm": a norm for each kind of layer (rows for embeddings), and a mass that divides the step
among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thickets.weights.scale.base import ScaleRule
from thickets.weights.scale.noise_norms import noise_norm
from thickets.weights.scale.norms import tensor_norm

if TYPE_CHECKING:
    import torch

    from thickets.noise import Scheme
    from thickets.weights.names import Kind


class Spectral(ScaleRule):
    """Factor: mass of the kind x norm of the tensor / expected norm of the noise, so the step's norm is sigma x those.

    The norm is the spectral norm of a matrix, the largest row norm of an embedding, the largest absolute value of a
    vector. A tensor that is all 0 counts as having norm 1: its step has norm sigma x mass.
    """

    name = "spectral"
    summary = "sigma times the tensor's norm (spectral, largest row, largest value) over the noise's own"
    options = frozenset({"mass_matrix", "mass_embedding", "mass_vector"})

    def factor(self, name: str, base: torch.Tensor, kind: Kind, scheme: Scheme) -> float:
        mass = {
            "matrix": self.config.mass_matrix,
            "embedding": self.config.mass_embedding,
            "vector": self.config.mass_vector,
        }[kind]
        norm = tensor_norm(name, base, kind)
        return mass * (1.0 if norm == 0 else norm) / noise_norm(scheme, kind, tuple(base.shape))
