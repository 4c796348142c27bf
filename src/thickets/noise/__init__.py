"""Noise addressed by name: element i of tensor `name` under `seed` is a pure function of (scheme, seed, name, i).

Knows nothing of models, engines or search, and imports torch, NumPy, Numba and Triton only where they are used.
"""

from thickets.noise.batch import Batch, Target
from thickets.noise.counter import philox
from thickets.noise.kernel import kernel_names
from thickets.noise.placing import add, canonical_name, moves, normal, numbers, place, place_stack, rademacher
from thickets.noise.region import Region
from thickets.noise.schemes import Scheme, Source, find_scheme, scheme_names, schemes

__all__ = [
    "Batch",
    "Region",
    "Scheme",
    "Source",
    "Target",
    "add",
    "canonical_name",
    "find_scheme",
    "kernel_names",
    "moves",
    "normal",
    "numbers",
    "philox",
    "place",
    "place_stack",
    "rademacher",
    "scheme_names",
    "schemes",
]
