"""The user's score under many candidates: checks what it gives, and keeps a table of scores. Knows no search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from thickets.errors import CandidateFailed, RewardUnavailable, TaskError
from thickets.module import batch as batches
from thickets.module.population import Population
from thickets.module.running import Runner, brief
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch
    from torch import nn


class Scorer:
    """`score(module, data)` for candidates: one number, or one for each example. Larger is better.

    Raises, before any candidate is scored, `TaskError` for a score of another shape, `ModelError` where scoring
    changes the module's parameters or buffers, `CandidateFailed` where the base itself cannot be scored, `EngineError`
    for data on another device and for want of memory.
    """

    def __init__(
        self,
        module: nn.Module,
        score: Callable[[nn.Module, Any], Any],
        data: Any,
        population: Population,
        memory: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.data, self.population, self.say = data, population, say
        # What scoring a candidate alone raised, or what was wrong with its value.
        self.failures: dict[Perturbation | None, str] = {}
        self.runner = Runner(module, score, population, memory, say)
        self.examples = batches.examples(data)
        value = self.runner.measure(data)
        if self.runner.left_gradients:
            say("the score calls backward(), and the gradients that leaves are dropped: a search needs none")
        if getattr(value, "requires_grad", False):
            say("the score carries a graph, which is dropped: a search needs no gradients, so detach it")
        self.per_example = self._shape(value)
        self.base = float(_as_tensor(value).mean())
        if not math.isfinite(self.base):
            said = "NaN" if math.isnan(self.base) else self.base
            raise CandidateFailed(
                f"the base module itself cannot be scored: its score is {said}; mend the score or the data"
            )

    def _shape(self, value: Any) -> bool:
        """Whether there is a score for every example. Raises `TaskError` for anything but that or one number."""
        import torch

        if not isinstance(value, Real | torch.Tensor):
            raise TaskError(
                f"the score gave a {type(value).__name__}; give a number, a tensor with one number, or a tensor "
                "with one for every example"
            )
        tensor = _as_tensor(value)
        if tensor.numel() == 1 and (tensor.ndim == 0 or self.examples != 1):
            return False
        if tensor.ndim == 1 and self.examples is not None and len(tensor) == self.examples:
            return True
        wanted = (
            "one number" if self.examples is None else f"one number, or shape [{self.examples}], one for each example"
        )
        raise TaskError(f"the score gave a tensor of shape {list(tensor.shape)}; it must give {wanted}")

    def table(
        self,
        perturbations: Sequence[Perturbation | None],
        data: Any = None,
        dtype: torch.dtype | None = None,
        heard: Callable[[int], None] = lambda count: None,
    ) -> torch.Tensor:
        """Scores `[candidates, examples or 1]`, float32 on the CPU. `heard` hears how many more after each chunk.

        A candidate whose score raises, or is of another shape, has NaN, and its reason in `failures`.
        """
        import torch

        batch = self.data if data is None else data
        chunks = []
        for values in self.runner.run(perturbations, batch, dtype, partial(self._guarded, self._wanted(batch))):
            chunks.append(values.detach().reshape(len(values), -1).to("cpu", torch.float32))
            heard(len(values))
        return torch.cat(chunks) if chunks else torch.empty(0, 1)

    def trouble(self, perturbations: Sequence[Perturbation | None], means: torch.Tensor) -> str | None:
        """How many of these have no score, and what was wrong with the first; `None` where all have one."""
        import torch

        lost = [
            self.failures.get(p, "its score is NaN or infinite")
            for p, m in zip(perturbations, means, strict=True)
            if not torch.isfinite(m)
        ]
        if not lost:
            return None
        return f"{len(lost)} of {len(perturbations)} candidates could not be scored; the first: {lost[0]}"

    def _wanted(self, batch: Any) -> list[int]:
        return [batches.examples(batch) or 1] if self.per_example else []

    def _guarded(self, wanted: list[int], perturbation: Perturbation | None, call: Callable[[], Any]) -> torch.Tensor:
        import torch

        try:
            value = _as_tensor(call()).cpu()
            if list(value.shape) != wanted and (self.per_example or value.numel() != 1):
                raise TaskError(f"the score gave shape {list(value.shape)}, and of the base {wanted}")
            return value.reshape(wanted)
        except (torch.OutOfMemoryError, MemoryError, RewardUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the user's code raises
            self.failures.setdefault(perturbation, f"{type(error).__name__}: {brief(error)}")
            return torch.full(wanted, torch.nan)


def _as_tensor(value: Any) -> torch.Tensor:
    import torch

    return torch.as_tensor(value).detach().float()
