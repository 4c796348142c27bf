"""What stays of a combination: its figures as JSON, by which it is not repeated. Knows nothing of pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from thickets.analysis.statistics import Interval
from thickets.errors import ConfigError, RunError
from thickets.signals.experiment import Experiment, Settings
from thickets.signals.families import is_fixed
from thickets.store import write_atomically


@dataclass(frozen=True)
class Record:
    """One combination. `gain` is the base's error minus the ensemble's; `density` is by sigma.

    `members` are the seeds of the kept candidates, best first, with their `scores`.
    """

    base: str
    task: str
    settings: Settings
    sigma: float
    errors: Mapping[str, Interval]
    gain: Interval
    density: Mapping[str, Interval]
    members: Sequence[int]
    scores: Sequence[float]

    @property
    def verdict(self) -> str:
        """In words, whether the search helped; of a task that is one signal, whether that was fitted."""
        if is_fixed(self.task):
            # It was searched on what it is tested on: nothing is known of other signals.
            return "fitted (same signal)" if self.gain.low > 0 else "not fitted (same signal)"
        return self.gain.verdict


def record_of(done: Experiment) -> Record:
    """The figures of a combination."""
    kept = [done.found.candidates[i] for i in done.found.members]
    return Record(
        done.base,
        done.task,
        done.settings,
        done.sigma,
        {e.name: e.error for e in done.errors},
        done.gain,
        {f"{d.sigma:g}": d.share for d in done.density},
        [c.perturbation.seed for c in kept],
        [c.score for c in kept],
    )


def write_record(record: Record, directory: Path) -> Path:
    """Write it whole or not at all; gives the file."""
    path = _path(directory, record.base, record.task)
    write_atomically(path, json.dumps(asdict(record), indent=1) + "\n")
    return path


def read_record(directory: Path, base: str, task: str, settings: Settings) -> Record | None:
    """A combination that was done with the same settings, if there is one. Raises `RunError` for a broken file."""
    path = _path(directory, base, task)
    if not path.exists():
        return None
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record = Record(
            known["base"],
            known["task"],
            Settings(**known["settings"]),
            known["sigma"],
            _intervals(known["errors"]),
            Interval(**known["gain"]),
            _intervals(known["density"]),
            known["members"],
            known["scores"],
        )
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise RunError(
            f"cannot read what {path} says of {base} and {task}: {error}; delete it to run it again"
        ) from error
    return record if record.settings == settings else None


def _path(directory: Path, base: str, task: str) -> Path:
    return directory / f"{base}-{task}.json"


def _intervals(known: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**value) for name, value in known.items()}
