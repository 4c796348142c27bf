"""Which engine computes what next. Pure bookkeeping: knows no clock, no process and no network.

Work is a queue, and whoever is free takes the next piece of it. While there is at least one candidate for every engine,
a piece is a whole candidate. Once there are fewer, the examples that are left are shared out, so that all engines
finish together; and when nothing is left to hand out, idle engines compute parts of what others are still busy with,
and the first answer to an example counts (backup tasks: Dean & Ghemawat 2004, "MapReduce", section 3.6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from thickets.pool.base import Done, Work
from thickets.types import Generation

# A candidate is cut into so many parts at most: every part costs one placing of the weights.
_PARTS = 8
# What idle engines compute once more may be cut finer: they have nothing better to do.
_BACKUPS = 16
# An example during which so many engines died, one after the other, is itself to blame.
_DEATHS = 3


@dataclass(frozen=True, eq=False)
class Unit:
    """What one engine is sent: the prompts `first` up to `last` of a piece of work."""

    key: int
    work: Work
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many prompts."""
        return self.last - self.first


@dataclass(frozen=True)
class Result:
    """What an engine made of a unit: generations in order, or why the candidate cannot be scored.

    `interrupted` says that the engine was told to drop it. Times are seconds.
    """

    generations: Sequence[Generation]
    failure: str | None
    seconds: float
    switch_seconds: float
    interrupted: bool = False


