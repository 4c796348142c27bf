"""A real Ray cluster of two nodes that are not alike: only one of them can read the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended
from tests.pool.hub import cache_model
from tests.pool.test_ray import Watcher, figures, members
from thickets.config import merge, parse
from thickets.errors import EngineError, ModelError
from thickets.randopt import execute

pytest.importorskip("ray", reason="Ray is the extra `ray`")
pytestmark = pytest.mark.timeout(300)

_MODEL = "tiny/llama"


@pytest.fixture(scope="module")
def cluster(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Nodes that call themselves `sees` and `blind`, each with a Hub cache of its own; the model is in one of them."""
    from ray.cluster_utils import Cluster

    folder = tmp_path_factory.mktemp("caches")
    cache_model(llama, folder / "sees", _MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # One machine has one name; hooks/sitecustomize.py gives each node its own.
        hooks = str(Path(__file__).parent / "hooks")
        patch.setenv("PYTHONPATH", os.pathsep.join([hooks, *filter(None, [os.environ.get("PYTHONPATH")])]))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for name in ("sees", "blind"):
            own = {"HF_HUB_CACHE": str(folder / name), "THICKETS_TEST_HOST": name}
            cluster.add_node(num_cpus=1, env_vars=own)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture
def plan(settings: dict[str, Any], cluster: Any) -> dict[str, Any]:
    """A run on two engines, one on each node, long enough that both have tried to start before it ends."""
    more = {
        "search": {"population": 40},
        "model": {"name": _MODEL},
        "engine": {"count": 2, "device": "cpu"},
        "cluster": {"address": cluster.address, "cpus": 1, "wait": 100},
    }
    return merge(settings, more)


def test_a_model_that_one_node_cannot_read_stops_the_run_and_names_the_node(plan: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"^on node blind: model 'tiny/llama' is neither a local folder nor"):
        execute(parse(plan))


def test_the_run_goes_on_without_that_node_where_fewer_are_allowed(
    plan: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    watcher = Watcher()
    summary = execute(parse(merge(plan, {"cluster": {"allow_fewer": True}})), watcher)
    [note] = [n for n in summary.notes if "could not be started" in n]
    assert note.startswith("an engine could not be started (on node blind: model 'tiny/llama' is neither")
    assert note.endswith("the run goes on with 1 engine")
    assert note in watcher.heard
    alone = tmp_path / "alone"
    undisturbed = execute(parse(merge(settings, {"search": {"population": 40}, "out": str(alone)})))
    assert figures(Path(plan["out"])) == figures(alone)
    assert members(Path(plan["out"])).members == members(alone).members
    assert [(q.vote, q.correct) for q in summary.questions] == [(q.vote, q.correct) for q in undisturbed.questions]


def test_doctor_names_that_node(cluster: Any, thickets: Callable[..., Ended]) -> None:
    ended = thickets("doctor", "--cluster", cluster.address, "--model", _MODEL)
    assert ended.code == 1
    assert "model on blind" in ended.out
    assert "model on sees" not in ended.out


def test_a_node_with_another_version_is_named_by_run_and_doctor(
    plan: dict[str, Any], cluster: Any, llama: Path, thickets: Callable[..., Ended]
) -> None:
    package = "transformers"
    old = cluster.add_node(
        num_cpus=1, env_vars={"THICKETS_TEST_HOST": "old", "THICKETS_TEST_VERSION": f"{package}=1.0"}
    )
    try:
        cluster.wait_for_nodes()
        plan = merge(plan, {"model": {"name": str(llama)}, "engine": {"count": 3}})
        with pytest.raises(EngineError, match=rf"the engine on old cannot be used: it has {package} 1\.0, and"):
            execute(parse(plan))
        summary = execute(parse(merge(plan, {"cluster": {"allow_fewer": True}})))
        assert any("the engine on old cannot be used" in n and "goes on without it" in n for n in summary.notes)
        ended = thickets("doctor", "--cluster", cluster.address)
        assert ended.code == 1
        assert f"old has {package} 1.0, this machine" in " ".join(ended.out.split())
    finally:
        cluster.remove_node(old, allow_graceful=False)
