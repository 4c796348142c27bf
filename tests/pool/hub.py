"""A model in a folder that is laid out as the Hub's cache is, so that nodes with another cache have no such model."""

from __future__ import annotations

import shutil
from pathlib import Path

_COMMIT = "0123456789abcdef0123456789abcdef01234567"


def cache_model(model: Path, cache: Path, name: str) -> Path:
    """Copy a saved model into a cache under a name of the Hub's, and give the folder it now lies in."""
    there = cache / f"models--{name.replace('/', '--')}"
    (there / "refs").mkdir(parents=True)
    (there / "refs" / "main").write_text(_COMMIT)
    return Path(shutil.copytree(model, there / "snapshots" / _COMMIT))
