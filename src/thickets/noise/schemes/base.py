"""What a noise scheme is: numbers addressed by seed and tensor name. Knows nothing of any one scheme.

A new scheme is one file in this folder with one subclass of `Scheme`; it is found by its `label`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from thickets.errors import WeightsError
from thickets.noise.counter import address

if TYPE_CHECKING:
    import torch

    from thickets.noise.kernel import Entry, Group, Kernel, Stream
    from thickets.noise.region import Rectangle


class Source(NamedTuple):
    """Which numbers are asked for: those of `part` of tensor `name` of canonical `shape`, under `seed`.

    `device` and `dtype` are the tensor's own; only `per_tensor_seed` lets them enter.
    """

    seed: int
    name: str
    shape: tuple[int, ...]
    part: Rectangle
    device: torch.device
    dtype: torch.dtype
    kernel: Kernel


class Scheme(ABC):
    """A rule by which (seed, tensor name, element index) becomes a number of mean 0 and variance 1."""

    # Family and version, as recorded in runs; a changed number is a new version.
    label: ClassVar[str]

    @property
    def name(self) -> str:
        """The full name, option included: two schemes of one name give the same numbers."""
        return self.label

    @classmethod
    def with_option(cls, option: str | None) -> Self:
        """The scheme with the text after the colon of its name. Raises `WeightsError` if it takes none."""
        if option is not None:
            raise WeightsError(f"noise scheme {cls.label} takes no option, but got {option!r}; write {cls.label}")
        return cls()

    def moves(self, ndim: int) -> bool:
        """Whether a tensor of `ndim` dimensions moves at all; where it does not, its numbers are 0."""
        return True

    @abstractmethod
    def fill(self, out: torch.Tensor, source: Source) -> None:
        """Write the numbers into float32 `out`, a matrix `[rows, columns]` of the size of `source.part`."""

    @abstractmethod
    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        """Write `base + step * numbers` into `out` in the arithmetic of `Kernel`. `out` may be `base`."""

    def place_stack(
        self, out: torch.Tensor, base: torch.Tensor, steps: Sequence[float], sources: Sequence[Source]
    ) -> None:
        """`place` into each matrix of `out` `[n, rows, columns]`, by its own step and source."""
        for target, step, source in zip(out, steps, sources, strict=True):
            self.place(target, base, step, source)

    def group(self, entries: Sequence[Entry], kernel: Kernel) -> Group | None:
        """Those of the entries that the kernel can place at once with gain, if there are any."""
        return None


class StreamScheme(Scheme):
    """A scheme whose numbers are one of the streams that kernels make, addressed by seed and tensor name."""

    stream: ClassVar[Stream]

    def fill(self, out: torch.Tensor, source: Source) -> None:
        source.kernel.fill(self.stream, out, address(source.seed, source.name), source.part)

    def place(self, out: torch.Tensor, base: torch.Tensor, step: float, source: Source) -> None:
        source.kernel.place(self.stream, out, base, step, address(source.seed, source.name), source.part)

    def place_stack(
        self, out: torch.Tensor, base: torch.Tensor, steps: Sequence[float], sources: Sequence[Source]
    ) -> None:
        at = [address(source.seed, source.name) for source in sources]
        sources[0].kernel.place_stack(self.stream, out, base, steps, at, sources[0].part)

    def group(self, entries: Sequence[Entry], kernel: Kernel) -> Group | None:
        return kernel.group(self.stream, entries)
