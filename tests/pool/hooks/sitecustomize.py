"""Runs in every process that Ray starts in the tests: engines that break on the candidates that a file names.

And nodes with names of their own, where all of them are one machine.
"""

import json
import os
import platform
from pathlib import Path
from typing import Any

_host = os.environ.get("THICKETS_TEST_HOST")

if _host:
    platform.node = lambda: _host

_file = os.environ.get("THICKETS_TEST_POISON")

if _file:
    from thickets.engines.hf import HuggingFaceEngine

    _place = HuggingFaceEngine.place

    def place(self: HuggingFaceEngine, perturbation: Any) -> None:
        path = Path(_file)
        how = json.loads(path.read_text()).get(str(perturbation.seed)) if perturbation and path.exists() else None
        if how == "exit":
            os._exit(17)
        if how == "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if how == "memory":
            import torch

            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        _place(self, perturbation)

    HuggingFaceEngine.place = place
