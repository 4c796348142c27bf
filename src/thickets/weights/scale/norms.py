"""How large a tensor is: standard deviation, spectral norm, largest row, largest value. Knows nothing of noise schemes.

All sums are in float64, a few rows at a time: float32 sums differ from one number of threads to another in digits that
`scale_factors` keeps. No tensor is copied whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from thickets.noise import normal

if TYPE_CHECKING:
    import torch

    from thickets.weights.names import Kind

# Elements in float64 at a time: 128 MiB.
_CHUNK = 1 << 24
# Columns that the power iteration turns at once. Weights without outliers have no gap between their first singular
# values; a block converges by the gap to the ninth, and reading the matrix is what costs.
_BLOCK = 8
# Stop once iteration x (increase in it) is under this share of the norm, and after so many at the latest.
_TOLERANCE = 0.005
_MOST = 100


def standard_deviation(tensor: torch.Tensor) -> float:
    """Population standard deviation over all elements; exactly 0 for a constant tensor, NaN if there is a NaN."""
    flat = tensor.detach().reshape(-1)
    if not flat.numel():
        return 0.0
    # Distances from an element rather than from the mean: those of a constant tensor are exactly 0.
    pivot = flat[0].double()
    total = squares = 0.0
    for start in range(0, flat.numel(), _CHUNK):
        distance = flat[start : start + _CHUNK].double() - pivot
        total += float(distance.sum())
        squares += float(distance.square_().sum())
    mean = total / flat.numel()
    variance = squares / flat.numel() - mean * mean
    # max() would turn a NaN into 0.
    return 0.0 if variance < 0 else math.sqrt(variance)


def tensor_norm(name: str, tensor: torch.Tensor, kind: Kind) -> float:
    """The norm that goes with the kind of tensor; 0 only if it is all zeros, NaN or infinite if its elements are."""
    import torch

    if kind == "matrix":
        return spectral_norm(name, tensor)
    if kind == "embedding":
        # torch's maximum is NaN if one is; Python's is not always.
        return float(torch.stack([rows.norm(dim=1).max() for rows in _rows(tensor)]).max())
    return float(tensor.detach().abs().max())


def spectral_norm(name: str, tensor: torch.Tensor) -> float:
    """Largest singular value within 1 %, from below, of the tensor as a matrix `[shape[0], prod(shape[1:])]`.

    Block power iteration (Golub & Van Loan, "Matrix computations", 4th ed., section 8.2.4, with Rayleigh-Ritz values)
    from `gaussian/1` numbers under seed 0 and the tensor's name, so it starts, and ends, the same everywhere. An
    iteration reads the matrix once.
    """
    import torch

    chunks = list(_rows(tensor)) if tensor.numel() <= _CHUNK else None
    columns = math.prod(tensor.shape[1:])
    start = normal(0, f"{name}#spectral", (columns, min(_BLOCK, columns)))
    block = torch.linalg.qr(start.to(tensor.device, torch.float64)).Q
    square = 0.0
    for iteration in range(1, _MOST + 1):
        turned = torch.zeros_like(block)
        for rows in chunks or _rows(tensor):
            turned += rows.T @ (rows @ block)
        if not bool(torch.isfinite(turned).all()):
            return math.nan
        before, square = square, float(torch.linalg.eigvalsh(block.T @ turned)[-1])
        # The square grows twice as fast as the norm, in shares.
        if iteration * (square - before) <= 2 * _TOLERANCE * square:
            break
        block = torch.linalg.qr(turned).Q
    return math.sqrt(max(square, 0.0))


def _rows(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The tensor as a matrix in float64, a few rows at a time."""
    matrix = tensor.detach().reshape(tensor.shape[0], -1)
    height = max(1, _CHUNK // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], height):
        yield matrix[start : start + height].double()
