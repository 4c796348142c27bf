"""The noise schemes by name: one file of this folder for each. Knows nothing of how a scheme makes its numbers."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from thickets.errors import WeightsError
from thickets.noise.schemes.base import Scheme, Source

__all__ = ["Scheme", "Source", "find_scheme", "scheme_names", "schemes"]


@cache
def schemes() -> Mapping[str, type[Scheme]]:
    """Every scheme class by its name and version (`gaussian/1`), in alphabetical order."""
    found: dict[str, type[Scheme]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        for value in vars(importlib.import_module(f"{__name__}.{module}")).values():
            if isinstance(value, type) and issubclass(value, Scheme) and value.__dict__.get("label"):
                found[value.label] = value
    return MappingProxyType(found)


def scheme_names() -> tuple[str, ...]:
    """The full name of every scheme with its default option: `gaussian/1`, `low_rank/1:8`, ..."""
    return tuple(find_scheme(label).name for label in schemes())


@cache
def find_scheme(name: str) -> Scheme:
    """The scheme called `name`: `gaussian/1`, or with an option after a colon `low_rank/1:16`.

    Raises `WeightsError`, listing what there is, if it is unknown, and if the option cannot be used.
    """
    label, colon, option = name.partition(":")
    if label not in schemes():
        raise WeightsError(f"there is no noise scheme {name!r}; there are {', '.join(schemes())}")
    return schemes()[label].with_option(option if colon else None)
