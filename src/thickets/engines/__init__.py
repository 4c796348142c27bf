"""Engines run the model. This page finds them by name; it knows nothing of any one of them."""

from __future__ import annotations

from typing import Any

from thickets.config import RunConfig
from thickets.engines.base import Engine
from thickets.errors import EngineError
from thickets.plugins import discover, lookup

__all__ = ["Engine", "engine_class", "engine_classes", "start_engine"]


def engine_classes() -> dict[str, type[Engine]]:
    """All engines by name."""
    return discover("thickets.engines", Engine)


def engine_class(name: str) -> type[Engine]:
    """The engine of that name; `auto` is the first one that can run here. Raises `EngineError`."""
    known = engine_classes()
    if name != "auto":
        return lookup("engine", name, known, EngineError)
    for engine in known.values():
        if engine.missing() is None:
            return engine
    reasons = "; ".join(f"{n}: {e.missing()}" for n, e in known.items())
    raise EngineError(f"no engine can run here ({reasons}); `thickets doctor` says what to install")


def start_engine(config: RunConfig, model: Any = None, tokenizer: Any = None) -> Engine:
    """Start the engine that the configuration names, around `model` if one is given."""
    engine = engine_class(config.engine.name)
    reason = engine.missing()
    if reason is not None:
        raise EngineError(f"engine {engine.name!r} cannot run here: {reason}")
    return engine.start(config, model, tokenizer)
