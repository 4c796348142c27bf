"""One worker's live weights: which canonical tensors they are, their pristine copy, and how they move.

Knows nothing of vLLM beyond a model's parameters and its `load_weights`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

import torch

from thickets.engines.checkpoint import Checkpoint
from thickets.engines.in_vllm.recording import Piece, record
from thickets.engines.prompts import first_line
from thickets.errors import WeightsError
from thickets.noise import Region
from thickets.types import Perturbation, Point
from thickets.weights import Placer, Slot, copies, cost, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Plan:
    """What every worker is told: the checkpoint, the factor of each tensor that moves, and how it moves."""

    checkpoint: Checkpoint
    factors: Mapping[str, float]
    include: Sequence[str]
    exclude: Sequence[str]
    scheme: str
    where: Literal["device", "host"]
    kernel: str


@dataclass(frozen=True)
class Share:
    """What one worker holds: the regions of each canonical tensor that moves, and what its copy costs.

    `unexplained`: vLLM's tensors there whose content cannot be matched, and why.
    """

    regions: Mapping[str, Sequence[Region | None]]
    cost: str
    unexplained: Mapping[str, str] = field(default_factory=dict)


class LiveWeights:
    """Takes on perturbations in the live parameters of `model`, as far as this worker holds them.

    Raises `WeightsError`, before anything is written, for a tensor in the scope that cannot be matched with the
    checkpoint bit for bit; `EngineError` where memory does not suffice for the pristine copy.
    """

    def __init__(self, model: torch.nn.Module, plan: Plan) -> None:
        self.plan = plan
        self.parameters = dict(model.named_parameters(remove_duplicate=True))
        for name, parameter in self.parameters.items():
            if parameter.numel() == 0:
                self._refuse_in_scope(name, "it is empty, its weights were packed away when the model was loaded")
        entries = plan.checkpoint.entries
        sources = {name: (e.stored, e.shape, getattr(torch, e.dtype)) for name, e in entries.items()}
        load: Any = model.load_weights
        try:
            recording = record(self.parameters, sources, load)
        except Exception as error:
            raise WeightsError(
                f"vLLM's loader of {type(model).__name__} cannot be followed ({first_line(error)}), so its weights "
                "cannot be matched with the checkpoint's; use --engine hf for this model"
            ) from error
        self.pieces = {f"{p.name} {p.region or ''} in {p.parameter}": p for p in recording.pieces}
        self._check_same()
        moving = {key: self._live(piece) for key, piece in self.pieces.items() if piece.name in plan.factors}
        self.pristine = copies(moving, plan.where)
        # Tensors that lie in what cannot be followed are in no share: they are refused if they move, else none minds.
        held = _regions(self.pieces[key] for key in moving)
        self.share = Share(held, cost(self.pristine, moving), dict(recording.unexplained))
        # Once without a step: a layout that noise cannot be written to shows now, by name.
        self.placer = Placer(plan.scheme, plan.kernel)
        self._slots = self._make_slots()
        self.placer.place(self._slots, Perturbation(0, 0.0))
        self.digest = fingerprint(self.parameters)

    def place(self, perturbation: Point | None) -> None:
        """Make the live weights those of the point; `None` is the base itself."""
        _wait()
        if any(self._live(self.pieces[key]).data_ptr() != slot.live.data_ptr() for key, slot in self._slots.items()):
            self._slots = self._make_slots()
        self.placer.place(self._slots, perturbation)
        _wait()

    def unchanged(self) -> bool:
        """Put the base back, and say whether every bit is as it was at the start."""
        self.place(None)
        return fingerprint(self.parameters) == self.digest

    def _make_slots(self) -> dict[str, Slot]:
        return {key: self._slot(self.pieces[key], base) for key, base in self.pristine.items()}

    def _slot(self, piece: Piece, base: torch.Tensor) -> Slot:
        shape = self.plan.checkpoint.entries[piece.name].shape
        return Slot(self._live(piece), base, piece.name, self.plan.factors[piece.name], shape, piece.region)

    def _live(self, piece: Piece) -> torch.Tensor:
        return piece.view.of(self.parameters[piece.parameter])

    def _refuse_in_scope(self, name: str, reason: str) -> None:
        if _in_scope(name, self.plan):
            raise WeightsError(
                f"vLLM's tensor {name} cannot be matched with the checkpoint's tensors ({reason}), so no step can be "
                "written to it; leave it out with --weights.exclude, or use --engine hf"
            )

    def _check_same(self) -> None:
        """Every piece must hold the bits of its region of the checkpoint."""
        for piece in self.pieces.values():
            live = self._live(piece)
            stored = self.plan.checkpoint.read(piece.name, piece.region)
            if live.dtype != stored.dtype:
                self._refuse(piece, f"is of type {live.dtype} there and of type {stored.dtype} in transformers")
            if not _equal_bits(live, stored):
                self._refuse(piece, "has other values there than in the checkpoint")

    def _refuse(self, piece: Piece, reason: str) -> None:
        if piece.name in self.plan.factors:
            raise WeightsError(
                f"tensor {piece.name} lies in vLLM's {piece.parameter}, but {reason}, so it cannot take a step; leave "
                "it out with --weights.exclude, or use --engine hf"
            )


def _wait() -> None:
    """Kernels are only queued, and vLLM's may be on another stream: none may run while weights change."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _in_scope(name: str, plan: Plan) -> bool:
    included = any(fnmatchcase(name, pattern) for pattern in plan.include)
    return included and not any(fnmatchcase(name, pattern) for pattern in plan.exclude)


def _equal_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    a, b = a.contiguous().reshape(-1), b.to(a.device).contiguous().reshape(-1)
    return torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def _regions(pieces: Iterable[Piece]) -> dict[str, list[Region | None]]:
    found: dict[str, list[Region | None]] = {}
    for piece in pieces:
        found.setdefault(piece.name, []).append(piece.region)
    return found
