"""Which tensors move, how far, and the read-only base they move from. Knows nothing of models' forward passes."""

from thickets.weights.base import ReadOnlyBase, fingerprint
from thickets.weights.names import canonical_tensors
from thickets.weights.scope import moving

__all__ = ["ReadOnlyBase", "canonical_tensors", "fingerprint", "moving"]
