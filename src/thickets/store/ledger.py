"""The trials of one search, or of one baseline beside it, in a run's database. Knows nothing of configurations."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from thickets.store.database import explained, writing
from thickets.store.points import Points, step_columns
from thickets.store.schema import BASE, TRIALS
from thickets.store.table import Table, make_table
from thickets.types import Judgement, Outcome, Point, SplitName, Trial, TrialScore


class Ledger:
    """Trials under a name of their own; without a name, those of the search itself.

    `candidate` numbers whatever was evaluated: perturbations of the search, passes of a baseline.
    """

    def __init__(self, database: sqlite3.Connection, directory: Path, name: str = "") -> None:
        if name and not re.fullmatch(r"[a-z0-9_]+", name):
            raise ValueError(f"{name!r} is not a ledger's name: only small letters, digits and _")
        self._db, self._directory, self.name = database, directory, name
        suffix = f":{name}" if name else ""
        self._trials, self._outcomes = f'"trials{suffix}"', f'"outcomes{suffix}"'
        self._points = Points(database, suffix)
        # The last table that was asked for, with its split and the number of its trials.
        self._table: tuple[tuple[SplitName, int], Table] | None = None

    def _begun(self) -> bool:
        """Whether the tables are there; those of the search always are."""
        known = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (self._trials.strip('"'),))
        return known.fetchone() is not None

    def begin(self) -> None:
        """Make the tables where they are not there yet."""
        for statement in TRIALS.format(trials=self._trials, outcomes=self._outcomes).split(";\n"):
            if statement.strip():
                self._db.execute(statement)

    def record(self, trial: Trial, keep_texts: bool) -> None:
        """Record a finished trial with its outcomes, in one transaction: all of it or nothing."""
        with writing(self._db, self._directory), self._db:
            self.begin()
            cursor = self._db.execute(
                f"INSERT INTO {self._trials}"  # noqa: S608 - our own words
                " (split, candidate, seed, sigma, sign, failure, seconds, switch_seconds, finished)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    trial.split,
                    BASE if trial.candidate is None else trial.candidate,
                    *step_columns(trial.perturbation),
                    trial.failure,
                    trial.seconds,
                    trial.switch_seconds,
                    now(),
                ),
            )
            self._points.keep(cursor.lastrowid, trial.perturbation)
            self._db.executemany(
                f"INSERT INTO {self._outcomes} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own words
                [_outcome_row(cursor.lastrowid, i, o, keep_texts) for i, o in enumerate(trial.outcomes)],
            )

    def recorded(self, split: SplitName) -> set[int | None]:
        """Candidates with a trial on this split; `None` is the base."""
        with explained(self._directory):
            if not self._begun():
                return set()
            query = f"SELECT candidate FROM {self._trials} WHERE split = ?"  # noqa: S608 - our own words
            rows = self._db.execute(query, (split,)).fetchall()
        return {None if c == BASE else c for (c,) in rows}

    def trials(self, split: SplitName, candidates: Sequence[int | None] | None = None) -> list[Trial]:
        """Finished trials on a split in order of candidate, the base first; only those named, if any are.

        Every outcome of each is loaded: for thousands of candidates take `scores`.
        """
        with explained(self._directory):
            return [self._trial(split, head) for head in self._heads(split, candidates)]

    def scores(self, split: SplitName, part: tuple[int, int] | None = None) -> list[TrialScore]:
        """All finished trials on a split without their outcomes, in order of candidate, the base first.

        `part`: only the examples from the first number up to the second count. Reads one outcome at a time. A score
        is that of the whole trial (or part) to the last bit.
        """
        with explained(self._directory):
            return [self._score(split, head, part) for head in self._heads(split, None)]

    def table(self, split: SplitName) -> Table:
        """The outcomes on a split as arrays, of all models that have a score: thousands fit into a few megabytes.

        Must not be written to: it is kept for whoever asks next, until there are more trials.
        """
        with explained(self._directory):
            heads = self._heads(split, None)
        now = (split, len(heads))
        if self._table is None or self._table[0] != now:
            self._table = now, self._read_table(heads)
        return self._table[1]

    def _read_table(self, heads: Sequence[tuple[Any, ...]]) -> Table:
        query = f"SELECT reward, correct, key FROM {self._outcomes} WHERE trial = ? ORDER BY example"  # noqa: S608
        with explained(self._directory):
            scored = [head for head in heads if head[5] is None]
            questions = len(self._db.execute(query, scored[0][:1]).fetchall()) if scored else 0
            # One trial at a time is held as Python objects.
            rows = (self._db.execute(query, head[:1]) for head in scored)
            return make_table([(head[1], head[3]) for head in scored], questions, rows)

    def _heads(self, split: SplitName, candidates: Sequence[int | None] | None) -> list[tuple[Any, ...]]:
        if not self._begun():
            return []
        columns = "id, candidate, seed, sigma, sign, failure, seconds, switch_seconds"
        query = f"SELECT {columns} FROM {self._trials} WHERE split = ?"  # noqa: S608 - our own words
        if candidates is None:
            return self._db.execute(f"{query} ORDER BY candidate", (split,)).fetchall()
        wanted = sorted({BASE if c is None else c for c in candidates})
        found = (self._db.execute(f"{query} AND candidate = ?", (split, c)).fetchone() for c in wanted)
        return [head for head in found if head is not None]

    def _trial(self, split: SplitName, head: tuple[Any, ...]) -> Trial:
        rows = self._db.execute(
            "SELECT reward, correct, key, prompt_tokens, new_tokens, finish, text"  # noqa: S608 - our own words
            f" FROM {self._outcomes} WHERE trial = ? ORDER BY example",
            (head[0],),
        )
        outcomes = tuple(Outcome(Judgement(r, bool(c), k), p, n, f, t) for r, c, k, p, n, f, t in rows)
        return Trial(split, *self._model(head), outcomes, *head[5:])

    def _score(self, split: SplitName, head: tuple[Any, ...], part: tuple[int, int] | None) -> TrialScore:
        which, values = "trial = ?", cast(tuple[Any, ...], (head[0],))
        if part is not None:
            which, values = "trial = ? AND example >= ? AND example < ?", (head[0], *part)
        counts = self._db.execute(
            f"SELECT count(*), sum(correct), sum(prompt_tokens), sum(new_tokens)"  # noqa: S608 - our own words
            f" FROM {self._outcomes} WHERE {which}",
            values,
        ).fetchone()
        examples, correct, prompt_tokens, new_tokens = (n or 0 for n in counts)
        # Not SQL's sum(), which rounds at every step: the order of the examples would then decide between ties.
        rewards = self._db.execute(f"SELECT reward FROM {self._outcomes} WHERE {which}", values)  # noqa: S608
        reward = math.fsum(r for (r,) in rewards)
        return TrialScore(split, *self._model(head), examples, reward, correct, prompt_tokens, new_tokens, *head[5:])

    def _model(self, head: tuple[Any, ...]) -> tuple[int | None, Point | None]:
        """The candidate's number and where its weights were, from a row of trials."""
        return None if head[1] == BASE else head[1], self._points.find(*head[:5])


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _outcome_row(trial: int | None, position: int, o: Outcome, keep_texts: bool) -> tuple[Any, ...]:
    j = o.judgement
    text = o.text if keep_texts else None
    return trial, position, j.reward, int(j.correct), j.key, o.prompt_tokens, o.new_tokens, o.finish, text
