"""Scale rules: each one's step is what it says, the same every time, and what the run and the ensemble record."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import build_model, build_tokenizer
from thickets.config import WeightsConfig, parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.ensemble import Ensemble
from thickets.errors import ConfigError, RunError, ThicketsError, WeightsError
from thickets.noise import find_scheme, normal, numbers, scheme_names
from thickets.randopt import execute
from thickets.store import Run
from thickets.types import Perturbation
from thickets.weights import (
    Kind,
    ReadOnlyBase,
    canonical_tensors,
    fingerprint,
    make_scale_rule,
    moving,
    scale_factors,
    scale_rules,
    tensor_kinds,
)
from thickets.weights.scale.noise_norms import noise_norm
from thickets.weights.scale.norms import spectral_norm, standard_deviation, tensor_norm

RULES = sorted(scale_rules())
KIND_OF: dict[str, Kind] = {"w": "matrix", "e": "embedding", "v": "vector"}


def tensors_of_every_kind(dtype: torch.dtype = torch.float32) -> dict[str, torch.nn.Parameter]:
    """A matrix `w`, an embedding `e` and a vector `v`, with an outlier each, as trained weights have."""
    shapes = {"w": (256, 512), "e": (300, 64), "v": (512,)}
    made = {name: 0.02 * normal(5, name, shape) for name, shape in shapes.items()}
    made["w"] += 0.1 * torch.outer(normal(6, "u", (256,)), normal(6, "v", (512,))) / 16
    made["e"][7] *= 3
    made["v"][3] = 1
    return {name: torch.nn.Parameter(tensor.to(dtype)) for name, tensor in made.items()}


def step_of(tensors: dict[str, torch.nn.Parameter], scale: str, scheme: str, sigma: float) -> dict[str, torch.Tensor]:
    """What a placed perturbation added to each tensor, in float64."""
    before = {n: t.detach().double().clone() for n, t in tensors.items()}
    factors = scale_factors(tensors, list(tensors), KIND_OF, scheme, WeightsConfig(scale=scale))
    ReadOnlyBase(tensors, list(tensors), scheme, factors).place(Perturbation(11, sigma))
    return {n: t.detach().double() - before[n] for n, t in tensors.items()}


@pytest.mark.parametrize("scheme", scheme_names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_gives_positive_finite_factors_twice_the_same(rule: str, dtype: torch.dtype, scheme: str) -> None:
    model = build_model("Qwen2").to(dtype)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.zero_()
    tensors, kinds = canonical_tensors(model), tensor_kinds(model)
    odd: dict[str, torch.Tensor] = {
        "scalar": torch.ones(()),
        "empty": torch.zeros(0, 4),
        "one": torch.full((1, 1), -2.0),
        "conv": normal(1, "conv", (4, 3, 2, 2)),
    }
    tensors |= {name: torch.nn.Parameter(tensor.to(dtype)) for name, tensor in odd.items()}
    kinds |= {"scalar": "vector", "empty": "matrix", "one": "matrix", "conv": "matrix"}
    before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    config = WeightsConfig(scale=rule)
    names = list(tensors)
    factors = scale_factors(tensors, names, kinds, scheme, config)
    assert list(factors) == names
    assert all(math.isfinite(f) and f > 0 for f in factors.values())
    assert factors == {n: float(f"{f:.6g}") for n, f in factors.items()}
    assert factors == scale_factors(tensors, names, kinds, scheme, config)
    assert all(torch.equal(tensors[n].detach(), before[n]) for n in names)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_found_by_name_and_explains_itself(rule: str) -> None:
    assert make_scale_rule(WeightsConfig(scale=rule)).name == rule
    assert scale_rules()[rule].summary
    assert scale_rules()[rule].options <= set(WeightsConfig.model_fields)
    assert "Source" in (sys.modules[scale_rules()[rule].__module__].__doc__ or "")


@pytest.mark.parametrize("rule", RULES)
def test_factors_do_not_depend_on_the_number_of_threads(rule: str) -> None:
    tensors = {"w": 0.02 * normal(1, "w", (600, 700)), "e": normal(1, "e", (999, 300)), "v": normal(1, "v", (70_000,))}
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append(scale_factors(tensors, list(tensors), KIND_OF, "gaussian/1", WeightsConfig(scale=rule)))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
def test_absolute_steps_have_sigma(scheme: str) -> None:
    for step in step_of(tensors_of_every_kind(), "absolute", scheme, 1e-3).values():
        assert float(step.pow(2).mean().sqrt()) == pytest.approx(1e-3, rel=0.1)


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
def test_relative_steps_have_sigma_times_the_standard_deviation(scheme: str) -> None:
    tensors = tensors_of_every_kind()
    stds = {n: float(t.detach().double().std(correction=0)) for n, t in tensors.items()}
    for name, step in step_of(tensors, "relative", scheme, 0.05).items():
        assert float(step.pow(2).mean().sqrt()) == pytest.approx(0.05 * stds[name], rel=0.1)


@pytest.mark.parametrize("scheme", ["gaussian/1", "rademacher/1"])
def test_spectral_steps_have_sigma_times_the_norm(scheme: str) -> None:
    tensors = tensors_of_every_kind()
    norms = {n: exact_norm(t, KIND_OF[n]) for n, t in tensors.items()}
    steps = step_of(tensors, "spectral", scheme, 0.05)
    assert exact_norm(steps["w"], "matrix") == pytest.approx(0.05 * norms["w"], rel=0.1)
    assert exact_norm(steps["e"], "embedding") == pytest.approx(0.05 * norms["e"], rel=0.1)
    # The largest of 512 normal numbers is itself uncertain to 10 %.
    assert exact_norm(steps["v"], "vector") == pytest.approx(0.05 * norms["v"], rel=0.3)


def test_low_rank_steps_have_sigma_times_the_spectral_norm_and_vectors_stay() -> None:
    tensors = tensors_of_every_kind()
    norm = exact_norm(tensors["w"], "matrix")
    steps = step_of(tensors, "spectral", "low_rank/1:8", 0.05)
    assert exact_norm(steps["w"], "matrix") == pytest.approx(0.05 * norm, rel=0.1)
    assert not steps["v"].any()


def exact_norm(tensor: torch.Tensor, kind: Kind) -> float:
    tensor = tensor.detach().double()
    if kind == "matrix":
        return float(torch.linalg.matrix_norm(tensor.flatten(1), 2))
    return float(tensor.norm(dim=1).max() if kind == "embedding" else tensor.abs().max())


def test_masses_multiply_the_steps_of_their_kind() -> None:
    tensors = tensors_of_every_kind()
    plain = scale_factors(tensors, list(tensors), KIND_OF, "gaussian/1", WeightsConfig(scale="spectral"))
    heavy = WeightsConfig(scale="spectral", mass_matrix=2, mass_embedding=0.5, mass_vector=4)
    weighed = scale_factors(tensors, list(tensors), KIND_OF, "gaussian/1", heavy)
    for name, mass in (("w", 2), ("e", 0.5), ("v", 4)):
        assert weighed[name] == pytest.approx(mass * plain[name], rel=1e-5)


def test_tensors_of_zeros_move_by_sigma() -> None:
    tensors = {n: torch.nn.Parameter(torch.zeros_like(t)) for n, t in tensors_of_every_kind().items()}
    names = list(tensors)
    assert set(scale_factors(tensors, names, KIND_OF, "gaussian/1", WeightsConfig(scale="relative")).values()) == {1.0}
    # No norm to be a share of: the norm of the step itself is sigma.
    steps = step_of(tensors, "spectral", "rademacher/1", 0.05)
    assert exact_norm(steps["w"], "matrix") == pytest.approx(0.05, rel=0.05)
    assert exact_norm(steps["e"], "embedding") == pytest.approx(0.05, rel=1e-4)
    assert exact_norm(steps["v"], "vector") == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3e-5, 60000.0])
def test_a_constant_tensor_has_no_deviation_at_all(value: float) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert standard_deviation(torch.full((1237,), value, dtype=dtype)) == 0


def test_the_standard_deviation_is_the_populations_and_sees_small_spreads(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = 1 + 1e-4 * normal(1, "w", (300, 40))
    wanted = float(tensor.double().std(correction=0))
    assert standard_deviation(tensor) == pytest.approx(wanted, rel=1e-9)
    monkeypatch.setattr("thickets.weights.scale.norms._CHUNK", 1000)
    assert standard_deviation(tensor) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 9), (64, 64), (256, 512), (900, 300), (8, 4, 3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_power_iteration_is_within_one_per_cent(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    plain = 0.02 * normal(3, "x", shape)
    outlier = plain + torch.ones(shape) * 0.01
    for tensor in (plain.to(dtype), outlier.to(dtype), torch.zeros(shape, dtype=dtype)):
        exact = exact_norm(tensor, "matrix")
        found = spectral_norm("x", tensor)
        assert exact * 0.99 <= found <= exact * (1 + 1e-9)


def test_norms_in_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = 0.02 * normal(3, "x", (300, 70))
    whole = [tensor_norm("x", matrix, "matrix"), tensor_norm("x", matrix, "embedding")]
    monkeypatch.setattr("thickets.weights.scale.norms._CHUNK", 1000)
    assert [tensor_norm("x", matrix, "matrix"), tensor_norm("x", matrix, "embedding")] == pytest.approx(whole, rel=1e-9)


TENSORS: list[tuple[Kind, tuple[int, ...]]] = [
    ("matrix", (256, 512)),
    ("matrix", (600, 64)),
    ("embedding", (2000, 128)),
    ("vector", (576,)),
    ("vector", (9,)),
]
NOISES = [
    (scheme, kind, shape)
    for scheme in (*scheme_names(), "low_rank/1:1", "low_rank/1:64", "low_rank/1:600")
    for kind, shape in TENSORS
    if find_scheme(scheme).moves(len(shape))
]


@pytest.mark.parametrize(("scheme", "kind", "shape"), NOISES)
def test_the_expected_norm_of_the_noise_is_the_mean_of_what_is_drawn(
    scheme: str, kind: Kind, shape: tuple[int, ...]
) -> None:
    """A new scheme whose numbers are not as `noise_norm` takes them to be fails here."""
    noise = find_scheme(scheme)
    draws = 200 if kind == "vector" else 8
    drawn = [exact_norm(numbers(scheme, seed, "w", shape), kind) for seed in range(draws)]
    # A step of rank 1 is as long as two normal vectors happen to be.
    tolerance = 0.12 if scheme == "low_rank/1:1" else 0.05
    assert noise_norm(noise, kind, shape) == pytest.approx(sum(drawn) / draws, rel=tolerance)


def test_kinds_of_tensors() -> None:
    tied, untied = build_model("Llama"), build_model("Llama", tie_word_embeddings=False)
    kinds = tensor_kinds(tied)
    assert list(kinds) == list(canonical_tensors(tied))
    assert kinds["model.embed_tokens.weight"] == "embedding"
    assert kinds["model.layers.0.mlp.up_proj.weight"] == "matrix"
    assert kinds["model.norm.weight"] == "vector"
    assert tensor_kinds(untied)["lm_head.weight"] == "matrix"
    assert tensor_kinds(build_model("Qwen2"))["model.layers.0.self_attn.q_proj.bias"] == "vector"
    plain = torch.nn.Sequential(torch.nn.Embedding(5, 3), torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4))
    found = tensor_kinds(plain)
    assert (found["0.weight"], found["1.weight"], found["2.num_batches_tracked"]) == ("embedding", "matrix", "vector")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scale": "spectrl"}, "did you mean 'spectral'?"),
        ({"scale": "relative", "mass_vector": 2.0}, "weights.mass_vector is read by weights.scale spectral only"),
        ({"mass_matrix": 0.5}, "not by absolute"),
    ],
)
def test_settings_that_nothing_reads_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace(".", r"\.").replace("?", r"\?")):
        make_scale_rule(WeightsConfig(**settings))


@pytest.mark.parametrize("mass", [0, -1, math.inf, math.nan])
def test_a_mass_must_be_a_positive_number(mass: float) -> None:
    with pytest.raises(ConfigError, match=r"weights\.mass_matrix"):
        parse({"model": "m", "weights": {"scale": "spectral", "mass_matrix": mass}})


@pytest.mark.parametrize("rule", ["relative", "spectral"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", list(KIND_OF))
def test_weights_that_are_no_numbers_are_named(rule: str, value: float, name: str) -> None:
    tensors = tensors_of_every_kind()
    with torch.no_grad():
        tensors[name].view(-1)[-1] = value
    with pytest.raises(WeightsError, match=f"gives tensor {name} the factor"):
        scale_factors(tensors, list(tensors), KIND_OF, "gaussian/1", WeightsConfig(scale=rule))


@pytest.mark.parametrize("rule", RULES)
def test_a_run_records_its_factors_and_its_ensemble_takes_the_same_steps(
    rule: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["weights"] = {"scale": rule}
    settings["search"]["population"] = 4
    placed: dict[int, list[str]] = {}
    honest = HuggingFaceEngine.place

    def place(engine: HuggingFaceEngine, perturbation: Perturbation | None) -> None:
        honest(engine, perturbation)
        if perturbation is not None:
            placed.setdefault(perturbation.seed, []).append(fingerprint(engine.base.live))

    monkeypatch.setattr(HuggingFaceEngine, "place", place)
    config = parse(settings)
    execute(config)
    with Run.read(config.directory) as run:
        factors = run.meta("factors")
        assert run.meta("engine")["base_copy"] == "0.00 GiB on cpu"
    assert len(factors) == len(canonical_tensors(build_model("Llama")))
    assert (set(factors.values()) == {1.0}) is (rule == "absolute")
    saved = json.loads((config.directory / "ensemble.json").read_text())
    assert saved["weights"]["scale"] == rule
    Ensemble.load(config.directory).generate(["Write b as in word 1."])
    # Every member was placed in the search, on two held-out splits and by the ensemble.
    members = {m["seed"] for m in saved["members"]}
    assert all(len(placed[seed]) == 4 and len(set(placed[seed])) == 1 for seed in members)


def test_a_run_does_not_go_on_with_other_factors(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    settings["weights"] = {"scale": "relative"}
    config = parse(settings)
    monkeypatch.setattr("thickets.randopt._keep", _stopped)
    with pytest.raises(KeyboardInterrupt):
        execute(config)
    monkeypatch.undo()
    with Run.begin(config) as run:
        factors = run.meta("factors")
        changed = next(iter(factors))
        run.set_meta("factors", factors | {changed: factors[changed] * (1 + 1e-5)})
    with pytest.raises(RunError, match=f"the scale factors are not those .*1 differ, {changed} among"):
        execute(config)
    with Run.begin(config) as run:
        run.set_meta("factors", factors | {changed: factors[changed] * (1 + 1e-8)})
    assert execute(config).finished


def _stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_rule_is_checked_before_the_model_is_loaded(settings: dict[str, Any]) -> None:
    settings |= {"model": "/no/such/model", "weights": {"scale": "relativ"}}
    with pytest.raises(ThicketsError, match="did you mean 'relative'"):
        execute(parse(settings))


def test_an_engine_looks_at_the_untouched_weights_only() -> None:
    model = build_model("Llama")
    config = parse({"model": "given", "weights": {"scale": "spectral"}, "engine": {"device": "cpu", "base": "host"}})
    engine = HuggingFaceEngine.start(config, model, build_tokenizer())
    tensors = canonical_tensors(model)
    names = moving(tensors, ["*"], [])
    engine.place(Perturbation(1, 0.3))
    moved = scale_factors(tensors, names, tensor_kinds(model), "gaussian/1", config.weights)
    engine.place(None)
    assert engine.factors == scale_factors(tensors, names, tensor_kinds(model), "gaussian/1", config.weights) != moved


def test_scale_rules_are_listed_without_torch() -> None:
    code = "import sys; from thickets.weights import scale_rules; scale_rules(); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert ended.stdout.strip() == "False"
