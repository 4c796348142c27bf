"""What every benchmark shares: the machine's description, timing in turn and the JSON file. Knows no benchmark."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The processor, its cores, the GPU if there is one, and the versions that timings depend on."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def seconds_in_turn(
    work: Mapping[str, Callable[[], None]], rounds: int, finish: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds of each piece of work, one after the other in every round, so that a slow spell meets all of them.

    One warm-up of each comes first. `finish` waits for what runs on in the background (a GPU).
    """
    for once in work.values():
        once()
    finish()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, once in work.items():
            start = time.perf_counter()
            once()
            finish()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each list."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def write(path: Path | None, benchmark: str, figures: Mapping[str, float]) -> None:
    """Write `{"benchmark", "machine", "figures"}` as JSON, if a path is given."""
    if path is None:
        return
    record = {"benchmark": benchmark, "machine": machine(), "figures": dict(figures)}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
