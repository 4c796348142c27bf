"""Judges what engines generated: in this process, or in others, so that a slow reward holds up no engine.

Knows nothing of engines and of how trials are kept.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.config import ScoringConfig
from thickets.errors import CandidateFailed, ConfigError, ThicketsError
from thickets.pool import Done
from thickets.searching.judging import asked, begin, judge, judge_here
from thickets.tasks import Task, make_task
from thickets.tasks.printing import printing_to
from thickets.types import Example, Judgement, SplitName

Splits = Mapping[SplitName, Sequence[Example]]

# Processes for many engines: a tokenizer-free reward judges thousands of answers a second, so few suffice.
_MOST = 8
# A candidate whose judging ended a process so many times is to blame itself.
_DEATHS = 3
# Sent ahead for each process, so that none waits while the engines are being seen to.
_AHEAD = 4
# Seconds after which a process that is still starting is taken to hang.
_SLOWEST_START = 120.0
# Seconds for a candidate where the configuration is silent, beside what each of its answers may take.
_PATIENCE = 300.0
# Bytes by which a process may grow before it is replaced: a reward that leaks is not mended, but bounded.
_MOST_GROWTH = 2 << 30


@dataclass(frozen=True)
class Scored:
    """Finished work with its judgements, or with the reason why there are none."""

    done: Done
    judgements: Sequence[Judgement]
    failure: str | None


class Scorer(ABC):
    """Takes finished work and gives it back judged, in any order."""

    # Seconds that judging took from the process that drives the engines, and that these worked for what was judged so.
    held_up: float = 0.0
    worked: float = 0.0

    @abstractmethod
    def submit(self, done: Done) -> None:
        """Judge this. Work that failed comes back as it is."""

    @abstractmethod
    def finished(self, timeout: float | None = 0.0) -> list[Scored]:
        """What has been judged since; waits up to `timeout` seconds (`None`: until there is some) if nothing has."""

    @property
    @abstractmethod
    def pending(self) -> int:
        """How many were submitted and not given back."""

    @property
    def full(self) -> bool:
        """Whether so much is waiting to be judged that engines should wait too."""
        return False

    def close(self) -> None:
        """Stop the processes."""


class InProcess(Scorer):
    """Judges at once, in this process. What rewards print on standard output goes to `log`."""

    def __init__(self, task: Task, splits: Splits, log: Path) -> None:
        self._task, self._splits, self._log = task, splits, log
        self._ready: list[Scored] = []

    def submit(self, done: Done) -> None:
        start = time.perf_counter()
        examples = asked(self._splits, done.work.split, done.work.positions)
        with self._log.open("ab") as log, printing_to(log.fileno()):
            scored = _attempt(done, lambda: judge(self._task, examples, _texts(done)))
        self._ready.append(scored)
        self.held_up += time.perf_counter() - start
        self.worked += done.seconds

    def finished(self, timeout: float | None = 0.0) -> list[Scored]:
        ready, self._ready = self._ready, []
        return ready

    @property
    def pending(self) -> int:
        return len(self._ready)


class OwnProcesses(Scorer):
    """Judges in processes of their own, each with a copy of the task; one that hangs, grows or dies is replaced.

    What rewards print goes to `log`, not to the terminal.
    """

    def __init__(self, task: Task, splits: Splits, workers: int, timeout: float | None, log: Path) -> None:
        # A task that the configuration describes is made anew in each process; another one travels as it is.
        source: Any = task.config if _is_configured(task) else task
        self._initial = (source, {s: list(e) for s, e in splits.items()}, str(log.absolute()), os.getpid())
        self._workers, self._timeout, self._each = workers, timeout, task.seconds_each
        self._waiting: deque[Done] = deque()
        # What ran when a process died is judged again alone, so that only what is to blame is blamed.
        self._suspects: deque[Done] = deque()
        self._deaths: Counter[Done] = Counter()
        # Oldest first: the queue is first in, first out, so those at the head are those that run.
        self._sent: dict[Future[Any], Done] = {}
        self._began: dict[Future[Any], float] = {}
        self._ready: list[Scored] = []
        self._stop: ThicketsError | None = None
        self._grown = False
        self._executor: Any = None
        # Known to be up by its answer: importing what a reward needs is not judging.
        self._up: Future[int] | None = None
        self._started = 0.0

    def submit(self, done: Done) -> None:
        if done.failure is not None:
            self._ready.append(Scored(done, (), done.failure))
            return
        self._waiting.append(done)
        self._send()

    def finished(self, timeout: float | None = 0.0) -> list[Scored]:
        """As in `Scorer`. Raises the `ThicketsError` by which a reward stops the run, after all that was judged."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._collect()
            self._send()
            if self._ready:
                ready, self._ready = self._ready, []
                return ready
            if self._stop is not None:
                raise self._stop
            left = 1.0 if deadline is None else deadline - time.monotonic()
            if left <= 0 or not self._sent:
                return []
            wait(self._sent, timeout=min(left, 1.0), return_when=FIRST_COMPLETED)

    @property
    def pending(self) -> int:
        return len(self._waiting) + len(self._suspects) + len(self._sent) + len(self._ready)

    @property
    def full(self) -> bool:
        return len(self._waiting) + len(self._sent) > 16 * self._workers

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, kill_workers=True)
            self._executor = None

    def _send(self) -> None:
        """Send what waits: suspects one by one and alone, others a few for each process."""
        if self._grown:
            if self._sent:
                return
            self._end_processes()
        if any(self._deaths[done] for done in self._sent.values()):
            return
        queue = self._suspects or self._waiting
        room = 1 if self._suspects else _AHEAD * self._workers
        while queue and len(self._sent) < room:
            if self._executor is None:
                self._executor, self._started = self._start(), time.monotonic()
                self._up = self._executor.submit(os.getpid)
            try:
                head = queue[0].work
                future = self._executor.submit(judge_here, head.split, _texts(queue[0]), head.positions)
            except BrokenExecutor:
                if self._sent:
                    return  # those that were sent tell of the death that broke it
                self._end_processes()
                continue
            self._sent[future] = queue.popleft()

    def _start(self) -> Any:
        from loky import ProcessPoolExecutor

        # loky's processes do not run the user's script again, as multiprocessing's do.
        return ProcessPoolExecutor(
            max_workers=self._workers,
            timeout=600,
            initializer=begin,
            initargs=self._initial,
            env={"OMP_NUM_THREADS": "1"},
        )

    def _collect(self) -> None:
        """Take in what was judged, and see to processes that died or hang."""
        lost: list[Done] = []
        for future in [f for f in self._sent if f.done()]:
            done = self._sent.pop(future)
            self._began.pop(future, None)
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                lost.append(done)
            elif isinstance(error, ThicketsError) and not isinstance(error, CandidateFailed):
                self._stop = error
            else:
                self._take(done, future)
        if lost:
            self._blame(lost + list(self._sent.values()))
        elif overdue := self._overdue():
            self._fail_overdue(overdue)

    def _take(self, done: Done, future: Future[Any]) -> None:
        del self._deaths[done]

        def judged() -> list[Judgement]:
            judgements, grown = future.result()
            self._grown = self._grown or grown > _MOST_GROWTH
            return list(judgements)

        self._ready.append(_attempt(done, judged))

    def _overdue(self) -> list[Done]:
        """Those that run for too long, counted from when they were first seen to run."""
        now = time.monotonic()
        if self._up is None or not (self._up.done() or now - self._started > _SLOWEST_START):
            return []
        running = list(self._sent)[: self._workers]
        for future in running:
            self._began.setdefault(future, now)
        return [self._sent[f] for f in running if now - self._began[f] > self._patience(self._sent[f]) and not f.done()]

    def _patience(self, done: Done) -> float:
        return patience(self._timeout, self._each, len(done.generations))

    def _fail_overdue(self, overdue: list[Done]) -> None:
        """Kill all processes: what hangs fails, its neighbours are judged again."""
        again = [done for done in self._sent.values() if done not in overdue]
        self._end_processes()
        self._waiting.extendleft(reversed(again))
        for done in overdue:
            del self._deaths[done]
            reason = f"its answers took longer than scoring.timeout = {self._patience(done):g} seconds to judge"
            self._ready.append(Scored(done, (), reason))

    def _blame(self, lost: list[Done]) -> None:
        """A process died, and with it the work of all: any of those that ran may have killed it."""
        self._end_processes()
        running, others = lost[: self._workers], lost[self._workers :]
        self._waiting.extendleft(reversed(others))
        for done in running:
            self._deaths[done] += 1
            if self._deaths[done] < _DEATHS:
                self._suspects.append(done)
                continue
            del self._deaths[done]
            reason = f"judging its answers ended the process {_DEATHS} times (out of memory, or a crash)"
            self._ready.append(Scored(done, (), reason))

    def _end_processes(self) -> None:
        self._sent.clear()
        self._began.clear()
        self._grown = False
        if self._executor is not None:
            self._executor.shutdown(wait=True, kill_workers=True)
            self._executor = None


