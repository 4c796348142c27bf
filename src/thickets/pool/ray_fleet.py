"""Starts engines as Ray actors, each in a placement group of its own. Knows nothing of scheduling."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from thickets.config import ClusterConfig, RunConfig
from thickets.errors import EngineError, ThicketsError
from thickets.pool.fleet import Event, Finished, Fleet, Lost, NotStarted, Ready
from thickets.pool.ray_actor import EngineProcess, Refusal
from thickets.pool.scheduler import Unit

# Seconds in which an address must take a connection, and greet it.
_CONNECT = 10.0
# How HTTP/2 begins, which gRPC and so Ray speaks: the client says so and sends a frame of settings, of which this is an
# empty one; the server answers with a frame of settings (RFC 9113, sections 3.4 and 6.5).
_SETTINGS = bytes(3) + b"\x04" + bytes(5)
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS


@dataclass(frozen=True)
class Share:
    """What one engine takes of a node, and the threads that each of its processes may have."""

    cpus: float
    gpus: int
    threads: int = 1


@dataclass
class _Engine:
    """An actor, what it reserves, and the reference of what it is doing, if anything."""

    actor: Any
    group: Any
    doing: Any = None
    # Ends with an error when the actor does, also while it has nothing to do.
    watch: Any = None
    unit: Unit | None = None
    ready: bool = False


class RayFleet(Fleet):
    """Engines on a Ray cluster, or on a Ray of this machine's own where the configuration has no address.

    Raises `EngineError` where the cluster cannot be reached or has not room for one engine. `room` is how many fit.
    """

    def __init__(self, config: RunConfig) -> None:
        self._ray = import_ray()
        self._owns = not self._ray.is_initialized()
        if self._owns:
            connect(self._ray, config.cluster)
        try:
            nodes = [n for n in self._ray.nodes() if n["Alive"]]
            self.share = _share(config, nodes)
            self.room = sum(_fits(n, self.share) for n in nodes)
            self.nodes = len(nodes)
            check_room(config, nodes, self.share)
        except BaseException:
            self.close()
            raise
        self._from_outside = bool(self._ray.util.client.ray.is_connected())
        # Through Ray's client a unit that need not end is finished all the same: its calls cannot be told apart.
        self._process = EngineProcess if self._from_outside else _process(self._ray)
        device = "cuda" if self.share.gpus else "cpu"
        engine = config.engine.model_copy(update={"device": device})
        self._config = config.model_copy(update={"engine": engine}).model_dump(mode="json")
        self._engines: dict[int, _Engine] = {}
        # One copy of a split's prompts in the cluster, however often it is asked.
        self._prompts: dict[int, tuple[Any, Any]] = {}

    # -- what the pool calls -----------------------------------------------------------------------------------------

    def start(self, engine: int) -> None:
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        share = self.share
        bundle = {"CPU": share.cpus} | ({"GPU": float(share.gpus)} if share.gpus else {})
        group = placement_group([bundle], strategy="STRICT_PACK")
        actor = (
            self._ray.remote(concurrency_groups={"control": 1, "watch": 1})(self._process)
            .options(
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0),
            )
            .remote(self._config, share.threads)
        )
        self._engines[engine] = _Engine(actor, group, doing=actor.start.remote())

    def send(self, engine: int, unit: Unit) -> None:
        there = self._engines[engine]
        there.unit = unit
        there.doing = there.actor.run.remote(
            unit.key, unit.work.perturbation, self._shared(unit.work.prompts), unit.first, unit.last, unit.work.sampling
        )

    def interrupt(self, engine: int, unit: Unit) -> None:
        there = self._engines.get(engine)
        if there is not None and there.unit is unit:
            there.actor.interrupt.remote(unit.key)

    def remove(self, engine: int) -> None:
        from ray.util.placement_group import remove_placement_group

        there = self._engines.pop(engine, None)
        if there is None:
            return
        # Asked for anything after its connection is lost, Ray would try to make another one for ever.
        if not self._ray.is_initialized():
            return
        # Of a node that is gone there is nothing to free, and Ray says so by raising.
        with suppress(Exception):
            self._ray.kill(there.actor, no_restart=True)
        with suppress(Exception):
            remove_placement_group(there.group)

    def events(self, timeout: float | None) -> list[Event]:
        doing = {e.doing: number for number, e in self._engines.items() if e.doing is not None}
        # An engine that dies while it is idle is known to be gone before it is sent anything.
        doing |= {e.watch: number for number, e in self._engines.items() if e.watch is not None and e.doing is None}
        if not doing:
            time.sleep(min(timeout or 0.0, 1.0))
            return []
        # All that have ended: waiting for them one by one in order would hide a failure behind a slow engine.
        ended, _ = self._ray.wait(list(doing), num_returns=1, timeout=timeout, fetch_local=False)
        if ended:
            ended, _ = self._ray.wait(list(doing), num_returns=len(doing), timeout=0, fetch_local=False)
        return [self._event(doing[reference]) for reference in ended]

    def ask(self, engines: Sequence[int], method: str, *arguments: Any) -> Mapping[int, ThicketsError | Lost | None]:
        asked = {e: getattr(self._engines[e].actor, method).remote(*arguments) for e in engines}
        answers: dict[int, ThicketsError | Lost | None] = {}
        for engine, reference in asked.items():
            try:
                self._ray.get(reference)
                answers[engine] = None
            except Exception as error:  # noqa: BLE001 - handed to the caller, whatever the engine raised
                cause = getattr(error, "cause", None)
                answers[engine] = cause if isinstance(cause, ThicketsError) else Lost(engine, why(error))
        return answers

    def close(self) -> None:
        for engine in list(getattr(self, "_engines", {})):
            self.remove(engine)
        if self._owns:
            self._ray.shutdown()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _event(self, number: int) -> Event:
        engine = self._engines[number]
        reference, unit = engine.doing or engine.watch, engine.unit
        engine.doing = engine.unit = None
        try:
            answer = self._ray.get(reference)
        except Exception as error:  # noqa: BLE001 - the engine, its process or its node is broken, whatever it was
            cause = why(error)
            if engine.ready:
                return Lost(number, cause)
            return NotStarted(number, EngineError(f"an engine died while it started: {cause}"), retry="always")
        if isinstance(answer, Refusal):
            # The GPU of an engine that died may not be free yet; a missing model is missing the next time too.
            retry: Literal["after a loss", "never"] = (
                "after a loss" if isinstance(answer.error, EngineError) else "never"
            )
            return NotStarted(number, answer.error, retry)
        if unit is None:
            engine.ready = True
            # With such a call under way Ray's client (2.60) lost its connection; there the next unit shows a death.
            engine.watch = None if self._from_outside else engine.actor.watch.remote()
            return Ready(number, answer)
        return Finished(number, unit, answer)

    def _shared(self, prompts: Any) -> Any:
        known = self._prompts.get(id(prompts))
        if known is None:
            # The list is kept too, so that its id stays its own.
            known = self._prompts[id(prompts)] = (prompts, self._ray.put(prompts))
        return known[1]


def _process(ray: Any) -> type[EngineProcess]:
    """The class of an engine's process, of which two methods run beside the others.

    `interrupt` must get through while `run` runs, and `watch` runs for ever.
    """

    class Process(EngineProcess):
        interrupt = ray.method(concurrency_group="control")(EngineProcess.interrupt)
        watch = ray.method(concurrency_group="watch")(EngineProcess.watch)

    # What the process is called in `ps` and in Ray's own tools.
    Process.__name__ = Process.__qualname__ = EngineProcess.__name__
    return Process


def why(error: BaseException) -> str:
    """What killed an engine, in one line."""
    from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

    if isinstance(error, RayTaskError):
        inner = error.cause
        text = str(inner).strip().split("\n")[0]
        return f"{type(inner).__name__}: {text}" if not isinstance(inner, ThicketsError) else text
    if isinstance(error, ActorUnavailableError):
        return "its node does not answer"
    if isinstance(error, ActorDiedError):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = [line for line in lines if "node" in line.lower() or "killed" in line.lower() or "exit" in line.lower()]
        return "its process or its node died" + (f": {told[-1]}" if told else "")
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def check_room(config: RunConfig, nodes: Iterable[Mapping[str, Any]], share: Share) -> None:
    """Raise `EngineError` where the cluster has not room for the engines that are asked for."""
    nodes = list(nodes)
    room, count = sum(_fits(n, share) for n in nodes), config.engine.count
    if room >= count or (room and config.cluster.allow_fewer):
        return
    what = f"{share.gpus} GPUs and {share.cpus:g} CPU cores" if share.gpus else f"{share.cpus:g} CPU cores"
    there = "; ".join(
        f"{n.get('NodeManagerHostname') or n.get('NodeManagerAddress')}: "
        f"{n['Resources'].get('GPU', 0):g} GPUs, {n['Resources'].get('CPU', 0):g} cores"
        for n in nodes
    )
    remedy = (
        f"set --engine.count {room}, or go on with fewer by --cluster.allow-fewer"
        if room
        else "each engine must fit on one node; add resources, or lower --engine.tensor-parallel or --cluster.cpus"
    )
    raise EngineError(
        f"engine.count is {count} and each takes {what} of one node, but there is room for {room} ({there}); {remedy}"
    )


def _share(config: RunConfig, nodes: Sequence[Mapping[str, Any]]) -> Share:
    wants, parallel = config.engine.device, config.engine.tensor_parallel
    if wants not in ("auto", "cpu", "cuda"):
        raise EngineError(f"engine.device is {wants!r}, but Ray gives engines their devices; leave it out, or say cpu")
    gpus = any(n["Resources"].get("GPU", 0) for n in nodes)
    if wants == "cuda" and not gpus:
        raise EngineError("engine.device is cuda, but no node of the cluster has a GPU that Ray knows of")
    if gpus and wants != "cpu":
        return _among(config.cluster.cpus or 1.0, parallel, parallel)
    if config.cluster.cpus is not None:
        return _among(config.cluster.cpus, 0, parallel)
    least = min((n["Resources"].get("CPU", 0.0) for n in nodes if n["Resources"].get("CPU", 0)), default=0.0)
    # A head without cores gets no engines.
    able = sum(1 for n in nodes if n["Resources"].get("CPU", 0))
    each = -(-config.engine.count // max(able, 1))
    # A core at least for each process of an engine: without a GPU they compute in turns otherwise.
    return _among(max(float(parallel), least // each), 0, parallel)


def _among(cpus: float, gpus: int, parallel: int) -> Share:
    """A share whose cores are divided among the `parallel` processes of the engine."""
    return Share(cpus, gpus, max(1, int(cpus // parallel)))


def _fits(node: Mapping[str, Any], share: Share) -> int:
    resources = node["Resources"]
    fits = int(resources.get("CPU", 0) // share.cpus)
    return min(fits, int(resources.get("GPU", 0) // share.gpus)) if share.gpus else fits


def import_ray() -> Any:
    """The package. Raises `EngineError` where it is not installed."""
    # Ray tells its makers about its use unless it is told not to; that is the user's to decide.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise EngineError(
            "more than one engine needs Ray, which is not installed; pip install 'thickets[ray]', or set "
            "--engine.count 1"
        ) from None
    return ray


def connect(ray: Any, cluster: ClusterConfig) -> None:
    """Join the cluster, or start one on this machine. Raises `EngineError` for an address that does not answer."""
    address = cluster.address
    # What Ray itself takes for `auto`, where it is set.
    meant = os.environ.get("RAY_ADDRESS") if address == "auto" else None
    if meant:
        _knock(meant, f"auto, which is {meant} by RAY_ADDRESS,")
    elif address not in (None, "auto", "local"):
        _knock(address, address)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if address in (None, "local"):
            ray.init(address="local", include_dashboard=False, **quiet)
        else:
            _join(ray, address, quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        # What was half joined would be in the way of another try.
        with suppress(Exception):
            ray.shutdown()
        where = "this machine cannot join a cluster" if address == "auto" else f"cannot join {address}"
        raise EngineError(
            f"cluster.address is {address}, but {where} ({_told(error)}); start one with "
            "`ray start --head`, check that Python and Ray have the same versions there, or leave out "
            "--cluster.address to use this machine"
        ) from error


def _join(ray: Any, address: str, settings: Mapping[str, Any]) -> None:
    try:
        ray.init(address=address, **settings)
    except ConnectionAbortedError:
        # The server behind ray:// starts a process for every client, which now and then dies at once (Ray 2.60).
        ray.init(address=address, **settings)


def _told(error: BaseException) -> str:
    """What Ray says of a failure, all its lines in one; of a traceback in it, only what was raised."""
    before, _, traceback = str(error).partition("Traceback (most recent call last):")
    lines = [*before.splitlines(), *traceback.splitlines()[-1:]]
    return ", ".join(line.strip() for line in lines if line.strip()).replace(":, ", ": ").rstrip(".")


def _knock(address: str, named: str) -> None:
    """Raise `EngineError` where nobody answers, or not as Ray would: Ray itself would wait for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise EngineError(f"cluster.address {named!r} is not auto, host:port or ray://host:port")
    try:
        there = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT)
    except OSError as error:
        raise EngineError(
            f"cluster.address {named} does not answer ({error.strerror or error}); start Ray there with "
            "`ray start --head`, or mend the address"
        ) from error
    with there:
        frame = b""
        with suppress(OSError):
            there.sendall(_GREETING)
            frame = there.recv(len(_SETTINGS))
    # With certificates Ray waits for another greeting.
    if frame[3:4] != _SETTINGS[3:4] and os.environ.get("RAY_USE_TLS", "0") == "0":
        raise EngineError(
            f"cluster.address {named} takes connections but does not answer as Ray does; give the port of "
            "`ray start --head` (6379 unless it was told another), or ray:// and the port of its client server (10001)"
        )
