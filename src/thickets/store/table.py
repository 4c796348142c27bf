"""All outcomes of a split as arrays, read row by row: thousands of models in a few megabytes. Knows no statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from thickets.store.schema import BASE

# The number of a vote key that is no answer; all others are positive.
ABSTAINS = -1


@dataclass(frozen=True, eq=False)
class Table:
    """M models on the n questions of a split, the base (number -1) first, then candidates by number; none that failed.

    `candidates` and `sigmas` are `[M]` (sigma is NaN for the base), `rewards` (float32), `correct` and `keys` `[M, n]`.
    A key is a 63-bit digest of the vote key's text, so equal numbers are equal votes; -1 abstains.
    """

    candidates: npt.NDArray[np.int64]
    sigmas: npt.NDArray[np.float64]
    rewards: npt.NDArray[np.float32]
    correct: npt.NDArray[np.bool_]
    keys: npt.NDArray[np.int64]

    @property
    def questions(self) -> int:
        """How many questions the split has."""
        return int(self.rewards.shape[1])

    @property
    def base(self) -> Table | None:
        """The base's row alone; `None` where it has not been evaluated."""
        return self.rows(slice(0, 1)) if len(self.candidates) and self.candidates[0] == BASE else None

    @property
    def others(self) -> Table:
        """All rows but the base's."""
        return self.rows(slice(1, None) if self.base is not None else slice(None))

    def rows(self, which: Any) -> Table:
        """Some of the models; a slice copies nothing."""
        return Table(
            self.candidates[which], self.sigmas[which], self.rewards[which], self.correct[which], self.keys[which]
        )


def make_table(
    models: Sequence[tuple[int, float | None]],
    questions: int,
    rows: Iterable[Iterable[tuple[float, int, str | None]]],
) -> Table:
    """Models as (number, sigma), and for each its outcomes as (reward, correct, key); `rows` is read one by one."""
    shape = (len(models), questions)
    rewards, correct, keys = np.empty(shape, np.float32), np.empty(shape, np.bool_), np.empty(shape, np.int64)
    for place, outcomes in enumerate(rows):
        columns = zip(*outcomes, strict=True)
        rewards[place], correct[place], found = columns
        keys[place] = [key_number(key) for key in found]
    sigmas = np.array([np.nan if sigma is None else sigma for _, sigma in models], np.float64)
    return Table(np.array([number for number, _ in models], np.int64), sigmas, rewards, correct, keys)


def key_number(key: str | None) -> int:
    """The number that stands for a vote key: equal keys, equal numbers; -1 for one that abstains."""
    return ABSTAINS if key is None else _number(key)


@lru_cache(maxsize=2**14)
def _number(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
