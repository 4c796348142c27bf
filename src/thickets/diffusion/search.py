"""`search_pipeline(pipe, reward, prompts)`: guess, check, keep the best, test. Holds no method of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.config import validate
from thickets.config.diffusion import ImageSearchConfig
from thickets.diffusion.denoiser import Denoiser
from thickets.diffusion.found import FoundImages
from thickets.diffusion.held_out import MODELS, Test, run_test
from thickets.diffusion.painting import CannotDraw, Painter, Shot, shots
from thickets.diffusion.publishing import publish
from thickets.diffusion.records import BASE, Records, Trial
from thickets.diffusion.rewards import ImageReward, Judge, make_judge
from thickets.errors import CandidateFailed, DataError, RunError
from thickets.searching.strategies.random import perturbations
from thickets.types import Perturbation

if TYPE_CHECKING:
    from thickets.diffusion.rewards import Score

# Streams of the seeds of latents.
_SELECTION, _TEST = 0, 1


class Watching:
    """Hears what a search does; this one is silent. Override what you want to show."""

    def say(self, sentence: str) -> None:
        """A sentence for the user."""

    def begin(self, phase: str, total: int, unit: str) -> None:
        """A phase of `total` candidates or images starts."""

    def step(self, count: int, score: float | None = None) -> None:
        """So many more are done, also by an earlier process; `score` is a candidate's mean reward."""

    def end(self) -> None:
        """The phase has ended."""


def search_pipeline(
    pipe: Any,
    reward: str | Score | ImageReward | Judge,
    prompts: Sequence[str],
    *,
    test_prompts: Sequence[str] | None = None,
    out: str | Path | None = None,
    model: Mapping[str, Any] | None = None,
    watching: Watching | None = None,
    **settings: Any,
) -> FoundImages:
    """Search around the denoiser of a text-to-image pipeline of diffusers, keep the best, test them together.

    `reward(images, prompts)` gives a number for each image, larger being better; a name is that of a built-in
    (`redness`, `colour:#ff8800`, `clip:FOLDER`) or `file.py:function`. Every candidate draws the selection `prompts`
    from the same latents. The test draws `test_prompts`, or `prompts` from other latents where there are none. `out` is
    a directory for records, test images, `ensemble.json`, `report.html` and `grid.png`; the same call goes on after a
    kill. `model` says how the pipeline can be loaded again, for `ensemble.json`. `settings` are the fields of
    `ImageSearchConfig`: population, sigmas, top_k, seed, steps, guidance_scale, weights, ...

    The pipeline is left as it was, to the bit. Raises a `ThicketsError` for whatever the user can mend, before
    anything is drawn where that is possible.
    """
    config = validate(ImageSearchConfig, settings, "search_pipeline")
    plan = make_plan(config, prompts, test_prompts)
    judge = make_judge(reward)
    painter = Painter(pipe, config.call(), config.batch)
    denoiser = Denoiser(pipe, config.noise, config.weights, config.denoiser, config.base)
    denoiser.check(config.sigmas)
    watch = watching or Watching()
    with Records(None if out is None else Path(out)) as records:
        watch.say(f"pipe.{denoiser.name} moves; the copy of its weights takes {denoiser.base.cost}")
        # Every weight is read for it, so only where the search may be gone on with.
        identity = {} if out is None else {"_pipeline": denoiser.identity()}
        records.begin(plan.fixed(judge) | identity)
        search = _Search(denoiser, painter, judge, records, plan, watch)
        try:
            return search.run(model)
        finally:
            # Also after Ctrl-C: the pipeline is the user's.
            denoiser.base.place(None)


@dataclass(frozen=True)
class Plan:
    """What is to be drawn: by every candidate, and in the test."""

    config: ImageSearchConfig
    selection: tuple[Shot, ...]
    test: tuple[Shot, ...]
    over: Literal["prompts", "latents"]
    candidates: list[Perturbation] = field(repr=False)

    def fixed(self, judge: Judge) -> dict[str, Any]:
        """What must not change when a search goes on, as JSON values."""
        drawn = {
            name: list(dict.fromkeys(shot.prompt for shot in part))
            for name, part in (("prompts", self.selection), ("test_prompts", self.test))
        }
        return self.config.fixed() | drawn | {"reward": judge.label}


def make_plan(config: ImageSearchConfig, prompts: Sequence[str], test_prompts: Sequence[str] | None) -> Plan:
    """Raises `DataError` for prompts that are missing, empty, twice there, or in both parts."""
    _check(prompts, "the selection prompts")
    held_out = prompts if test_prompts is None else test_prompts
    if test_prompts is not None:
        _check(test_prompts, "the test prompts")
        both = [p for p in test_prompts if p in set(prompts)]
        if both:
            raise DataError(
                f"the test prompt {both[0][:60]!r} is also a selection prompt; leave it out, or give no test prompts "
                "to test on the selection prompts from other latents"
            )
    units = len(held_out) if test_prompts is not None else len(held_out) * config.test_images_per_prompt
    if config.test_images_per_prompt and units < 2:
        what = "test prompts" if test_prompts is not None else "test images (test_images_per_prompt)"
        raise DataError(f"one of the {what} is too few to tell a difference from chance; give at least 2")
    return Plan(
        config,
        tuple(shots(prompts, config.images_per_prompt, config.seed, _SELECTION)),
        tuple(shots(held_out, config.test_images_per_prompt, config.seed, _TEST)),
        "latents" if test_prompts is None else "prompts",
        perturbations(config),
    )


