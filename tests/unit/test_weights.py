"""The base is read-only, fingerprinted, and comes back bit for bit."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import build_model
from thickets.errors import ModelError, WeightsError
from thickets.noise import normal
from thickets.types import Perturbation
from thickets.weights import ReadOnlyBase, canonical_tensors, fingerprint, moving


def test_tied_tensors_move_once_and_names_are_those_of_the_model() -> None:
    model = build_model("Llama")
    tensors = canonical_tensors(model)
    assert "model.embed_tokens.weight" in tensors
    assert "lm_head.weight" not in tensors
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_placed_perturbation_is_base_plus_step_times_noise_by_name(dtype: torch.dtype) -> None:
    model = build_model("Qwen2").to(dtype)
    tensors = canonical_tensors(model)
    before = {n: t.detach().clone() for n, t in tensors.items()}
    addresses = {n: t.data_ptr() for n, t in tensors.items()}
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "gaussian/1")
    base.place(Perturbation(seed=7, sigma=0.01, sign=-1))
    for name, tensor in tensors.items():
        wanted = (before[name].float() + torch.tensor(-0.01) * normal(7, name, tuple(tensor.shape))).to(dtype)
        ulps = (tensor.detach().float() - wanted.float()).abs()
        assert (ulps <= 1e-6 + wanted.float().abs() * torch.finfo(dtype).eps).all()
        assert not torch.equal(tensor.detach(), before[name])
        assert tensor.data_ptr() == addresses[name]
    base.verify()
    assert all(torch.equal(t.detach(), before[n]) for n, t in tensors.items())


def test_the_order_of_candidates_does_not_matter() -> None:
    model = build_model("Llama").to(torch.bfloat16)
    tensors = canonical_tensors(model)
    base = ReadOnlyBase(tensors, moving(tensors, ["*"], []), "rademacher/1")
    base.place(Perturbation(1, 0.01))
    first = fingerprint(tensors)
    for seed in range(2, 30):
        base.place(Perturbation(seed, 0.02))
    base.place(Perturbation(1, 0.01))
    assert fingerprint(tensors) == first
    base.verify()


def test_a_base_changed_behind_our_back_is_noticed() -> None:
    model = build_model("Llama")
    tensors = canonical_tensors(model)
    base = ReadOnlyBase(tensors, moving(tensors, ["*.mlp.*"], []), "gaussian/1")
    base.verify()
    with torch.no_grad():
        model.model.norm.weight[0] += 1
    with pytest.raises(ModelError, match="changed during the run"):
        base.verify()


def test_the_fingerprint_is_of_names_types_shapes_and_bytes() -> None:
    tensor = torch.arange(6.0)
    prints = {
        fingerprint({"a": tensor}),
        fingerprint({"b": tensor}),
        fingerprint({"a": tensor.reshape(2, 3)}),
        fingerprint({"a": tensor.view(torch.int32)}),
        fingerprint({"a": tensor + 1}),
    }
    assert len(prints) == 5
    assert fingerprint({"a": tensor}) == fingerprint({"a": tensor.clone()})
    transposed = torch.arange(6.0).reshape(2, 3).t()
    assert fingerprint({"a": transposed}) == fingerprint({"a": transposed.contiguous()})


def test_scope_by_patterns() -> None:
    tensors = {
        "model.layers.0.mlp.up.weight": torch.nn.Parameter(torch.zeros(2)),
        "model.layers.0.attn.q.weight": torch.nn.Parameter(torch.zeros(2)),
        "model.visual.patch.weight": torch.nn.Parameter(torch.zeros(2)),
        "steps": torch.zeros(1),
        "packed": torch.nn.Parameter(torch.zeros(2, dtype=torch.int8), requires_grad=False),
    }
    assert moving(tensors, ["*"], []) == ["model.layers.0.mlp.up.weight", "model.layers.0.attn.q.weight"]
    assert moving(tensors, ["*"], ["*.attn.*"]) == ["model.layers.0.mlp.up.weight"]
    assert moving(tensors, ["model.visual.patch.weight"], []) == ["model.visual.patch.weight"]
    with pytest.raises(WeightsError, match="no tensor is named like 'mlp'"):
        moving(tensors, ["mlp"], [])
    with pytest.raises(WeightsError, match="nothing to move"):
        moving(tensors, ["packed"], [])


def test_a_model_without_data_is_refused() -> None:
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(WeightsError, match="meta device"):
        canonical_tensors(model)
