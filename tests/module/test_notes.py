"""What a search has to say: each thing once, as a warning where nobody listens, and kept."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thickets
from tests.module.test_module import Branching, error, regression
from thickets.module import search
from thickets.module.saying import size_of


def test_a_fallback_is_one_warning_at_the_caller_s_line() -> None:
    torch.manual_seed(1)
    module, (_, data) = Branching(), regression()
    with pytest.warns(UserWarning, match="one at a time") as caught:
        found = search(module, error, data, population=10, sigmas=(0.3,), top_k=3)
    assert [Path(w.filename).name for w in caught] == ["test_notes.py"]
    assert [str(w.message) for w in caught] == found.notes
    for use in (
        thickets.RandOpt(module, score=error, data=data, population=10, sigmas=(0.3,), top_k=3).run,
        lambda: found.ensemble()(data[0]),
        lambda: thickets.landscape(module, {"error": (error, data)}, sigma=0.3, candidates=4, points=2),
    ):
        with pytest.warns(UserWarning, match="one at a time") as caught:
            use()
        assert [Path(w.filename).name for w in caught] == ["test_notes.py"]


def test_what_is_heard_is_no_warning_and_heard_once() -> None:
    torch.manual_seed(1)
    module, (_, data) = Branching(), regression()
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(module, error, data, population=30, sigmas=(0.3,), top_k=3, memory=1 << 14, say=said.append)
        found.ensemble(say=said.append)(data[0])
    assert found.notes == said[: len(found.notes)]
    assert sum("one at a time" in sentence for sentence in found.notes) == 1
    assert sum("in chunks of" in sentence for sentence in said) == 1


def test_chunks_are_noted_and_alarm_nobody() -> None:
    module, data = regression()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = search(module, error, data, population=40, sigmas=(0.1,), top_k=3, memory=1 << 17)
    assert [
        note for note in found.notes if "in chunks of" in note and note.endswith(": 128 KiB at a time")
    ] == found.notes
    assert len(found.notes) == 1


def test_sizes_for_people() -> None:
    sizes = (1, 1023, 1024, 1000 * 1024, 1 << 23, 3 << 29)
    assert [size_of(n) for n in sizes] == ["1 bytes", "1023 bytes", "1 KiB", "1000 KiB", "8 MiB", "1.5 GiB"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("screen", [False, True])
def test_scores_that_are_not_finite_are_counted(bad: float, screen: bool) -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.1

    def sometimes(model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.where(model[0].weight[0, 0] > limit, bad, error(model, batch))

    with pytest.warns(UserWarning, match="could not be scored"):
        found = search(module, sometimes, data, population=60, sigmas=(0.2,), top_k=4, screen=screen)
    note = f"{found.failed} of 60 candidates could not be scored; the first: its score is NaN or infinite"
    assert 0 < found.failed < 60
    assert found.notes[-1] == note
