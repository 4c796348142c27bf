"""Two workers with half of the model each: the same model, and no silence when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.conftest import hf_logprobs, vllm_logprobs
from thickets.errors import EngineError
from thickets.types import Perturbation, Sampling

PROMPTS = ["Once upon a time there was", "2 + 2 = ", "The quick brown fox jumps over the lazy dog. " * 3]


# One key-value head, which both workers hold; untied, with biases. And norms over the queries and keys of all heads,
# which both hold too, in a model that vLLM runs by transformers' own class.
MODELS = {
    "llama": ("Llama", {"tie_word_embeddings": False, "attention_bias": True, "num_key_value_heads": 1}),
    "olmo2": ("Olmo2", {"tie_word_embeddings": False, "num_key_value_heads": 2}),
}


@pytest.fixture(scope="module", params=MODELS)
def pair(request: Any, tiny: Callable[..., Path], start: Callable[..., Any]) -> Iterator[tuple[Any, Any]]:
    """An hf engine and two vllm workers."""
    kind, overrides = MODELS[request.param]
    model = tiny(kind, **overrides)
    hf = start(model, "hf")
    vllm = start(model, "vllm", engine={"tensor_parallel": 2})
    yield hf, vllm
    vllm.close()


def test_two_workers_are_the_same_model(pair: tuple[Any, Any]) -> None:
    hf, vllm = pair
    assert (vllm.fingerprint, vllm.factors) == (hf.fingerprint, hf.factors)
    ids = [hf.renderer.tokens(p) for p in PROMPTS]
    for step in (None, Perturbation(7, 0.05), Perturbation(8, 0.1, -1), None):
        hf.place(step)
        vllm.place(step)
        for tokens, found in vllm_logprobs(vllm, ids, 8):
            expected = hf_logprobs(hf, tokens)
            assert max(abs(a - b) for a, b in zip(expected, found, strict=True)) < 1e-4
        assert vllm.generate(PROMPTS, Sampling(16)) == hf.generate(PROMPTS, Sampling(16))
    vllm.verify_base()


def test_a_killed_worker_is_noticed(pair: tuple[Any, Any]) -> None:
    _, vllm = pair
    workers = vllm.llm.llm_engine.model_executor.workers
    os.kill(workers[1].proc.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="a worker process of vLLM died"):
        for _ in range(100):
            vllm.generate(PROMPTS, Sampling(200))
