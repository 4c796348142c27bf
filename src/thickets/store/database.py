"""A SQLite file in a directory that one process at a time writes to. Knows nothing of its tables."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from thickets.errors import RunError


def connect(path: Path, readonly: bool = False) -> sqlite3.Connection:
    """Open `path` in WAL mode; `readonly` also while another process writes to it. Raises `RunError`."""
    with explained(path.parent):
        mode = "rwc"
        if readonly:
            # In a folder that may not be written (a shared run), WAL cannot make its index; without a journal
            # beside it the file is complete, and can be read as one that nobody changes.
            complete = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
            mode = "ro&immutable=1" if complete else "ro"
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30)
        if not readonly:
            database.execute("PRAGMA journal_mode = WAL")
            # With WAL, NORMAL survives any kill of the process; only a power cut can lose the last trials.
            database.execute("PRAGMA synchronous = NORMAL")
        return database


def is_fresh(database: sqlite3.Connection) -> bool:
    """Whether it has no table yet."""
    return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0)


def lock(path: Path, owner: Callable[[], str] = str) -> FileLock:
    """Lock a directory by the file `path` in it. `owner` says who has it, where that is known. Raises `RunError`."""
    held = FileLock(path, timeout=0)
    try:
        held.acquire()
    except Timeout:
        known = f" ({found})" if (found := owner()) else ""
        raise RunError(
            f"{path.parent} is in use by another process{known}; wait for it or stop it, or choose another --out"
        ) from None
    except OSError as error:
        raise RunError(f"cannot lock {path.parent}: {error.strerror or error}; choose another --out") from error
    return held


@contextmanager
def explained(directory: Path | None, file: str = "run.db") -> Iterator[None]:
    """Turn what the disk and SQLite complain of into one sentence. Without a directory the database is in memory."""
    where = directory or "the records in memory"
    try:
        yield
    except sqlite3.DatabaseError as error:
        message = str(error)
        if "full" in message or "disk I/O" in message:
            message += "; free some space and repeat the command, every finished trial is kept"
        elif "not a database" in message or "malformed" in message:
            message = f"{file} is damaged ({message}); choose another --out"
        raise RunError(f"cannot use {where}: {message}") from error
    except OSError as error:
        raise RunError(f"cannot use {where}: {error.strerror or error}; choose another --out or mend that") from error


@contextmanager
def writing(database: sqlite3.Connection, directory: Path | None, file: str = "run.db") -> Iterator[None]:
    """Take back what was begun when anything goes wrong in between."""
    try:
        with explained(directory, file):
            yield
    except BaseException:
        with suppress(sqlite3.Error):
            database.rollback()
        raise
