"""Any torch module: the same candidates at once as one at a time, the same members screened as in full."""

from __future__ import annotations

import copy
import json
import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import thickets
from thickets.config import WeightsConfig
from thickets.errors import (
    CandidateFailed,
    ConfigError,
    EngineError,
    ModelError,
    RewardUnavailable,
    RunError,
    TaskError,
    WeightsError,
)
from thickets.module import Found, ModuleEnsemble, search
from thickets.module.population import Population
from thickets.noise import place
from thickets.types import Perturbation
from thickets.weights import canonical_tensors, fingerprint

# Notes that nobody hears are warnings, which tests/module/test_notes.py holds; here they are read in `found.notes`.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def regression() -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.randn(256, 5, generator=generator)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)), (x, x.sum(1, keepdim=True).sin())


def error(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return -(model(x) - y).square().squeeze(1)


class Branching(nn.Module):
    """Looks at its own values, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x)
        return out if out.sum().item() > 0 else -out


def by_hand(module: nn.Module, found: Found, data: Any, number: int) -> float:
    """The score of a candidate by `noise.place` into a copy of the module."""
    made, p = copy.deepcopy(module), found.candidates[number].perturbation
    for (name, out), base in zip(made.named_parameters(), module.parameters(), strict=True):
        place(out.data, base.detach(), scheme="gaussian/1", seed=p.seed, name=name, step=p.sigma)
    with torch.no_grad():
        return float(error(made, data).mean())


def test_at_once_is_what_one_at_a_time_is() -> None:
    module, data = regression()
    before = fingerprint(canonical_tensors(module))
    found = search(module, error, data, population=50, sigmas=(0.1, 0.3), top_k=5)
    assert found.notes == []
    for number in (0, 7, 49):
        assert found.candidates[number].score == pytest.approx(by_hand(module, found, data, number), rel=1e-5)
    assert found.best.score == max(c.score for c in found.candidates)
    assert [found.candidates[i].score for i in found.members] == sorted(
        (c.score for c in found.candidates), reverse=True
    )[:5]
    assert fingerprint(canonical_tensors(module)) == before


def test_a_module_that_cannot_be_vmapped_is_taken_one_at_a_time_and_that_is_said_once() -> None:
    torch.manual_seed(1)
    module, (_, data) = Branching(), regression()
    said: list[str] = []
    found = search(module, error, data, population=30, sigmas=(0.3,), top_k=3, memory=1 << 12, say=said.append)
    assert sum("one at a time" in s for s in said) == 1
    assert any("one at a time" in note for note in found.notes)
    assert found.candidates[11].score == pytest.approx(by_hand(module, found, data, 11), rel=1e-5)


def test_chunks_change_no_score_and_are_announced() -> None:
    module, data = regression()
    said: list[str] = []
    whole = search(module, error, data, population=40, sigmas=(0.1,), top_k=3, memory=1 << 30)
    parts = search(module, error, data, population=40, sigmas=(0.1,), top_k=3, memory=1 << 16, say=said.append)
    assert any("40 candidates in chunks of" in s for s in said)
    assert parts.members == whole.members
    for a, b in zip(parts.candidates, whole.candidates, strict=True):
        assert a.score == pytest.approx(b.score, rel=1e-5)


@pytest.mark.parametrize("noise", ["gaussian/1", "rademacher/1", "low_rank/1:2"])
def test_every_noise_is_that_of_place(noise: str) -> None:
    module, _ = regression()
    around = Population(module, noise, WeightsConfig(scale="relative"))
    p = Perturbation(17, 0.2, -1)
    stacks = around.stack([None, p])
    for name, base in module.named_parameters():
        expected = torch.empty_like(base)
        step = -0.2 * around.factors[name]
        place(expected, base.detach(), scheme=around.scheme, seed=17, name=name, step=step)
        assert torch.equal(stacks[name][0], base.detach())
        assert torch.equal(stacks[name][1], expected)


def test_screening_keeps_the_same_members_with_their_full_scores() -> None:
    module, data = regression()
    full = search(module, error, data, population=400, sigmas=(0.2,), top_k=5)
    quick = search(module, error, data, population=400, sigmas=(0.2,), top_k=5, screen=True)
    assert quick.members == full.members
    assert 5 <= sum(c.settled for c in quick.candidates) < 400
    for i in quick.members:
        assert quick.candidates[i].score == pytest.approx(full.candidates[i].score, rel=1e-5)
    with pytest.raises(ValueError, match="screen=False"):
        _ = quick.density
    assert 0 <= full.density <= 1


def test_screening_survives_candidates_that_fail() -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.1

    def sometimes(model: nn.Module, batch: Any) -> torch.Tensor:
        scores = error(model, batch)
        return torch.where(model[0].weight[0, 0] > limit, torch.nan, scores)

    for screen in (False, True):
        found = search(module, sometimes, data, population=60, sigmas=(0.2,), top_k=4, screen=screen)
        assert 0 < found.failed < 60
        assert all(math.isfinite(found.candidates[i].score) for i in found.members)


def test_members_answer_together() -> None:
    module, data = regression()
    found = search(module, error, data, population=30, sigmas=(0.1,), top_k=4)
    ensemble = found.ensemble("mean")
    each = ensemble.predictions(data[0])
    assert each.shape == (4, 256, 1)
    torch.testing.assert_close(ensemble(data[0]), each.mean(0))
    with torch.no_grad():
        torch.testing.assert_close(ensemble.member(2)(data[0]), each[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.ensemble("median")(data[0]), (each.sort(0).values[1] + each.sort(0).values[2]) / 2)
    signs = found.ensemble("vote", members=3)(data[0], lambda model, x: (model(x) > 0).long())
    torch.testing.assert_close(signs, ((each[:3] > 0).sum(0) > 1).long())
    with pytest.raises(thickets.ThicketsError, match="vote needs labels"):
        found.ensemble("vote")(data[0])
    with pytest.raises(ConfigError, match="did you mean 'median'"):
        found.ensemble("medien")


def test_a_tied_vote_goes_to_the_best_member() -> None:
    from thickets.module.combine import find_combine

    labels = torch.tensor([[3, 1, 5], [4, 2, 6], [4, 1, 7], [3, 2, 8]])
    assert find_combine("vote")(labels).tolist() == [3, 1, 5]


def test_a_search_is_saved_and_read_for_the_same_module_only(tmp_path: Path) -> None:
    module, data = regression()
    found = search(module, error, data, population=20, sigmas=(0.1,), top_k=2)
    found.save(tmp_path / "found.json")
    again = Found.load(tmp_path / "found.json", module)
    assert again.members == found.members
    assert again.candidates == found.candidates
    torch.testing.assert_close(again.ensemble()(data[0]), found.ensemble()(data[0]))
    with torch.no_grad():
        module[0].bias.add_(1)
    with pytest.raises(ModelError, match="not the one"):
        Found.load(tmp_path / "found.json", module)
    with pytest.raises(RunError, match="cannot read"):
        Found.load(tmp_path / "nothing.json", module)


@pytest.mark.parametrize("lost", ["format", "fingerprint", "candidates"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, lost: str) -> None:
    module, data = regression()
    search(module, error, data, population=5, sigmas=(0.1,), top_k=2).save(tmp_path / "found.json")
    whole = json.loads((tmp_path / "found.json").read_text())
    (tmp_path / "found.json").write_text(json.dumps({k: v for k, v in whole.items() if k != lost}))
    with pytest.raises(RunError, match=f"it has no '{lost}'") as caught:
        Found.load(tmp_path / "found.json", module)
    assert "\n" not in str(caught.value)
    for name, value in {"members": [99], "candidates": 7, "weights": {"scale": 1}}.items():
        (tmp_path / "found.json").write_text(json.dumps(whole | {name: value}))
        with pytest.raises(RunError, match="is damaged") as caught:
            Found.load(tmp_path / "found.json", module)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
@pytest.mark.parametrize("screen", [False, True])
def test_an_infinite_score_is_a_candidate_that_failed(tmp_path: Path, bad: float, screen: bool) -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.1

    def sometimes(model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.where(model[0].weight[0, 0] > limit, bad, error(model, batch))

    found = search(module, sometimes, data, population=60, sigmas=(0.2,), top_k=4, screen=screen)
    assert 0 < found.failed < 60
    assert all(math.isfinite(found.candidates[i].score) for i in found.members)
    found.save(tmp_path / "found.json")
    again = Found.load(tmp_path / "found.json", module)
    assert (again.failed, again.members) == (found.failed, found.members)
    if not screen:
        assert again.density == found.density < 1


def test_a_base_whose_score_is_infinite() -> None:
    module, data = regression()
    with pytest.raises(CandidateFailed, match="its score is -inf"):
        search(module, lambda m, b: error(m, b) - math.inf, data, population=4, top_k=1)


def test_only_the_scope_moves_and_a_frozen_chain_stays() -> None:
    encoder, head = nn.Sequential(nn.Linear(5, 8), nn.Tanh()), nn.Sequential(nn.Linear(8, 1))
    module, (_, data) = nn.Sequential(encoder, head), regression()
    found = search(module, error, data, population=20, sigmas=(0.3,), top_k=2, weights={"include": ["1.*"]})
    assert found.notes == []
    made = found.ensemble().member(1)
    assert torch.equal(made[0][0].weight, module[0][0].weight)
    assert not torch.equal(made[1][0].weight, module[1][0].weight)
    with torch.no_grad():
        assert float(error(made, data).mean()) == pytest.approx(found.best.score, rel=1e-4)


def test_a_module_with_nothing_to_move() -> None:
    with pytest.raises(WeightsError, match="nothing to perturb"):
        search(nn.ReLU(), lambda m, b: 0.0, None, population=2, top_k=1)


def test_batch_norm_in_training_mode_is_refused_and_left_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    _, data = regression()
    with pytest.raises(ModelError, match=r"buffer 1\.(running_mean|num_batches).*module\.eval"):
        search(module, error, data, population=4, top_k=1)
    assert float(module[1].running_mean.abs().max()) == 0
    assert search(module.eval(), error, data, population=4, top_k=1).notes == []


def test_a_base_that_scores_nan() -> None:
    module, data = regression()
    with pytest.raises(CandidateFailed, match="NaN"):
        search(module, lambda m, b: error(m, b) * float("nan"), data, population=4, top_k=1)


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda m, b: m(b[0]), r"shape \[256, 1\].*shape \[256\]"),
        (lambda m, b: error(m, b)[:3], r"shape \[3\]"),
        (lambda m, b: "good", "gave a str"),
        (lambda m, b: None, "gave a NoneType"),
    ],
)
def test_a_score_of_another_shape(score: Any, words: str) -> None:
    module, data = regression()
    with pytest.raises(TaskError, match=words):
        search(module, score, data, population=4, top_k=1)


def test_a_score_with_a_graph_loses_it_and_that_is_said() -> None:
    module, data = regression()

    def with_graph(model: nn.Module, batch: Any) -> torch.Tensor:
        with torch.enable_grad():
            return error(model, batch).mean()

    found = search(module, with_graph, data, population=8, sigmas=(0.1,), top_k=2)
    assert any("graph" in note for note in found.notes)
    assert found.candidates[5].score == pytest.approx(by_hand(module, found, data, 5), rel=1e-5)


def test_data_on_another_device() -> None:
    module, (x, y) = regression()
    with pytest.raises(EngineError, match="on cpu and its data on meta"):
        search(module, error, (x.to("meta"), y), population=4, top_k=1)


def test_a_score_that_brings_a_tensor_on_another_device() -> None:
    module, data = regression()
    shift = torch.ones(256, device="meta")
    with pytest.raises(EngineError, match=r"module is on cpu, .*move there what the score brings"):
        search(module, lambda m, b: error(m, b) - shift, data, population=4, top_k=1)


def test_settings_that_cannot_be() -> None:
    module, data = regression()
    with pytest.raises(ConfigError, match="top_k is 5"):
        search(module, error, data, population=4, top_k=5)
    with pytest.raises(ConfigError, match="sigmas"):
        search(module, error, data, population=4, top_k=1, sigmas=(-1.0,))
    with pytest.raises(ConfigError, match=r"^the search cannot be used: seed: .*, not 'x'"):
        search(module, error, data, population=1, top_k=1, seed="x")
    with pytest.raises(ConfigError, match=r"^weights cannot be used: there is no field includ; did you mean include\?"):
        search(module, error, data, population=4, top_k=1, weights={"includ": ["0.*"]})
    with pytest.raises(thickets.ThicketsError, match="needs a member"):
        ModuleEnsemble(module, [], "gaussian/1", WeightsConfig())


def test_randopt_takes_a_module(tmp_path: Path) -> None:
    module, data = regression()
    found = thickets.RandOpt(model=module, score=error, data=data, population=20, sigmas=(0.1,), top_k=2, seed=3).run(
        tmp_path / "found.json"
    )
    assert found.members == search(module, error, data, population=20, sigmas=(0.1,), top_k=2, seed=3).members
    assert Found.load(tmp_path / "found.json", module).members == found.members
    assert thickets.search is search
    with pytest.raises(ConfigError, match="task or a score"):
        thickets.RandOpt(module)


def test_a_stack_that_cannot_be_placed() -> None:
    from thickets.noise import place_stack

    base = torch.zeros(3, 4)
    common: dict[str, Any] = {"scheme": "gaussian/1", "name": "w"}
    with pytest.raises(WeightsError, match="2 seeds and 1 steps for a stack of 2"):
        place_stack(torch.empty(2, 3, 4), base, seeds=[1, 2], steps=[0.1], **common)
    with pytest.raises(WeightsError, match="in one piece"):
        place_stack(torch.empty(3, 2, 4).transpose(0, 1), base, seeds=[1, 2], steps=[0.1, 0.1], **common)
    with pytest.raises(WeightsError, match="shares memory"):
        whole = torch.zeros(2, 3, 4)
        place_stack(whole, whole[1], seeds=[1, 2], steps=[0.1, 0.1], **common)


@pytest.mark.parametrize("sigmas", [(0.3,), (5e-4, 1e-3, 2e-3)])
@pytest.mark.parametrize("mean", [False, True])
def test_a_score_that_looks_at_another_module_is_not_believed_at_once(sigmas: tuple[float, ...], mean: bool) -> None:
    module, data = regression()

    def elsewhere(_: nn.Module, batch: Any) -> torch.Tensor:
        # The module by its own name instead of the argument: its fused twin would have the base's weights.
        return error(module, batch).mean() if mean else error(module, batch)

    found = search(module, elsewhere, data, population=10, sigmas=sigmas, top_k=2)
    assert any("other values than alone" in note for note in found.notes)
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


def accuracy(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return ((model(x) > 0) == (y > 0)).float().squeeze(1)


@pytest.mark.parametrize("mean", [False, True])
def test_answers_that_hardly_ever_flip_are_compared_with_larger_steps(mean: bool) -> None:
    module, data = regression()

    def share(model: nn.Module, batch: Any) -> torch.Tensor:
        right = accuracy(model, batch)
        return right.mean() if mean else right

    # Steps of the default size flip hardly one of 256 answers.
    assert search(module, share, data, population=10, top_k=2).notes == []
    found = search(module, lambda _, batch: share(module, batch), data, population=10, top_k=2)
    assert any("other values than alone" in note for note in found.notes)


def test_a_score_that_no_step_moves_is_taken_one_at_a_time() -> None:
    module, data = regression()
    found = search(module, lambda m, b: (m(b[0]) * 0).squeeze(1) - 1, data, population=5, top_k=2)
    assert any("no value moves" in note for note in found.notes)
    assert {c.score for c in found.candidates} == {-1.0}


def test_layers_of_a_chain_that_share_their_weights_move_together() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))
    _, data = regression()
    module[2].weight = module[0].weight
    found = search(module, error, data, population=10, top_k=2)
    assert found.notes == []
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


@pytest.mark.parametrize("rows", [3, 64])
def test_a_chain_in_bfloat16_is_the_chain(rows: int) -> None:
    from thickets.module.running import Runner

    module, (x, _) = regression()
    around = Population(module, "gaussian/1", WeightsConfig())
    runner = Runner(module, lambda model, batch: model(batch), around, None, lambda sentence: None)
    some = [Perturbation(seed, 0.1) for seed in range(5)]
    runner.measure(x[:rows])
    exact, rough = (torch.cat(list(runner.run(some, x[:rows], d))) for d in (None, torch.bfloat16))
    assert runner.vectorised
    assert exact.shape == rough.shape == (5, rows, 1)
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)
    assert not torch.equal(exact[0], exact[1])


def test_a_score_with_a_thread_of_its_own_is_taken_one_at_a_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    module, data = regression()

    def elsewhere(model: nn.Module, batch: Any) -> torch.Tensor:
        with ThreadPoolExecutor(1) as one:
            return one.submit(lambda: error(model, batch).detach()).result()

    found = search(module, elsewhere, data, population=10, sigmas=(0.3,), top_k=2)
    assert any("one at a time" in note for note in found.notes)
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


def test_a_module_without_its_weights() -> None:
    with pytest.raises(WeightsError, match="load the model's weights first"):
        search(nn.Linear(5, 1).to("meta"), error, regression()[1], population=4, top_k=1)


def chains() -> dict[str, nn.Module]:
    """Chains whose layers are not just numbered one after the other."""
    torch.manual_seed(0)
    act, same = nn.Tanh(), nn.Linear(8, 8)
    layers = {"into": nn.Linear(5, 8), "act": nn.ReLU(), "out": nn.Linear(8, 1)}
    return {
        "named": nn.Sequential(OrderedDict(layers)),
        "an activation twice": nn.Sequential(nn.Linear(5, 8), act, nn.Linear(8, 8), act, nn.Linear(8, 1)),
        "a layer twice": nn.Sequential(nn.Linear(5, 8), same, nn.ReLU(), same, nn.Linear(8, 1)),
    }


@pytest.mark.parametrize("kind", list(chains()))
def test_a_chain_keeps_its_layers_names_and_order(kind: str) -> None:
    module, (_, data) = chains()[kind], regression()
    found = search(module, error, data, population=10, sigmas=(0.2,), top_k=2)
    assert found.notes == []
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


def test_a_layer_with_two_names_has_its_own_weights_afterwards() -> None:
    module, (_, data) = chains()["a layer twice"], regression()
    weight = module[1].weight
    found = search(module, lambda m, b: float(error(m, b).mean()), data, population=10, sigmas=(0.2,), top_k=2)
    assert any("one at a time" in note for note in found.notes)
    assert module[1].weight is weight
    assert isinstance(weight, nn.Parameter)
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


@pytest.mark.parametrize("screen", [False, True])
def test_a_score_that_raises_for_some_candidates_fails_those_alone(screen: bool) -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.1

    def picky(model: nn.Module, batch: Any) -> torch.Tensor:
        if model[0].weight[0, 0].item() > limit:
            raise LookupError("nothing there")
        return error(model, batch)

    found = search(module, picky, data, population=60, sigmas=(0.2,), top_k=4, screen=screen)
    calm = search(module, error, data, population=60, sigmas=(0.2,), top_k=60)
    assert 0 < found.failed < 60
    note = f"{found.failed} of 60 candidates could not be scored; the first: LookupError: nothing there"
    assert found.notes[-1] == note
    assert len(found.notes) == 2
    failed = {c.candidate for c in found.candidates if math.isnan(c.score)}
    assert found.members == [i for i in calm.members if i not in failed][:4]
    with pytest.raises(RunError, match=r"top_k = 60 .*nothing there"):
        search(module, picky, data, population=60, sigmas=(0.2,), top_k=60, screen=screen)


def test_a_chunk_that_raises_at_once_is_evaluated_one_at_a_time() -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.3

    def factored(model: nn.Module, batch: Any) -> torch.Tensor:
        # Raises, at once too, for a matrix that is not positive definite.
        torch.linalg.cholesky((limit - model[0].weight[0, 0]).view(1, 1))
        return error(model, batch)

    found = search(module, factored, data, population=60, sigmas=(0.2,), top_k=4)
    assert 0 < found.failed < 20
    assert len(found.notes) == 2
    assert "candidates at once raised" in found.notes[0]
    assert "could not be scored; the first: " in found.notes[1]
    assert found.best.score == pytest.approx(by_hand(module, found, data, found.best.candidate), rel=1e-5)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RewardUnavailable])
def test_what_is_nobodys_failure_ends_the_search(stop: type[BaseException]) -> None:
    module, data = regression()
    before = module[0].weight.detach().clone()

    def stopped(model: nn.Module, batch: Any) -> torch.Tensor:
        if not torch.equal(model[0].weight, before):
            raise stop
        return error(model, batch)

    with pytest.raises(stop):
        search(module, stopped, data, population=6, sigmas=(0.2,), top_k=1)


def test_a_later_score_of_another_shape_fails_its_candidate() -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() + 0.1

    def cut(model: nn.Module, batch: Any) -> torch.Tensor:
        return error(model, batch)[: 3 if model[0].weight[0, 0].item() > limit else None]

    found = search(module, cut, data, population=30, sigmas=(0.2,), top_k=4)
    assert 0 < found.failed < 30
    assert found.notes[-1].endswith("TaskError: the score gave shape [3], and of the base [256]")


@pytest.mark.parametrize(("row", "sigma"), [(0, 5e-4), (1, 5e-4), (1, 3e-3), (2, 1e-3)])
def test_examples_that_are_all_alike_are_not_decided_by_bfloat16(row: int, sigma: float) -> None:
    module, (x, y) = regression()
    data = (x[row : row + 1].repeat(256, 1), y[row : row + 1].repeat(256, 1))
    full = search(module, error, data, population=400, sigmas=(sigma,), top_k=5)
    quick = search(module, error, data, population=400, sigmas=(sigma,), top_k=5, screen=True)
    assert quick.members == full.members


class Shifted(nn.Module):
    """Multiplies by a float32 buffer that is not part of its state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        self.register_buffer("turn", torch.eye(5), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(x) @ self.turn
        return out[:, :1]


def likelihood(model: nn.Module, batch: Any) -> torch.Tensor:
    x, _ = batch
    # So near to 1 that bfloat16 takes it for 1.
    sure = 1 - 1e-3 * torch.sigmoid(model(x)[:, 0]).float()
    return torch.log(1 - sure.to(model(x).dtype)).float()


@pytest.mark.parametrize("rows", [48, 256])
@pytest.mark.parametrize("kind", ["raises", "not finite"])
def test_a_score_that_cannot_be_had_in_bfloat16_is_screened_in_its_own_type(kind: str, rows: int) -> None:
    module, (x, y) = regression()
    data = (x[:rows], y[:rows])
    score: Any = likelihood
    if kind == "raises":
        module, score = Shifted(), error
    found = search(module, score, data, population=60, sigmas=(0.1,), top_k=4, screen=True)
    assert found.failed == 0
    assert len(found.notes) == 1
    assert "screening in the module's own number type" in found.notes[0]
    assert found.members == search(module, score, data, population=60, sigmas=(0.1,), top_k=4).members


def test_a_candidate_that_fails_in_bfloat16_only_is_not_lost() -> None:
    module, data = regression()
    limit = module[0].weight[0, 0].item() - 0.1

    def rough(model: nn.Module, batch: Any) -> torch.Tensor:
        weight = model[0].weight
        lost = (weight[0, 0] < limit) & torch.tensor(weight.dtype == torch.bfloat16)
        return torch.where(lost, -torch.inf, error(model, batch))

    found = search(module, rough, data, population=60, sigmas=(0.2,), top_k=4, screen=True)
    assert found.failed == 0
    assert found.members == search(module, error, data, population=60, sigmas=(0.2,), top_k=4).members


def test_a_first_candidate_that_fails_in_any_type_is_not_bfloat16s_fault() -> None:
    module, data = regression()
    calm = search(module, error, data, population=60, sigmas=(0.2,), top_k=4)
    first = ModuleEnsemble(module, [calm.candidates[0].perturbation], calm.noise, calm.weights).member(1)
    weight = first[0].weight[0, 0].item()

    def sometimes(model: nn.Module, batch: Any) -> torch.Tensor:
        return torch.where((model[0].weight[0, 0] - weight).abs() < 5e-3, torch.nan, error(model, batch))

    found = search(module, sometimes, data, population=60, sigmas=(0.2,), top_k=4, screen=True)
    assert math.isnan(found.candidates[0].score)
    assert found.notes == [
        f"{found.failed} of 60 candidates could not be scored; the first: its score is NaN or infinite"
    ]


def test_rows_that_are_no_examples_cannot_be_screened() -> None:
    torch.manual_seed(0)
    nodes, near = torch.randn(100, 5), torch.eye(100)

    def graph(model: nn.Module, batch: Any) -> torch.Tensor:
        x, adjacency = batch
        return -model(adjacency @ x).square().squeeze(1)

    module = nn.Linear(5, 1)
    with pytest.raises(TaskError, match="screen=False"):
        search(module, graph, (nodes, near), population=20, sigmas=(0.1,), top_k=2, screen=True)
    assert search(module, graph, (nodes, near), population=20, sigmas=(0.1,), top_k=2).failed == 0


def test_members_are_those_around_the_weights_they_were_found_around() -> None:
    module, data = regression()
    found = search(module, error, data, population=20, sigmas=(0.1,), top_k=2)
    ensemble, kept = found.ensemble(), copy.deepcopy(module.state_dict())
    with torch.no_grad():
        module[0].bias.add_(1)
    for use in (lambda: ensemble(data[0]), lambda: ensemble.member(1), found.ensemble):
        with pytest.raises(ModelError, match="not what it was"):
            use()
    module.load_state_dict(kept)
    assert torch.equal(found.ensemble()(data[0]), ensemble(data[0]))


def test_an_ensemble_of_a_module_in_training_mode_is_refused_and_leaves_its_buffers() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).eval()
    _, data = regression()
    found = search(module, error, data, population=10, sigmas=(0.1,), top_k=2)
    ensemble = found.ensemble()
    module.train()
    with pytest.raises(ModelError, match=r"buffer 1\.(running_mean|num_batches).*module\.eval"):
        ensemble(data[0])
    assert float(module[1].running_mean.abs().max()) == 0
    assert int(module[1].num_batches_tracked) == 0


def test_an_ensemble_that_is_taken_one_at_a_time_says_so_once() -> None:
    torch.manual_seed(1)
    module, (_, data) = Branching(), regression()
    found = search(module, error, data, population=10, sigmas=(0.3,), top_k=3)
    said: list[str] = []
    ensemble = found.ensemble(say=said.append)
    assert torch.equal(ensemble(data[0]), ensemble(data[0]))
    assert len(said) == 1
    assert "one at a time" in said[0]
    with pytest.warns(UserWarning, match="one at a time"):
        found.ensemble()(data[0])


def test_buffers_come_back_where_the_score_raises() -> None:
    module = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    _, data = regression()

    def broken(model: nn.Module, batch: Any) -> torch.Tensor:
        error(model, batch)
        raise LookupError("nothing there")

    buffer = module[1].running_mean
    with pytest.raises(LookupError):
        search(module, broken, data, population=4, top_k=1)
    assert module[1].running_mean is buffer
    assert float(buffer.abs().max()) == 0


def test_a_score_may_be_a_number_of_numpy() -> None:
    module, data = regression()
    found = search(module, lambda m, b: error(m, b).mean().numpy()[()], data, population=10, sigmas=(0.1,), top_k=2)
    assert found.candidates[4].score == pytest.approx(by_hand(module, found, data, 4), rel=1e-5)


@pytest.mark.parametrize("limit", [0, 1, 7])
def test_chunks_that_do_not_fit_are_halved_until_they_do(limit: int) -> None:
    from torch._C._functorch import get_unwrapped, is_batchedtensor

    module, data = regression()
    sizes: list[int] = []

    def hungry(model: nn.Module, batch: Any) -> torch.Tensor:
        value = error(model, batch)
        # How many candidates are in this call; the base, which is measured alone, and the first three are let through.
        size = len(get_unwrapped(value)) if is_batchedtensor(value) else 1
        sizes.append(size)
        if size > limit and len(sizes) > 5:
            raise torch.OutOfMemoryError("no room")
        return value

    if limit == 0:
        with pytest.raises(
            EngineError, match=r"one candidate alone does not fit into the memory of cpu; .*smaller batches"
        ):
            search(module, hungry, data, population=40, sigmas=(0.1,), top_k=2)
        return
    said: list[str] = []
    found = search(module, hungry, data, population=40, sigmas=(0.1,), top_k=2, say=said.append)
    assert found.members == search(module, error, data, population=40, sigmas=(0.1,), top_k=2).members
    assert found.failed == 0
    halves = {7: [20, 10, 5], 1: [20, 10, 5, 2, 1]}[limit]
    assert [note.split("going on with ")[1] for note in found.notes] == [f"{size} at a time" for size in halves]
    assert max(sizes[-8:]) <= limit


def test_views_of_what_was_there_take_no_memory() -> None:
    from thickets.module.memory import peak

    layer, x = nn.Linear(64, 64), torch.ones(2, 64)
    with torch.no_grad():
        _, most = peak(lambda: layer(x), [*layer.parameters(), x])
    assert 2 * 64 * 4 <= most < 64 * 64 * 4
