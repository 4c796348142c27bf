"""Writes points into live weights: the base, one step from it, or a sum of steps. Knows nothing of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thickets.errors import EngineError
from thickets.noise import Batch, Region, Target, add
from thickets.types import Blend, Perturbation, Point

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Slot:
    """Live weights of one tensor, or of a region of it, with their pristine copy and the tensor's scale factor.

    `name` and `shape` are those of the canonical tensor; `shape` may be left out for a whole one.
    """

    live: torch.Tensor
    base: torch.Tensor
    name: str
    factor: float
    shape: Sequence[int] | None = None
    region: Region | None = None

    def step(self, term: Perturbation) -> float:
        """How far the term goes in this tensor, in the weights' own unit."""
        return term.sign * term.sigma * self.factor


class Placer:
    """Makes live weights those of a point; each time from the pristine copies, so nothing drifts.

    A blend is summed in a float32 scratch, one tensor at a time. The sum of a blend's first `shared` terms is kept,
    beside the pristine copies and on their device: 4 bytes a weight that moves. It is let go by the first point that
    does not begin with these terms, so whoever places no such blend pays nothing.

    A mapping of slots that is the very same as the last time is taken to have its memory where it was.
    """

    def __init__(self, scheme: str, kernel: str = "auto") -> None:
        self.scheme = scheme
        self.kernel = kernel
        self._batched: tuple[Mapping[str, Slot], str, Batch] | None = None
        self._terms: tuple[Perturbation, ...] = ()
        self._sums: dict[str, torch.Tensor] = {}

    def place(self, slots: Mapping[str, Slot], point: Point | None) -> None:
        """Write the point into every slot; `None` is the base. Raises `WeightsError` and `EngineError`."""
        terms = point.terms if isinstance(point, Blend) else () if point is None else (point,)
        if terms[: len(self._terms)] != self._terms:
            self._terms, self._sums = (), {}
        shared = point.shared if isinstance(point, Blend) else 0
        if shared > len(self._terms) and len(terms) > 1:
            self._keep(slots, terms[:shared])
        if len(terms) == 1:
            self._batch(slots).place(terms[0].seed, [slot.step(terms[0]) for slot in slots.values()])
            return
        for key, slot in slots.items():
            if terms:
                slot.live.copy_(self._sum(key, slot, terms))
            else:
                # The copy is never written to, so a transfer from pinned memory may go on behind our back.
                slot.live.copy_(slot.base, non_blocking=True)

    def _batch(self, slots: Mapping[str, Slot]) -> Batch:
        if self._batched is None or self._batched[0] is not slots or self._batched[1] != self.scheme:
            targets = [Target(s.live, s.base, s.name, s.shape, s.region) for s in slots.values()]
            self._batched = slots, self.scheme, Batch(targets, scheme=self.scheme, kernel=self.kernel)
        return self._batched[2]

    def _sum(self, key: str, slot: Slot, terms: Sequence[Perturbation]) -> torch.Tensor:
        """float32(base) and all terms, on the live weights' device, in memory of its own."""
        import torch

        known = self._sums.get(key)
        start = slot.base if known is None else known
        total = torch.empty(slot.live.shape, dtype=torch.float32, device=slot.live.device).copy_(start)
        add(
            total,
            [(term.seed, slot.step(term)) for term in terms[0 if known is None else len(self._terms) :]],
            scheme=self.scheme,
            name=slot.name,
            dtype=slot.live.dtype,
            shape=tuple(slot.live.shape) if slot.shape is None else slot.shape,
            region=slot.region,
            kernel=self.kernel,
        )
        return total

    def _keep(self, slots: Mapping[str, Slot], terms: tuple[Perturbation, ...]) -> None:
        """Keep the sum of `terms`, going on from the sum that is there."""
        made: dict[str, torch.Tensor] = {}
        try:
            for key, slot in slots.items():
                made[key] = self._sum(key, slot, terms).to(slot.base.device)
                # The old sum of this tensor has been used; both together would be twice the memory.
                self._sums.pop(key, None)
        except RuntimeError as error:
            made.clear()
            if not any(words in str(error) for words in ("out of memory", "allocate memory")):
                raise
            raise EngineError(_no_room(slots)) from error
        finally:
            # What was popped is gone: after a failure nothing is known.
            self._terms, self._sums = (terms, made) if len(made) == len(slots) else ((), {})


def _no_room(slots: Mapping[str, Slot]) -> str:
    size = sum(slot.live.numel() for slot in slots.values()) * 4 / 2**30
    device = next(iter(slots.values())).base.device
    return (
        f"the sum of the steps that many models share needs {size:.2f} GiB on {device} beside the model, more than is "
        "free; let fewer tensors move with --weights.include, or on a GPU use --engine.base host"
    )
