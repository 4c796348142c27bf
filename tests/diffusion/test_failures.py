"""What fails in a search around a pipeline, and when: a candidate, a member in the test, the machine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.diffusion.conftest import PIPES, stable_diffusion
from tests.diffusion.test_search import redness
from thickets.config.diffusion import ImageSearchConfig
from thickets.diffusion import PipelineEnsemble, Watching, search_pipeline
from thickets.diffusion.averaging import averaged
from thickets.diffusion.held_out import Test
from thickets.diffusion.painting import Painter
from thickets.errors import EngineError
from thickets.searching.strategies.random import perturbations

PROMPTS, TEST_PROMPTS = ["a cat", "a dog"], ["a hat", "an egg", "ice"]
FAST: dict[str, Any] = {"population": 6, "sigmas": [0.05, 0.2], "top_k": 3, "images_per_prompt": 1, "batch": 2} | PIPES[
    "unet"
][1]
# Calls of the reward for batches of 2: the base and 6 candidates have one each, then every model 6 of its 12 images.
BASE_TEST, BEST_TEST, RANDOM_TEST, ENSEMBLE_TEST = 8, 14, 20, 26


class Moody:
    """`redness`, but NaN in one call, counted from 1."""

    def __init__(self, bad: int) -> None:
        self.bad, self.calls = bad, 0

    def __call__(self, images: Any, prompts: Any) -> list[float]:
        self.calls += 1
        return [math.nan] * len(images) if self.calls == self.bad else redness(images, prompts)


def broken_at_first() -> dict[str, Any]:
    """Settings under which the first candidate, and not most, takes a step so long that its images are NaN."""
    for seed in range(100):
        settings = FAST | {"sigmas": [0.05, 1e30], "seed": seed, "top_k": 2}
        long = [p.sigma > 1 for p in perturbations(ImageSearchConfig.model_validate(settings))]
        if long[0] and sum(long) <= 3:
            return settings
    raise AssertionError("no seed gives that")


def test_random_members_are_candidates_that_could_be_scored() -> None:
    pipe = stable_diffusion()
    found = search_pipeline(pipe, "redness", PROMPTS, **broken_at_first())
    assert found.trials[0].failure is not None
    whole = [p for p, t in zip(found.candidates, found.trials, strict=True) if t.failure is None]
    assert found.test is not None
    painter = Painter(pipe, found.settings.call(), 2)
    with averaged(found.denoiser, whole[:2]):
        drawn = painter.draw(found.test.shots[:2])
    assert redness(drawn, None) == pytest.approx(list(found.test.figures["random"].rewards[:2]), abs=1e-12)


@pytest.fixture(scope="module")
def undisturbed() -> Test:
    """The test of a search in which nothing fails."""
    found = search_pipeline(stable_diffusion(), redness, PROMPTS, test_prompts=TEST_PROMPTS, **FAST)
    assert found.test is not None
    return found.test


@pytest.mark.parametrize(("model", "call"), [("best", BEST_TEST + 1), ("random", RANDOM_TEST)])
def test_a_member_that_fails_on_a_test_prompt_ends_only_its_own_part(
    model: str, call: int, undisturbed: Test, tmp_path: Path
) -> None:
    pipe, out = stable_diffusion(), tmp_path / "s"
    reward = Moody(call)
    found = search_pipeline(pipe, reward, PROMPTS, test_prompts=TEST_PROMPTS, out=out, **FAST)
    test = found.test
    assert test is not None
    assert list(test.failures) == [model]
    assert "which is not a finite number" in test.failures[model]
    assert set(test.figures) == {"base", "best", "random", "ensemble"} - {model}
    assert (test.chosen is None) == (model == "random")
    assert test.verdict in ("helped", "hurt", "no clear difference")
    report = json.loads((out / "report.json").read_text())
    assert report["test"]["failures"] == test.failures
    assert "not a finite number" in (out / "report.html").read_text()
    assert (out / "grid.png").exists()
    # The same command tries again what failed, and only that.
    before = reward.calls
    again = search_pipeline(pipe, reward, PROMPTS, test_prompts=TEST_PROMPTS, out=out, **FAST)
    assert reward.calls - before == (5 if model == "best" else 6)
    assert again.test is not None
    assert (again.test.failures, again.test.figures) == ({}, undisturbed.figures)


@pytest.mark.parametrize(("model", "call"), [("base", BASE_TEST + 2), ("ensemble", ENSEMBLE_TEST + 5)])
def test_without_base_or_ensemble_the_verdict_is_not_known(model: str, call: int, tmp_path: Path) -> None:
    pipe, out = stable_diffusion(), tmp_path / "s"
    found = search_pipeline(pipe, Moody(call), PROMPTS, test_prompts=TEST_PROMPTS, out=out, **FAST)
    assert found.test is not None
    assert found.test.verdict == "not known"
    sentence, page = found.test.sentence(), (out / "report.html").read_text()
    assert sentence == f"It is not known whether RandOpt helped, as the {model} failed the test."
    assert sentence in page
    assert f"There is no figure for the {model}: of test images" in page
    assert json.loads((out / "ensemble.json").read_text())["results"] == {"verdict": "not known", "sentence": sentence}
    assert len(PipelineEnsemble.load(out, pipe).members) == 3


def test_a_test_in_which_everything_fails_is_published_too(tmp_path: Path) -> None:
    def afraid_of_ice(images: Any, prompts: Sequence[str]) -> list[float]:
        if "ice" in prompts:
            raise ValueError("ice")
        return redness(images, prompts)

    out = tmp_path / "s"
    found = search_pipeline(stable_diffusion(), afraid_of_ice, PROMPTS, test_prompts=TEST_PROMPTS, out=out, **FAST)
    assert found.test is not None
    assert list(found.test.failures) == ["base", "best", "random", "ensemble"]
    assert "raised ValueError: ice" in (out / "report.html").read_text()
    assert not (out / "grid.png").exists()


def raising(when: Callable[[torch.Tensor], bool], error: Exception) -> Any:
    """A pipeline that raises `error` from the middle of drawing, when its denoiser's prediction is as said."""
    pipe = stable_diffusion()

    def look(module: Any, inputs: Any, output: Any) -> None:
        if when(output[0]):
            raise error

    pipe.unet.register_forward_hook(look)
    return pipe


