"""Rewards of the mean colour: what an image is like as a whole, in channels from 0 to 1. Knows no prompt."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from thickets.diffusion.rewards.base import ImageReward
from thickets.errors import TaskError

if TYPE_CHECKING:
    from PIL.Image import Image


class _MeanColour(ImageReward):
    def score(self, images: Sequence[Image], prompts: Sequence[str]) -> list[float]:
        return [self.of(np.asarray(image, dtype=np.float64).mean((0, 1)) / 255) for image in images]

    @abstractmethod
    def of(self, colour: np.ndarray[Any, Any]) -> float:
        """The reward of a mean colour `[red, green, blue]`."""


class _OneChannel(_MeanColour):
    """A channel over the mean of the other two: 1 for its pure colour, 0 for grey."""

    channel: ClassVar[int]

    def of(self, colour: np.ndarray[Any, Any]) -> float:
        return float(colour[self.channel] - np.delete(colour, self.channel).mean())


class Redness(_OneChannel):
    name: ClassVar[str] = "redness"
    summary: ClassVar[str] = "mean red minus the mean of green and blue, from -1 to 1"
    channel: ClassVar[int] = 0


class Greenness(_OneChannel):
    name: ClassVar[str] = "greenness"
    summary: ClassVar[str] = "mean green minus the mean of red and blue, from -1 to 1"
    channel: ClassVar[int] = 1


class Blueness(_OneChannel):
    name: ClassVar[str] = "blueness"
    summary: ClassVar[str] = "mean blue minus the mean of red and green, from -1 to 1"
    channel: ClassVar[int] = 2


class Brightness(_MeanColour):
    """The mean of the three channels."""

    name: ClassVar[str] = "brightness"
    summary: ClassVar[str] = "mean of all channels, from 0 to 1"

    def of(self, colour: np.ndarray[Any, Any]) -> float:
        return float(colour.mean())


class TargetColour(_MeanColour):
    """How near the mean colour is to a given one: 1 where they are equal, 0 between black and white."""

    name: ClassVar[str] = "colour"
    summary: ClassVar[str] = "colour:#rrggbb - nearness of the mean colour to that one, from 0 to 1"

    def __init__(self, option: str | None = None) -> None:
        if option is None or not re.fullmatch(r"#?[0-9a-fA-F]{6}", option):
            raise TaskError(f"the image reward colour needs a colour such as colour:#ff8800, not {option!r}")
        self.target = np.frombuffer(bytes.fromhex(option.removeprefix("#")), dtype=np.uint8) / 255

    def of(self, colour: np.ndarray[Any, Any]) -> float:
        return 1.0 - float(np.linalg.norm(colour - self.target)) / 3**0.5
