"""The members of a search around a module, answering together. Knows nothing of how they were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from thickets.config import WeightsConfig
from thickets.errors import EnsembleError, ModelError
from thickets.module.combine import find_combine
from thickets.module.population import Population
from thickets.module.running import Runner
from thickets.types import Perturbation
from thickets.weights import fingerprint

if TYPE_CHECKING:
    import torch
    from torch import nn

    Predict = Callable[[nn.Module, Any], torch.Tensor]


class ModuleEnsemble:
    """Members around one module, best first. Call it with inputs; the module's own weights stay as they are.

    `combine` is `vote` (of labels), `mean` or `median`. `fingerprint` is that of the module that the members were found
    around, where it is known. `say` hears sentences; they are warnings where it is absent.

    Raises `ModelError`, here and in every call, for a module whose weights are not those, or not any more.
    """

    def __init__(
        self,
        module: nn.Module,
        members: Sequence[Perturbation],
        noise: str,
        weights: WeightsConfig,
        combine: str = "mean",
        memory: int | None = None,
        fingerprint: str | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if not members:
            raise EnsembleError("an ensemble needs a member; keep at least one candidate (top_k)")
        self.module, self.perturbations, self.memory = module, tuple(members), memory
        self._combine = find_combine(combine)
        self._population = Population(module, noise, weights)
        self._fingerprint = fingerprint or self._population.fingerprint
        self._say, self._said = say or _warn, set[str]()
        self._check()

    def __call__(self, inputs: Any, predict: Predict | None = None) -> torch.Tensor:
        """The combined prediction. `predict(model, inputs)` is the module's forward pass where absent."""
        return self._combine(self.predictions(inputs, predict))

    def predictions(self, inputs: Any, predict: Predict | None = None) -> torch.Tensor:
        """Every member's own prediction, `[members, ...]`."""
        import torch

        self._check()
        runner = Runner(self.module, predict or _forward, self._population, self.memory, self._once)
        runner.measure(inputs)
        return torch.cat(list(runner.run(self.perturbations, inputs)))

    def member(self, rank: int) -> nn.Module:
        """A copy of the module with the weights of the member of that rank, from 1. Raises `EnsembleError`."""
        import copy

        if not 1 <= rank <= len(self.perturbations):
            raise EnsembleError(f"there is no member {rank}; there are members 1 to {len(self.perturbations)}")
        self._check()
        made = copy.deepcopy(self.module)
        stacks = self._population.stack([self.perturbations[rank - 1]])
        made.load_state_dict({name: stack[0] for name, stack in stacks.items()}, strict=False)
        return made

    def _check(self) -> None:
        if fingerprint(self._population.tensors) != self._fingerprint:
            raise ModelError(
                "the module is not what it was when its members were found, and they are steps from it; load the "
                "weights and buffers that it had then"
            )

    def _once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)


def _warn(sentence: str) -> None:
    import warnings

    warnings.warn(sentence, stacklevel=2)


def _forward(model: nn.Module, inputs: Any) -> torch.Tensor:
    out: torch.Tensor = model(inputs)
    return out
