"""Everything a run is made from, in one object. Knows nothing of files and flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from thickets.config.base import Section
from thickets.config.sections import (
    BaselinesConfig,
    ClusterConfig,
    EngineConfig,
    EnsembleConfig,
    GenerationConfig,
    ModelConfig,
    ScoringConfig,
    SearchConfig,
    SplitsConfig,
    WeightsConfig,
)
from thickets.config.task import TaskConfig


class RunConfig(Section):
    """Everything a run is made from."""

    model: ModelConfig
    task: TaskConfig = TaskConfig()
    splits: SplitsConfig = SplitsConfig()
    search: SearchConfig = SearchConfig()
    weights: WeightsConfig = WeightsConfig()
    generation: GenerationConfig = GenerationConfig()
    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()
    scoring: ScoringConfig = ScoringConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    baselines: BaselinesConfig = BaselinesConfig()
    out: str | None = None
    """The run directory; if absent, `runs/<task>-<model>`."""
    keep_texts: Literal["final", "all"] = "final"
    """Which completions are kept: those of the base and the members on held-out splits, or all of them."""
    progress: Literal["auto", "plain", "off"] = "auto"
    """`auto` draws a live display on a terminal and plain lines elsewhere."""

    @field_validator("model", "task", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """`model = "X"` is short for `[model] name = "X"`."""
        return {"name": value} if isinstance(value, str) else value

    @field_validator("baselines", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """`baselines = "none"` is short for `[baselines] names = "none"`."""
        return {"names": value} if isinstance(value, str | list | tuple) else value

    @model_validator(mode="after")
    def _keeps_no_more_than_it_tries(self) -> RunConfig:
        if self.ensemble.top_k > self.search.population:
            raise ValueError(
                f"ensemble.top_k ({self.ensemble.top_k}) is larger than search.population "
                f"({self.search.population}); keep at most as many as are tried"
            )
        return self

    @property
    def directory(self) -> Path:
        """The run directory."""
        if self.out:
            return Path(self.out)
        model = self.model.name.rstrip("/").rsplit("/", 1)[-1]
        return Path("runs") / f"{self.task.name.replace(':', '-').replace(',', '+')}-{model}"

    def fixed(self) -> dict[str, Any]:
        """The settings that must not change when a run goes on, as JSON values."""
        return self.model_dump(mode="json", exclude=_FREE)

    def to_toml(self) -> str:
        """The configuration as TOML, every field written out."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


# Settings that change nothing in a run's result, so they may differ when it goes on.
_FREE: dict[str, Any] = {
    "task": {"judge": {"cache", "concurrency", "key_env", "max_calls", "max_tokens", "retries", "timeout", "url"}},
    "out": True,
    "progress": True,
    "engine": {"base", "batch_tokens", "count", "device", "kernel", "memory", "tensor_parallel"},
    "cluster": True,
    "scoring": True,
    # What a baseline was evaluated with is recorded and checked with each of them.
    "baselines": True,
}


def _without_none(value: Any) -> Any:
    """TOML has no null: an absent key is the default, which is None for every field that can be None."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value
