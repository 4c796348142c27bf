"""The test: base, best member, random members and the ensemble on images that selection never saw. Knows no search."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from thickets.analysis.statistics import Interval, Verdict, student_mean
from thickets.diffusion.averaging import averaged
from thickets.diffusion.denoiser import Denoiser
from thickets.diffusion.painting import CannotDraw, Painter, Shot
from thickets.diffusion.records import Records
from thickets.diffusion.rewards import Judge
from thickets.errors import CandidateFailed, RunError
from thickets.types import Perturbation

if TYPE_CHECKING:
    from PIL.Image import Image

# What the test compares, in this order, and what people call it; folders of images and figures have the short names.
MODELS = {"base": "base", "best": "best member", "random": "random members", "ensemble": "ensemble"}


@dataclass(frozen=True)
class Figure:
    """Of one model: mean reward of its test images, and how much more than the base's on the same prompts and latents.

    `rewards` are the images' own. There is no `gain` where the base has no figure.
    """

    model: str
    reward: Interval
    gain: Interval | None
    rewards: tuple[float, ...]


@dataclass(frozen=True)
class Test:
    """What came out: of each of `MODELS` a figure, or in `failures` why its images could not be drawn or judged.

    `over` is what was held out and what the intervals are taken over: other prompts, or other latents of the same ones.
    `chosen` is the ensemble's reward over that of as many random members: what selection itself brought.
    """

    # Its name is no invitation to pytest.
    __test__ = False

    shots: tuple[Shot, ...]
    over: Literal["prompts", "latents"]
    figures: dict[str, Figure]
    chosen: Interval | None
    failures: dict[str, str]

    @property
    def gain(self) -> Interval | None:
        """The ensemble's over the base; `None` where one of them failed."""
        return self.figures["ensemble"].gain if "ensemble" in self.figures else None

    @property
    def verdict(self) -> Verdict | Literal["not known"]:
        """Whether the ensemble is better than the base beyond chance (95 %)."""
        return "not known" if self.gain is None else self.gain.verdict

    def failed(self) -> list[str]:
        """A sentence for each model without a figure."""
        return [f"There is no figure for the {MODELS[model]}: {why}." for model, why in self.failures.items()]

    def sentence(self) -> str:
        """The verdict for people, with what it rests on."""
        gain = self.gain
        if gain is None:
            lacking = " and the ".join(MODELS[model] for model in ("base", "ensemble") if model in self.failures)
            return f"It is not known whether RandOpt helped, as the {lacking} failed the test."
        prompts = len({shot.prompt for shot in self.shots})
        what = f"{len(self.shots)} images of {prompts} {'prompt' if prompts == 1 else 'prompts'}"
        held = "held-out prompts" if self.over == "prompts" else "the selection prompts from other latents"
        words = {
            "helped": "RandOpt helped",
            "hurt": "RandOpt hurt",
            "no clear difference": "There is no clear difference",
        }
        return (
            f"{words[gain.verdict]}: the ensemble's mean reward is {gain.value:+.4f} over the base's "
            f"({gain.low:+.4f} to {gain.high:+.4f} with 95 % confidence), on {what}: {held}."
        )


def run_test(
    denoiser: Denoiser,
    painter: Painter,
    judge: Judge,
    records: Records,
    models: dict[str, Sequence[Perturbation | None]],
    wanted: Sequence[Shot],
    over: Literal["prompts", "latents"],
    hold: bool,
    heard: Callable[[int], None],
) -> Test:
    """Draw and judge the test images of every model; those that an earlier process recorded are not drawn again.

    A model fails with the first batch that cannot be drawn or judged; the others go on. That is not recorded, so the
    same search tries it again: its reward may have been mended since.
    """
    rewards, failures = {}, {}
    for model, members in models.items():
        done = records.tests(model)
        heard(len(done))
        try:
            if len(done) < len(wanted):
                with averaged(denoiser, members, hold):
                    _draw(model, painter, judge, records, wanted, done, heard)
        except CandidateFailed as error:
            failures[model] = str(error)
            continue
        known = records.tests(model)
        rewards[model] = [known[i] for i in range(len(wanted))]
    return _compared(rewards, failures, wanted, over)


def _draw(
    model: str,
    painter: Painter,
    judge: Judge,
    records: Records,
    wanted: Sequence[Shot],
    done: dict[int, float],
    heard: Callable[[int], None],
) -> None:
    first = 0
    for batch in painter.batches(wanted):
        if first not in done:
            try:
                images = painter.draw(batch)
                if records.directory is not None:
                    # Before the record: what is recorded is there.
                    _save(images, records.directory / "images" / model, first)
                values = judge.rewards(images, [shot.prompt for shot in batch])
            except (CandidateFailed, CannotDraw) as error:
                raise CandidateFailed(f"of test images {first + 1} to {first + len(batch)}, {error}") from error
            records.record_tests(model, first, values)
            heard(len(batch))
        first += len(batch)


def _save(images: Sequence[Image], folder: Path, first: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(images):
            path = image_path(folder, first + i)
            temporary = path.with_suffix(".tmp")
            image.save(temporary, format="PNG")
            os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"cannot write {folder}: {error.strerror or error}; mend that and repeat the command, nothing recorded is "
            "lost"
        ) from error


def image_path(folder: Path, number: int) -> Path:
    """Where a test image of that number is."""
    return folder / f"{number:04}.png"


def _compared(
    rewards: dict[str, list[float]],
    failures: dict[str, str],
    wanted: Sequence[Shot],
    over: Literal["prompts", "latents"],
) -> Test:
    def units(values: Sequence[float]) -> list[float]:
        """One number for each thing that was held out: images of one prompt are no independent prompts."""
        if over == "latents":
            return list(values)
        by_prompt: dict[str, list[float]] = {}
        for shot, value in zip(wanted, values, strict=True):
            by_prompt.setdefault(shot.prompt, []).append(value)
        return [sum(v) / len(v) for v in by_prompt.values()]

    def gain(model: str, other: str) -> Interval | None:
        if model not in rewards or other not in rewards:
            return None
        return student_mean(units([a - b for a, b in zip(rewards[model], rewards[other], strict=True)]))

    figures = {
        model: Figure(model, student_mean(units(values)), gain(model, "base"), tuple(values))
        for model, values in rewards.items()
    }
    return Test(tuple(wanted), over, figures, gain("ensemble", "random"), failures)
