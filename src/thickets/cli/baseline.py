"""`thickets baseline`: what RandOpt is held against, added to a run. Works nothing out and draws nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thickets.config import (
    BaselinesConfig,
    ClusterConfig,
    EngineConfig,
    RunConfig,
    ScoringConfig,
    Section,
    merge,
    parse,
    read_toml,
    validate,
)
from thickets.errors import ConfigError, RunError


class BesideConfig(Section):
    """What may be other than when the run was made, in whatever is evaluated beside it."""

    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()
    scoring: ScoringConfig = ScoringConfig()
    progress: str = "auto"
    """`auto` draws a live display on a terminal and plain lines elsewhere; or `plain`, or `off`."""


class AddedConfig(BesideConfig):
    """The same where baselines are added."""

    baselines: BaselinesConfig = BaselinesConfig()


def read_run(directory: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """A run's configuration as last used, with what was given now. Raises `ConfigError` and `RunError`."""
    if directory is None:
        raise ConfigError("say which run: thickets baseline RUN [NAME…], or thickets baseline --list")
    if not (directory / "run.db").is_file():
        raise RunError(f"{directory} is not a run: it has no run.db; give the directory that `thickets run` printed")
    given = {k: v for k, v in flags.items() if k in AddedConfig.model_fields}
    validate(AddedConfig, given, "the command line")
    return parse(merge(read_toml(directory / "run.toml"), {**given, "out": str(directory)}), str(directory))
