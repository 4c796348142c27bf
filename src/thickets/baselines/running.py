"""Which baselines a run is to have, and running them beside it. Knows none of them, and not how the run was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thickets.baselines.base import HELD_OUT, Baseline, Setting, known_baselines, make_baseline
from thickets.config import RunConfig, differences
from thickets.errors import ConfigError, RunError
from thickets.store import Run
from thickets.tasks import Task

# The two words that are no names.
_DEFAULT, _NONE = "default", "none"


def chosen(names: Sequence[str], config: RunConfig, task: Task) -> list[Baseline]:
    """The baselines of these names; `default` are the controls that say something about such a run, `none` is none.

    Raises `ConfigError` for a name that there is not, and for one that cannot be run here or says nothing here.
    """
    if _NONE in names:
        if len(set(names)) > 1:
            raise ConfigError(f"baselines {','.join(names)} are none and some at once; leave out one or the other")
        return []
    found: list[Baseline] = []
    for name in names:
        if name == _DEFAULT:
            found += [b for b in _default() if b.missing() is None and b.unsuited(task, config) is None]
            continue
        baseline = make_baseline(name)
        for reason in (baseline.missing(), baseline.unsuited(task, config)):
            if reason is not None:
                raise ConfigError(f"baseline {name} cannot be used: {reason}")
        found.append(baseline)
    # What another needs comes before it.
    ordered = [other for b in found for other in (*map(make_baseline, b.needs), b)]
    return list({b.name: b for b in ordered}.values())


def unsuited(task: Task, config: RunConfig) -> dict[str, str]:
    """Why some of the default baselines say nothing about such a run, by name: what the report tells."""
    reasons = {b.name: b.unsuited(task, config) for b in _default()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def done(baseline: Baseline, run: Run) -> bool:
    """Whether every held-out question has been answered; not before it is known what they are."""
    splits = [split for split in HELD_OUT if run.examples(split)]
    return bool(splits) and all(baseline.answers(run, split) is not None for split in splits)


def settle(baseline: Baseline, run: Run, config: RunConfig) -> None:
    """Record what the baseline is evaluated with; once it has trials, refuse anything else. Raises `RunError`."""
    now, before = dict(baseline.settings(config)), recorded_settings(baseline.name, run)
    begun = any(run.ledger(baseline.name).recorded(s) for s in ("selection", *HELD_OUT))
    changed = differences(before or {}, now)
    if begun and changed:
        raise RunError(
            f"{baseline.name} of {run.directory} was begun with other settings ({'; '.join(changed)}); go on with the "
            "old ones, or choose another --out"
        )
    if not begun and before != now:
        run.set_meta(_key(baseline.name), now)


def owed(baselines: Sequence[Baseline], setting: Setting) -> list[Baseline]:
    """Those that have not answered everything, checked before anything is evaluated; the settings of all are settled.

    Raises a `ThicketsError`.
    """
    for baseline in baselines:
        settle(baseline, setting.run, setting.config)
    missing = [b for b in baselines if not done(b, setting.run)]
    for baseline in missing:
        baseline.check(setting)
    return missing


def recorded_settings(name: str, run: Run) -> dict[str, Any] | None:
    """What a baseline was begun with; `None` before that."""
    settings: dict[str, Any] | None = run.meta(_key(name))
    return settings


def evaluate(baselines: Sequence[Baseline], setting: Setting) -> None:
    """What each of them has not answered yet; they have been found to be `owed`."""
    for baseline in baselines:
        baseline.evaluate(setting)


def _default() -> list[Baseline]:
    return [cls() for cls in known_baselines().values() if cls.default]


def _key(name: str) -> str:
    return f"baseline:{name}"
