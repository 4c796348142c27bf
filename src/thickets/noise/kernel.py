"""What a kernel is: the fast inner loops that make numbers and place weights. Knows nothing of names or schemes.

Every kernel computes `float32(base) + float32(step) * noise` as one multiplication and one addition, each rounded to
float32 and never fused, then rounds to nearest even to the tensor's dtype. So all kernels give equal bits.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from thickets.errors import WeightsError

if TYPE_CHECKING:
    import torch

    from thickets.noise.counter import Address
    from thickets.noise.region import Rectangle

# The two rules by which Philox words become elements; schemes are built of these.
Stream = Literal["gaussian", "rademacher"]


class Lines(NamedTuple):
    """`runs` runs of `length` consecutive canonical elements: run i begins at index `start + i * pitch`.

    In memory run i begins i times the tensor's row stride after its first element.
    """

    start: int
    pitch: int
    runs: int
    length: int


class Entry(NamedTuple):
    """One tensor of many that are placed together: its matrices as `Kernel.place` takes them, and what they are."""

    out: torch.Tensor
    base: torch.Tensor
    name: str
    part: Rectangle


class Group(ABC):
    """Tensors that a kernel places at once; `taken` are their numbers among those it was offered."""

    taken: frozenset[int]

    @abstractmethod
    def place(self, seed: int, steps: Sequence[float]) -> None:
        """`Kernel.place` for each tensor that is taken. `steps`, in float32, are of all that were offered.

        A step of 0 gives the base bit for bit.
        """


class Kernel(ABC):
    """One implementation. Tensors come checked: matrices `[rows, columns]`, last stride 1, not empty."""

    name: ClassVar[str]

    @abstractmethod
    def runs_on(self, device: torch.device) -> bool:
        """Whether this kernel can work on tensors of `device`."""

    def threads(self) -> int:
        """How many threads may call it at once with gain."""
        return 1

    @abstractmethod
    def fill(self, stream: Stream, out: torch.Tensor, at: Address, part: Rectangle) -> None:
        """Write the numbers of `part` into float32 `out`."""

    @abstractmethod
    def place(
        self, stream: Stream, out: torch.Tensor, base: torch.Tensor, step: float, at: Address, part: Rectangle
    ) -> None:
        """Write `base + step * numbers` into `out`, of the same dtype. `out` may be `base`."""

    def place_stack(
        self,
        stream: Stream,
        out: torch.Tensor,
        base: torch.Tensor,
        steps: Sequence[float],
        at: Sequence[Address],
        part: Rectangle,
    ) -> None:
        """`place` into each matrix of `out` `[n, rows, columns]`, in one piece, by its own step and address."""
        for target, step, where in zip(out, steps, at, strict=True):
            self.place(stream, target, base, step, where, part)

    def group(self, stream: Stream, entries: Sequence[Entry]) -> Group | None:
        """Those of the entries that can be placed at once with gain, if there are any."""
        return None

    @abstractmethod
    def fill_product(self, out: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> None:
        """Write `a @ b / sqrt(r)` into float32 `out`; `a` is [rows, r], `b` [r, columns], float32, contiguous.

        The sum runs over r in order, each product and each sum rounded to float32; the division comes last.
        """

    @abstractmethod
    def place_product(
        self, out: torch.Tensor, base: torch.Tensor, step: float, a: torch.Tensor, b: torch.Tensor
    ) -> None:
        """Write `base + step * (a @ b / sqrt(r))` into `out`. `out` may be `base`."""


_MODULES = {"reference": "thickets.noise.reference", "numba": "thickets.noise.cpu", "triton": "thickets.noise.cuda"}
_FASTEST = {"cpu": "numba", "cuda": "triton"}


def kernel_names() -> tuple[str, ...]:
    """What the `kernel` argument may be besides `auto`."""
    return tuple(_MODULES)


def choose(name: str, device: torch.device) -> Kernel:
    """The kernel called `name`; for `auto` the fastest on `device` (numba on CPU, triton on CUDA, else reference).

    Raises `WeightsError` if there is no such kernel, its library is missing, or it cannot work on `device`.
    """
    picked = _FASTEST.get(device.type, "reference") if name == "auto" else name
    kernel = _load(picked)
    if not kernel.runs_on(device):
        raise WeightsError(f"the noise kernel {picked!r} cannot work on device {device}; ask for kernel='auto'")
    return kernel


@cache
def _load(name: str) -> Kernel:
    if name not in _MODULES:
        raise WeightsError(f"there is no noise kernel {name!r}; there are auto, {', '.join(_MODULES)}")
    try:
        kernel: Kernel = importlib.import_module(_MODULES[name]).KERNEL
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise WeightsError(
            f"the noise kernel {name!r} needs the package {name}; install it, or ask for kernel='reference'"
        ) from error
    return kernel


def lines(part: Rectangle, *tensors: torch.Tensor) -> Lines:
    """The runs of `part`: one long run if the tensors and the rectangle are unbroken, else one for each row."""
    if part.whole_rows and all(t.is_contiguous() for t in tensors):
        return Lines(part.start, 0, 1, part.rows * part.columns)
    return Lines(part.start, part.width, part.rows, part.columns)
