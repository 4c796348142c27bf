"""What a search around a module found: candidates, scores, and the members. Knows nothing of how they were scored."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from thickets.config import WeightsConfig
from thickets.config.reading import validate
from thickets.errors import ConfigError, ModelError, RunError
from thickets.module.asked import check_module
from thickets.module.ensemble import ModuleEnsemble
from thickets.module.population import Population
from thickets.store import write_atomically
from thickets.types import Perturbation

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1


@dataclass(frozen=True)
class Scored:
    """A candidate and its score: the mean over `examples` examples. Only a `settled` one is in full.

    A score that is not finite is a candidate that failed; it is never kept, and a file says only that it failed.
    """

    candidate: int
    perturbation: Perturbation
    score: float
    examples: int
    settled: bool


@dataclass(frozen=True)
class Found:
    """A finished search. `members` are the numbers of the kept candidates, best first."""

    module: nn.Module
    base: float
    candidates: Sequence[Scored]
    members: Sequence[int]
    noise: str
    weights: WeightsConfig
    fingerprint: str
    notes: Sequence[str]

    @property
    def best(self) -> Scored:
        """The best candidate."""
        return self.candidates[self.members[0]]

    @property
    def failed(self) -> int:
        """How many candidates could not be scored."""
        return sum(not math.isfinite(c.score) for c in self.candidates)

    @property
    def density(self) -> float:
        """Share of candidates that reach the base's score. Raises `ValueError` where not all were scored in full."""
        if not all(c.settled for c in self.candidates):
            raise ValueError("a screened search does not know the scores of those it dropped; search with screen=False")
        good = sum(math.isfinite(c.score) and c.score >= self.base for c in self.candidates)
        return good / len(self.candidates)

    def ensemble(
        self, combine: str = "mean", members: int | None = None, say: Callable[[str], None] | None = None
    ) -> ModuleEnsemble:
        """The members, or the best so many of them, answering together. `combine`: vote, mean or median.

        `say` hears sentences, which are warnings where it is absent. Raises `ModelError` for a module that has changed.
        """
        chosen = [self.candidates[i].perturbation for i in self.members[:members]]
        return ModuleEnsemble(
            self.module, chosen, self.noise, self.weights, combine, fingerprint=self.fingerprint, say=say
        )

    def save(self, path: str | Path) -> None:
        """Write all but the module as JSON. Raises `RunError` where that cannot be."""
        rows = [{**asdict(c), "score": c.score if math.isfinite(c.score) else None} for c in self.candidates]
        record = {
            "format": FORMAT,
            "base": self.base,
            "noise": self.noise,
            "weights": self.weights.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "members": list(self.members),
            "notes": list(self.notes),
            "candidates": rows,
        }
        write_atomically(Path(path), json.dumps(record, allow_nan=False))

    @classmethod
    def load(cls, path: str | Path, module: nn.Module) -> Found:
        """Read what `save` wrote, for the same module. Raises `RunError`, or `ModelError` for another module."""
        check_module(module)
        try:
            record: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            known = record["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"cannot read the search in {path}: {_fault(error)}") from error
        if known != FORMAT:
            raise RunError(f"{path} has format {known}, and this thickets reads {FORMAT}; search again")
        try:
            rows = [_scored(row) for row in record["candidates"]]
            weights = validate(WeightsConfig, record["weights"], "its weights")
            names = ("base", "members", "noise", "fingerprint", "notes")
            kept = {name: record[name] for name in names}
            _ = [rows[i] for i in kept["members"]]
        except (ValueError, KeyError, TypeError, IndexError, ConfigError) as error:
            raise RunError(f"the search in {path} is damaged ({_fault(error)}); search again") from error
        if Population(module, kept["noise"], weights).fingerprint != kept["fingerprint"]:
            raise ModelError(f"the module is not the one that {path} was found around; load the weights it had then")
        return cls(module=module, candidates=rows, weights=weights, **kept)


def check_place(path: str | Path) -> None:
    """See that a search can be saved there, and make the folder. Raises `RunError`: better before than after."""
    place = Path(path)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            raise IsADirectoryError("it is a folder")
        with TemporaryFile(dir=place.parent):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"cannot write {place}: {reason}; name a file in a folder that can be written to") from error


def _fault(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)


def _scored(row: dict[str, Any]) -> Scored:
    score = math.nan if row["score"] is None else float(row["score"])
    return Scored(row["candidate"], Perturbation(**row["perturbation"]), score, row["examples"], row["settled"])
