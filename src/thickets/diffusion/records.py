"""What a search around a pipeline has done so far, in SQLite: one transaction a candidate. Knows nothing of images.

In a directory it is `search.db`, which a killed search goes on from; without one it is in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from thickets.config import differences
from thickets.errors import RunError
from thickets.store.database import connect, explained, is_fresh, lock, writing

FORMAT = 1
FILE = "search.db"
# The base model's number among candidates.
BASE = -1
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # Of each candidate the rewards of its images as a JSON list; NULL where it failed.
    "CREATE TABLE trials (candidate INTEGER PRIMARY KEY, rewards TEXT, failure TEXT, seconds REAL NOT NULL)",
    "CREATE TABLE tests (model TEXT, image INTEGER, reward REAL NOT NULL, PRIMARY KEY (model, image))",
)


@dataclass(frozen=True)
class Trial:
    """A candidate's rewards on the selection images, or why there are none."""

    rewards: tuple[float, ...]
    failure: str | None
    seconds: float

    @property
    def score(self) -> float:
        """The mean reward; NaN for a failed candidate."""
        return sum(self.rewards) / len(self.rewards) if self.rewards else float("nan")


class Records:
    """Opened for one search by one process. Raises `RunError` for a directory in use, damaged or of other settings."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._lock: FileLock | None = None
        if directory is not None:
            with explained(directory, FILE):
                directory.mkdir(parents=True, exist_ok=True)
                held = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
            if held and not {FILE, "search.lock"} & set(held):
                raise RunError(f"{directory} is not a directory of a search (it holds {held[0]}); choose another --out")
            self._lock = lock(directory / "search.lock")
        try:
            self._db = _opened(directory)
        except BaseException:
            self._unlock()
            raise

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Start, or go on where something is recorded. Raises `RunError` if that was by other settings.

        Of a value whose name begins with `_` only that it differs is said.
        """
        with self._writing():
            known = self._meta("settings")
            if known is not None and self._meta("format") != FORMAT:
                raise RunError(f"{self.directory} was made by another version of thickets; choose another --out")
            if known is not None and self._count():
                _compare(known, dict(settings), self.directory)
            self._put("format", FORMAT)
            self._put("settings", dict(settings))

    def trials(self) -> dict[int, Trial]:
        """Every finished candidate by its number; the base is `BASE`."""
        with self._reading():
            rows = self._db.execute("SELECT candidate, rewards, failure, seconds FROM trials").fetchall()
        return {c: Trial(tuple(json.loads(r)) if r else (), f, s) for c, r, f, s in rows}

    def record(self, candidate: int, trial: Trial) -> None:
        """A finished candidate."""
        rewards = json.dumps(trial.rewards) if trial.rewards else None
        with self._writing():
            self._db.execute(
                "INSERT INTO trials VALUES (?, ?, ?, ?)", (candidate, rewards, trial.failure, trial.seconds)
            )

    def tests(self, model: str) -> dict[int, float]:
        """The rewards of a model's test images that are done, by the image's number."""
        with self._reading():
            return dict(self._db.execute("SELECT image, reward FROM tests WHERE model = ?", (model,)).fetchall())

    def record_tests(self, model: str, first: int, rewards: Sequence[float]) -> None:
        """The rewards of consecutive test images, from number `first`."""
        with self._writing():
            rows = [(model, first + i, reward) for i, reward in enumerate(rewards)]
            self._db.executemany("INSERT INTO tests VALUES (?, ?, ?)", rows)

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *exc: object) -> None:
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _meta(self, key: str) -> Any:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _put(self, key: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def _count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM trials").fetchone()[0])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with explained(self.directory, FILE):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # The connection commits at the end, and rolls back what an error broke off.
        with writing(self._db, self.directory, FILE), self._db:
            yield


def _opened(directory: Path | None) -> sqlite3.Connection:
    with explained(directory, FILE):
        database = sqlite3.connect(":memory:") if directory is None else connect(directory / FILE)
        if is_fresh(database):
            # One transaction: a kill in the middle leaves an empty database, which is a fresh one again.
            database.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                database.execute(statement)
            database.execute("COMMIT")
        return database


def _compare(before: dict[str, Any], now: dict[str, Any], directory: Path | None) -> None:
    changed = [line for line in differences(before, now) if not line.startswith("_")]
    changed += [name.removeprefix("_") for name in now if name.startswith("_") and before.get(name) != now[name]]
    if changed:
        raise RunError(
            f"{directory} was started with other settings ({'; '.join(changed)}); go on with the old ones, or choose "
            "another --out"
        )
