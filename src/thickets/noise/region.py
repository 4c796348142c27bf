"""Which part of a named tensor a piece of memory is. Knows nothing of noise, dtypes or devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from thickets.errors import WeightsError


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a canonical tensor (unsharded, unfused): half-open ranges of dimension 0 and dimension 1.

    A tensor of more than two dimensions counts as the matrix `[shape[0], prod(shape[1:])]`; one of fewer than two
    takes `rows` only. `columns=None` is every column.
    """

    rows: tuple[int, int]
    columns: tuple[int, int] | None = None


class Rectangle(NamedTuple):
    """A `Region` resolved against a shape: `rows` x `columns` elements of a row-major matrix `width` wide.

    Element (i, j) of the rectangle has the canonical index `start + i * width + j`.
    """

    first_row: int
    rows: int
    first_column: int
    columns: int
    width: int

    @property
    def start(self) -> int:
        """Canonical index of the rectangle's first element."""
        return self.first_row * self.width + self.first_column

    @property
    def whole_rows(self) -> bool:
        """Whether the rectangle is one unbroken run of the row-major tensor."""
        return self.columns == self.width or self.rows == 1


@lru_cache(maxsize=65536)
def resolve(name: str, shape: tuple[int, ...], region: Region | None) -> Rectangle:
    """The rectangle that `region` is of a tensor of `shape`; all of it without a region.

    Raises `WeightsError`, naming the tensor, if the region does not fit the shape.
    """
    if any(size < 0 for size in shape):
        raise WeightsError(f"tensor {name!r} cannot have shape {list(shape)}; sizes are 0 or more")
    height, width = (shape[0] if shape else 1), math.prod(shape[1:])
    rows = (0, height) if region is None else region.rows
    columns = (0, width) if region is None or region.columns is None else region.columns
    if region is not None and region.columns is not None and len(shape) < 2:
        raise WeightsError(
            f"{region} of tensor {name!r} names columns, but its shape {list(shape)} has rows only; leave them out"
        )
    for what, (first, last), size in (("rows", rows, height), ("columns", columns, width)):
        if not 0 <= first <= last <= size:
            raise WeightsError(
                f"{region} of tensor {name!r} is outside its shape {list(shape)}; {what} must lie within (0, {size})"
            )
    if len(shape) < 2:
        # In memory a vector is one run: a single row of a matrix, not a column.
        return Rectangle(0, 1, rows[0], rows[1] - rows[0], height)
    return Rectangle(rows[0], rows[1] - rows[0], columns[0], columns[1] - columns[0], width)


def region_shape(shape: Sequence[int], region: Region | None) -> tuple[int, ...]:
    """Shape of the numbers of a region: the tensor's own rank, or `[rows, columns]` once columns are named."""
    if region is None:
        return tuple(shape)
    rows = region.rows[1] - region.rows[0]
    if region.columns is None:
        return (rows, *shape[1:])
    return (rows, region.columns[1] - region.columns[0])
