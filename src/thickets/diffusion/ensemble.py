"""The members of a search around a pipeline, drawing together, and their file. Knows nothing of how they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from thickets.config import WeightsConfig
from thickets.diffusion.averaging import averaged
from thickets.diffusion.denoiser import Denoiser
from thickets.ensemble.file import Kept, Part, read_file
from thickets.errors import EnsembleError
from thickets.store import write_atomically

FORMAT = "thickets-images/1"


class PipelineMember(Kept):
    """A kept perturbation of a denoiser; `score` is its mean reward on the selection images."""


class _File(Part):
    """Everything besides the pipeline. `fingerprint` is of the denoiser's weights in the type they were loaded in."""

    format: Literal["thickets-images/1"] = "thickets-images/1"
    # As `load_pipeline` takes it; absent where the search was given a pipeline.
    model: dict[str, Any] | None
    denoiser: str
    fingerprint: str
    noise: str
    weights: WeightsConfig
    arguments: dict[str, Any]
    reward: str
    members: tuple[PipelineMember, ...] = Field(min_length=1)
    results: dict[str, Any]


class PipelineEnsemble:
    """Members around a pipeline's denoiser, best first. Call it as the pipeline is called.

    The predictions of all members are averaged at every denoising step, with one copy of the weights switched in place
    (`hold=True`: with a copy for each). K members take K times as long as the pipeline alone.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        members: Sequence[PipelineMember],
        arguments: Mapping[str, Any],
        reward: str,
        hold: bool = False,
        model: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> None:
        if not members:
            raise EnsembleError("an ensemble needs a member; keep at least one candidate (top_k)")
        self.denoiser, self.members, self.hold = denoiser, tuple(members), hold
        self.arguments, self.reward = dict(arguments), reward
        self._model, self._results = model, dict(results or {})

    def __call__(self, prompt: str | list[str] | None = None, **arguments: Any) -> Any:
        """What the pipeline gives for these arguments, drawn by all members together.

        Arguments that are not given are those of the search (steps, guidance, size).
        """
        with self.applied():
            return self.denoiser.pipe(prompt=prompt, **self._defaults(prompt) | arguments)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While it is open, the pipeline itself draws with all members; afterwards it is what it was."""
        with averaged(self.denoiser, [m.perturbation for m in self.members], self.hold):
            yield

    @contextmanager
    def member(self, rank: int) -> Iterator[None]:
        """While it is open, the pipeline has the weights of that member alone, to draw with or to save."""
        if not 1 <= rank <= len(self.members):
            raise EnsembleError(f"there is no member {rank}; there are members 1 to {len(self.members)}")
        try:
            self.denoiser.base.place(self.members[rank - 1].perturbation)
            yield
        finally:
            self.denoiser.base.place(None)

    def save(self, path: str | Path) -> None:
        """Write all but the pipeline as JSON."""
        file = _File(
            model=None if self._model is None else dict(self._model),
            denoiser=self.denoiser.name,
            fingerprint=self.denoiser.fingerprint,
            noise=self.denoiser.scheme,
            weights=self.denoiser.config,
            arguments=self.arguments,
            reward=self.reward,
            members=self.members,
            results=self._results,
        )
        write_atomically(Path(path), file.model_dump_json(indent=1) + "\n")

    @classmethod
    def load(
        cls, path: str | Path, pipe: Any = None, *, device: str = "auto", members: int | None = None, hold: bool = False
    ) -> PipelineEnsemble:
        """Read what `save` wrote, or a directory of `thickets diffuse`, around the same pipeline.

        Without `pipe` it is loaded as it was for the search. `members` takes only so many of the best. Raises
        `EnsembleError`, also for a pipeline with another denoiser, and `ModelError` where it does not load.
        """
        file = _read(Path(path))
        if pipe is None:
            if file.model is None:
                raise EnsembleError(f"{path} was made around a pipeline of yours; give it again: load(path, pipe)")
            from thickets.config.diffusion import PipelineConfig
            from thickets.diffusion.loading import load_pipeline

            pipe = load_pipeline(PipelineConfig.model_validate(file.model), device)
        denoiser = Denoiser(pipe, file.noise, file.weights, file.denoiser)
        if denoiser.fingerprint != file.fingerprint:
            raise EnsembleError(
                f"the pipeline's {file.denoiser} is not the one that {path} was found around (fingerprint "
                f"{file.fingerprint[:19]}… then, {denoiser.fingerprint[:19]}… now); load the same weights in the same "
                "number type"
            )
        return cls(denoiser, file.members[:members], file.arguments, file.reward, hold, file.model, file.results)

    def _defaults(self, prompt: str | list[str] | None) -> dict[str, Any]:
        """The search's own arguments, in the form that goes with the prompts given."""
        count = len(prompt) if isinstance(prompt, list) else None
        return {
            name: [value] * count if count is not None and name.startswith("negative_prompt") else value
            for name, value in self.arguments.items()
        }


def _read(path: Path) -> _File:
    path = path / "ensemble.json" if path.is_dir() else path
    return read_file(path, _File, FORMAT, "give a finished search or its ensemble.json")
