"""The generator's words are the published ones, and an address is what the specification says."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.noise import philox
from thickets.noise.counter import address, block_words

words = st.integers(0, 2**32 - 1)

# Known-answer vectors distributed with Random123 (Salmon et al. 2011): counter, key, words.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def philox_in_integers(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 once more, in Python's own integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter: str, key: str, expected: str) -> None:
    assert philox(hexadecimal(counter), hexadecimal(key)).tolist() == hexadecimal(expected)


@given(st.lists(words, min_size=4, max_size=4), st.lists(words, min_size=2, max_size=2))
def test_equals_python_integers(counter: list[int], key: list[int]) -> None:
    assert philox(counter, key).tolist() == philox_in_integers(counter, key)


def test_counters_and_keys_broadcast() -> None:
    counters, keys = np.arange(24).reshape(3, 2, 4), np.arange(6).reshape(3, 1, 2)
    found = philox(counters, keys)
    assert found.shape == (3, 2, 4)
    assert found[2, 1].tolist() == philox(counters[2, 1], keys[2, 0]).tolist()


@given(st.integers(0, 2**64 - 1), st.text(), st.integers(0, 2**64 - 1))
def test_an_address_is_the_specified_one(seed: int, name: str, block: int) -> None:
    digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    low = 2**32 - 1
    expected = philox([block & low, block >> 32, digest & low, digest >> 32], [seed & low, seed >> 32])
    assert block_words(address(seed, name), np.array(block, dtype=np.uint64)).tolist() == expected.tolist()
