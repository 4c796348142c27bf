"""What an engine is: something that takes on a perturbation and generates under it. Knows nothing of tasks.

A new engine is one file in this folder with one subclass of `Engine`; it is found by its `name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from thickets.types import Generation, Point, Prompt, Sampling

if TYPE_CHECKING:
    from thickets.config import RunConfig


class Engine(ABC):
    """One copy of the model that can generate. Not for use by several threads at once."""

    name: ClassVar[str]
    # One line for `thickets doctor`.
    summary: ClassVar[str]
    # Whether one engine can split its weights over several GPUs.
    tensor_parallel: ClassVar[bool] = False
    # Whether `start` can be given a loaded model; else it loads what the configuration names.
    takes_models: ClassVar[bool] = True
    # Whether it can run a quantised model, of which only what is not quantised moves.
    takes_quantised: ClassVar[bool] = False
    # Identity of the base weights, as `sha256:<hex>`.
    fingerprint: str
    # What a result may depend on: device, dtype, versions. Kept in the run.
    description: Mapping[str, Any]
    # The scale rule's factor of every tensor that moves, by canonical name: its step is sign x sigma x factor.
    factors: Mapping[str, float]

    @classmethod
    @abstractmethod
    def start(cls, config: RunConfig, model: Any = None, tokenizer: Any = None) -> Engine:
        """Load the model that the configuration names, or take the given one.

        Raises `ModelError` where the model cannot be loaded, `EngineError` where the device cannot be used.
        """

    @classmethod
    def missing(cls) -> str | None:
        """Why this engine cannot run here, or `None` if it can. Loads nothing heavy."""
        return None

    @classmethod
    def suits(cls) -> bool:
        """Whether `auto` should take this engine before others that can run here too. Loads nothing heavy."""
        return False

    @abstractmethod
    def place(self, perturbation: Point | None) -> None:
        """Make the weights those of the point; `None` is the base."""

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """Raise `EngineError` for prompts that could not be generated from, before hours are spent on others."""

    @abstractmethod
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        """One generation a prompt, in order, each depending on its prompt and the seed alone, not on its neighbours.

        Raises `CandidateFailed` when the model gives NaN, `Interrupted` after `interrupt`. Every other exception means
        that the engine cannot be used any more.
        """

    def interrupt(self) -> None:
        """Let a `generate` that runs in another thread end soon with `Interrupted`; nothing if none runs.

        An engine that cannot end early may ignore it.
        """

    @abstractmethod
    def verify_base(self) -> None:
        """Put the base back and check it bit for bit. Raises `ModelError` if it changed."""

    def close(self) -> None:
        """Put the base back (the model may be the caller's) and give back what the engine holds."""