@dataclass(eq=False)
class _Job:
    """One piece of work on its way."""

    work: Work
    answers: list[Generation | None]
    # Examples that no engine has been given (or whose engine died), as half-open ranges.
    todo: deque[tuple[int, int]]
    units: set[Unit] = field(default_factory=set)
    # Of each example, how many engines died on it, and the newest unit that had been sent out by then.
    deaths: dict[int, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0
    switch_seconds: float = 0.0

    @property
    def unstarted(self) -> int:
        return sum(last - first for first, last in self.todo)

    @property
    def smallest(self) -> int:
        """The fewest prompts worth a unit of their own."""
        return max(1, -(-len(self.answers) // _PARTS))

    def missing(self, unit: Unit) -> bool:
        """Whether anything that the unit computes is still unknown."""
        return any(self.answers[i] is None for i in range(unit.first, unit.last))


class Scheduler:
    """Hands units to engines, named by number, and puts their results together."""

    def __init__(self, expected: int = 1) -> None:
        # So many engines are to come, even if they have not joined yet.
        self._expected = expected
        self._jobs: dict[Work, _Job] = {}
        # Jobs with something to hand out, oldest first.
        self._queue: deque[_Job] = deque()
        # What each engine computes, `None` while it is idle; and the work whose weights it holds.
        self._engines: dict[int, Unit | None] = {}
        self._holds: dict[int, Work] = {}
        self._backed: set[Unit] = set()
        self._keys = 0
        # Units to be interrupted: their answers are known already, or their engine is needed.
        self._stale: list[tuple[int, Unit]] = []

    # -- what comes in ---------------------------------------------------------------------------------------------

    def add(self, work: Work) -> None:
        """Take on work. Backup units give way to it."""
        job = _Job(work, [None] * len(work.prompts), deque([(0, len(work.prompts))] if work.prompts else []))
        self._jobs[work] = job
        self._queue.append(job)
        if any(unit is None for unit in self._engines.values()):
            return
        told = {unit for _, unit in self._stale}
        for engine, unit in self._engines.items():
            if unit is not None and unit not in told and self._is_backup(unit):
                self._stale.append((engine, unit))
                return

    def join(self, engine: int) -> None:
        """An engine is ready."""
        self._engines[engine] = None

    def leave(self, engine: int, cause: str | None) -> list[Done]:
        """An engine is gone; what it held goes back to the queue. `cause` `None`: it was sent away, not lost."""
        unit = self._engines.pop(engine, None)
        self._holds.pop(engine, None)
        job = self._jobs.get(unit.work) if unit is not None else None
        if unit is None or job is None:
            return []
        self._let_go(job, unit)
        if cause is not None and self._blame(job, unit) >= _DEATHS:
            return [self._end(job, f"{_DEATHS} engines died while they evaluated it; the last one: {cause}")]
        self._give_back(job, unit)
        return []

    def finish(self, engine: int, unit: Unit, result: Result) -> list[Done]:
        """An engine has ended a unit; it is idle now."""
        if engine in self._engines:
            self._engines[engine] = None
        job = self._jobs.get(unit.work)
        if job is None:
            return []
        self._let_go(job, unit)
        if result.interrupted:
            self._give_back(job, unit)
            return []
        job.seconds += result.seconds
        job.switch_seconds += result.switch_seconds
        if result.failure is not None:
            return [self._end(job, result.failure)]
        for index, generation in enumerate(result.generations, unit.first):
            if job.answers[index] is None:
                job.answers[index] = generation
        if any(answer is None for answer in job.answers):
            self._drop_known(job)
            return []
        return [self._end(job, None)]

    # -- what goes out ---------------------------------------------------------------------------------------------

    def wants(self) -> int:
        """How much more work it should know of, to see the end of the queue before it comes."""
        return max(0, 2 * max(self._expected, len(self._engines)) - len(self._queue))

    @property
    def busy(self) -> bool:
        """Whether there is unfinished work."""
        return bool(self._jobs)

    @property
    def engines(self) -> int:
        """How many engines there are."""
        return len(self._engines)

    @property
    def computing(self) -> bool:
        """Whether any engine computes something, be it needed or not."""
        return any(unit is not None for unit in self._engines.values())

    def units(self) -> Iterator[tuple[int, Unit]]:
        """Units to send now, each with its engine: what is unstarted first, then backups."""
        idle = deque(e for e, unit in self._engines.items() if unit is None)
        busy = len(self._engines) - len(idle)
        while idle and self._queue:
            engine = idle.popleft()
            yield self._assign(engine, self._piece(engine, busy + len(idle) + 1))
        yield from self._backups(idle)

    def stale(self) -> list[tuple[int, Unit]]:
        """Units that their engines need not finish, since this was last asked."""
        stale, self._stale = self._stale, []
        return [(e, u) for e, u in stale if self._engines.get(e) is u]

    # -- how it decides ----------------------------------------------------------------------------------------------

    def _piece(self, engine: int, sharers: int) -> tuple[_Job, int, int]:
        """The next piece for an engine: of the job whose weights it holds, if that has any, else of the oldest.

        `sharers`: how many engines are to share what is left, those that were busy before and those still idle.
        """
        held = self._jobs.get(self._holds[engine]) if engine in self._holds else None
        job = held if held is not None and held.todo else self._queue[0]
        first, last = job.todo.popleft()
        size = last - first
        if len(self._queue) < len(self._engines):
            # Fewer candidates than engines: each gets its share of all examples that are left.
            left = size + sum(j.unstarted for j in self._queue)
            size = min(size, max(-(-left // sharers), job.smallest))
            if last - first - size < job.smallest // 2:
                size = last - first  # a rest that is not worth a unit
        if first + size < last:
            job.todo.appendleft((first + size, last))
        if not job.todo:
            self._queue.remove(job)
        return job, first, first + size

    def _backups(self, idle: deque[int]) -> Iterator[tuple[int, Unit]]:
        """Cover the largest running units once more, each by at least two idle engines at half the size or less.

        Of equal ones the oldest first: where times are heavy-tailed, what has run longest will run longest.
        """
        if len(idle) < 2:
            return
        # One that is cut in two is hardly done sooner: with many engines about to be idle, wait for some of them.
        enough = max(2, min(_BACKUPS, len(self._engines) // 8))
        running = sorted(
            (u for job in self._jobs.values() for u in job.units if u not in self._backed),
            key=lambda u: (-u.size, u.key),
        )
        for unit in running:
            job = self._jobs[unit.work]
            most = unit.size // max(1, len(job.answers) // _BACKUPS)
            if len(idle) < min(enough, most):
                return
            parts = min(len(idle), most)
            if parts < 2 or not job.missing(unit):
                continue
            self._backed.add(unit)
            bounds = [unit.first + unit.size * i // parts for i in range(parts + 1)]
            for first, last in pairwise(bounds):
                yield self._assign(idle.popleft(), (job, first, last))

    def _assign(self, engine: int, piece: tuple[_Job, int, int]) -> tuple[int, Unit]:
        job, first, last = piece
        self._keys += 1
        unit = Unit(self._keys, job.work, first, last)
        job.units.add(unit)
        self._engines[engine] = unit
        self._holds[engine] = job.work
        return engine, unit

    def _is_backup(self, unit: Unit) -> bool:
        job = self._jobs.get(unit.work)
        return job is not None and any(
            u.key < unit.key and u.first <= unit.first and unit.last <= u.last for u in job.units
        )

    def _let_go(self, job: _Job, unit: Unit) -> None:
        job.units.discard(unit)
        self._backed.discard(unit)

    def _blame(self, job: _Job, unit: Unit) -> int:
        """Count a death for each example that the unit still lacked; the most that any of them has.

        Engines of a node that is gone die together, some of them perhaps on the same example. So a death counts only
        where the unit was sent out after the death before it: what kills engines kills the next one too.
        """
        most = 0
        for index in range(unit.first, unit.last):
            if job.answers[index] is None:
                died, newest = job.deaths.get(index, (0, 0))
                if unit.key > newest:
                    died, newest = job.deaths[index] = died + 1, self._keys
                most = max(most, died)
        return most

    def _give_back(self, job: _Job, unit: Unit) -> None:
        """Queue what the unit would have computed, as far as it is unknown and no other engine computes it."""
        covered = {i for other in job.units for i in range(other.first, other.last)}
        waiting = {i for first, last in job.todo for i in range(first, last)}
        needed = [
            i for i in range(unit.first, unit.last) if job.answers[i] is None and i not in covered and i not in waiting
        ]
        if not needed:
            return
        if not job.todo:
            # First in the queue: a candidate that was begun early should not end last.
            self._queue.appendleft(job)
        # First of its candidate too: what kills engines is to be known by three of them, not by three for each part.
        job.todo.extendleft(reversed(_ranges(needed)))
        self._backed -= job.units

    def _drop_known(self, job: _Job) -> None:
        for engine, unit in self._engines.items():
            if unit is not None and unit.work is job.work and not job.missing(unit):
                self._stale.append((engine, unit))

    def _end(self, job: _Job, failure: str | None) -> Done:
        del self._jobs[job.work]
        if job.todo:
            self._queue.remove(job)
        self._backed -= job.units
        self._stale += [(e, u) for e, u in self._engines.items() if u is not None and u.work is job.work]
        generations = [] if failure is not None else [g for g in job.answers if g is not None]
        return Done(job.work, generations, failure, job.seconds, job.switch_seconds)


def _ranges(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Sorted numbers as half-open ranges."""
    ranges: list[tuple[int, int]] = []
    for i in indices:
        if ranges and ranges[-1][1] == i:
            ranges[-1] = (ranges[-1][0], i + 1)
        else:
            ranges.append((i, i + 1))
    return ranges
