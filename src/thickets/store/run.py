"""A run directory: opened for going on by one process, or for reading by any. Knows nothing of what runs.

`run.db` (SQLite, WAL mode) is the authority: it also holds the configuration, of which `run.toml` is a readable copy.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from thickets.config import RunConfig, differences, parse
from thickets.errors import ConfigError, RunError
from thickets.store.database import connect, explained, is_fresh, lock, writing
from thickets.store.files import write_atomically
from thickets.store.ledger import Ledger, now
from thickets.store.schema import FORMAT, SCHEMA
from thickets.store.table import Table
from thickets.types import (
    Example,
    Image,
    Message,
    Prompt,
    SplitName,
    Trial,
    TrialScore,
)


@dataclass(frozen=True)
class Identity:
    """What a run may never change: the base model's fingerprint and the data's digest."""

    model: str
    data: str


class Run:
    """One run directory. Make it with `Run.begin` (to write, exclusively) or `Run.read`."""

    def __init__(self, directory: Path, database: sqlite3.Connection, lock: FileLock | None) -> None:
        self.directory = directory
        self._db = database
        self._lock = lock
        self._search = Ledger(database, directory)

    # -- opening ---------------------------------------------------------------------------------------------

    @classmethod
    def begin(cls, config: RunConfig) -> Run:
        """Create the run directory, or go on with the run in it. Raises `RunError` where that cannot be."""
        directory = config.directory
        with explained(directory):
            directory.mkdir(parents=True, exist_ok=True)
            present = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
        if present and not {"run.db", "run.toml", "run.lock"} & set(present):
            raise RunError(f"{directory} is not a run directory (it holds {present[0]}); choose another with --out")
        held = lock(directory / "run.lock", lambda: _owner(directory))
        try:
            run = cls(directory, connect(directory / "run.db"), held)
            run._begin(config)
        except BaseException:
            held.release()
            raise
        return run

    @classmethod
    def read(cls, directory: Path) -> Run:
        """Open a run to read it, also while another process goes on with it. Raises `RunError`."""
        path = directory / "run.db"
        if not path.is_file():
            raise RunError(
                f"{directory} is not a run: it has no run.db; give the directory that `thickets run` printed"
            )
        with explained(directory), path.open("rb"):  # of a file that may not be read SQLite says too little
            run = cls(directory, connect(path, readonly=True), None)
        try:
            run._check_format()
        except BaseException:
            run.close()
            raise
        return run

    def _begin(self, config: RunConfig) -> None:
        with writing(self._db, self.directory):
            if is_fresh(self._db):
                # One transaction: a kill in the middle leaves an empty database, which is a fresh one again.
                self._db.execute("BEGIN IMMEDIATE")
                for statement in SCHEMA.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._search.begin()
                self._put("format", FORMAT)
                self._put("config", config.fixed())
                self._put("created", now())
                self._db.execute("COMMIT")
        self._check_format()
        self._check_config(config)
        with writing(self._db, self.directory), self._db:
            self._put("owner", {"pid": os.getpid(), "host": platform.node(), "since": now()})
        write_atomically(self.directory / "run.toml", config.to_toml())

    def _check_format(self) -> None:
        with explained(self.directory):
            tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master")}
        if "meta" not in tables:
            raise RunError(f"{self.directory} is a run that was killed before it began; start it again")
        found = self.meta("format")
        if found != FORMAT:
            raise RunError(
                f"{self.directory} has format {found}, and this thickets reads format {FORMAT}; "
                "use the version that made it, or another --out"
            )

    def _check_config(self, config: RunConfig) -> None:
        if not self._has_trials():
            # Nothing was evaluated yet (a model that did not load, say), so the settings may still be mended.
            self.set_meta("config", config.fixed())
            return
        changed = differences(self.config.fixed(), config.fixed())
        if changed:
            raise RunError(
                f"{self.directory} was started with other settings ({'; '.join(changed)}); "
                "go on with the old ones, or choose another --out"
            )

    def identify(self, identity: Identity, examples: dict[SplitName, Sequence[Example]]) -> None:
        """Record model and data before the first trial; later, refuse any others. Raises `RunError`."""
        known = self.meta("identity")
        if known is None or not self._has_trials():
            with writing(self._db, self.directory), self._db:
                self._db.execute("DELETE FROM examples")
                for split, rows in examples.items():
                    self._db.executemany(
                        "INSERT OR REPLACE INTO examples VALUES (?, ?, ?, ?, ?, ?)",
                        [_example_row(split, i, e) for i, e in enumerate(rows)],
                    )
                self._put("identity", asdict(identity))
            return
        if known["model"] != identity.model:
            raise RunError(
                f"the weights of the base model are not those that {self.directory} was started with "
                f"(fingerprint {known['model'][:19]}… then, {identity.model[:19]}… now); "
                "go on with the old model, or choose another --out"
            )
        if known["data"] != identity.data:
            raise RunError(
                f"the data of the task is not that which {self.directory} was started with (digest "
                f"{known['data'][:12]}… then, {identity.data[:12]}… now); restore it, or choose another --out"
            )

    # -- what is recorded -------------------------------------------------------------------------------------

    @property
    def config(self) -> RunConfig:
        """The settings the run was started with."""
        try:
            return parse({**self.meta("config"), "out": str(self.directory)}, str(self.directory))
        except ConfigError as error:
            raise RunError(f"{error}; another version of thickets made this run, use that one") from error

    def _has_trials(self) -> bool:
        with explained(self.directory):
            return self._db.execute("SELECT 1 FROM trials LIMIT 1").fetchone() is not None

    def meta(self, key: str) -> Any:
        """A recorded value, or `None`."""
        with explained(self.directory):
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def set_meta(self, key: str, value: Any) -> None:
        """Record a JSON value under a name, in a transaction of its own."""
        with writing(self._db, self.directory), self._db:
            self._put(key, value)

    def ledger(self, name: str) -> Ledger:
        """The trials of something other than the search (a baseline, a slice of the landscape) under its name.

        Its `candidate` numbers are its own. Nothing is made until the first trial is recorded.
        """
        return Ledger(self._db, self.directory, name)

    def ledgers(self) -> list[str]:
        """Names of those that hold trials."""
        with explained(self.directory):
            rows = self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return sorted(name.removeprefix("trials:") for (name,) in rows if name.startswith("trials:"))

    def record(self, trial: Trial, keep_texts: bool) -> None:
        """Record a finished trial of the search with its outcomes, in one transaction: all of it or nothing."""
        self._search.record(trial, keep_texts)

    def recorded(self, split: SplitName) -> set[int | None]:
        """Candidates with a trial on this split; `None` is the base."""
        return self._search.recorded(split)

    def trials(self, split: SplitName, candidates: Sequence[int | None] | None = None) -> list[Trial]:
        """Finished trials on a split in order of candidate, the base first; only those named, if any are.

        Every outcome of each is loaded: for thousands of candidates take `scores`.
        """
        return self._search.trials(split, candidates)

    def scores(self, split: SplitName, part: tuple[int, int] | None = None) -> list[TrialScore]:
        """All finished trials on a split without their outcomes, in order of candidate, the base first.

        `part`: only the examples from the first number up to the second count. Reads one outcome at a time. A score
        is that of the whole trial (or part) to the last bit.
        """
        return self._search.scores(split, part)

    def table(self, split: SplitName) -> Table:
        """The search's outcomes on a split as arrays, of all models that have a score."""
        return self._search.table(split)

    def examples(self, split: SplitName) -> list[Example]:
        """The questions of a split, in order."""
        with explained(self.directory):
            rows = self._db.execute(
                "SELECT label, prompt, columns FROM examples WHERE split = ? ORDER BY position", (split,)
            ).fetchall()
        return [Example(label, _prompt(json.loads(prompt)), json.loads(columns)) for label, prompt, columns in rows]

    # -- closing ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let others go on with the run."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _put(self, key: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))


def _owner(directory: Path) -> str:
    with suppress(RunError, sqlite3.Error), Run.read(directory) as run:
        owner = run.meta("owner")
        return f"process {owner['pid']} on {owner['host']}" if owner else ""
    return ""


def _example_row(split: str, position: int, example: Example) -> tuple[Any, ...]:
    prompt = example.prompt if isinstance(example.prompt, str) else [_turn(m) for m in example.prompt]
    columns = json.dumps(dict(example.columns), ensure_ascii=False)
    return split, position, example.label, example.content_hash, json.dumps(prompt, ensure_ascii=False), columns


def _turn(message: Message) -> list[Any]:
    """A turn as JSON values. Of an image the name, the digest and the path, but no bytes: those stay in the data."""
    if not message.images:
        return [message.role, message.content]
    return [
        message.role,
        message.content,
        [{"name": i.name, "sha256": i.digest, "path": i.path} for i in message.images],
    ]


def _prompt(value: Any) -> Prompt:
    if isinstance(value, str):
        return value
    return tuple(Message(role, content, _images(*images)) for role, content, *images in value)


def _images(values: Sequence[dict[str, Any]] = ()) -> tuple[Image, ...]:
    return tuple(Image(value["sha256"], value["name"], value["path"]) for value in values)
