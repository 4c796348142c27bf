"""What of the vllm engine can be seen without vLLM: when it is taken, what it reads, how much memory is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import thickets.engines.vllm as module
from tests.conftest import build_model
from tests.quantised import quantise
from tests.vision import save_vision_model
from thickets.config import EngineConfig, ModelConfig, parse
from thickets.engines import engine_class, start_engine
from thickets.engines.checkpoint import read_layout
from thickets.engines.in_vllm.starting import memory_share
from thickets.engines.vllm import VllmEngine
from thickets.errors import EngineError, WeightsError
from thickets.noise import Region
from thickets.weights import canonical_tensors, fingerprint, moving, refuse_packed, tensor_kinds

GIB = 2**30


def test_looking_for_engines_imports_no_vllm(tmp_path: Path) -> None:
    # One that could be imported, wherever these tests run.
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("")
    look = (
        "import sys, importlib.util; from thickets.engines import engine_classes; classes = engine_classes(); "
        "[c.missing() for c in classes.values()]; "
        "print('vllm' in classes, importlib.util.find_spec('vllm').origin, 'vllm' in sys.modules)"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path}
    )
    assert ended.stdout.split() == ["True", str(tmp_path / "vllm" / "__init__.py"), "False"]


@pytest.mark.parametrize(("version", "said"), [(None, r"thickets\[vllm\]"), ("0.31.2", "0.31.2"), ("0.33.0", "0.32")])
def test_a_vllm_that_is_not_there_or_not_tested_is_said(
    version: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_vllm_version", lambda: version)
    monkeypatch.setattr(module, "find_spec", lambda name: object() if version else None)
    with pytest.raises(EngineError, match=said):
        start_engine(parse({"model": "x", "engine": {"name": "vllm"}}))


@pytest.mark.parametrize("gpu", [False, True])
def test_auto_takes_vllm_only_beside_a_gpu(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmEngine, "missing", classmethod(lambda cls: None))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert engine_class("auto").name == ("vllm" if gpu else "hf")
    # A model that is loaded already can only be given to an engine that takes one.
    assert engine_class("auto", object()).name == "hf"


def test_a_loaded_model_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VllmEngine, "missing", classmethod(lambda cls: None))
    with pytest.raises(EngineError, match="loads its model itself"):
        start_engine(parse({"model": "x", "engine": {"name": "vllm"}}), model=object(), tokenizer=object())


def test_the_pristine_copy_is_part_of_the_memory_share() -> None:
    config = EngineConfig(name="vllm", memory=0.9)
    assert memory_share(config, 80 * GIB, 14 * GIB, 14 * GIB) == pytest.approx(0.9 - 14 / 80)
    host = EngineConfig(name="vllm", memory=0.9, base="host")
    assert memory_share(host, 80 * GIB, 14 * GIB, 14 * GIB) == pytest.approx(0.9)
    four = EngineConfig(name="vllm", memory=0.9, tensor_parallel=4)
    assert memory_share(four, 80 * GIB, 140 * GIB, 140 * GIB) == pytest.approx(0.9 - 35 / 80)
    with pytest.raises(EngineError, match=r"--engine.base host"):
        memory_share(config, 24 * GIB, 14 * GIB, 14 * GIB)
    with pytest.raises(EngineError, match=r"--engine.tensor-parallel"):
        memory_share(host, 12 * GIB, 14 * GIB, 14 * GIB)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Mixtral"])
def test_a_checkpoint_is_the_model_that_transformers_loads(
    kind: str, dtype: torch.dtype, save_model: Callable[..., Path]
) -> None:
    from transformers import AutoModelForCausalLM

    experts = {"num_local_experts": 2, "num_experts_per_tok": 1} if kind == "Mixtral" else {}
    folder = save_model(kind, **experts)
    layout = read_layout(ModelConfig(name=str(folder)), dtype)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    tensors = canonical_tensors(model)
    assert list(layout.checkpoint) == list(tensors)
    assert layout.kinds == tensor_kinds(model)
    assert fingerprint(layout.checkpoint) == fingerprint(tensors)
    # What transformers fuses or renames is not in the file by that name, and workers cannot read it.
    assert (len(layout.checkpoint.stored()) < len(tensors)) == (kind == "Mixtral")
    name = "model.layers.0.self_attn.q_proj.weight"
    part = layout.checkpoint.stored().read(name, Region((3, 7), (2, 9)))
    assert torch.equal(part, tensors[name][3:7, 2:9])


def test_a_tied_tensor_stored_under_its_other_name_is_found(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = build_model("Llama")
    model.config.save_pretrained(tmp_path)
    stored = {n: t.detach().clone() for n, t in model.named_parameters()}
    stored["lm_head.weight"] = stored.pop("model.embed_tokens.weight")
    save_file(stored, tmp_path / "model.safetensors", {"format": "pt"})
    layout = read_layout(ModelConfig(name=str(tmp_path)), torch.float32)
    assert layout.checkpoint.entries["model.embed_tokens.weight"].stored == "lm_head.weight"
    assert torch.equal(layout.checkpoint["model.embed_tokens.weight"], model.lm_head.weight)


def test_tensors_stored_under_the_names_of_older_models_are_found(tmp_path: Path) -> None:
    from safetensors import safe_open
    from transformers import AutoModelForImageTextToText

    folder = save_vision_model(tmp_path)
    with safe_open(folder / "model.safetensors", "pt") as file:
        stored = set(file.keys())
    layout = read_layout(ModelConfig(name=str(folder)), torch.float32)
    tensors = canonical_tensors(AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32))
    assert not stored & set(tensors)
    assert {entry.stored for entry in layout.checkpoint.entries.values()} == stored
    assert fingerprint(layout.checkpoint) == fingerprint(tensors)
    # Each can be read by a worker; none had to be made by loading the whole model.
    assert list(layout.checkpoint.stored()) == list(tensors)


def test_a_tensor_that_no_worker_holds_is_refused_by_name() -> None:
    from thickets.engines.in_vllm.live import Share

    halves = [Share({"w": [Region((0, 4), (0, 6))]}, ""), Share({"w": [Region((4, 8), (0, 6))]}, "")]
    module._check_complete(halves, {"w": 48})
    module._check_complete([Share({"w": [None]}, "")] * 2, {"w": 48})
    for shares in (halves[:1], halves[:1] * 2, []):
        with pytest.raises(WeightsError, match="tensor w"):
            module._check_complete(shares, {"w": 48})
    # What cannot be matched matters only where something that moves is missing, and then is the reason.
    odd = {"layers.0.qkv": "it was turned", "layers.1.qkv": "it is packed"}
    module._check_complete([Share({"w": [None]}, "", odd)], {"w": 48})
    with pytest.raises(WeightsError, match=r"layers\.1\.q .*vLLM's layers\.1\.qkv cannot be matched: it is packed"):
        module._check_complete([Share({"w": [None]}, "", odd)], {"w": 48, "layers.1.q": 12})


def test_the_layout_of_a_quantised_model(save_model: Callable[..., Path], tmp_path: Path) -> None:
    plain = save_model("Llama")
    layout = read_layout(ModelConfig(name=str(quantise(plain, tmp_path / "eight"))), torch.bfloat16)
    weights = {name for name in read_layout(ModelConfig(name=str(plain)), torch.bfloat16).tensors if "_proj" in name}
    assert layout.packed == weights | {f"{name}_scale" for name in weights}
    names = moving(layout.tensors, ["*"], [])
    assert set(names) == set(layout.tensors) - layout.packed
    assert all(layout.checkpoint[name].dtype == torch.bfloat16 for name in names)
    assert {layout.checkpoint[name].dtype for name in weights} == {torch.int8}
    # The packed weights are part of what the base is.
    assert fingerprint(layout.checkpoint) != fingerprint({n: layout.checkpoint[n] for n in names})
    with pytest.raises(WeightsError, match=r"down_proj\.weight is quantised and cannot take a step \(14 such"):
        refuse_packed(layout.packed, ["*"], [])
    refuse_packed(layout.packed, ["*"], ["*_proj.weight"])
    refuse_packed(layout.packed, ["*norm*"], [])


@pytest.mark.parametrize(("noticed", "alive"), [(True, True), (False, False)])
def test_a_worker_that_died_is_known_whether_or_not_vllm_has_noticed(noticed: bool, alive: bool) -> None:
    workers = [SimpleNamespace(proc=SimpleNamespace(is_alive=lambda: True)) for _ in range(2)]
    executor = SimpleNamespace(is_failed=False, workers=workers)
    engine = module.VllmEngine.__new__(module.VllmEngine)
    engine.llm = SimpleNamespace(llm_engine=SimpleNamespace(model_executor=executor))
    with pytest.raises(RuntimeError, match="another fault"), engine._watched():
        raise RuntimeError("another fault")
    executor.is_failed = noticed
    workers[1].proc.is_alive = lambda: alive
    with pytest.raises(EngineError, match="a worker process of vLLM died"), engine._watched():
        raise RuntimeError("cancelled")
