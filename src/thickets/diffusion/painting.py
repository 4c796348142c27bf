"""Draws images of prompts from fixed latents, in fixed batches. Knows nothing of candidates or rewards."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from thickets.errors import CandidateFailed, ConfigError, EngineError, ModelError
from thickets.plugins import nearest

if TYPE_CHECKING:
    from PIL.Image import Image

# Seeds fit a float64 without loss, so that any JSON reader gets the same ones.
_SEEDS = 2**53


@dataclass(frozen=True)
class Shot:
    """An image to be drawn: its prompt, and the seed of its latents and of whatever else the scheduler draws."""

    prompt: str
    seed: int


def shots(prompts: Sequence[str], each: int, seed: int, stream: int) -> list[Shot]:
    """`each` images of every prompt, prompt by prompt. Streams of one seed have no latents in common.

    More prompts leave the shots of those before them as they are.
    """
    generator = np.random.Generator(np.random.PCG64([seed, stream]))
    # Even and odd seeds keep streams apart for good.
    return [Shot(p, int(generator.integers(_SEEDS // 2)) * 2 + stream % 2) for p in prompts for _ in range(each)]


class CannotDraw(EngineError):  # noqa: N818 - with a candidate it is an outcome
    """A call of the pipeline raised. With the base's weights the settings are at fault, with a candidate's its step."""


class Painter:
    """Draws shots with a pipeline, `batch` at a time; the same shots in the same batches are the same images.

    Latents come from a generator on the CPU for each image, so they are the same on every device. Raises `ConfigError`
    for an argument that the pipeline's call does not take.
    """

    def __init__(self, pipe: Any, arguments: Mapping[str, Any], batch: int) -> None:
        self.pipe, self.arguments, self.batch = pipe, dict(arguments), batch
        taken = inspect.signature(type(pipe).__call__).parameters
        if "prompt" not in taken or "generator" not in taken:
            raise ModelError(f"{type(pipe).__name__} does not draw images of prompts; give a text-to-image pipeline")
        for name in self.arguments:
            # Some pipelines swallow unknown names (**kwargs), and would draw as if they had not been given.
            if name not in taken:
                known = [n for n in taken if n != "self"]
                raise ConfigError(f"{type(pipe).__name__} takes no argument {name!r}; {nearest(name, known)}")

    def paint(self, wanted: Sequence[Shot]) -> list[Image]:
        """The images of one batch or of several. Raises `CandidateFailed` where a value is NaN or infinite."""
        return [image for batch in self.batches(wanted) for image in self.draw(batch)]

    def batches(self, wanted: Sequence[Shot]) -> Iterator[Sequence[Shot]]:
        """In which parts the shots are drawn."""
        for first in range(0, len(wanted), self.batch):
            yield wanted[first : first + self.batch]

    def draw(self, batch: Sequence[Shot]) -> list[Image]:
        """The images of one batch, in one call of the pipeline.

        Raises `CannotDraw` where the pipeline raises, and `EngineError` where the machine is at fault.
        """
        import torch

        given = {n: [v] * len(batch) if n.startswith("negative_prompt") else v for n, v in self.arguments.items()}
        generators = [torch.Generator("cpu").manual_seed(shot.seed) for shot in batch]
        try:
            with _quiet(self.pipe), torch.no_grad():
                drawn = self.pipe(prompt=[s.prompt for s in batch], generator=generators, output_type="np", **given)
        except (ValueError, TypeError, RuntimeError) as error:
            name, said = type(self.pipe).__name__, " ".join(str(error).split())[:300]
            if isinstance(error, torch.AcceleratorError):
                raise EngineError(f"the device failed while {name} drew: {said}; repeat the command") from error
            if any(words in str(error) for words in ("out of memory", "allocate memory")):
                raise EngineError(
                    f"there is too little memory for {name} to draw {len(batch)} images at once ({said}); repeat the "
                    "command with a smaller batch, height or width"
                ) from error
            raise CannotDraw(f"{name} cannot draw with these settings: {said}") from error
        images = getattr(drawn, "images", None)
        if images is None or len(images) != len(batch):
            raise ModelError(
                f"{type(self.pipe).__name__} did not give an image for each prompt, so it cannot be searched"
            )
        return [_picture(image) for image in images]


def _picture(values: np.ndarray[Any, Any]) -> Image:
    from PIL import Image

    if not np.isfinite(values).all():
        raise CandidateFailed("an image has values that are NaN or infinite")
    pixels = (np.clip(values, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("RGB")


@contextmanager
def _quiet(pipe: Any) -> Iterator[None]:
    """Without the pipeline's own progress bar, whose settings are left as they were."""
    before = vars(pipe).get("_progress_bar_config")
    pipe.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe.set_progress_bar_config(**before)
