"""Runs on a real Ray cluster of two nodes while engines, nodes and drivers are killed: equal to an undisturbed run."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Ended
from thickets.analysis.summary import summarise
from thickets.config import ClusterConfig, merge, parse
from thickets.ensemble import read_ensemble
from thickets.errors import EngineError, ModelError
from thickets.pool import Work, start_pool
from thickets.pool.fleet import FleetPool
from thickets.pool.ray_fleet import RayFleet, Share, _share, check_room, connect
from thickets.randopt import execute
from thickets.searching import Progress
from thickets.searching.strategies.random import perturbations
from thickets.store import Run
from thickets.types import Blend, Message, Perturbation, Sampling, Trial

pytest.importorskip("ray", reason="Ray is the extra `ray`")
pytestmark = pytest.mark.timeout(600)

# The health check's own default waits for minutes of silence. Engines are as urgent as the tests themselves: Ray's
# processes else wait for whatever runs beside them.
_QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "worker_niceness": 0,
}


@pytest.fixture(scope="module")
def poison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of seeds on which engines break; every process of the cluster reads it (hooks/sitecustomize.py)."""
    patch = pytest.MonkeyPatch()
    file = tmp_path_factory.mktemp("poison") / "seeds.json"
    hooks = str(Path(__file__).parent / "hooks")
    patch.setenv("PYTHONPATH", os.pathsep.join([hooks, *filter(None, [os.environ.get("PYTHONPATH")])]))
    patch.setenv("THICKETS_TEST_POISON", str(file))
    yield file
    patch.undo()


@pytest.fixture(scope="module")
def started(poison: Path) -> Iterator[Any]:
    """A cluster whose head, which Ray needs, has no room for an engine."""
    from ray.cluster_utils import Cluster

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": _QUICK, "ray_client_server_port": port}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.client = f"ray://{cluster.address.rpartition(':')[0]}:{port}"
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(started: Any) -> Any:
    """The cluster with its two nodes, whatever the test before did to them."""
    settle(started, 2)
    return started


def settle(cluster: Any, nodes: int) -> None:
    """Wait until the cluster knows of the head and as many living nodes with room for an engine, and of no others."""
    for node in workers(cluster):
        if node.dead_processes():
            cluster.remove_node(node, allow_graceful=False)
    for _ in range(nodes - len(workers(cluster))):
        cluster.add_node(num_cpus=1)
    # That a killed node is gone is known after some seconds of silence, on a busy machine later.
    cluster.wait_for_nodes(timeout=120)


def workers(cluster: Any) -> list[Any]:
    return [node for node in cluster.list_all_nodes() if node is not cluster.head_node]


@pytest.fixture
def plan(settings: dict[str, Any], cluster: Any, poison: Path) -> dict[str, Any]:
    """A run of some seconds on two engines of one core each."""
    for file in poison.parent.iterdir():
        file.unlink()
    more = {
        "search": {"population": 40},
        "splits": {"selection": 24},
        "engine": {"count": 2, "device": "cpu"},
        "cluster": {"address": cluster.address, "cpus": 1, "wait": 60},
    }
    return merge(settings, more)


