"""What doctor says of clusters that are not as they should be; nodes are made up, the findings are real."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.pool.hub import cache_model
from tests.quantised import quantise
from thickets.cli.doctor_cluster import examine_cluster
from thickets.config import ModelConfig, parse
from thickets.pool.ray_actor import versions
from thickets.pool.ray_probe import Gpu, Node, _gpu, differing, unreadable


def node(**changes: Any) -> Node:
    plain: dict[str, Any] = {
        "host": "a",
        "cores": 8.0,
        "gpus": (Gpu("H100", 80.0, 79.0),),
        "versions": versions(),
        "problem": None,
    }
    return Node(**(plain | changes))


def findings(monkeypatch: pytest.MonkeyPatch, nodes: list[Node], model: Path) -> dict[str, str]:
    monkeypatch.setattr("thickets.cli.doctor_cluster.probe", lambda cluster, model: nodes)
    found = examine_cluster("auto", parse({"model": {"name": str(model)}}))
    return {f.what: f.detail for f in found if f.state == "missing"}


def test_nothing_is_missing_where_all_is_well(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    assert findings(monkeypatch, [node(), node(host="b")], llama) == {}


def test_other_versions_are_named(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    other = node(host="b", versions=versions() | {"torch": "1.0"})
    [(what, detail)] = findings(monkeypatch, [node(), other], llama).items()
    assert what == "versions"
    assert detail.startswith("b has torch 1.0, this machine ")


def test_a_node_that_cannot_read_the_model_is_named(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    found = findings(monkeypatch, [node(), node(host="b", problem="model 'x' cannot be read: no")], llama)
    assert found == {"model on b": "model 'x' cannot be read: no; put it on a disk that all nodes share"}


def test_a_node_without_engines_need_not_read_the_model(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    head = node(host="b", gpus=(), problem="model 'x' cannot be read: no")
    assert findings(monkeypatch, [node(), head], llama) == {}


def test_a_node_that_is_silent_is_named(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    found = findings(monkeypatch, [node(), node(host="b", versions={}, problem="it did not answer: x")], llama)
    assert found == {"node b": "it did not answer: x"}


def test_a_quantised_model_is_counted_as_its_files_have_it(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = quantise(llama, tmp_path / "eight")
    monkeypatch.setattr("thickets.cli.doctor_cluster.probe", lambda cluster, model: [node()])
    plain = {"model": {"name": str(folder)}, "engine": {"name": "vllm"}}
    found = {f.what: f for f in examine_cluster("auto", parse(plain | {"weights": {"exclude": ["*_proj.*"]}}))}
    assert found["memory for the model"].state == "ok"
    assert (
        "of its weights are quantised; they are counted as its files have them" in found["memory for the model"].detail
    )
    found = {f.what: f for f in examine_cluster("auto", parse(plain))}
    assert found["memory for the model"].state == "missing"
    assert "leave them out with --weights.exclude" in found["memory for the model"].detail


def test_a_gpu_that_is_too_small_is_named(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    small = node(host="b", gpus=(Gpu("T0", 0.00001, 0.00001),))
    [(what, detail)] = findings(monkeypatch, [node(), small], llama).items()
    assert what == "memory for the model"
    assert "T0 of b has 0 GiB; use --engine.base host" in detail


ALL = {"python": "3.12", "thickets": "0.1.0", "torch": "2.13.0", "ray": "2.50.0", "vllm": "0.32.0"}


def without(package: str) -> dict[str, str]:
    return {p: v for p, v in ALL.items() if p != package}


@pytest.mark.parametrize("package", ["thickets", "ray", "vllm", "torch"])
def test_versions_are_compared_though_this_machine_has_none(package: str) -> None:
    other = node(host="b", versions=ALL | {package: "9"})
    assert differing([node(versions=ALL), other], ALL) == [f"b has {package} 9, this machine {ALL[package]}"]
    assert differing([node(versions=ALL), other], without(package)) == [f"b has {package} 9, a {ALL[package]}"]
    # How it was built may be another here, as it may for a run, but not from node to node.
    built = node(versions=ALL | {package: f"{ALL[package]}+cu130"})
    assert differing([built], ALL) == []
    assert differing([node(versions=ALL)], ALL | {package: f"{ALL[package]}+cpu"}) == []
    assert differing([built, node(host="b", versions=ALL)], ALL) == [
        f"b has {package} {ALL[package]}, a {ALL[package]}+cu130"
    ]
    # What only this machine has is not used.
    assert differing([node(versions=without(package))], ALL) == []
    assert differing([node(versions=ALL), node(host="b", versions=ALL)], without(package)) == []


@pytest.mark.parametrize("package", ["thickets", "ray", "vllm", "torch"])
def test_only_a_node_that_gets_no_engine_may_lack_a_package(package: str) -> None:
    full, bare = node(versions=ALL), node(host="b", versions=without(package))
    for here in (ALL, without(package)):
        where = "this machine" if package in here else "a"
        said = [f"b has no {package}, {where} {ALL[package]}"]
        assert differing([full, bare], here) == said
        assert differing([full, node(host="b", gpus=(), versions=without(package))], here) == []
        # Without any GPU engines run on the cores; a head without cores gets none.
        cores = [node(versions=ALL, gpus=()), node(host="b", gpus=(), versions=without(package))]
        assert differing(cores, here) == said
        assert differing([cores[0], node(host="b", gpus=(), cores=0.0, versions=without(package))], here) == []


def test_all_versions_of_the_cluster_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.cli.doctor_cluster.versions", lambda: without("vllm"))
    monkeypatch.setattr("thickets.cli.doctor_cluster.probe", lambda cluster, model: [node(versions=ALL)])
    found = {f.what: f for f in examine_cluster("auto", None)}
    assert found["versions"].state == "ok"
    assert "vllm 0.32.0" in found["versions"].detail


@pytest.fixture
def copied(llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def test_a_node_without_the_weights_cannot_read_the_model(copied: Path) -> None:
    model = ModelConfig(name=str(copied))
    assert unreadable(model) is None
    for file in copied.glob("*.safetensors"):
        file.unlink()
    assert unreadable(model) == f"the weights of model {str(copied)!r} cannot be read: there is no *.safetensors file"


def test_a_node_with_part_of_the_weights_cannot_read_the_model(
    copied: Path,
) -> None:
    whole = copied / "model.safetensors"
    model = ModelConfig(name=str(copied))
    shards = [copied / f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for shard in shards:
        shutil.copy(whole, shard)
    whole.unlink()
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"t{i}": shard.name for i, shard in enumerate(shards)}}))
    assert unreadable(model) is None
    shards[1].write_bytes(shards[1].read_bytes()[:-1])
    assert f"cannot be read: {shards[1].name}: " in str(unreadable(model))
    shards[1].unlink()
    assert str(unreadable(model)).endswith(f"cannot be read: {shards[1].name} is not there")
    index.write_text("version https://git-lfs.github.com/spec/v1")
    assert "index.json cannot be read" in str(unreadable(model))


def test_the_hubs_cache_is_looked_into_when_offline(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache_model(llama, tmp_path, "tiny/llama")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = ModelConfig(name="tiny/llama")
    assert unreadable(model) is None
    (snapshot / "model.safetensors").unlink()
    assert str(unreadable(model)).endswith("cannot be read: there is no *.safetensors file")
    assert "cannot be read" in str(unreadable(ModelConfig(name="tiny/other")))
    # What the Hub has, an engine fetches when it starts.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *a, **k: None)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *a, **k: None)
    assert unreadable(model) is None


@pytest.mark.parametrize(
    ("line", "gpu"),
    [
        ("NVIDIA H100 80GB HBM3, 81559, 81008", ("NVIDIA H100 80GB HBM3", 81559 / 1024, 81008 / 1024)),
        ("Tesla T4, 15360, 0", ("Tesla T4", 15.0, 0.0)),
        # Its memory is the machine's own.
        ("NVIDIA GB10, [N/A], [N/A]", ("NVIDIA GB10", math.nan, math.nan)),
    ],
)
def test_a_line_of_nvidia_smi(line: str, gpu: tuple[str, float, float]) -> None:
    found = _gpu(line)
    assert found.name == gpu[0]
    assert (found.total, found.free) == pytest.approx(gpu[1:], nan_ok=True)


def test_a_gpu_of_unknown_memory_is_no_gpu_that_is_too_small(monkeypatch: pytest.MonkeyPatch, llama: Path) -> None:
    monkeypatch.setattr(
        "thickets.cli.doctor_cluster.probe",
        lambda cluster, model: [node(gpus=(Gpu("GB10", math.nan, math.nan),))],
    )
    found = {f.what: f for f in examine_cluster("auto", parse({"model": {"name": str(llama)}}))}
    assert "GB10 (it does not say how much memory)" in found["node a"].detail
    assert found["memory for the model"].state == "note"
    assert found["memory for the model"].detail.endswith("GB10 of a does not say how much it has")