def make_scorer(
    config: ScoringConfig,
    task: Task,
    splits: Splits,
    engines: int,
    log: Path,
    say: Callable[[str], None] = lambda sentence: None,
) -> Scorer:
    """The scorer that the configuration asks for, beside so many engines. Raises `ConfigError`.

    `say` hears where there would be processes, and the task cannot be sent to any.
    """
    workers = config.workers
    if workers is None:
        many = min(_MOST, max(1, (os.cpu_count() or 1) // 2)) if engines > 1 else 0
        workers = max(many, 1 if task.own_process else 0)
        if workers and not _travels(task):
            workers = 0
            say(
                f"the task {task.name!r} cannot be sent to another process, so answers are judged in this one, and "
                "engines may wait for it; tasks of plain data and functions that can be pickled are judged beside"
            )
    elif workers and not _travels(task):
        raise ConfigError(
            f"the task {task.name!r} cannot be sent to another process; leave out --scoring.workers, or make the task "
            "of plain data and functions that can be pickled"
        )
    return OwnProcesses(task, splits, workers, config.timeout, log) if workers else InProcess(task, splits, log)


def patience(timeout: float | None, seconds_each: float, answers: int) -> float:
    """Seconds that judging so many answers may take: `scoring.timeout` or, where it is silent, what the task needs.

    `seconds_each` is the task's own limit for one answer.
    """
    return timeout or _PATIENCE + seconds_each * answers


def _texts(done: Done) -> list[str]:
    return [g.text for g in done.generations]


def _attempt(done: Done, judged: Callable[[], list[Judgement]]) -> Scored:
    if done.failure is not None:
        return Scored(done, (), done.failure)
    try:
        return Scored(done, judged(), None)
    except CandidateFailed as error:
        return Scored(done, (), str(error))


def _is_configured(task: Task) -> bool:
    try:
        return type(make_task(task.config)) is type(task)
    except Exception:  # noqa: BLE001 - whatever its reason, such a task must travel as it is
        return False


def _travels(task: Task) -> bool:
    if _is_configured(task):
        return True
    import cloudpickle

    try:
        cloudpickle.dumps(task)
    except Exception:  # noqa: BLE001 - pickling raises whatever the object's own code raises
        return False
    return True
