"""`thickets weights`: what would move, what stays and why, as tables and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import build_model
from thickets.weights import canonical_tensors

Command = Callable[..., Any]


def test_layers_are_one_row_and_the_totals_add_up(llama: Path, thickets: Command) -> None:
    ended = thickets("weights", llama)
    assert ended.code == 0, ended.err
    assert "model.layers.*.mlp.up_proj.weight ×2" in ended.out
    assert "model.layers.0" not in ended.out
    assert "embedding" in ended.out
    assert "float32" in ended.out
    assert "step at 0.001" in ended.out
    total = sum(t.numel() for t in canonical_tensors(build_model("Llama")).values())
    assert f"{total:,} of {total:,} weights move, in 20 of 20 tensors; 0 stay." in ended.out
    assert "would stay" not in ended.out


def test_all_gives_every_tensor_a_row(llama: Path, thickets: Command) -> None:
    ended = thickets("weights", llama, "--all")
    assert "model.layers.0.mlp.up_proj.weight" in ended.out
    assert "model.layers.1.mlp.up_proj.weight" in ended.out
    assert "×2" not in ended.out


@pytest.mark.parametrize("rule", ["absolute", "relative", "spectral"])
def test_json_has_every_tensor_with_its_step(rule: str, llama: Path, thickets: Command) -> None:
    ended = thickets("weights", llama, "--json", "--scale", rule, "--sigma", 0.01)
    found = json.loads(ended.out)
    saved = load_file(llama / "model.safetensors")
    assert {t["name"] for t in found["tensors"]} == set(saved)
    assert (found["scale"], found["sigma"], found["noise"]) == (rule, 0.01, "gaussian/1")
    for t in found["tensors"]:
        assert tuple(t["shape"]) == saved[t["name"]].shape
        std = float(saved[t["name"]].double().std(correction=0))
        assert t["std"] == pytest.approx(std, rel=1e-6, abs=1e-12)
        assert t["step"] == pytest.approx(0.01 * t["factor"])
        if rule == "relative":
            assert t["factor"] == pytest.approx(std or 1, rel=1e-5)
    assert found["moving"] == sum(t["parameters"] for t in found["tensors"])


def test_what_stays_says_why(llama: Path, thickets: Command) -> None:
    arguments = ("weights", llama, "--include", "*.mlp.*", "*.self_attn.*", "--exclude", "*.up_proj.*")
    ended = thickets(*arguments)
    assert re.search(r"model\.layers\.\*\.mlp\.up_proj\.weight ×2 .* excluded", ended.out)
    assert re.search(r"model\.embed_tokens\.weight .* not included", ended.out)
    found = json.loads(thickets(*arguments, "--json").out)
    reasons = {t["name"]: t["stays"] for t in found["tensors"]}
    assert reasons["model.layers.1.mlp.up_proj.weight"] == "excluded"
    assert reasons["model.layers.1.mlp.gate_proj.weight"] is None
    assert found["staying"] == sum(t["parameters"] for t in found["tensors"] if t["stays"])


def test_a_scheme_that_moves_only_matrices_says_so(llama: Path, thickets: Command) -> None:
    ended = thickets("weights", llama, "--noise", "low_rank/1")
    assert "not moved by low_rank/1:8" in ended.out
    found = json.loads(thickets("weights", llama, "--noise", "low_rank/1", "--json").out)
    assert all((t["stays"] is None) is (len(t["shape"]) == 2) for t in found["tensors"])


def test_a_model_is_seen_in_its_own_number_type(thickets: Command, tmp_path: Path) -> None:
    build_model("Qwen2").to(torch.bfloat16).save_pretrained(tmp_path)
    ended = thickets("weights", tmp_path)
    assert "bfloat16" in ended.out
    assert "float32" not in ended.out


def test_a_layer_that_is_unlike_the_others_has_a_row_of_its_own(thickets: Command, tmp_path: Path) -> None:
    build_model("Llama").save_pretrained(tmp_path)
    weights = thickets("weights", tmp_path, "--exclude", "model.layers.0.mlp.up_proj.weight").out
    assert re.search(r"model\.layers\.1\.mlp\.up_proj\.weight ", weights)
    assert re.search(r"model\.layers\.0\.mlp\.up_proj\.weight .* excluded", weights)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--include", "*.mpl.*"], "no tensor is named like '*.mpl.*'"),
        (["--exclude", "*"], "the scope leaves nothing to move"),
        (["--scale", "spectrl"], "did you mean 'spectral'?"),
        (["--mass-vector", "2"], "weights.mass_vector is read by weights.scale spectral only"),
        (["--sigma", "0"], "every sigma must be a positive number"),
        (["--sigma", "much"], "much"),
        (["--noise", "gausian/1"], "there is no noise scheme 'gausian/1'"),
        (["--everything"], "--everything"),
    ],
)
def test_bad_flags(arguments: list[str], said: str, llama: Path, thickets: Command) -> None:
    ended = thickets("weights", llama, *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert ended.out == ""


def test_an_unknown_model(thickets: Command) -> None:
    ended = thickets("weights", "/no/such/model")
    assert ended.code == 2
    assert "model '/no/such/model'" in ended.err
    assert thickets("weights").code == 2