def runs_away(prediction: torch.Tensor) -> bool:
    return not bool(torch.isfinite(prediction).all())


@pytest.mark.parametrize("error", [ValueError("the solver diverged"), RuntimeError("the solver diverged")])
def test_a_candidate_that_the_pipeline_cannot_draw_has_failed(error: Exception, tmp_path: Path) -> None:
    pipe, settings = raising(runs_away, error), broken_at_first()
    found = search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "s", **settings)
    long = [p.sigma > 1 for p in found.candidates]
    assert [trial.failure is not None for trial in found.trials] == long
    assert "cannot draw with these settings: the solver diverged" in (found.trials[0].failure or "")
    assert found.test is not None and not found.test.failures
    again = search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "s", **settings)
    assert again.as_json() == found.as_json()


def test_a_base_that_the_pipeline_cannot_draw_ends_the_search() -> None:
    pipe = raising(lambda prediction: True, ValueError("no such size"))
    with pytest.raises(EngineError, match="cannot draw with these settings: no such size"):
        search_pipeline(pipe, "redness", PROMPTS, **FAST)


def test_a_pipeline_that_breaks_in_the_middle_fails_no_candidate(tmp_path: Path) -> None:
    calls = 0

    def late(prediction: torch.Tensor) -> bool:
        nonlocal calls
        calls += 1
        # Three steps a batch: the base and two candidates are drawn, and nothing after them.
        return calls > 3 * 3

    with pytest.raises(EngineError, match="cannot draw with these settings: gone"):
        search_pipeline(raising(late, RuntimeError("gone")), "redness", PROMPTS, out=tmp_path / "s", **FAST)
    found = search_pipeline(stable_diffusion(), "redness", PROMPTS, out=tmp_path / "s", **FAST)
    assert found.failed == 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "too little memory .* to draw 2 images at once"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "too little memory"),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), "the device failed while Stable"),
    ],
)
def test_what_the_machine_is_at_fault_for_is_no_candidates_failure(
    error: Exception, sentence: str, tmp_path: Path
) -> None:
    settings = broken_at_first()
    with pytest.raises(EngineError, match=sentence):
        search_pipeline(raising(runs_away, error), "redness", PROMPTS, out=tmp_path / "s", **settings)
    # Nothing was recorded of it: the same search goes on.
    found = search_pipeline(stable_diffusion(), "redness", PROMPTS, out=tmp_path / "s", **settings)
    assert "NaN or infinite" in (found.trials[0].failure or "")


def test_the_pipeline_that_fails_in_the_test_costs_a_model_its_figure() -> None:
    calls = 0

    def late(prediction: torch.Tensor) -> bool:
        nonlocal calls
        calls += 1
        # Three steps a batch: the base and 6 candidates, then 4 batches of the base; so this is the best member's.
        return calls == 3 * (7 + 4) + 1

    found = search_pipeline(raising(late, ValueError("no")), "redness", PROMPTS, **FAST)
    assert found.test is not None
    assert list(found.test.failures) == ["best"]
    assert found.test.verdict != "not known"


def test_the_members_are_on_disk_before_the_test(tmp_path: Path) -> None:
    class Stop(Watching):
        def begin(self, phase: str, total: int, unit: str) -> None:
            if phase == "test":
                raise KeyboardInterrupt

    pipe = stable_diffusion()
    with pytest.raises(KeyboardInterrupt):
        search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "s", watching=Stop(), **FAST)
    assert len(PipelineEnsemble.load(tmp_path / "s", pipe).members) == 3
