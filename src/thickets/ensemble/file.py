"""`ensemble.json`: a few kilobytes that, with the base model, are the whole result. Knows nothing of engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thickets.config import GenerationConfig, ModelConfig, TaskConfig, WeightsConfig
from thickets.errors import EnsembleError
from thickets.types import Perturbation, Sampling

FORMAT = "thickets-ensemble/1"
File = TypeVar("File", bound=BaseModel)


class Part(BaseModel):
    """What a file is made of: nothing in it is unknown, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(Part):
    """The pretrained model; `fingerprint` is of its weights in `dtype`."""

    model: ModelConfig
    fingerprint: str
    dtype: str


def generation_of(sampling: Sampling) -> GenerationConfig:
    """How answers are decoded, as a file says it: nothing is left to the task."""
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        stop=sampling.stop,
    )


class Kept(Part):
    """A kept perturbation; `score` is its mean reward on what was selected on."""

    rank: int = Field(ge=1)
    candidate: int = Field(ge=0)
    seed: int = Field(ge=0)
    sigma: float = Field(gt=0)
    sign: Literal[1, -1]
    score: float

    @property
    def perturbation(self) -> Perturbation:
        """The point in weight space."""
        return Perturbation(self.seed, self.sigma, self.sign)


class Member(Kept):
    """A member that answers. `accuracy` is its share correct on the selection split."""

    accuracy: float


class EnsembleFile(Part):
    """Everything that answering needs besides the base model."""

    format: Literal["thickets-ensemble/1"] = "thickets-ensemble/1"
    base: Base
    noise: str
    weights: WeightsConfig
    task: TaskConfig
    generation: GenerationConfig
    vote: str
    members: tuple[Member, ...] = Field(min_length=1)
    # Test figures as the report states them, for whoever is handed only this file.
    results: dict[str, Any] = Field(default_factory=dict)
    made_by: dict[str, str] = Field(default_factory=dict)

    def to_json(self) -> str:
        """The file's text."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


def read_ensemble(path: Path | str) -> EnsembleFile:
    """Read `ensemble.json`, or that of a run directory. Raises `EnsembleError`, one sentence."""
    path = Path(path)
    if path.is_dir():
        if not (path / "ensemble.json").exists() and (path / "run.db").exists():
            raise EnsembleError(
                f"the run in {path} has not finished; repeat its `thickets run` command to go on with it"
            )
        path = path / "ensemble.json"
    return read_file(path, EnsembleFile, FORMAT, "give a finished run or an ensemble.json")


def read_file(path: Path, kind: type[File], form: str, remedy: str) -> File:
    """Read a JSON file of one kind, whose format is called `form`. Raises `EnsembleError`, one sentence.

    `remedy` is what to do where there is no such file.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EnsembleError(f"there is no {path}; {remedy}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise EnsembleError(f"{path} is not a {form} file: {where}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EnsembleError(f"cannot read {path}: {error}") from error
