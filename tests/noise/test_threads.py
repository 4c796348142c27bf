"""The CPU kernel gives the same weights whoever calls it: any number of threads, many at once, after a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.noise.tensors import weights
from thickets.noise import place
from thickets.noise.jit import compiled
from thickets.noise.threads import split, spread

# Large enough that the kernel uses several threads.
SHAPE = (300, 1001)


def placed(base: torch.Tensor, seed: int, scheme: str = "gaussian/1") -> torch.Tensor:
    out = torch.empty_like(base)
    place(out, base, scheme=scheme, seed=seed, name="w", step=0.01, kernel="numba")
    return out


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([1, 4, 128]), st.integers(0, 1000))
def test_split_covers_everything_once(count: int, pieces: int, align: int, offset: int) -> None:
    ranges = split(count, pieces, align, offset)
    assert [i for r in ranges for i in range(*r)] == list(range(count))
    assert len(ranges) <= pieces
    assert all((first + offset) % align == 0 for first, _ in ranges[1:])


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1", "low_rank/1"])
def test_the_number_of_threads_changes_nothing(scheme: str) -> None:
    base, threads = weights(SHAPE, torch.bfloat16), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            found.append(placed(base, 5, scheme))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_many_callers_at_once() -> None:
    base = weights(SHAPE, torch.bfloat16)
    alone = [placed(base, seed) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: placed(base, seed), range(16)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_an_error_in_any_thread_is_raised() -> None:
    def work(first: int, last: int) -> None:
        if first:
            raise ValueError(f"{first} {last}")

    with pytest.raises(ValueError, match=r"^[1-9]"):
        spread(work, 9, threads=3, grain=1)


@given(st.integers(1, 1000), st.integers(1, 5), st.integers(1, 300))
def test_spread_covers_everything_once(count: int, threads: int, grain: int) -> None:
    done: list[int] = []
    spread(lambda first, last: done.extend(range(first, last)), count, threads, grain)
    assert sorted(done) == list(range(count))


def test_code_that_cannot_be_cached_is_compiled_all_the_same() -> None:
    """Code without a file has no place in Numba's cache, as all code where no folder can be written."""
    namespace: dict[str, Any] = {}
    exec("def twice(x):\n    return x + x", namespace)
    assert compiled(namespace["twice"])(2) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_can_place() -> None:
    """Threads do not survive a fork, so ours have to be started anew (torch's own hang there: the base comes first)."""
    script = """
import os, signal, torch
from thickets.noise import place
from thickets.noise.jit import compiled
base = torch.ones(300, 1001)
def placed():
    out = torch.empty(300, 1001)
    place(out, base, scheme="gaussian/1", seed=1, name="w", step=0.1)
    return out.numpy().tobytes()
torch.set_num_threads(3)
before = placed()
child = os.fork()
if child == 0:
    signal.alarm(30)
    os._exit(0 if placed() == before else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=60)