class Watcher(Progress):
    """Does something to the cluster once so many candidates are recorded, and hears what is said."""

    def __init__(self, at: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self.at, self.act = at, act
        self.heard: list[str] = []
        self.seen = 0

    def say(self, sentence: str) -> None:
        self.heard.append(sentence)

    def trial(self, trial: Trial) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.act()


def figures(directory: Path) -> list[Any]:
    """All that a run found out, without times."""
    with Run.read(directory) as run:
        return [
            (t.split, t.candidate, t.perturbation, t.failure, t.outcomes)
            for split in ("selection", "validation", "test")
            for t in run.trials(split)
        ]


def members(directory: Path) -> Any:
    # The data of the task are a file of each test's own.
    return read_ensemble(directory).model_copy(update={"made_by": {}, "task": None})


def votes(directory: Path) -> Any:
    """What the ensemble answers to each test question, and the figures of both held-out splits."""
    with Run.read(directory) as run:
        summary = summarise(run)
    assert len(summary.questions) == summary.sizes["test"] > 0
    return [(q.prompt, q.vote, q.correct) for q in summary.questions], summary.validation, summary.test


def alone(plan: dict[str, Any], out: Path) -> Path:
    """The same run in one process, without Ray."""
    execute(parse({**plan, "engine": {"device": "cpu"}, "cluster": {}, "out": str(out)}))
    return out


@pytest.fixture(scope="module")
def known() -> dict[str, Path]:
    """Where the undisturbed run is, once there is one: it is the same for all tests."""
    return {}


@pytest.fixture
def undisturbed(plan: dict[str, Any], known: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the others are held against."""
    if not known:
        known["run"] = alone(plan, tmp_path_factory.mktemp("undisturbed") / "run")
    return known["run"]


def engines() -> list[psutil.Process]:
    """The processes in which engines run, oldest first."""
    # Only those of this test session: others may run on the same machine.
    ours = os.environ["THICKETS_TEST_SESSION"]
    found = []
    for process in psutil.process_iter(["cmdline", "create_time", "environ"]):
        named = any("EngineProcess" in part for part in process.info["cmdline"] or ())
        if named and (process.info["environ"] or {}).get("THICKETS_TEST_SESSION") == ours:
            found.append(process)
    return sorted(found, key=lambda p: p.info["create_time"])


def kill_engines() -> None:
    """All of them: the oldest need not be among those that compute already."""
    for engine in engines():
        with suppress(psutil.NoSuchProcess):
            engine.kill()


def same(directory: Path, other: Path) -> None:
    assert figures(directory) == figures(other)
    assert members(directory) == members(other)
    assert votes(directory) == votes(other)


def test_two_engines_find_what_one_finds(plan: dict[str, Any], undisturbed: Path) -> None:
    watcher = Watcher()
    summary = execute(parse(plan), watcher)
    same(Path(plan["out"]), undisturbed)
    assert "starting 2 engines on 3 nodes of Ray" in watcher.heard
    assert engines() == []
    # What answers can depend on is in the run, as each engine says it of itself.
    recorded = {**summary.engine, **summary.versions}
    expected = {
        "engine": "hf",
        "engines": 2,
        "device": "cpu",
        "dtype": "float32",
        "ray": importlib.metadata.version("ray"),
    }
    assert {name: recorded[name] for name in expected} == expected
    assert recorded["batch_tokens"] > 0
    assert {"device_name", "thickets", "torch", "transformers", "numpy", "python"} <= set(recorded)


def test_a_killed_engine_is_replaced(plan: dict[str, Any], undisturbed: Path) -> None:
    watcher = Watcher(8, kill_engines)
    summary = execute(parse(plan), watcher)
    same(Path(plan["out"]), undisturbed)
    assert any("another is started in its place" in note for note in summary.notes)
    assert any("could not be checked there at the end" in note for note in summary.notes)


# How engines break (hooks/sitecustomize.py), and what the run says of it.
BREAKS = {
    "exit": "its process or its node died",
    "cuda": "CUDA error: an illegal memory access",
    "memory": "CUDA out of memory",
}


@pytest.mark.parametrize("how", BREAKS)
def test_an_engine_that_breaks_once_is_replaced(
    how: str, plan: dict[str, Any], poison: Path, undisturbed: Path
) -> None:
    config = parse(plan)
    poison.write_text(json.dumps({str(perturbations(config.search)[5].seed): f"{how} once"}))
    summary = execute(config)
    [note] = [note for note in summary.notes if "another is started in its place" in note]
    assert BREAKS[how] in note
    same(config.directory, undisturbed)


def test_an_engine_that_runs_out_of_memory_over_its_answers_is_replaced(
    plan: dict[str, Any], poison: Path, undisturbed: Path
) -> None:
    poison.write_text(json.dumps({"answers": "memory once"}))
    summary = execute(parse(plan))
    [note] = [note for note in summary.notes if "another is started in its place" in note]
    assert "the GPU ran out of memory while generating" in note
    assert "--engine.batch-tokens" in note
    same(Path(plan["out"]), undisturbed)


def test_an_engine_that_dies_while_it_starts_is_started_again(
    plan: dict[str, Any], poison: Path, undisturbed: Path
) -> None:
    poison.write_text(json.dumps({"start": "exit once"}))
    summary = execute(parse(plan))
    [note] = summary.notes
    assert note.startswith("an engine died while it started: its process or its node died")
    assert note.endswith("; it is started again")
    same(Path(plan["out"]), undisturbed)


def test_a_removed_node_is_done_without_and_a_new_one_joins(
    plan: dict[str, Any], undisturbed: Path, cluster: Any
) -> None:
    def replace_node() -> None:
        cluster.remove_node(workers(cluster)[0], allow_graceful=False)
        cluster.add_node(num_cpus=1)

    summary = execute(parse(plan), Watcher(8, replace_node))
    assert any("another is started in its place" in note for note in summary.notes)
    same(Path(plan["out"]), undisturbed)


def test_a_node_that_takes_many_engines_along_is_no_fault_of_what_they_shared(
    plan: dict[str, Any], cluster: Any, tmp_path: Path
) -> None:
    """Four engines of six go, while all share the few models of a held-out split."""
    plan = merge(plan, {"search": {"population": 8}, "engine": {"count": 6}})
    large = cluster.add_node(num_cpus=4)
    cluster.wait_for_nodes()
    # Base and candidates are recorded, and one of the four models of the validation split.
    watcher = Watcher(10, lambda: cluster.remove_node(large, allow_graceful=False))
    summary = execute(parse(plan), watcher)
    assert sum("another is started in its place" in note for note in summary.notes) >= 3
    same(Path(plan["out"]), alone(plan, tmp_path / "alone"))


def test_an_engine_that_dies_idle_is_replaced_before_it_is_sent_anything(plan: dict[str, Any], cluster: Any) -> None:
    config = parse(plan)
    heard: list[str] = []
    with closing(start_pool(config, heard.append)) as pool:
        assert isinstance(pool, FleetPool)
        while len(pool._state.ready) < 2:
            pool._hear(1.0)
        engines()[0].kill()
        while not any("another is started in its place" in sentence for sentence in heard):
            pool._hear(1.0)
        pool.submit(Work("selection", None, None, [(Message("user", "a"),)] * 6, Sampling(2)))
        [done] = pool.wait()
    assert len(done.generations) == 6


def test_without_any_node_the_run_stops_and_goes_on_later(
    plan: dict[str, Any], undisturbed: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(FleetPool):
        """Waits long for its first engines, on however busy a machine, and then no more."""

        def submit(self, work: Work) -> None:
            self._patience = 3.0
            super().submit(work)

    def remove_nodes() -> None:
        for node in workers(cluster):
            cluster.remove_node(node, allow_graceful=False)

    with monkeypatch.context() as patch:
        patch.setattr("thickets.pool.fleet.FleetPool", Impatient)
        # Which of the two Ray says of a node that is gone depends on whether it has missed enough heartbeats yet.
        lost = r"(its process or its node died|its node does not answer)"
        with pytest.raises(EngineError, match=rf"no engine was ready within .* = 3 seconds \({lost}"):
            execute(parse(plan), Watcher(8, remove_nodes))
    settle(cluster, 0)
    begun = _count(Path(plan["out"]))
    assert 8 <= begun < 41
    with pytest.raises(EngineError, match=r"there is room for 0 .*add resources"):
        execute(parse(plan))
    settle(cluster, 2)
    execute(parse(plan))
    same(Path(plan["out"]), undisturbed)


def test_what_breaks_three_engines_is_recorded_as_failed(plan: dict[str, Any], poison: Path, tmp_path: Path) -> None:
    plan = merge(plan, {"search": {"population": 8}, "splits": {"validation": 0, "test": 4}})
    config = parse(plan)
    drawn = perturbations(config.search)
    breaks = dict(zip((1, 3, 6), BREAKS, strict=True))
    poison.write_text(json.dumps({str(drawn[n].seed): how for n, how in breaks.items()}))
    summary = execute(config, Watcher())
    with Run.read(config.directory) as run:
        trials = {t.candidate: t for t in run.trials("selection")}
    assert len(trials) == 9
    assert [n for n, t in trials.items() if t.failure] == list(breaks)
    for number, how in breaks.items():
        failure = trials[number].failure or ""
        assert failure.startswith("3 engines died while they evaluated it; the last one: ")
        assert BREAKS[how] in failure
    assert not {m.candidate for m in summary.members} & set(breaks)
    with Run.read(alone(plan, tmp_path / "alone")) as run:
        expected = {t.candidate: t.outcomes for t in run.trials("selection") if t.candidate not in breaks}
    assert {n: t.outcomes for n, t in trials.items() if n not in breaks} == expected


def test_a_killed_driver_loses_nothing(plan: dict[str, Any], undisturbed: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(parse(plan).to_toml())
    command = [sys.executable, "-m", "thickets", "run", str(file)]
    directory, moments = Path(plan["out"]), random.Random(1)
    recorded = 0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = recorded + moments.randint(4, 9)
        while process.poll() is None and _count(directory) < goal:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert _count(directory) >= goal
        recorded = _count(directory)
    assert recorded < 41
    subprocess.run(command, check=True, capture_output=True)
    same(directory, undisturbed)


def _count(directory: Path) -> int:
    try:
        with Run.read(directory) as run:
            return len(run.recorded("selection"))
    except Exception:  # noqa: BLE001 - the run may not have begun yet
        return 0


def test_a_run_begun_by_one_engine_goes_on_with_two(plan: dict[str, Any], undisturbed: Path) -> None:
    class StopError(Exception):
        pass

    def stop() -> None:
        raise StopError

    alone = merge(plan, {"engine": {"count": 1}})
    alone["cluster"] = {}
    with pytest.raises(StopError):
        execute(parse(alone), Watcher(10, stop))
    execute(parse(plan))
    same(Path(plan["out"]), undisturbed)


# -- bad input ---------------------------------------------------------------------------------------------------


def test_more_engines_than_room_stop_the_run_unless_fewer_are_allowed(plan: dict[str, Any], undisturbed: Path) -> None:
    plan = merge(plan, {"engine": {"count": 5}})
    with pytest.raises(EngineError, match=r"engine.count is 5 .* there is room for 2 .*--cluster.allow-fewer"):
        execute(parse(plan))
    watcher = Watcher()
    execute(parse(merge(plan, {"cluster": {"allow_fewer": True}})), watcher)
    assert any("room for 2 of 5 engines" in sentence for sentence in watcher.heard)
    same(Path(plan["out"]), undisturbed)


def test_an_engine_that_fits_nowhere(plan: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="each engine must fit on one node"):
        execute(parse(merge(plan, {"cluster": {"cpus": 7, "allow_fewer": True}})))


def test_an_address_that_does_not_answer(
    plan: dict[str, Any], thickets: Callable[..., Ended], config_file: Path
) -> None:
    ended = thickets("run", config_file, "--engine.count", 2, "--cluster.address", "127.0.0.1:1")
    assert ended.code == 2
    assert ended.err.startswith("thickets: cluster.address 127.0.0.1:1 does not answer")
    assert thickets("run", config_file, "--cluster.address", "nowhere").code == 2


def test_auto_is_the_cluster_of_the_environment(
    plan: dict[str, Any], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    fleet = RayFleet(parse(merge(plan, {"cluster": {"address": "auto"}})))
    fleet.close()
    assert (fleet.nodes, fleet.room) == (3, 2)


def test_auto_where_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    # Those of other tests on this machine are none of ours.
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", functools.cache(lambda: frozenset()))
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda temp_dir: None)
    with pytest.raises(EngineError) as caught:
        connect(ray, ClusterConfig(address="auto"))
    assert str(caught.value).startswith("cluster.address is auto, but this machine cannot join a cluster (Could not")
    assert "`ray start --head`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_other_versions_than_those_of_the_cluster_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray._private.utils import check_version_info

    def init(**settings: Any) -> None:
        check_version_info({"ray_version": "2.9.1", "python_version": "3.9.7"}, "node 10.0.0.1")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(EngineError) as caught:
        connect(ray, ClusterConfig(address="auto"))
    said = str(caught.value)
    assert "\n" not in said
    assert "Version mismatch: The cluster was started with: Ray: 2.9.1, Python: 3.9.7" in said
    assert f"This process on node 10.0.0.1 was started with: Ray: {ray.__version__}, Python: 3." in said


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("form", ["{}", "ray://{}", "auto"])
def test_a_port_that_is_not_rays_is_named(says: bytes, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr("thickets.pool.ray_fleet._CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as other:
        address = form.format(f"127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        talk = other.submit(lambda: server.accept()[0].sendall(says))
        with pytest.raises(EngineError) as caught:
            connect(ray, ClusterConfig(address=address))
        talk.result()
    assert "takes connections but does not answer as Ray does; give the port of" in str(caught.value)
    assert not ray.is_initialized()


def test_rays_client_mode_is_tried_twice_and_its_package_is_named(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    outside = ClusterConfig(address=cluster.client)
    with monkeypatch.context() as patch:
        patch.setattr("ray.client_builder.get_ray_client_dependency_error", lambda: ImportError("grpc"))
        with pytest.raises(EngineError, match=r"cannot join ray://.*`pip install ray\[client\]`"):
            connect(ray, outside)
    failure = "Initialization failure from server:\nTraceback (most recent call last):\n  x\nOSError: no"
    answers = [failure, failure, "again", None]

    def init(**settings: Any) -> None:
        said = answers.pop(0)
        if said:
            raise ConnectionAbortedError(said)

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(EngineError, match=r"ray://.* \(Initialization failure from server: OSError: no\); start one"):
        connect(ray, outside)
    connect(ray, outside)
    assert answers == []


def test_a_cluster_is_used_from_outside(plan: dict[str, Any], cluster: Any, undisturbed: Path) -> None:
    watcher = Watcher(8, kill_engines)
    summary = execute(parse(merge(plan, {"cluster": {"address": cluster.client}})), watcher)
    assert any("another is started in its place" in note for note in summary.notes)
    same(Path(plan["out"]), undisturbed)


def test_a_model_that_nodes_cannot_read_names_the_node_and_the_run_goes_on_later(
    plan: dict[str, Any], undisturbed: Path, tmp_path: Path
) -> None:
    model = Path(plan["model"]["name"])
    link = tmp_path / "model"
    moved = merge(plan, {"model": {"name": str(link)}})
    with pytest.raises(ModelError, match=r"on node .*: model .* can it be loaded from the Hub"):
        execute(parse(moved))
    link.symlink_to(model)
    execute(parse(moved))
    assert figures(Path(plan["out"])) == figures(undisturbed)


def test_gpus_are_asked_for_where_there_are_none(plan: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="no node of the cluster has a GPU"):
        execute(parse(merge(plan, {"engine": {"device": "cuda"}})))
    with pytest.raises(EngineError, match="Ray gives engines their devices"):
        execute(parse(merge(plan, {"engine": {"device": "cuda:1"}})))


def test_a_model_in_hand_cannot_be_sent(plan: dict[str, Any]) -> None:
    from tests.conftest import build_model, build_tokenizer
    from thickets.errors import ConfigError

    with pytest.raises(ConfigError, match="models that each node loads by itself"):
        execute(parse(plan), model=build_model("Llama"), tokenizer=build_tokenizer())


# -- looking at a cluster ------------------------------------------------------------------------------------------


def test_doctor_looks_at_every_node(cluster: Any, llama: Path, thickets: Callable[..., Ended]) -> None:
    ended = thickets("doctor", "--cluster", cluster.address, "--model", llama)
    assert ended.code == 0
    assert "3 nodes answer" in ended.out
    assert "equal on all nodes" in ended.out
    assert "can be read on all nodes" in ended.out
    assert "no node has a GPU" in ended.out
    missing = thickets("doctor", "--cluster", cluster.address, "--model", "/nowhere/model")
    assert missing.code == 1
    assert "cannot be read" in missing.out
    assert thickets("doctor", "--cluster", "127.0.0.1:1").code == 1
    assert thickets("doctor", "--model", llama).code == 2


@pytest.mark.parametrize(
    ("engine", "cluster", "expected"),
    [
        ({"tensor_parallel": 2}, {}, Share(8, 0, 4)),
        ({"tensor_parallel": 2, "count": 8}, {}, Share(2, 0, 1)),
        ({"tensor_parallel": 4, "count": 4}, {"cpus": 2}, Share(2, 0, 1)),
        ({"count": 2}, {}, Share(4, 0, 4)),
        ({}, {"cpus": 0.5}, Share(0.5, 0, 1)),
    ],
)
def test_cores_are_shared_by_the_parts_of_an_engine(
    engine: dict[str, Any], cluster: dict[str, Any], expected: Share
) -> None:
    config = parse({"model": "m", "engine": {"device": "cpu", **engine}, "cluster": cluster})
    assert _share(config, [{"Resources": {"CPU": 8.0}}]) == expected


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_head_without_cores_takes_none_of_those_of_the_others(count: int) -> None:
    nodes = [{"Resources": {}}, {"Resources": {"CPU": 8.0}}, {"Resources": {"CPU": 8.0}}]
    config = parse({"model": "m", "engine": {"device": "cpu", "count": count}, "cluster": {"address": "auto"}})
    check_room(config, nodes, _share(config, nodes))


def test_a_blend_crosses_the_cluster(plan: dict[str, Any]) -> None:
    steps = tuple(Perturbation(seed, 0.01) for seed in range(5))
    points = [None, *(Blend((*steps, Perturbation(9, 0.02, sign)), shared=5) for sign in (1, -1)), Blend(steps)]
    answers = []
    for settings in (plan, {**plan, "engine": {"device": "cpu"}, "cluster": {}}):
        pool, found = start_pool(parse(settings), print), {}
        for number, point in enumerate(points):
            pool.submit(Work("test", number, point, ["a b", "c d e"], Sampling(8)))
        while len(found) < len(points):
            found |= {done.work.candidate: done.generations for done in pool.wait()}
        pool.verify_base()
        pool.close()
        answers.append([found[number] for number in range(len(points))])
    assert answers[0] == answers[1]
    assert len({str(generations) for generations in answers[0]}) == 4
