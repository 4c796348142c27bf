"""What the vllm engine refuses when it starts, and what it does with its cache; each test has an engine of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from thickets.errors import EngineError, ModelError, WeightsError
from thickets.types import Perturbation, Sampling

# Longer than a block of the cache.
SHARED = "Every question begins with these very words, which are many more than one block of the cache holds. "
LONG = [SHARED + f"Question {i}: what is {i}?" for i in range(6)]
STEP = Perturbation(3, 0.05)


def test_the_prefix_cache_is_reset_at_a_switch(
    tiny: Callable[..., Path], start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from thickets.engines.in_vllm import starting

    options = starting._on_cpu
    monkeypatch.setattr(starting, "_on_cpu", lambda *a: options(*a) | {"block_size": 32})
    model = tiny("Llama")
    hf, vllm = start(model, "hf"), start(model, "vllm")
    try:
        hf.place(STEP)
        expected = hf.generate(LONG, Sampling(16))
        vllm.generate(LONG, Sampling(16))
        vllm.place(STEP)
        assert vllm.generate(LONG, Sampling(16)) == expected
        # Without the reset the answers are made from what the base computed of the prompts.
        vllm.place(None)
        vllm.generate(LONG, Sampling(16))
        monkeypatch.setattr(type(vllm.llm.llm_engine), "reset_prefix_cache", lambda self: True)
        vllm.place(STEP)
        wrong = vllm.generate(LONG, Sampling(16))
        assert sum(a != b for a, b in zip(wrong, expected, strict=True)) == len(LONG)
        monkeypatch.setattr(type(vllm.llm.llm_engine), "reset_prefix_cache", lambda self: False)
        with pytest.raises(EngineError, match="prefix cache"):
            vllm.place(None)
    finally:
        vllm.close()


def test_a_written_base_is_noticed_and_a_read_one_is_not(tiny: Callable[..., Path], start: Callable[..., Any]) -> None:
    vllm = start(tiny("Llama"), "vllm", weights={"exclude": ["*norm*"]})
    try:
        vllm.place(STEP)
        vllm.verify_base()
        worker = vllm.llm.llm_engine.model_executor.driver_worker.worker
        worker.thickets_weights.parameters["model.norm.weight"].data[0] += 1
        with pytest.raises(ModelError, match="changed"):
            vllm.verify_base()
    finally:
        vllm.close()


def test_mixed_experts_are_refused_by_name_unless_the_scope_leaves_them_out(
    tiny: Callable[..., Path], start: Callable[..., Any]
) -> None:
    model = tiny("Mixtral", num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(WeightsError, match=r"block_sparse_moe.*--weights.exclude"):
        start(model, "vllm")
    scope = {"exclude": ["*.experts.*", "*.gate.*"]}
    hf, vllm = start(model, "hf", weights=scope), start(model, "vllm", weights=scope)
    try:
        assert (vllm.fingerprint, vllm.factors) == (hf.fingerprint, hf.factors)
        hf.place(STEP)
        vllm.place(STEP)
        assert vllm.generate(LONG, Sampling(16)) == hf.generate(LONG, Sampling(16))
    finally:
        vllm.close()


def test_packed_weights_are_an_error(
    tiny: Callable[..., Path], start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import vllm.model_executor.layers.utils as layers

    def packs(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear
        if remove_weight:
            layer.weight = torch.nn.Parameter(torch.empty(0), requires_grad=False)

    monkeypatch.setattr(layers, "dispatch_cpu_unquantized_gemm", packs)
    with pytest.raises(WeightsError, match="packed away"):
        start(tiny("Llama"), "vllm")


def test_what_vllm_says_when_it_cannot_start_is_passed_on(tiny: Callable[..., Path], start: Callable[..., Any]) -> None:
    with pytest.raises(EngineError, match="vLLM does not start"):
        start(tiny("Llama"), "vllm", engine={"batch_tokens": 16})


def test_on_a_gpu_graphs_and_the_prefix_cache_are_on(
    tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What vLLM would be started with beside a GPU of 80 GiB."""
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform

    import vllm
    from tests.vllm.conftest import settings
    from thickets.config import parse
    from thickets.engines.checkpoint import read_layout
    from thickets.engines.in_vllm.starting import start_llm

    known = {**inspect.signature(vllm.LLM).parameters, **{f.name: f for f in fields(EngineArgs)}}
    # What is not said is so: graphs are captured.
    assert known["enforce_eager"].default is False
    asked: dict[str, Any] = {}
    monkeypatch.setattr(vllm, "LLM", lambda **options: asked.update(options))
    monkeypatch.setattr(type(current_platform), "get_device_total_memory", lambda *a: 80 * 2**30)
    folder = tiny("Llama")
    for batch_tokens in (None, 4096):
        asked.clear()
        config = parse(settings(folder, "vllm", engine={"batch_tokens": batch_tokens, "tensor_parallel": 2}))
        layout = read_layout(config.model, torch.float32)
        start_llm(config, layout, torch.device("cuda"), copied=16 * 2**30)
        assert asked["enable_prefix_caching"] is True
        assert not {"enforce_eager", "compilation_config"} & set(asked)
        assert set(asked) <= set(known)
        # Half of the copy lies on each of two GPUs.
        assert asked["gpu_memory_utilization"] == pytest.approx(0.9 - 8 / 80)
        assert (asked["tensor_parallel_size"], asked["distributed_executor_backend"]) == (2, "mp")
        # Two layers, key and value, one head of 32, float32, on two GPUs.
        tokens = {} if batch_tokens is None else {"kv_cache_memory_bytes": 4096 * 2 * 2 * 32 * 4 // 2}
        assert {n: v for n, v in asked.items() if n == "kv_cache_memory_bytes"} == tokens
