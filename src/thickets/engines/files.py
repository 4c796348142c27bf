"""Finds a model's weight files on this machine and looks whether they are whole. Reads no tensor, downloads nothing."""

from __future__ import annotations

import json
from pathlib import Path

from thickets.config import ModelConfig
from thickets.engines.prompts import first_line


def folder_here(model: ModelConfig) -> Path | None:
    """The model's folder, given or in the Hub's cache; `None` where this machine has none."""
    from huggingface_hub import try_to_load_from_cache

    folder = Path(model.name)
    if folder.is_dir():
        return folder
    try:
        found = try_to_load_from_cache(model.name, "config.json", revision=model.revision)
    except ValueError:  # no name of the Hub's
        return None
    return Path(found).parent if isinstance(found, str) else None


def unreadable_weights(folder: Path) -> str | None:
    """Why the weights in a folder cannot be read, in a few words; `None` where they can. Only headers are read."""
    from safetensors import SafetensorError, safe_open

    try:
        files = _files(folder)
    except (OSError, ValueError, KeyError) as error:
        return f"model.safetensors.index.json cannot be read ({first_line(error)})"
    if not files:
        return "there is no *.safetensors file"
    for file in files:
        if not file.exists():
            return f"{file.name} is not there"
        try:
            # A header that does not fit its file's length is an error: half a copy, or a pointer of Git LFS.
            with safe_open(file, framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            return f"{file.name}: {first_line(error)}"
    return None


def _files(folder: Path) -> list[Path]:
    """The files that transformers would load."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    return sorted({folder / name for name in json.loads(index.read_text())["weight_map"].values()})
