"""What cannot be searched around is refused in one sentence, at once, and a score leaves the module as it was."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thickets
from tests.module.test_module import error, regression
from thickets.errors import ConfigError, EngineError, ModelError, RunError, ThicketsError, WeightsError
from thickets.module import Found, search

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Complex(nn.Module):
    """A parameter of another type than its others."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1)
        self.turn = nn.Parameter(torch.ones(1, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) * self.turn.real
        return out


def test_a_module_whose_types_cannot_move() -> None:
    module, data = regression()
    with pytest.raises(WeightsError, match=r"^parameters of type float64 do not move; call module\.float\(\)$"):
        search(module.double(), error, data, population=2, top_k=1)
    only = Complex()
    del only.layer
    with pytest.raises(WeightsError, match=r"^parameters of type complex64 do not move; only float32, bfloat16"):
        search(only, error, data, population=2, top_k=1)
    mixed = Complex()
    with pytest.raises(WeightsError, match=r"^parameters of type complex64 do not move"):
        search(mixed, error, data, population=2, top_k=1, weights={"include": ["tu*"]})


def test_parameters_that_stay_for_their_type_are_noted() -> None:
    module, data = regression()
    module[2].double()

    def mixed(model: nn.Module, batch: Any) -> torch.Tensor:
        x, y = batch
        return -(model[2](model[:2](x).double()) - y).square().squeeze(1).float()

    note = r"parameters of type float64 do not move, so 2.weight, 2.bias stay as they are; call module.float()"
    assert search(module, mixed, data, population=5, sigmas=(0.1,), top_k=1).notes == [note]
    calm = search(module, mixed, data, population=5, sigmas=(0.1,), top_k=1, weights={"include": ["0.*"]})
    assert calm.notes == []
    (noted,) = search(Complex(), error, data, population=5, sigmas=(0.1,), top_k=1).notes
    assert noted.startswith("parameters of type complex64 do not move, so turn stay as they are; only float32")


def test_noise_that_moves_nothing() -> None:
    module, data = nn.LayerNorm(5), regression()[1]
    with pytest.raises(WeightsError, match=r"noise low_rank/1:8 moves none .* such as weight of shape \[5\]"):
        search(module, lambda m, b: m(b[0]).mean(), data, population=2, top_k=1, noise="low_rank/1")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sigmas": 0.1}, r"^sigmas is 0\.1; give a list of them"),
        ({"sigmas": None}, r"^sigmas is None; give a list"),
        ({"sigmas": "0.1;"}, r"^the search cannot be used: sigmas"),
        ({"top_k": 2.0}, r"^top_k is 2\.0; give a whole number"),
        ({"top_k": "2"}, r"^top_k is '2'; give a whole number"),
        ({"population": "many"}, r"^the search cannot be used: population"),
        ({"memory": 0}, r"^memory is 0; give how many bytes"),
        ({"memory": -5}, r"^memory is -5; give"),
        ({"memory": math.nan}, r"^memory is nan; give"),
        ({"memory": math.inf}, r"^memory is inf; give"),
        ({"memory": "1 GiB"}, r"^memory is '1 GiB'; give"),
        ({"memory": True}, r"^memory is True; give"),
        ({"weights": ["0.*"]}, r"^weights is a list; give a dictionary"),
        ({"score": 5}, r"^the score is 5; give a function score\(module, data\)"),
        ({"score": None}, r"^the score is None; give a function"),
        ({"score": [1]}, r"^the score is a list; give a function"),
    ],
)
def test_settings_of_another_kind(wrong: dict[str, Any], sentence: str) -> None:
    module, data = regression()
    given = {"population": 4, "sigmas": (0.1,), "top_k": 1, "score": error} | wrong
    with pytest.raises(ConfigError, match=sentence):
        search(module, data=data, **given)
    if given["score"] is not None:
        # The same, before `run`.
        with pytest.raises(ConfigError, match=sentence):
            thickets.RandOpt(module, data=data, **given)


