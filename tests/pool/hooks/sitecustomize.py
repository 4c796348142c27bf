"""Runs in every process that Ray starts in the tests: engines that break on the candidates that a file names.

The file says by seed, by `start` for engines that are being loaded, or by `answers` for those that generate, how to
break: `exit`, `cuda` or `memory`; with ` once` behind it in one process only.
And nodes with names of their own, where all of them are one machine, and with other versions where they are told so.
"""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

_host = os.environ.get("THICKETS_TEST_HOST")

if _host:
    platform.node = lambda: _host

_package, _, _other = os.environ.get("THICKETS_TEST_VERSION", "").partition("=")

if _package:
    _version = importlib.metadata.version
    importlib.metadata.version = lambda name: _other if name == _package else _version(name)

_file = os.environ.get("THICKETS_TEST_POISON")

if _file:
    from thickets.engines.hf import HuggingFaceEngine

    _place, _start, _decode = HuggingFaceEngine.place, HuggingFaceEngine.start, HuggingFaceEngine._decode

    def _meet(what: str) -> None:
        path = Path(_file)
        how, _, once = (json.loads(path.read_text()).get(what, "") if path.exists() else "").partition(" ")
        if not how or (once and not _first(path.with_name(f"{path.name}.{what}"))):
            return
        if how == "exit":
            os._exit(17)
        if how == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if how == "memory":
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def _first(marker: Path) -> bool:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def place(self: HuggingFaceEngine, perturbation: Any) -> None:
        if perturbation:
            _meet(str(getattr(perturbation, "seed", "")))
        _place(self, perturbation)

    def start(cls: type[HuggingFaceEngine], *arguments: Any) -> HuggingFaceEngine:
        _meet("start")
        return _start(*arguments)

    def decode(self: HuggingFaceEngine, *arguments: Any) -> Any:
        _meet("answers")
        return _decode(self, *arguments)

    HuggingFaceEngine.place = place
    HuggingFaceEngine._decode = decode
    HuggingFaceEngine.start = classmethod(start)
