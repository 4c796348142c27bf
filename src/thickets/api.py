"""The Python face of thickets: `RandOpt(...).run("runs/x")`. Same settings as the command line; draws nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from thickets.analysis.summary import HeldOut, Summary
from thickets.config import RunConfig, merge, parse
from thickets.ensemble import Ensemble
from thickets.errors import ConfigError
from thickets.plugins import nearest
from thickets.randopt import execute
from thickets.searching import Progress
from thickets.tasks import Task

if TYPE_CHECKING:
    from thickets.module import Found

    Score = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Result:
    """A finished run: where it is, its figures, and its ensemble, ready to answer."""

    directory: Path
    summary: Summary
    ensemble: Ensemble

    @property
    def test(self) -> HeldOut:
        """Base, best single member and ensemble on the test split."""
        if self.summary.test is None:
            raise ValueError("a finished run has test figures")
        return self.summary.test

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.directory / "report.html"


class RandOpt:
    """Guess, check, keep the best, vote (Gan & Isola 2026).

    `model` is a Hub id, a local folder, a dictionary of its settings, or a loaded transformers model (then give its
    `tokenizer`, or its processor if it takes images); `task` is the
    name of a built-in task, a `Task` of your own, or a dictionary of its settings. The named arguments are those
    most used; every other setting of the configuration goes in by section:
    `RandOpt(..., splits={"selection": 100}, engine={"device": "cuda:1"})`.

    Any other torch module goes with a `score(model, data)` in place of a task: `RandOpt(module, score=..., data=...)`
    takes the settings of `thickets.search`, and `run` gives its `Found`, written to the file it names.
    """

    @overload
    def __new__(cls, model: Any, task: str | Task | dict[str, Any], **settings: Any) -> RandOpt: ...
    @overload
    def __new__(cls, model: Any, *, score: Score, data: Any = None, **settings: Any) -> ModuleRandOpt: ...  # type: ignore[misc]
    @overload
    def __new__(cls, model: Any, task: None = None, **settings: Any) -> RandOpt: ...
    def __new__(cls, model: Any, task: Any = None, *, score: Score | None = None, **settings: Any) -> Any:
        if score is None:
            return super().__new__(cls)
        if task is not None:
            raise ConfigError("RandOpt got a task and a score; give a task for a language model, a score for a module")
        if isinstance(model, str | Path | dict):
            raise ConfigError(
                f"RandOpt got a score and the model {model!r}, which is not loaded; a score goes with a "
                "torch.nn.Module, and a model by its name with a task"
            )
        return ModuleRandOpt(model, score, **settings)

    def __init__(
        self,
        model: Any,
        task: str | Task | dict[str, Any] | None = None,
        *,
        tokenizer: Any = None,
        population: int | None = None,
        sigmas: Sequence[float] | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        max_new_tokens: int | None = None,
        **sections: Any,
    ) -> None:
        if task is None:
            raise ConfigError("RandOpt needs a task or a score: RandOpt(model, task) or RandOpt(module, score=fn)")
        self._model = None if isinstance(model, str | Path | dict) else model
        self._tokenizer = tokenizer
        self._task = task if isinstance(task, Task) else None
        search = {"population": population, "sigmas": None if sigmas is None else list(sigmas), "seed": seed}
        given: dict[str, Any] = {
            "model": _model_settings(model),
            "task": task.config.model_dump() if isinstance(task, Task) else task,
            "search": {k: v for k, v in search.items() if v is not None},
            "ensemble": {} if top_k is None else {"top_k": top_k},
            "generation": {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens},
            "progress": "off",
        }
        self.config: RunConfig = parse(merge(given, sections), "RandOpt")

    def run(self, directory: str | Path | None = None, progress: Progress | None = None) -> Result:
        """Do the run in `directory`, or go on with the one that is there. Raises `ThicketsError`."""
        config = self.config if directory is None else self.config.model_copy(update={"out": str(directory)})
        summary = execute(config, progress, model=self._model, tokenizer=self._tokenizer, task=self._task)
        ensemble = Ensemble.load(config.directory, model=self._model, tokenizer=self._tokenizer, task=self._task)
        return Result(config.directory, summary, ensemble)


class ModuleRandOpt:
    """The search around any torch module that `RandOpt(module, score=...)` makes.

    Raises a `ThicketsError` for settings, a module or a score that no search can have.
    """

    def __init__(self, module: Any, score: Score, **settings: Any) -> None:
        from thickets.module.asked import asked
        from thickets.module.search import search

        usual = {n: p.default for n, p in signature(search).parameters.items() if n not in ("module", "score")}
        for name in settings:
            if name not in usual:
                raise ConfigError(f"RandOpt has no setting {name!r} for a module; {nearest(name, usual)}")
        given = usual | settings
        asked(module, score, **{n: v for n, v in given.items() if n in signature(asked).parameters})
        self._module, self._score, self._settings = module, score, settings

    def run(self, file: str | Path | None = None) -> Found:
        """Search; write what was found to `file` (JSON), if one is named. Raises `ThicketsError`.

        Whether the file can be written is seen before the search begins, and its folder is made: `RunError`.
        """
        from thickets.module.found import check_place
        from thickets.module.search import search

        if file is not None:
            check_place(file)
        found = search(self._module, self._score, **self._settings)
        if file is not None:
            found.save(file)
        return found


def _model_settings(model: Any) -> str | dict[str, Any]:
    if isinstance(model, dict):
        return model
    if isinstance(model, str | Path):
        return str(model)
    named = getattr(getattr(model, "config", None), "_name_or_path", "")
    return str(named or type(model).__name__)