def test_numbers_of_numpy_are_numbers() -> None:
    module, data = regression()
    many: dict[str, Any] = {"sigmas": np.array([0.1]), "top_k": np.int64(2), "memory": np.int64(1 << 20)}
    assert len(search(module, error, data, population=4, **many).members) == 2


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("gpt2", r"^the module is 'gpt2'; give a torch\.nn\.Module"),
        (None, r"^the module is None; give"),
        (nn.Linear, r"^the module is the class Linear; make one of it: Linear\(\.\.\.\)"),
        (lambda x: x, r"^the module is a function; give"),
        (
            nn.LazyLinear(3),
            r"^tensor weight of the module is not initialised, as it is lazy; call the module on a batch",
        ),
        (nn.LazyBatchNorm1d(affine=False), r"^tensor running_mean of the module is not initialised"),
    ],
)
def test_what_is_no_module(module: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        search(module, error, None, population=4, top_k=1)
    with pytest.raises(ModelError, match=sentence):
        thickets.landscape(module, {"one": (error, None)}, sigma=0.1)
    if not isinstance(module, str):
        with pytest.raises(ModelError, match=sentence):
            thickets.RandOpt(module, score=error)


def test_randopt_refuses_at_once_what_a_search_would() -> None:
    module, data = regression()
    with pytest.raises(ConfigError, match=r"no setting 'bogus' for a module; known are: data, population"):
        thickets.RandOpt(module, score=error, data=data, bogus=6)
    with pytest.raises(ConfigError, match=r"no setting 'popluation' for a module; did you mean 'population'\?"):
        thickets.RandOpt(module, score=error, data=data, popluation=6)
    with pytest.raises(ConfigError, match=r"a score and the model 'gpt2', which is not loaded"):
        thickets.RandOpt("gpt2", score=error)
    with pytest.raises(ConfigError, match="top_k is 5; keep at least 1"):
        thickets.RandOpt(module, score=error, population=4, top_k=5)


def test_where_a_search_is_written_is_seen_before_it_begins(tmp_path: Path) -> None:
    module, data = regression()
    calls: list[int] = []

    def counted(model: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        return error(model, batch)

    def made() -> Any:
        return thickets.RandOpt(module, score=counted, data=data, population=4, sigmas=(0.1,), top_k=1)

    (tmp_path / "file").write_text("here")
    for place in (tmp_path / "file" / "found.json", tmp_path, Path("/proc/none/found.json")):
        with pytest.raises(RunError, match=r"^cannot write .*; name a file in a folder that can be written to$"):
            made().run(place)
    assert not calls
    found = made().run(tmp_path / "deep" / "er" / "found.json")
    assert Found.load(tmp_path / "deep" / "er" / "found.json", module).members == found.members
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == ["found.json"]
    with pytest.raises(RunError, match=r"a run goes on from what it has recorded\)$"):
        found.save(tmp_path / "none" / "found.json")


@pytest.mark.parametrize("way", ["in place", "data", "replaced", "raises"])
def test_a_score_that_writes_to_the_module_is_found_at_once_and_undone(way: str) -> None:
    module, data = regression()
    weight, before = module[0].weight, module[0].weight.detach().clone()
    calls: list[int] = []

    def writing(model: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        if way == "replaced":
            module[0].weight = nn.Parameter(before + 1)
        elif way == "data":
            module[0].weight.data += 1
        else:
            module[0].weight.add_(1)
        if way == "raises":
            raise LookupError("nothing there")
        return error(model, batch)

    kind = LookupError if way == "raises" else ModelError
    with pytest.raises(kind, match=r"nothing there|changes its parameter 0\.weight, .*have their values back"):
        search(module, writing, data, population=50, sigmas=(0.1,), top_k=1)
    assert len(calls) == 1
    assert module[0].weight is weight
    assert torch.equal(weight, before)


def test_a_buffer_of_nan_is_not_one_that_changes() -> None:
    module, data = regression()
    module.register_buffer("unknown", torch.tensor([math.nan, 1.0]))
    assert search(module, error, data, population=5, sigmas=(0.1,), top_k=1).notes == []


def test_a_score_that_calls_backward_leaves_no_gradients() -> None:
    module, data = regression()
    kept = torch.ones(1)
    module[2].bias.grad = kept

    def trained(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.enable_grad():
            value = error(model, batch)
            value.mean().backward()
        return value.detach()

    # Only the head moves, so that of the candidates too a gradient is left in the first layer.
    found = search(module, trained, data, population=5, sigmas=(0.1,), top_k=1, weights={"include": ["2.*"]})
    assert sum("calls backward()" in note for note in found.notes) == 1
    assert module[2].bias.grad is kept
    assert torch.equal(kept, torch.ones(1))
    assert [p.grad for p in module.parameters()][:3] == [None] * 3


def test_memory_that_does_not_suffice_for_the_base() -> None:
    module, data = regression()

    def hungry(model: nn.Module, batch: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    for screen in (False, True):
        with pytest.raises(EngineError, match="one candidate alone does not fit"):
            search(module, hungry, data, population=4, top_k=1, screen=screen)


@pytest.mark.parametrize("what", [torch.OutOfMemoryError, MemoryError])
def test_memory_that_does_not_suffice_while_screening(what: type[Exception]) -> None:
    module, data = regression()
    calls: list[int] = []

    def hungry(model: nn.Module, batch: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise what("no room")
        return error(model, batch)

    with pytest.raises(ThicketsError, match="one candidate alone does not fit"):
        search(module, hungry, data, population=40, sigmas=(0.1,), top_k=2, screen=True)
