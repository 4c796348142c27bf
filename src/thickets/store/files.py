"""Writes a file whole or not at all. Knows nothing of what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from thickets.errors import RunError


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`; a kill or a full disk leaves the old file. Raises `RunError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot write {path}: {reason}; mend that and repeat the command (a run goes on from what it has recorded)"
        ) from error
