"""A pool of many engines: joins the scheduler to whatever starts engines and carries units. Knows nothing of Ray."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from thickets.errors import EngineError, ThicketsError
from thickets.pool.base import Done, Pool, Work
from thickets.pool.scheduler import Result, Scheduler, Unit
from thickets.types import Prompt, Sampling

# Times in a row that an engine may fail to start before its place is given up.
_STARTS = 3
# Of an engine's description, what no answer depends on: where the pristine copy lies.
_FREE = {"base_copy"}


@dataclass(frozen=True)
class Facts:
    """What an engine says of itself when it is ready."""

    fingerprint: str
    description: Mapping[str, Any]
    factors: Mapping[str, float]
    versions: Mapping[str, str]
    host: str


@dataclass(frozen=True)
class Ready:
    """An engine has started."""

    engine: int
    facts: Facts


@dataclass(frozen=True)
class Finished:
    """An engine has ended a unit."""

    engine: int
    unit: Unit
    result: Result


@dataclass(frozen=True)
class Lost:
    """An engine that was ready is gone: its process, its node or its GPU."""

    engine: int
    cause: str


@dataclass(frozen=True)
class NotStarted:
    """An engine could not be started; `error` says why.

    `retry`: whether another start may go well. `always` where the process died, `after a loss` where what a dead engine
    leaves behind for a while (memory of its GPU) may be the cause, `never` where the user has to mend something.
    """

    engine: int
    error: ThicketsError
    retry: Literal["always", "after a loss", "never"]


Event = Ready | Finished | Lost | NotStarted


class Fleet(ABC):
    """Starts engines and carries units to them. Every method but `events` and `ask` returns at once."""

    @abstractmethod
    def start(self, engine: int) -> None:
        """Begin to start an engine under this number; `Ready` or `NotStarted` follows."""

    @abstractmethod
    def send(self, engine: int, unit: Unit) -> None:
        """Have a ready engine compute a unit; `Finished` or `Lost` follows."""

    @abstractmethod
    def interrupt(self, engine: int, unit: Unit) -> None:
        """Tell an engine to drop a unit, if that is what it computes; `Finished` follows all the same."""

    @abstractmethod
    def remove(self, engine: int) -> None:
        """Free what an engine holds, whether it lives or not."""

    @abstractmethod
    def events(self, timeout: float | None) -> list[Event]:
        """What has happened since; at least one event, or none after `timeout` seconds."""

    def ask(self, engines: Sequence[int], method: str, *arguments: Any) -> Mapping[int, ThicketsError | Lost | None]:
        """Call a method of idle engines and wait: per engine `None`, what it said against it, or that it is lost."""
        return dict.fromkeys(engines)

    def close(self) -> None:
        """Stop everything."""


@dataclass
class _State:
    """The engines of a fleet by number."""

    ready: dict[int, Facts] = field(default_factory=dict)
    starting: dict[int, int] = field(default_factory=dict)  # how many starts failed before this one


class FleetPool(Pool):
    """Evaluates work on `count` engines of a fleet, replacing those that die.

    The first engine that is ready starts the work, the others join. `wait` seconds without any engine end the run.
    `allow_fewer`: engines that refuse to start, or are unlike the first, are done without. One that dies while it
    starts is started again a few times, and then done without as long as there are others.
    `versions`: those of this process, of the packages that must be the same on every node.
    Raises `EngineError` where engines cannot start; what was finished before is finished.
    """

    def __init__(
        self,
        fleet: Fleet,
        count: int,
        *,
        allow_fewer: bool = False,
        wait: float = 600.0,
        versions: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notes: list[str] = []
        self._fleet, self._allow_fewer, self._patience = fleet, allow_fewer, wait
        self._say, self._clock = say, clock
        self._scheduler = Scheduler(count)
        self._state = _State()
        self._done: list[Done] = []
        self._versions = versions or {}
        # What the run records: every later engine is held against it, also when that engine is long gone.
        self._first: Facts | None = None
        self._differing: set[str] = set()
        self._lost = 0
        self._next = 0
        self._last_cause = "none has started yet"
        # Since when there has been no engine, and what ended the run while others had results to hand over.
        self._none_since: float | None = None
        self._broken: ThicketsError | None = None
        try:
            for _ in range(count):
                self._launch(0)
            first = self._await_engine()
        except BaseException:
            fleet.close()
            raise
        self.fingerprint, self.factors = first.fingerprint, first.factors
        self.description = {**first.description, "engines": count}

    # -- the pool's door ---------------------------------------------------------------------------------------------

    def wants(self) -> int:
        return self._scheduler.wants()

    def submit(self, work: Work) -> None:
        self._scheduler.add(work)

    def wait(self, timeout: float | None = None) -> list[Done]:
        deadline = None if timeout is None else self._clock() + timeout
        while self._scheduler.busy and not self._done:
            if self._broken is not None:
                raise self._broken
            self._dispatch()
            self._hear(self._left(deadline))
            if deadline is not None and self._clock() >= deadline:
                break
        # Whoever is free goes on while the caller records what is done.
        self._dispatch()
        done, self._done = self._done, []
        return done

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        for _ in range(_STARTS):
            self._await_engine()
            engine = next(iter(self._state.ready))
            answer = self._fleet.ask([engine], "check", prompts, sampling)[engine]
            if not isinstance(answer, Lost):
                break
            self._take(answer)
        if isinstance(answer, Lost):
            raise EngineError(f"{_STARTS} engines died while they looked at the prompts; the last one: {answer.cause}")
        if answer is not None:
            raise answer

    def verify_base(self) -> None:
        while self._scheduler.computing:
            for event in self._fleet.events(None):
                self._take(event)
        for _ in range(_STARTS):
            self._await_engine()
            answers = self._fleet.ask(list(self._state.ready), "verify_base").values()
            for answer in answers:
                if isinstance(answer, Lost):
                    self._take(answer)
            for answer in answers:
                if isinstance(answer, ThicketsError):
                    raise answer
            if None in answers:
                break
        else:
            raise EngineError(f"no engine was left to check the base weights on: {self._last_cause}")
        if self._lost:
            self._note(
                f"{_counted(self._lost, 'engine')} died on the way, so the weights of the base could not be checked "
                "there at the end"
            )

    def close(self) -> None:
        self._fleet.close()

    # -- engines come and go -----------------------------------------------------------------------------------------

    def _launch(self, failed: int) -> None:
        self._next += 1
        self._state.starting[self._next] = failed
        self._fleet.start(self._next)

    def _await_engine(self) -> Facts:
        """Wait until there is an engine. Raises `EngineError` after `wait` seconds, or when no more can come."""
        while not self._state.ready:
            if self._broken is not None:
                raise self._broken
            self._hear(self._left(None))
        return next(iter(self._state.ready.values()))

    def _left(self, deadline: float | None) -> float | None:
        """For how long to wait for what happens next: till then, and for an engine no longer than `wait` seconds.

        Raises `EngineError` where there is no engine and none can come any more.
        """
        now = self._clock()
        ends = [] if deadline is None else [deadline]
        if self._state.ready:
            self._none_since = None
        else:
            if not self._state.starting:
                raise EngineError(
                    f"no engine is left and none can be started: {self._last_cause}; every finished trial is kept, and "
                    "the same command goes on once that is mended"
                )
            self._none_since = now if self._none_since is None else self._none_since
            ends.append(self._none_since + self._patience)
            if now >= ends[-1]:
                raise EngineError(
                    f"no engine was ready within cluster.wait = {self._patience:g} seconds ({self._last_cause}); free "
                    "or add resources and repeat the command, every finished trial is kept"
                )
        return max(0.0, min(ends) - now) if ends else None

    def _hear(self, timeout: float | None) -> None:
        """Take in what has happened. What ends the run does so once the results that came with it are handed over."""
        for event in self._fleet.events(timeout):
            try:
                self._take(event)
            except ThicketsError as error:
                self._broken = self._broken or error

    def _take(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._done += self._scheduler.finish(event.engine, event.unit, event.result)
        elif isinstance(event, Ready):
            self._welcome(event)
        elif isinstance(event, NotStarted):
            self._not_started(event)
        elif event.engine in self._state.ready:
            host = self._state.ready[event.engine].host
            self._note(f"engine {event.engine} on {host} died ({event.cause}); another is started in its place")
            self._lost += 1
            self._drop(event.engine, event.cause)
            self._launch(0)

    def _drop(self, engine: int, cause: str) -> None:
        self._last_cause = cause
        self._state.ready.pop(engine, None)
        self._fleet.remove(engine)
        self._done += self._scheduler.leave(engine, cause)

    def _welcome(self, event: Ready) -> None:
        self._state.starting.pop(event.engine, None)
        reason = self._unfit(event.facts)
        if reason is None:
            self._note_differences(event.facts)
            self._state.ready[event.engine] = event.facts
            self._scheduler.join(event.engine)
            return
        sentence = f"the engine on {event.facts.host} cannot be used: {reason}"
        self._fleet.remove(event.engine)
        self._last_cause = sentence
        if not self._allow_fewer:
            raise EngineError(f"{sentence}; mend that node, or go on without it with --cluster.allow-fewer")
        self._note(f"{sentence}; the run goes on without it")

    def _unfit(self, facts: Facts) -> str | None:
        """Why an engine cannot work on this run, or `None` if it can; the first that can sets the measure."""
        # Only what both have, and not how it was built: without a GPU there is another torch, and another vLLM or none.
        both = sorted({*self._versions} & {*facts.versions})
        mine, there = ({p: public(versions[p]) for p in both} for versions in (self._versions, facts.versions))
        reason = other_version(mine, there, "this machine")
        if reason is None and self._first is not None:
            reason = unlike(self._first, facts)
        if reason is None and self._first is None:
            self._first = facts
        return reason

    def _note_differences(self, facts: Facts) -> None:
        """Once for every item of their descriptions in which engines are not the same: hardware, batch settings."""
        first = self._first or facts
        for item in sorted({*first.description, *facts.description} - _FREE - self._differing):
            mine, there = first.description.get(item), facts.description.get(item)
            if mine != there:
                self._differing.add(item)
                self._note(
                    f"engines differ in {item} ({mine} on {first.host}, {there} on {facts.host}); answers of near ties "
                    "can depend on it"
                )

    def _not_started(self, event: NotStarted) -> None:
        failed = self._state.starting.pop(event.engine, 0) + 1
        self._fleet.remove(event.engine)
        self._last_cause = str(event.error)
        died = event.retry == "always"
        may_go_well = died or (event.retry == "after a loss" and (self._lost > 0 or failed > 1))
        if may_go_well and failed < _STARTS:
            self._note(f"{event.error}; it is started again")
            self._launch(failed)
            return
        # A refusal is to be mended now, before hours are spent with too few; a death need not stop the others.
        if not (died or self._allow_fewer or self._lost):
            raise event.error
        there = len(self._state.ready) + len(self._state.starting)
        if there:
            self._note(
                f"an engine could not be started ({event.error}); the run goes on with {_counted(there, 'engine')}"
            )

    def _dispatch(self) -> None:
        for engine, unit in self._scheduler.stale():
            self._fleet.interrupt(engine, unit)
        for engine, unit in self._scheduler.units():
            self._fleet.send(engine, unit)

    def _note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self._say(sentence)


def unlike(first: Facts, other: Facts) -> str | None:
    """Why two engines cannot work on one run, or `None` if they can."""
    mine, there = first.description.get("engine"), other.description.get("engine")
    if mine != there:
        return f"it is a {there} engine, and on {first.host} it is {mine}; name one with --engine"
    if first.fingerprint != other.fingerprint:
        return (
            f"its base model has fingerprint {other.fingerprint[:19]}…, and on {first.host} it is "
            f"{first.fingerprint[:19]}…; both must read the same weights in the same number type"
        )
    changed = [
        name
        for name in {**first.factors, **other.factors}
        if not math.isclose(first.factors.get(name, 0), other.factors.get(name, 0), rel_tol=1e-6)
    ]
    if changed:
        return f"its scale factors differ from those on {first.host} ({changed[0]} among them)"
    return other_version(first.versions, other.versions, first.host)


def other_version(mine: Mapping[str, str], there: Mapping[str, str], where: str) -> str | None:
    """The first package of which an engine has another version than there is at `where`, or `None`."""
    for package in sorted({*mine, *there}):
        if mine.get(package) != there.get(package):
            return (
                f"it has {package} {there.get(package, 'not installed')}, and {where} has "
                f"{mine.get(package, 'it not installed')}"
            )
    return None


def public(version: str) -> str:
    """A version without how it was built: `2.13.0+cpu` is `2.13.0`."""
    return version.partition("+")[0]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
