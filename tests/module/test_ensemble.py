"""Calls of an ensemble one after the other: what is kept between them changes no answer and hides no change."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from tests.module.test_module import error, regression
from thickets.errors import ConfigError, EnsembleError, ModelError
from thickets.module import ModuleEnsemble, search
from thickets.module.running import Runner
from thickets.module.snapshot import Kind, Snapshot


def made(module: nn.Module | None = None) -> tuple[nn.Module, torch.Tensor, ModuleEnsemble]:
    plain, data = regression()
    module = module or plain
    return module, data[0], search(module, error, data, population=20, sigmas=(0.1,), top_k=4).ensemble()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The batches that a runner was prepared with."""
    seen: list[Any] = []
    measure = Runner.measure
    monkeypatch.setattr(Runner, "measure", lambda self, batch: (seen.append(batch), measure(self, batch))[1])
    return seen


def test_calls_that_are_alike_are_prepared_once(measured: list[Any]) -> None:
    _, x, ensemble = made()
    measured.clear()
    first = ensemble(x)
    assert torch.equal(ensemble(x), first)
    torch.testing.assert_close(ensemble(x[:100] * 2), ensemble(x * 2)[:100])
    assert len(measured) == 1
    for _ in range(3):
        ensemble(x, lambda model, batch: model(batch).sign())
    assert len(measured) == 2
    ensemble(x)
    ensemble(x.unsqueeze(0))
    assert len(measured) == 4


def test_answers_are_those_of_an_ensemble_that_is_new() -> None:
    module, x, ensemble = made()
    for batch in (x, x[:7], x * 3, x.unsqueeze(0), x):
        new = ModuleEnsemble(module, ensemble.perturbations, "gaussian/1", ensemble._weights)
        assert torch.equal(ensemble(batch), new(batch))
        assert torch.equal(ensemble.member(2)(batch), new.member(2)(batch))


def test_threads_that_call_at_once_and_copies_have_the_same_answers() -> None:
    _, x, ensemble = made()
    expected = ensemble(x)
    with ThreadPoolExecutor(4) as several:
        for answer in several.map(ensemble, [x] * 40):
            assert torch.equal(answer, expected)
    for other in (copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        assert torch.equal(other(x), expected)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda module: module[0].bias.data.copy_(module[0].bias + 1),
    "data": lambda module: module[0].bias.data.add_(1),
    "numpy": lambda module: module[0].weight.detach().numpy().__setitem__((0, 0), 7.0),
    "replaced": lambda module: setattr(module[0], "bias", nn.Parameter(module[0].bias + 1)),
    "loaded": lambda module: module.load_state_dict({k: v + 1 for k, v in module.state_dict().items()}),
    "doubled": lambda module: module.double(),
}


@pytest.mark.parametrize("way", list(CHANGES))
def test_a_module_that_changed_between_calls_is_refused(way: str) -> None:
    module, x, ensemble = made()
    ensemble(x)
    before, answer = copy.deepcopy(module.state_dict()), ensemble(x)
    with torch.no_grad():
        CHANGES[way](module)
    for use in (lambda: ensemble(x), lambda: ensemble(x), lambda: ensemble.member(1)):
        with pytest.raises(ModelError, match="not what it was"):
            use()
    module.float().load_state_dict(before)
    assert torch.equal(ensemble(x), answer)


def test_another_activation_is_seen() -> None:
    module, x, ensemble = made()
    first = ensemble(x)
    module[1] = nn.Tanh()
    new = ModuleEnsemble(module, ensemble.perturbations, "gaussian/1", ensemble._weights)
    assert torch.equal(ensemble(x), new(x))
    assert not torch.equal(ensemble(x), first)


class Scaled(nn.Module):
    """Keeps a number of its own, and a list of them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale, self.more = nn.Sequential(nn.Linear(5, 1)), 1.0, [1.0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) * self.scale * self.more[0]
        return out


def test_another_attribute_is_seen() -> None:
    module, x, ensemble = made(Scaled())
    first = ensemble(x)
    module.scale = 2.0  # type: ignore[assignment]
    torch.testing.assert_close(ensemble(x), 2 * first)
    module.more[0] = 2.0  # type: ignore[index,operator]
    torch.testing.assert_close(ensemble(x), 4 * first)


def test_what_may_change_unseen_has_no_snapshot() -> None:
    module, _, _ = made()
    assert Snapshot(module).same(Snapshot(module))
    module.held = object()  # type: ignore[assignment]
    assert not Snapshot(module).same(Snapshot(module))
    assert Kind({"x": torch.ones(2, 3), "n": 1}).same(Kind({"x": torch.zeros(4, 3), "n": 1}))
    assert not Kind({"x": torch.ones(2, 3), "n": 1}).same(Kind({"x": torch.ones(2, 3), "n": 2}))
    assert not Kind(object()).same(Kind(object()))


def test_weights_that_predict_writes_to_are_made_anew() -> None:
    _, x, ensemble = made()

    def worn(model: Any, batch: torch.Tensor) -> torch.Tensor:
        model[2].weight.mul_(0.5)
        out: torch.Tensor = model(batch)
        return out

    plain = ensemble(x)
    with pytest.raises(ModelError, match=r"changes its parameter 2\.weight"):
        ensemble(x, worn)
    assert torch.equal(ensemble(x), plain)

    def worn_members(model: Any, batch: torch.Tensor) -> torch.Tensor:
        # Of the members alone, not of the module itself.
        if not isinstance(model[2].weight, nn.Parameter):
            model[2].weight.mul_(0.5)
        out: torch.Tensor = model(batch)
        return out

    with pytest.warns(UserWarning, match="one at a time"):
        first = ensemble.predictions(x, worn_members)
    assert torch.equal(ensemble.predictions(x, worn_members), first)
    assert torch.equal(ensemble(x), plain)


def test_predictions_that_are_no_tensor() -> None:
    _, x, ensemble = made()
    for value, kind in (({"logits": x}, "dict"), ((x, x), "tuple"), (None, "NoneType"), ("yes", "str")):
        with pytest.raises(EnsembleError, match=f"^predict gives a {kind}, .* returns one$"):
            ensemble(x, lambda model, batch, value=value: value)

    class Named(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            return {"logits": super().forward(x)}  # type: ignore[no-untyped-call]

    module = Named(*regression()[0])
    alone = ModuleEnsemble(module, ensemble.perturbations, "gaussian/1", ensemble._weights)
    with pytest.raises(EnsembleError, match=r"^the module gives a dict"):
        alone(x)
    torch.testing.assert_close(alone(x, lambda model, batch: model(batch)["logits"]), ensemble(x))
    with pytest.raises(ConfigError, match="memory is 0"):
        ModuleEnsemble(module, ensemble.perturbations, "gaussian/1", ensemble._weights, memory=0)
