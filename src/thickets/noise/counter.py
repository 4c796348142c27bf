"""Philox4x32-10 in NumPy, and how a seed and a tensor's name become its key and counter. Knows nothing of weights.

Source: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The multipliers and the Weyl increments of the key schedule (Salmon et al. 2011, section 3.3 and their code).
M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
MASK = 0xFFFFFFFF


class Address(NamedTuple):
    """Where a tensor's noise lies: the key (words of the seed) and the counter's upper half (words of the name)."""

    k0: int
    k1: int
    c2: int
    c3: int


def address(seed: int, name: str) -> Address:
    """Key and upper counter words of tensor `name` under `seed` (0 <= seed < 2**64)."""
    low, high = _name_words(name)
    return Address(seed & MASK, seed >> 32, low, high)


@lru_cache(maxsize=65536)
def _name_words(name: str) -> tuple[int, int]:
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: npt.ArrayLike, key: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Ten rounds of Philox4x32 on `counter` [..., 4] under `key` [..., 2] (uint32 words, broadcast): words [..., 4]."""
    import numpy as np

    c, k = np.asarray(counter, dtype=np.uint32), np.asarray(key, dtype=np.uint32)
    c0, c1, c2, c3 = (c[..., i] for i in range(4))
    k0, k1 = k[..., 0].astype(np.uint64), k[..., 1].astype(np.uint64)
    for i in range(ROUNDS):
        p0, p1 = np.uint64(M0) * c0, np.uint64(M1) * c2
        r0 = ((k0 + np.uint64(i * W0)) & np.uint64(MASK)).astype(np.uint32)
        r1 = ((k1 + np.uint64(i * W1)) & np.uint64(MASK)).astype(np.uint32)
        c0, c1 = (p1 >> np.uint64(32)).astype(np.uint32) ^ c1 ^ r0, p1.astype(np.uint32)
        c2, c3 = (p0 >> np.uint64(32)).astype(np.uint32) ^ c3 ^ r1, p0.astype(np.uint32)
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), axis=-1)


def block_words(at: Address, blocks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """The four words of each block (uint64 indices of any shape): uint32 [..., 4]."""
    import numpy as np

    counter = np.empty((*blocks.shape, 4), dtype=np.uint32)
    counter[..., 0] = blocks & np.uint64(MASK)
    counter[..., 1] = blocks >> np.uint64(32)
    counter[..., 2] = at.c2
    counter[..., 3] = at.c3
    return philox(counter, np.array([at.k0, at.k1], dtype=np.uint32))
