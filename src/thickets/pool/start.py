"""Which pool a configuration asks for: one engine in this process, or many through Ray. Knows nothing of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thickets.config import EngineConfig, RunConfig
from thickets.engines import engine_class, start_engine
from thickets.errors import ConfigError
from thickets.pool.base import Pool
from thickets.pool.local import LocalPool


def start_pool(config: RunConfig, say: Callable[[str], None], model: Any = None, tokenizer: Any = None) -> Pool:
    """Start the engines. A `model` that was handed over stays in this process. Raises `EngineError`, `ModelError`."""
    engine = config.engine
    many = engine.count > 1 or config.cluster.address is not None
    # Which engine `auto` is depends on the GPU, and that of a cluster need not be here: its nodes check by themselves.
    if not many or engine.name != "auto":
        check_split(engine)
    if not many:
        return LocalPool(start_engine(config, model, tokenizer))
    if model is not None:
        raise ConfigError(
            "engine.count and cluster.address are for models that each node loads by itself; give the model's name or "
            "folder, or leave them out"
        )
    from thickets.pool.fleet import FleetPool
    from thickets.pool.ray_actor import versions
    from thickets.pool.ray_fleet import RayFleet

    fleet = RayFleet(config)
    count = min(engine.count, fleet.room)
    if count < engine.count:
        say(f"the cluster has room for {count} of {engine.count} engines; going on with these (--cluster.allow-fewer)")
    say(f"starting {count} engines on {fleet.nodes} node{'s' if fleet.nodes != 1 else ''} of Ray")
    cluster = config.cluster
    return FleetPool(fleet, count, allow_fewer=cluster.allow_fewer, wait=cluster.wait, versions=versions(), say=say)


def check_split(config: EngineConfig) -> None:
    """Raise `ConfigError` where the engine that would run on this machine cannot split its weights as it is told to."""
    if config.tensor_parallel == 1:
        return
    engine = engine_class(config.name)
    if not engine.tensor_parallel:
        which = engine.name if config.name == engine.name else f"{engine.name}, which auto takes here,"
        raise ConfigError(
            f"engine.tensor_parallel is {config.tensor_parallel}, but engine {which} does not split its weights over "
            "GPUs; use --engine vllm, or leave it out"
        )
