"""From TOML and flags to a configuration, and one sentence where that fails. Knows no field by name."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from thickets.config.base import Section
from thickets.config.run import RunConfig
from thickets.errors import ConfigError

Parsed = TypeVar("Parsed", bound=Section)


def differences(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Which settings differ between two `fixed()` dictionaries, as `search.population: 100 → 200`."""
    found = []
    for name in sorted({*before, *after}):
        old, new, path = before.get(name), after.get(name), f"{prefix}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{path}.")
        elif old != new:
            found.append(f"{path}: {json.dumps(old)} → {json.dumps(new)}")
    return found


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises `ConfigError` naming the file, and the line where it breaks."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}; give a TOML file or only flags") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`override` laid over `base`, table by table. A bare name for a table (`task = "x"`) is its `name`."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        if isinstance(value, Mapping):
            old = {"name": old} if isinstance(old, str) else old
            merged[key] = merge(old if isinstance(old, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def parse(values: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Validate nested values. Raises `ConfigError`, one sentence that names every field at fault."""
    return validate(RunConfig, values, source)


def validate(kind: type[Parsed], values: Mapping[str, Any], source: str) -> Parsed:
    """As `parse`, for any table."""
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        faults = "; ".join(_fault(kind, e) for e in error.errors())
        raise ConfigError(f"{source} cannot be used: {faults}") from None


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The table that a field is, whether or not it may be absent; `None` for a plain value."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _fault(kind: type[Section], error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"there is no field {path}{_nearest(kind, error['loc'])}"
    if error["type"] == "missing":
        # The one field without a default is the model; the flag is what people look for.
        return f"{path.removesuffix('.name')} is missing; give --{path.removesuffix('.name')} or set it in the file"
    message = error["msg"].removeprefix("Value error, ")
    # Our own sentences say what was given; pydantic's do not.
    plain = error["type"] != "value_error" and not isinstance(error["input"], dict | BaseModel)
    given = f", not {error['input']!r}" if path and plain else ""
    return f"{path}: {message}{given}" if path else message


def _nearest(kind: type[Section], location: tuple[int | str, ...]) -> str:
    import difflib

    section: Any = kind
    for part in location[:-1]:
        fields: Mapping[str, Any] = getattr(section, "model_fields", {})
        field = fields.get(str(part))
        section = section_of(field.annotation) if field else None
    names = list(section.model_fields) if section else []
    close = difflib.get_close_matches(str(location[-1]), names, 1)
    return f"; did you mean {'.'.join([*map(str, location[:-1]), close[0]])}?" if close else ""