def _check(prompts: Sequence[str], what: str) -> None:
    if isinstance(prompts, str) or not all(isinstance(p, str) for p in prompts):
        raise DataError(f"{what} must be a list of texts")
    if not prompts:
        raise DataError(f"{what} are none at all; give at least one")
    if not all(p.strip() for p in prompts):
        raise DataError(f"one of {what} is empty; leave it out")
    if len(set(prompts)) < len(prompts):
        twice = next(p for i, p in enumerate(prompts) if p in prompts[:i])
        raise DataError(f"{what} hold {twice[:60]!r} twice; for more images of it raise images_per_prompt")


@dataclass(frozen=True)
class _Search:
    denoiser: Denoiser
    painter: Painter
    judge: Judge
    records: Records
    plan: Plan
    watch: Watching

    def run(self, model: Mapping[str, Any] | None) -> FoundImages:
        trials, directory = self._trials(), self.records.directory
        members = _best(trials, self.plan.config.top_k)
        self.denoiser.base.verify()
        found = FoundImages(
            self.denoiser,
            trials[BASE],
            self.plan.candidates,
            [trials[i] for i in range(len(self.plan.candidates))],
            members,
            None,
            self.plan.config,
            self.judge.label,
            model,
        )
        if directory is not None:
            # Before the test, which may take longer than the search did.
            found.save(directory / "ensemble.json")
        if self.plan.test:
            found = replace(found, test=self._test(found))
            self.denoiser.base.verify()
        if directory is not None:
            publish(found, directory)
        return found

    def _trials(self) -> dict[int, Trial]:
        done = self.records.trials()
        if BASE not in done:
            # First: what fails on the base would fail on every candidate.
            done[BASE] = self._scored(BASE, None)
        if (failure := done[BASE].failure) is not None:
            raise CandidateFailed(f"the base itself cannot be scored: {failure}")
        self.watch.say(f"the base's mean reward is {done[BASE].score:.4f} on {len(self.plan.selection)} images")
        with _phase(self.watch, "search", len(self.plan.candidates), "candidate"):
            for i, candidate in enumerate(self.plan.candidates):
                if i not in done:
                    done[i] = self._scored(i, candidate)
                self.watch.step(1, done[i].score)
        return done

    def _scored(self, number: int, candidate: Perturbation | None) -> Trial:
        started = time.monotonic()
        rewards: list[float] = []
        failure = None
        self.denoiser.base.place(candidate)
        try:
            images = self.painter.paint(self.plan.selection)
            rewards = self.judge.rewards(images, [shot.prompt for shot in self.plan.selection])
        except CandidateFailed as error:
            failure = str(error)
        except CannotDraw as error:
            if candidate is None:
                raise
            # The candidate's step is at fault where the base can still be drawn; where it cannot, this raises.
            self.denoiser.base.place(None)
            self.painter.draw(next(self.painter.batches(self.plan.selection)))
            failure = str(error)
        trial = Trial(tuple(rewards), failure, time.monotonic() - started)
        if candidate is not None or failure is None:
            # A base that failed is tried again: its reward may have been mended since.
            self.records.record(number, trial)
        return trial

    def _test(self, found: FoundImages) -> Test:
        candidates, members = found.candidates, found.members
        scored = [p for p, trial in zip(candidates, found.trials, strict=True) if trial.failure is None]
        models: dict[str, Sequence[Perturbation | None]] = {
            "base": [None],
            "best": [candidates[members[0]]],
            # Chance has drawn all candidates alike, so the first are as random as any.
            "random": scored[: len(members)],
            "ensemble": [candidates[i] for i in members],
        }
        with _phase(self.watch, "test", len(MODELS) * len(self.plan.test), "image"):
            return run_test(
                self.denoiser,
                self.painter,
                self.judge,
                self.records,
                {name: models[name] for name in MODELS},
                self.plan.test,
                self.plan.over,
                self.plan.config.hold,
                self.watch.step,
            )


@contextmanager
def _phase(watch: Watching, name: str, total: int, unit: str) -> Iterator[None]:
    watch.begin(name, total, unit)
    try:
        yield
    finally:
        # Also after Ctrl-C: a bar that is drawn on would hide what is said next.
        watch.end()


def _best(trials: Mapping[int, Trial], top_k: int) -> list[int]:
    scored = [i for i, trial in trials.items() if i != BASE and not math.isnan(trial.score)]
    if len(scored) < top_k:
        failures = [trial.failure for trial in trials.values() if trial.failure is not None]
        raise RunError(
            f"only {len(scored)} candidates of {len(trials) - 1} could be scored, fewer than top_k = {top_k} (the "
            f"first failure: {failures[0]}); mend the reward, or try smaller sigmas"
        )
    return sorted(scored, key=lambda i: (-trials[i].score, i))[:top_k]
