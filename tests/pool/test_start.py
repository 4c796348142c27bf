"""Which engines a configuration starts: without Ray where one is enough, and split only where they can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thickets.config import parse
from thickets.errors import ConfigError, EngineError
from thickets.pool import start_pool
from thickets.pool.ray_actor import EngineProcess, Refusal

WITHOUT_RAY = """
import sys

sys.modules["ray"] = None  # as if it were not installed
from thickets.cli.main import main

for more in [], ["--engine.count", "2", "--out", {out!r}]:
    sys.argv[1:] = ["run", {config!r}, "--search.population", "4", *more]
    try:
        main()
    except SystemExit as stop:
        print("ended with", stop.code or 0)
    else:
        print("ended with", 0)
"""


def test_one_engine_needs_no_ray_and_two_say_what_to_install(config_file: Path, tmp_path: Path) -> None:
    script = WITHOUT_RAY.format(config=str(config_file), out=str(tmp_path / "two"))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert [line for line in ended.stdout.splitlines() if line.startswith("ended with")] == [
        "ended with 0",
        "ended with 2",
    ]
    assert "needs Ray, which is not installed; pip install 'thickets[ray]'" in ended.stderr


def split(name: str, **cluster: Any) -> dict[str, Any]:
    return {"model": "m", "engine": {"name": name, "tensor_parallel": 2, "device": "cpu"}, "cluster": cluster}


def test_an_engine_that_does_not_split_is_refused_where_it_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with pytest.raises(ConfigError, match=r"engine hf does not split .* use --engine vllm"):
        start_pool(parse(split("hf", address="127.0.0.1:1")), print)
    with pytest.raises(ConfigError, match=r"engine hf, which auto takes here, does not split .* use --engine vllm"):
        start_pool(parse(split("auto")), print)
    # A machine without a GPU does not know what its cluster has: each node answers for itself.
    with pytest.raises(EngineError, match="does not answer"):
        start_pool(parse(split("auto", address="127.0.0.1:1")), print)
    config = parse(split("auto")).model_dump(mode="json")
    refused = EngineProcess(config, threads=1).start()
    assert isinstance(refused, Refusal)
    assert isinstance(refused.error, ConfigError)
    assert "on node " in str(refused.error)
    assert "engine hf, which auto takes here," in str(refused.error)
