"""vllm engines on a real Ray cluster of two nodes: members, votes and trials of one engine, whatever of them dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pool.test_ray import Watcher, engines, figures, kill_engines, members
from thickets.analysis.summary import Summary
from thickets.config import merge, parse
from thickets.randopt import execute

pytest.importorskip("ray", reason="Ray is the extra `ray`")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with room for one engine each; the head, which Ray needs, has room for none."""
    from ray.cluster_utils import Cluster

    # As urgent as the tests themselves: Ray's processes else wait for whatever runs beside them.
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        yield cluster
        cluster.shutdown()


@pytest.fixture
def plan(settings: dict[str, Any], tiny: Callable[..., Path], cluster: Any) -> dict[str, Any]:
    """A run of some seconds on two engines, one on each node."""
    own = {
        "model": {"name": str(tiny("Llama"))},
        "search": {"population": 12},
        "splits": {"selection": 12, "validation": 4, "test": 8},
        "generation": {"max_new_tokens": 24},
        "engine": {"name": "vllm", "count": 2, "device": "cpu", "batch_tokens": 8192},
        "cluster": {"address": cluster.address, "cpus": 2, "wait": 500},
    }
    return merge(settings, own)


def found(directory: Path, summary: Summary) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """Trials, members and votes, without times and the places of files."""
    kept = members(directory).model_dump(exclude={"task", "made_by"})
    return figures(directory), kept, [(q.vote, q.correct) for q in summary.questions]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What one engine in this process found, once it has been asked."""
    return {}


@pytest.fixture
def undisturbed(plan: dict[str, Any], alone: dict[str, Any], tmp_path: Path) -> tuple[Any, ...]:
    """What the same run finds with one vllm engine in this process, without Ray."""
    if not alone:
        one = merge(plan, {"engine": {"count": 1}, "out": str(tmp_path / "alone")})
        one["cluster"] = {}
        alone["found"] = found(tmp_path / "alone", execute(parse(one)))
    trials, kept, votes = alone["found"]
    assert len(trials) > 13 and len(kept["members"]) == 3 and kept["results"]
    assert len(votes) == 8 and any(vote.winner is not None for vote, _ in votes)
    return trials, kept, votes


def test_two_engines_find_what_one_finds(plan: dict[str, Any], undisturbed: tuple[Any, ...]) -> None:
    nodes: dict[int, int] = {}
    # Every engine is the child of its node's own process.
    watcher = Watcher(10, lambda: nodes.update((engine.pid, engine.ppid()) for engine in engines()))
    summary = execute(parse(plan), watcher)
    assert found(Path(plan["out"]), summary) == undisturbed
    assert (summary.engine["engine"], summary.engine["engines"], summary.notes) == ("vllm", 2, ())
    assert "starting 2 engines on 3 nodes of Ray" in watcher.heard
    assert nodes and len({*nodes.values()}) == len(nodes)
    _, left = psutil.wait_procs(engines(), timeout=20)
    assert left == []


def test_a_killed_engine_is_replaced(plan: dict[str, Any], undisturbed: tuple[Any, ...]) -> None:
    summary = execute(parse(plan), Watcher(4, kill_engines))
    assert any("another is started in its place" in note for note in summary.notes)
    assert found(Path(plan["out"]), summary) == undisturbed


def test_an_engine_with_a_killed_worker_is_replaced(plan: dict[str, Any], undisturbed: tuple[Any, ...]) -> None:
    workers: list[psutil.Process] = []

    def kill_worker() -> None:
        workers.extend(sorted(_workers(engines()[0]), key=lambda p: p.create_time()))
        workers[0].kill()

    # One engine: what it held has to wait for the one that replaces it.
    split = merge(plan, {"engine": {"count": 1, "tensor_parallel": 2}})
    summary = execute(parse(split), Watcher(4, kill_worker))
    assert len(workers) == 2
    assert any("a worker process of vLLM died" in note for note in summary.notes), summary.notes
    assert found(Path(plan["out"]), summary) == undisturbed
    # Nothing is left of the engine that was given up.
    psutil.wait_procs(workers, timeout=20)
    assert not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers)


def _workers(engine: psutil.Process) -> list[psutil.Process]:
    """The processes of an engine that hold a part of the model each."""
    return [p for p in engine.children(recursive=True) if "VLLM::Worker" in " ".join(p.cmdline())]
