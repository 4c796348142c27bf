"""How large the noise of a scheme is to be expected, without drawing it. Knows nothing of any model's weights.

The norm of one draw of a large tensor hardly differs from that of another, so its expectation, once for all seeds,
stands for it. `tests/unit/test_scale.py` shows how close it comes for every scheme.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from thickets.noise.schemes.low_rank import LowRank
from thickets.noise.schemes.rademacher import Rademacher

if TYPE_CHECKING:
    from thickets.noise import Scheme
    from thickets.weights.names import Kind

# Mean of the Tracy-Widom law of real matrices (beta = 1); Bejan 2005, "Largest eigenvalues and sample covariance
# matrices", table 1.
_TRACY_WIDOM = -1.2065335745820


def noise_norm(scheme: Scheme, kind: Kind, shape: tuple[int, ...]) -> float:
    """Expected norm, as `tensor_norm` measures it, of noise of `scheme` in a tensor of `shape` that it moves.

    Within 5 % of the mean of what is drawn where there are dozens of rows and columns (12 % for rank 1), within 2 % for
    matrices of hundreds. A vector's largest normal number differs by 10 % from seed to seed. Every scheme other than
    signs and low rank is taken for independent standard normal numbers.
    """
    rows, columns = (shape[0] if shape else 1), math.prod(shape[1:])
    if isinstance(scheme, LowRank):
        return _low_rank(kind, rows, columns, scheme.rank)
    if kind == "matrix":
        return _matrix(rows, columns)
    signs = isinstance(scheme, Rademacher)
    if kind == "embedding":
        return math.sqrt(columns) if signs else _largest_row(rows, columns)
    return 1.0 if signs else NormalDist().inv_cdf(0.5 + _rank(math.prod(shape)) / 2)


def _matrix(rows: float, columns: float) -> float:
    """Spectral norm of independent numbers of variance 1, whatever their law: sqrt(rows) + sqrt(columns), less a bit.

    The leading term is that of Bai & Yin 1993; the bit is the mean of the limit law of Johnstone 2001, "On the
    distribution of the largest eigenvalue in principal components analysis", centred as in Ma 2012, "Accuracy of the
    Tracy-Widom limits for the extreme eigenvalues in white Wishart matrices", theorem 2.
    """
    a, b = math.sqrt(max(rows, 1) - 0.5), math.sqrt(max(columns, 1) - 0.5)
    square = (a + b) ** 2 + _TRACY_WIDOM * (a + b) * (1 / a + 1 / b) ** (1 / 3)
    # The limit law says nothing of a handful of numbers; no matrix is smaller than its longest side.
    return math.sqrt(max(square, rows, columns))


def _largest_row(rows: int, columns: float) -> float:
    """Largest of `rows` norms of `columns` normal numbers: a quantile of chi-squared by Wilson & Hilferty 1931."""
    z = NormalDist().inv_cdf(_rank(rows))
    spread = 2 / (9 * columns)
    return math.sqrt(columns * max(1 - spread + z * math.sqrt(spread), 0.0) ** 3)


def _rank(count: int) -> float:
    """The probability under which the expected largest of `count` numbers lies: Blom 1958, for normal numbers."""
    return (count - 0.375) / (count + 0.25)


def _low_rank(kind: Kind, rows: int, columns: int, rank: int) -> float:
    """Norm of `A B^T / sqrt(rank)` with normal A `[rows, rank]` and B `[columns, rank]`."""
    if kind == "embedding":
        # The square of a row's norm has mean `columns` and variance 2 columns^2 (1/rank + 1/columns): as chi-squared
        # of so many degrees of freedom (Satterthwaite 1946).
        freedom = rank * columns / (rank + columns)
        return math.sqrt(columns / freedom) * _largest_row(rows, freedom)
    c, d = rank / rows, rank / columns
    # Singular values squared, over rows x columns, follow the free product of two Marchenko-Pastur laws of ratios c
    # and d (Voiculescu, Dykema & Nica 1992, "Free random variables", section 3.6): S(z) = 1 / ((1 + c z)(1 + d z)).
    # Its right edge is the least value of (1 + z)(1 + c z)(1 + d z) / z for z > 0, where this cubic is 0.
    low, high = 0.0, 1 / math.sqrt(c + d)
    for _ in range(100):
        z = (low + high) / 2
        low, high = (low, z) if 2 * c * d * z**3 + (c + d + c * d) * z * z > 1 else (z, high)
    edge = (1 + high) * (1 + c * high) * (1 + d * high) / high
    # One normal matrix [rank, length] has the same edge, and shows how far below it a finite matrix stays.
    length = rank / (math.sqrt(edge) - 1) ** 2
    finite = _matrix(rank, length) / (math.sqrt(rank) + math.sqrt(length))
    return math.sqrt(rows * columns * edge / rank) * finite
