"""Sentences for whoever searches: said, warned of and kept. Knows nothing of what they are about."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

Say = Callable[[str], None]


def warn(sentence: str) -> None:
    """A warning at the line that called into this package, however deep the call has gone since."""
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    warnings.warn(sentence, stacklevel=level)


class Once:
    """`say`, for each sentence the first time only."""

    def __init__(self, say: Say) -> None:
        self._say, self._said = say, set[str]()

    def __call__(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)


class Notes:
    """Sentences that are said and kept. Where nobody listens (`say` is absent) they are warnings."""

    def __init__(self, say: Say | None) -> None:
        self.kept: list[str] = []
        self._say = say

    def add(self, sentence: str) -> None:
        """Something that the user should know."""
        self.kept.append(sentence)
        (self._say or warn)(sentence)

    def mention(self, sentence: str) -> None:
        """How it goes: as it should, so that it warns nobody."""
        self.kept.append(sentence)
        if self._say is not None:
            self._say(sentence)


def size_of(memory: int) -> str:
    """Bytes for people."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if memory >= unit:
            return f"{memory / unit:.4g} {name}"
    return f"{memory:.0f} bytes"
