"""Asks a process of its own whether answers are equal, and for their canonical form. Knows nothing of algebra.

The process (`math_process`) is started with the first question and shared by all threads; it ends with this one.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import select
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from typing import IO, Any

from thickets.errors import TaskError
from thickets.tasks.answers import canonical_number
from thickets.tasks.holding import Place, Right, final, holds
from thickets.tasks.math_process import STEP
from thickets.tasks.mathematics import MAX_CHARACTERS, as_words, cleaned, found_answer
from thickets.types import Judgement

_FORMULA = re.compile(r"\$\$?([^$]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]")
# A backstop for a machine that stands still; the process itself ends by its processor time long before.
_WALL_SECONDS = 120.0


# At most four steps: to read the reference and the answer, to compare them, and to compare them as shares.
SECONDS_EACH = 4 * STEP


class _Process:
    """The process, started when it is needed and again in a fork of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, *request: Any) -> Any:
        """The reply, None where there is none within the limits. Raises `TaskError` if nothing can be started."""
        with self._lock:
            running = self._running
            # A fork of a process that has one must not talk into its parent's pipe.
            if running is None or self._owner != os.getpid() or running.poll() is not None:
                running = self._start()
            try:
                _pipe(running.stdin).write(json.dumps(request).encode() + b"\n")
                reply = _line(running)
            except BrokenPipeError:
                reply = None
            if reply is None:
                self._stop()
                return None
            return json.loads(reply)

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "thickets.tasks.math_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=environment,
            start_new_session=True,
        )
        if _line(running) is None:
            running.kill()
            reason = running.communicate()[1].decode(errors="replace").strip().rpartition("\n")[2]
            raise TaskError(f"the process that judges mathematics cannot be started: {reason or 'it said nothing'}")
        self._running, self._owner = running, os.getpid()
        return running

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is None or self._owner != os.getpid():
            return
        with suppress(ProcessLookupError):
            # The whole group: the one that computes is a child of the one that was started.
            os.killpg(running.pid, 9)
        running.wait()
        for pipe in (running.stdin, running.stdout, running.stderr):
            if pipe is not None:
                pipe.close()


_process = _Process()
atexit.register(_process.close)


def judge_answer(reference: str | None, completion: str, tolerance: float = 0.0) -> Judgement:
    """The marked answer of a completion judged: reward 1 for the value of `reference`, else 0; the key is the value.

    A reference in per cent may be given as a share too: `62.5%` is 62.5 and 0.625.
    """
    text = found_answer(completion)
    key = math_key(text) if text else None
    if text is None or key is None or reference is None:
        return Judgement(0.0, False, key)
    correct = math_equal(reference, text, tolerance)
    if not correct and reference.rstrip(" .$").endswith("%"):
        correct = math_equal(rf"\frac{{{reference}}}{{100}}", text, tolerance)
    return Judgement(float(correct), correct, key)


def holds_answer(text: str, right: Right) -> bool:
    """Whether a text gives a right answer in whatever form: by the common rule, or as the formula in such a place.

    A place that has several formulas gives the first behind a mark or an announcement and the last of a closing line.
    """
    return holds(text, right) or final(text, _formula_of) in right.keys


def _formula_of(place: Place) -> str | None:
    formulas = [next(filter(None, found)) for found in _FORMULA.findall(place.text)]
    # A line that is all formula needs no dollar signs.
    return math_key((formulas or [place.text])[-1 if place.closing else 0].strip())


def math_key(text: str) -> str | None:
    r"""The canonical form of an answer: one for `\frac12`, `0.5` and `1/2`, one for `(1,2)` in any spacing.

    None for what is far too long to be an answer or empty. Never raises but `TaskError` where nothing can be started.
    """
    if not 0 < len(text) <= 2 * MAX_CHARACTERS:
        return None
    return _key(text)


def math_equal(reference: str, text: str, tolerance: float = 0.0) -> bool:
    """Whether `text` is the same value as `reference`, as math-verify has it. Of texts with equal keys, both or none.

    `tolerance` is the largest difference between two numbers that are still the same.
    """
    key, wanted = math_key(text), math_key(reference)
    if key is None or wanted is None:
        return False
    if key == wanted:
        return True
    # What could not be read is equal to nothing but its own text; asking again would only take as long again.
    unread = key.startswith('"') or wanted.startswith('"')
    return not unread and _equal(wanted, key, reference, text, tolerance)


class _Verdicts:
    """Verdicts by the two keys: what was once found for equal answers holds for all their spellings."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[tuple[str, str, float], bool] = {}

    def __call__(self, wanted: str, key: str, reference: str, text: str, tolerance: float) -> bool:
        known = self._found.get((wanted, key, tolerance))
        if known is None:
            known = _process.ask("equal", reference, text, float(tolerance)) is True
            while len(self._found) >= self._most:
                self._found.pop(next(iter(self._found)), None)
            self._found[wanted, key, tolerance] = known
        return known


_equal = _Verdicts(2**16)


@lru_cache(maxsize=2**16)
def _key(text: str) -> str | None:
    text = cleaned(text)
    if not text:
        return None
    # Most answers are numbers, and need no algebra.
    if (number := canonical_number(text)) is not None:
        return number
    key = _process.ask("key", text)
    return key if isinstance(key, str) else f'"{as_words(text)}"'


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _line(running: subprocess.Popen[bytes]) -> bytes | None:
    """The next line of the process, None where it ended or took too long."""
    out = _pipe(running.stdout)
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([out], [], [], _WALL_SECONDS)
        more = os.read(out.fileno(), 65536) if ready else b""
        if not more:
            return None
        line += more
    return line
