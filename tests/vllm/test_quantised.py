"""A quantised model: refused by the name of a tensor, unless the scope leaves quantised tensors out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.quantised import quantise
from tests.vllm.conftest import vllm_logprobs
from thickets.errors import WeightsError
from thickets.types import Perturbation

PROMPT = [[5, 17, 33, 2, 9, 40, 11]]


@pytest.fixture(scope="module")
def eight_bits(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    # vLLM's int8 products on a CPU round to bfloat16.
    return quantise(tiny("Llama"), tmp_path_factory.mktemp("eight") / "model")


def test_a_quantised_tensor_in_the_scope_is_refused_by_name(eight_bits: Path, start: Callable[..., Any]) -> None:
    with pytest.raises(WeightsError, match=r"tensor model\.layers\.0\.mlp\.down_proj\.weight is quantised .*exclude"):
        start(eight_bits, "vllm")


def test_what_is_not_quantised_moves(eight_bits: Path, start: Callable[..., Any]) -> None:
    engine = start(eight_bits, "vllm", weights={"exclude": ["*_proj.*"]})
    try:
        assert set(engine.factors) == {
            "model.embed_tokens.weight", "model.norm.weight",
            *(f"model.layers.{i}.{n}_layernorm.weight" for i in range(2) for n in ("input", "post_attention")),
        }  # fmt: skip
        base = vllm_logprobs(engine, PROMPT, 4)
        engine.place(Perturbation(3, 0.1))
        moved = vllm_logprobs(engine, PROMPT, 4)
        assert moved != base
        engine.place(None)
        assert vllm_logprobs(engine, PROMPT, 4) == base
        engine.verify_base()
    finally:
        engine.close()


def test_a_scope_by_the_names_of_the_checkpoint_leaves_fused_tensors_out(
    eight_bits: Path, start: Callable[..., Any]
) -> None:
    """vLLM fuses q, k and v, and gate and up: no pattern here matches the names that it gives them."""
    left_out = [f"*.{name}_proj.weight*" for name in ("q", "k", "v", "o", "gate", "up", "down")]
    engine = start(eight_bits, "vllm", weights={"exclude": left_out})
    try:
        assert "model.norm.weight" in engine.factors
        engine.place(Perturbation(3, 0.1))
        engine.verify_base()
    finally:
        engine.close()
