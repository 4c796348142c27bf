"""Bytes that a run takes: on the disk, in the driver, and on the GPUs of one engine. Knows nothing of time.

The constants are measured, those of the disk by `tests/plan/test_storage.py`, which fails when they are no longer
true, those of the driver by `benchmarks/driver_memory.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from thickets.plan.given import OVERHEAD
from thickets.plan.shape import ModelShape

# run.db: the empty tables with what is known of the run; those of a baseline; a trial; an outcome without its text; an
# example beside the text of its prompt and columns.
EMPTY = 34_000
LEDGER = 8_200
TRIAL = 105
OUTCOME = 36.0
EXAMPLE = 110
# SQLite's pages: a row longer than `_INSIDE` keeps `_KEPT` bytes in the table and fills pages of its own with the rest.
_PAGE, _INSIDE, _KEPT = 4096, 1002, 489
# Pages of long rows are not full: a row that does not fit in what is left goes to the next.
_FILLED = 0.85

# The driver: everything imported; a candidate's score; a test outcome beside its text; making the report of them.
DRIVER = 430 * 2**20
SCORE = 1100
LOADED = 420
REPORT = 80 * 2**20


def text_bytes(length: float) -> float:
    """What a text of `length` bytes adds to its outcome's row, where lengths are spread evenly up to twice that."""
    points = 64
    return sum(_row_bytes(2 * length * (i + 0.5) / points) for i in range(points)) / points - OUTCOME


def _row_bytes(text: float) -> float:
    payload = OUTCOME + text
    if payload <= _INSIDE:
        # Short rows pack tightly, long ones leave gaps.
        return payload if payload < _INSIDE / 4 else payload / _FILLED
    over = payload - _KEPT
    pages, rest = divmod(over, _PAGE - 4)
    if _KEPT + rest <= _INSIDE:
        return (_KEPT + rest) / _FILLED + pages * _PAGE
    return _KEPT / _FILLED + (pages + 1) * _PAGE


@dataclass(frozen=True)
class Disk:
    """Bytes of `run.db`: `examples` the questions, `outcomes` all trials' figures, `texts` the answers kept."""

    examples: float
    outcomes: float
    texts: float

    @property
    def total(self) -> float:
        """All of it, with what an empty run takes."""
        return EMPTY + self.examples + self.outcomes + self.texts


@dataclass(frozen=True)
class EngineMemory:
    """What one engine needs, in bytes on each of its GPUs unless it says otherwise.

    `host` is the base copy in the driver machine's own memory, of the whole engine. `cache_per_token` is `None` where
    the model's configuration does not say, and `longest` how many tokens a sequence may come to. `minimum` is the
    smallest GPU that holds all this with one sequence, at the share of it that the engine may take. With a GPU given,
    `sequences` is how many of that length fit beside the weights (negative never), and `enough` the smallest number of
    GPUs an engine must have, `None` where 64 are too few. `steps` is the float32 sum of the steps that models share,
    where the copy of the base is (of the whole engine, if that is the host): in none of the others, and on a GPU
    outside of the share.
    """

    gpus: int
    weights: float
    base_copy: float
    host: float
    overhead: float
    cache_per_token: float | None
    longest: int
    minimum: float
    gpu: float | None
    sequences: int | None
    enough: int | None
    steps: float = 0.0


def engine_memory(
    shape: ModelShape,
    itemsize: int,
    gpus: int,
    on_host: bool,
    share: float,
    longest: int,
    gpu: float | None,
    shared_steps: bool = False,
) -> EngineMemory:
    """The memory of one engine on `gpus` GPUs of `gpu` bytes each, of which it may take `share`."""
    cache = shape.cache_bytes(itemsize, gpus)
    weights = shape.weight_bytes(itemsize) / gpus
    base = 0.0 if on_host else shape.moving * itemsize / gpus
    # torch rounds each block of pinned memory up to a power of two.
    host = float(sum(1 << (n * itemsize - 1).bit_length() for n in shape.tensors)) if on_host else 0.0
    fixed = weights + base + OVERHEAD
    sequences = None
    if gpu is not None and cache is not None:
        sequences = max(0, int((gpu * share - fixed) // (cache * longest)))
    return EngineMemory(
        gpus,
        weights,
        base,
        host,
        OVERHEAD,
        cache,
        longest,
        (fixed + (cache or 0) * longest) / share,
        gpu,
        sequences,
        None if gpu is None else _enough(shape, itemsize, on_host, share, longest, gpu),
        shape.moving * 4 / (1 if on_host else gpus) if shared_steps else 0.0,
    )


def _enough(shape: ModelShape, itemsize: int, on_host: bool, share: float, longest: int, gpu: float) -> int | None:
    for gpus in (1, 2, 4, 8, 16, 32, 64):
        if engine_memory(shape, itemsize, gpus, on_host, share, longest, None).minimum <= gpu:
            return gpus
    return None
