"""Weights, regions and bit patterns that the noise tests share."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from thickets.noise import Region

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# One scheme of each rule; small ranks keep the reference quick.
SCHEMES = ("gaussian/1", "rademacher/1", "low_rank/1:3", "per_tensor_seed/1")


def weights(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Random weights of standard deviation 0.02."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02).to(dtype)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """The bit patterns: equality of these tells +0 from -0 and one NaN from another."""
    return tensor.contiguous().view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def cut(tensor: torch.Tensor, region: Region | None) -> torch.Tensor:
    """The region as a view of the whole tensor."""
    if region is None:
        return tensor
    tensor = tensor[slice(*region.rows)]
    return tensor if region.columns is None else tensor.flatten(1)[:, slice(*region.columns)]


@st.composite
def ranges(draw: Any, size: int) -> tuple[int, int]:
    first = draw(st.integers(0, size))
    return first, draw(st.integers(first, size))


@st.composite
def regions(draw: Any, most: int = 300) -> tuple[tuple[int, ...], Region]:
    """A shape of one to three dimensions, with up to `most` rows and columns, and a region of it."""
    shape = draw(
        st.one_of(
            st.tuples(st.integers(0, most * 4)),
            st.tuples(st.integers(0, 12), st.integers(0, most)),
            st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 40)),
        )
    )
    rows = draw(ranges(shape[0]))
    if len(shape) == 1 or draw(st.booleans()):
        return shape, Region(rows)
    width = torch.Size(shape[1:]).numel()
    return shape, Region(rows, draw(ranges(width)))
