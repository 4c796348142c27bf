"""Runs pieces of compiled work on all cores. Knows nothing of what the work is.

Plain threads around code that lets go of the interpreter lock, rather than Numba's own layers: its OpenMP layer ends
a process that forked, its workqueue layer one that calls from two threads at once, and both happen to users of a
library. The number of threads is torch's, so there is one knob for both.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

_lock = threading.Lock()
_workers: ThreadPoolExecutor | None = None
_size = 0


def _forget() -> None:
    # Threads do not survive a fork; a lock may have been held.
    global _lock, _workers, _size
    _lock, _workers, _size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _team(size: int) -> ThreadPoolExecutor:
    global _workers, _size
    with _lock:
        if _workers is None or _size < size:
            # An older, smaller team finishes what it has and ends by itself.
            _workers, _size = ThreadPoolExecutor(size, thread_name_prefix="thickets-noise"), size
        return _workers


def split(count: int, pieces: int, align: int = 1, offset: int = 0) -> list[tuple[int, int]]:
    """`range(count)` in at most `pieces` ranges, cut where `offset` + index is a multiple of `align`."""
    cuts = {0, count}
    for piece in range(1, pieces):
        cut = count * piece // pieces
        cuts.add(max(0, cut - (offset + cut) % align))
    return list(pairwise(sorted(cuts)))


def spread(
    work: Callable[[int, int], None], count: int, threads: int, grain: int, align: int = 1, offset: int = 0
) -> None:
    """Call `work(first, last)` for ranges that cover `range(count)`, in this thread and up to `threads - 1` others.

    No range is much shorter than `grain`. An error in any of them is raised, after all have ended.
    """
    threads = min(threads, count // grain)
    if threads < 2:
        work(0, count)
        return
    # More ranges than threads: whoever is free takes the next, so a core that others use holds nothing up.
    ranges = deque(split(count, min(4 * threads, count // grain), align, offset))

    def drain() -> None:
        while ranges:
            try:
                first, last = ranges.popleft()
            except IndexError:
                return
            work(first, last)

    team = _team(threads - 1)
    others = [team.submit(drain) for _ in range(threads - 1)]
    try:
        drain()
    finally:
        ranges.clear()
        late = [other for other in others if not other.cancel()]
        wait(late)
    for other in late:
        other.result()
