"""On a GPU: whole runs, searches around modules and pipelines, and a training, with what differs from a CPU.

One command: `pytest tests/cuda`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import build_model, build_tokenizer
from thickets.config import merge, parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.errors import EngineError, ThicketsError
from thickets.module import search
from thickets.randopt import add_baselines, execute
from thickets.searching import Progress
from thickets.store import Run
from thickets.types import Blend, Message, Perturbation, Prompt, Sampling
from thickets.weights import canonical_tensors, fingerprint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

PROMPTS: list[Prompt] = [
    (Message("user", f"Say the word {word} again."),) for word in ("oak", "ash", "elm tree", "yew")
]


def engine(device: str, kind: str = "Llama", **settings: Any) -> HuggingFaceEngine:
    config = parse(merge({"model": {"name": "tiny", "dtype": "float32"}, "engine": {"device": device}}, settings))
    return HuggingFaceEngine.start(config, build_model(kind), build_tokenizer())


@pytest.mark.parametrize("noise", ["gaussian/1", "rademacher/1", "low_rank/1:2"])
@pytest.mark.parametrize("where", ["device", "host"])
def test_weights_are_the_cpus_bit_for_bit_and_the_base_comes_back(noise: str, where: str) -> None:
    searched = {"search": {"noise": noise}, "weights": {"scale": "relative"}}
    cpu, gpu = engine("cpu", **searched), engine("cuda", **searched, engine={"device": "cuda", "base": where})
    assert gpu.fingerprint == cpu.fingerprint
    one, other = Perturbation(7, 0.1), Perturbation(8, 0.2, -1)
    for point in (one, other, Blend((one, other)), None):
        cpu.place(point)
        gpu.place(point)
        assert fingerprint(canonical_tensors(gpu.model)) == fingerprint(canonical_tensors(cpu.model)), point
    gpu.verify_base()


def test_answers_are_the_cpus_in_float32() -> None:
    cpu, gpu = engine("cpu"), engine("cuda")
    for point in (None, Perturbation(1, 0.02), Perturbation(2, 0.05)):
        answers = []
        for there in (cpu, gpu):
            there.place(point)
            answers.append(there.generate(PROMPTS, Sampling(12)))
        assert answers[0] == answers[1], point


def test_a_run_on_the_gpu_ends_as_one_on_the_cpu(settings: dict[str, Any]) -> None:
    """Scores of all candidates, members and votes; with the controls, whose samples are drawn outside the model."""
    settings = merge(settings, {"baselines": {"names": ["default"]}})
    directories = []
    for device in ("cpu", "cuda"):
        config = parse(merge(settings, {"engine": {"device": device}, "out": f"{settings['out']}-{device}"}))
        summary = execute(config, Progress())
        assert summary.notes == ()
        directories.append(config.directory)
    trials = []
    for directory in directories:
        with Run.read(directory) as run:
            trials.append({(s, t.candidate): t.outcomes for s in ("selection", "test") for t in run.trials(s)})
    assert trials[0] == trials[1]
    votes = [json.loads((d / "ensemble.json").read_text(encoding="utf-8"))["members"] for d in directories]
    assert votes[0] == votes[1]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """So little of the GPU's memory that generating runs out of it."""
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + (64 << 20)) / total))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_memory_that_runs_out_while_generating_is_one_sentence(little_memory: None) -> None:
    there = engine("cuda", engine={"device": "cuda", "batch_tokens": 10_000_000})
    prompts: list[Prompt] = [(Message("user", f"{i} " + "again " * 300),) for i in range(400)]
    with pytest.raises(EngineError, match=r"the GPU ran out of memory while generating .* --engine\.batch-tokens"):
        there.generate(prompts, Sampling(8))


def regression(device: str) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    x = torch.randn(256, 5, generator=generator)
    made = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
    return made, (x.to(device), x.sum(1, keepdim=True).sin().to(device))


def error(model: nn.Module, batch: Any) -> torch.Tensor:
    x, y = batch
    return -(model(x) - y).square().squeeze(1)


@pytest.mark.parametrize("screen", [False, True])
def test_a_search_around_a_module_finds_the_same_members(screen: bool) -> None:
    found = [
        search(module, error, data, population=400, sigmas=(0.1, 0.3), top_k=5, screen=screen)
        for module, data in map(regression, ("cpu", "cuda"))
    ]
    assert found[0].members == found[1].members
    for number in found[0].members:
        assert found[0].candidates[number].score == pytest.approx(found[1].candidates[number].score, rel=1e-4)


def test_a_module_on_another_device_than_its_data_is_one_sentence() -> None:
    (module, _), (_, data) = regression("cuda"), regression("cpu")
    with pytest.raises(ThicketsError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        search(module, error, data, population=10, top_k=2)


def test_a_population_that_the_gpu_has_no_room_for_is_taken_in_smaller_chunks() -> None:
    module, data = regression("cuda")
    whole = search(module, error, data, population=64, sigmas=(0.1,), top_k=3)
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (4 << 20)) / total)
    try:
        parts = search(module, error, data, population=4096, sigmas=(0.1,), top_k=3, memory=1 << 34)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    for a, b in zip(parts.candidates, whole.candidates, strict=False):
        assert a.score == pytest.approx(b.score, rel=1e-4)


def test_a_search_around_a_pipeline() -> None:
    diffusion = pytest.importorskip("tests.diffusion.conftest")
    import thickets

    found = [
        thickets.search_pipeline(
            diffusion.stable_diffusion().to(device),
            "redness",
            ["a cat", "a dog"],
            population=6,
            sigmas=[0.05, 0.2],
            top_k=3,
            images_per_prompt=1,
            batch=2,
            **diffusion.PIPES["unet"][1],
        )
        for device in ("cpu", "cuda")
    ]
    for a, b in zip(found[0].trials, found[1].trials, strict=True):
        assert a.rewards == pytest.approx(b.rewards, abs=0.02)


def test_grpo_trains_and_is_evaluated(settings: dict[str, Any]) -> None:
    pytest.importorskip("trl")
    quick = {"samples": 64, "questions": 4, "group": 4, "learning_rate": 1e-2, "save_every": 1}
    config = parse(merge(settings, {"engine": {"device": "cuda"}, "baselines": {"grpo": quick}}))
    execute(config, Progress())
    summary = add_baselines(config, ["grpo"], Progress())
    assert "grpo" in {row.name for row in summary.baselines}
