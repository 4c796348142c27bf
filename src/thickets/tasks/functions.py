"""Calling the reward and answer functions of a user's own file. Knows nothing of examples or prompts.

The file is the user's, named by the user, and runs as any Python file of theirs would. What it returns or raises
is checked here: a fault becomes one sentence that names `file.py:function`, never a score.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from thickets.errors import CandidateFailed, TaskError

# `raise SystemExit` in a reward must fail a candidate, not end the search.
_FAULTS = (Exception, SystemExit)


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's, and the `file.py:function` that it was named by."""

    reference: str
    call: Callable[..., Any]
    file: Path

    @property
    def required(self) -> tuple[str, ...]:
        """The named arguments without a default."""
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = self._parameters().values()
        return tuple(p.name for p in parameters if p.kind in kinds and p.default is inspect.Parameter.empty)

    def accepted(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `arguments` that the signature takes: all where it has `**kwargs`."""
        parameters = self._parameters()
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return dict(arguments)
        return {name: value for name, value in arguments.items() if name in parameters}

    def rewards(self, arguments: Mapping[str, Any], labels: Sequence[str]) -> list[float]:
        """One reward per label. Raises `CandidateFailed` for a raise, a wrong length or a value that is no number."""
        wanted = f"{len(labels)} numbers, one per completion"
        try:
            returned = self.call(**self.accepted(arguments))
            # Arrays and tensors are as good as lists; a text or a mapping is a mistake though it can be listed.
            listed = isinstance(returned, Iterable) and not isinstance(returned, str | bytes | Mapping)
            values = list(returned) if listed else None
        except _FAULTS as error:
            raise CandidateFailed(f"the reward {self.reference} raised {_described(error)}") from error
        if values is None:
            raise CandidateFailed(f"the reward {self.reference} returned {_short(returned)}, not a list of {wanted}")
        if len(values) != len(labels):
            raise CandidateFailed(f"the reward {self.reference} returned a list of {len(values)}, not of {wanted}")
        return [self._reward(value, label) for value, label in zip(values, labels, strict=True)]

    def key(self, completion: str, label: str) -> str | None:
        """What votes, numbers as text. Raises `CandidateFailed` for a raise or any other type."""
        try:
            value = self.call(completion)
        except _FAULTS as error:
            raise CandidateFailed(f"the answer {self.reference} raised {_described(error)} on {label}") from error
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
            # 3 and 3.0 are one vote.
            number = float(value)
            return str(int(number)) if number.is_integer() else str(value)
        raise CandidateFailed(
            f"the answer {self.reference} returned {_short(value)} for {label}, which is not a text, a number or None"
        )

    def _reward(self, value: Any, label: str) -> float:
        fault = f"the reward {self.reference} returned {_short(value)} for {label}"
        if value is None:
            raise CandidateFailed(f"{fault}, but candidates are ranked by the mean over all rows; return a number")
        try:
            # Anything that is a number to Python: NumPy's and torch's scalars too, but no text such as "1".
            number = math.nan if isinstance(value, str | bytes) else float(value)
        except _FAULTS:
            number = math.nan
        if not math.isfinite(number):
            raise CandidateFailed(f"{fault}, which is not a finite number")
        return number

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        try:
            return inspect.signature(self.call).parameters
        except (TypeError, ValueError):
            # Some callables written in C have none; they are given everything.
            return {"kwargs": inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)}


def load_function(reference: str, field: str) -> UserFunction:
    """The function that `reference` names as `file.py:function`, for the setting `field`.

    Raises `TaskError` where the file or function is not there, cannot be imported or called.
    """
    file, _, name = reference.rpartition(":")
    if not file or not name.isidentifier():
        raise TaskError(f"{field} is {reference!r}; write it as file.py:function")
    path = Path(file).expanduser()
    if not path.is_file():
        raise TaskError(f"{field} names {reference}, but there is no file {path}")
    state = path.stat()
    module = _module(path.resolve(), state.st_mtime_ns, state.st_size)
    function = getattr(module, name, None)
    if function is None:
        own = (n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__)
        there = ", ".join(own)
        raise TaskError(f"{field} names {reference}, but {path} has no {name}; its functions are {there or 'none'}")
    if not callable(function):
        raise TaskError(f"{field} names {reference}, which is not a function but {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TaskError(f"{field} names {reference}, which is async; make it a plain function")
    return UserFunction(reference, function, path)


@functools.lru_cache(maxsize=32)
def _module(path: Path, changed: int, size: int) -> ModuleType:
    """The module at `path`, run once for each state of the file: a reward and an answer in one file share it."""
    name = f"thickets_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} cannot be imported: it is not a .py file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, among others, look their module up by name while it is being run.
    sys.modules[name] = module
    # Last, so that the files beside it can be imported and none of them hides an installed package.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except _FAULTS as error:
        del sys.modules[name]
        raise TaskError(f"{path} cannot be imported: it raised {_described(error)}") from error
    return module


def _described(error: BaseException) -> str:
    message = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _short(value: object) -> str:
    try:
        return f"{type(value).__name__} {' '.join(repr(value).split())[:60]}" if value is not None else "None"
    except _FAULTS:
        return type(value).__name__
