"""`rademacher/1`: independent signs, +1 or -1, one bit of Philox each. Knows nothing of tensors' meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from thickets.noise.schemes.base import StreamScheme

if TYPE_CHECKING:
    from thickets.noise.kernel import Stream


class Rademacher(StreamScheme):
    """Block b makes elements 128b ... 128b + 127; bit j of word w is element 32w + j; 0 is +1 and 1 is -1."""

    label = "rademacher/1"
    stream: ClassVar[Stream] = "rademacher"
