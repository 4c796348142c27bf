"""Runs pieces of compiled work on all cores. Knows nothing of what the work is.

Plain threads around code that lets go of the interpreter lock, rather than Numba's own layers: its OpenMP layer ends
a process that forked, its workqueue layer one that calls from two threads at once, and both happen to users of a
library. The number of threads is torch's, so there is one knob for both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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
    """`range(count)` in at most `pieces` ranges cut where `offset` + index is a multiple of `align`."""
    cuts = {0, count}
    for piece in range(1, pieces):
        cut = count * piece // pieces
        cuts.add(max(0, cut - (offset + cut) % align))
    edges = sorted(cuts)
    return list(zip(edges[:-1], edges[1:], strict=True))


def run(work: Callable[[int, int], None], ranges: list[tuple[int, int]]) -> None:
    """Call `work(first, last)` for every range, the first in this thread. An error in any of them is raised."""
    if len(ranges) == 1:
        work(*ranges[0])
        return
    team = _team(len(ranges) - 1)
    others = [team.submit(work, *r) for r in ranges[1:]]
    work(*ranges[0])
    for other in others:
        other.result()
