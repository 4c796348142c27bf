"""`gaussian/1`: independent standard normal numbers, by Philox and Box-Muller. Knows nothing of tensors' meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from thickets.noise.schemes.base import StreamScheme

if TYPE_CHECKING:
    from thickets.noise.kernel import Stream


class Gaussian(StreamScheme):
    """Block b of Philox makes elements 4b ... 4b + 3 of the row-major tensor (see `normal_constants`)."""

    label = "gaussian/1"
    stream: ClassVar[Stream] = "gaussian"
