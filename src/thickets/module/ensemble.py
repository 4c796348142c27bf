"""The members of a search around a module, answering together. Knows nothing of how they were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from numbers import Real
from typing import TYPE_CHECKING, Any

from thickets.config import WeightsConfig
from thickets.errors import EnsembleError, ModelError
from thickets.module.asked import check_memory, check_module
from thickets.module.combine import find_combine
from thickets.module.members import Members
from thickets.module.running import Runner
from thickets.module.saying import Once, warn
from thickets.module.snapshot import Kind, Snapshot, same_function
from thickets.types import Perturbation
from thickets.weights import canonical_tensors, fingerprint

if TYPE_CHECKING:
    import torch
    from torch import nn

    Predict = Callable[[nn.Module, Any], torch.Tensor]


class ModuleEnsemble:
    """Members around one module, best first. Call it with inputs; the module's own weights stay as they are.

    `combine` is `vote` (of labels), `mean` or `median`. `fingerprint` is that of the module that the members were found
    around, where it is known. `say` hears sentences; they are warnings where it is absent.

    What does not change from call to call (the members' weights where they are small, how the module is called for all
    of them at once) is kept for the next one. Around another module, with other inputs or another `predict` it is not.

    Raises `ModelError`, here and in every call, for a module whose weights are not those, or not any more;
    `EnsembleError` without members, `ConfigError` for a `combine` and a `memory` that there are not.
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
        check_module(module)
        check_memory(memory)
        self.module, self.perturbations, self.memory = module, tuple(members), memory
        self._combine = find_combine(combine)
        self._noise, self._weights = noise, weights
        self._population = Members(module, noise, weights)
        self._fingerprint = fingerprint or self._population.fingerprint
        self._say = Once(say or warn)
        self._before: Snapshot | None = None
        # What called the members before, while it is not in use: of several threads each has one of its own.
        self._idle: list[tuple[Predict, Kind, Runner]] = []
        self._check()

    def __call__(self, inputs: Any, predict: Predict | None = None) -> torch.Tensor:
        """The combined prediction. `predict(model, inputs)` is the module's forward pass where absent.

        Raises `EnsembleError` for predictions that are no tensor, and for those that `combine` cannot take.
        """
        return self._combine(self.predictions(inputs, predict))

    def predictions(self, inputs: Any, predict: Predict | None = None) -> torch.Tensor:
        """Every member's own prediction, `[members, ...]`. Raises `EnsembleError` for one that is no tensor."""
        import torch

        self._check()
        idle, kind = self._idle, Kind(inputs)
        runner = self._prepared(inputs, predict or _forward, kind)
        made = torch.cat(list(runner.run(self.perturbations, inputs)))
        idle[:] = [(predict or _forward, kind, runner)]
        return made

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
        """Raise `ModelError` for a module that has changed; forget what was kept where anything of it is another."""
        now = Snapshot(self.module)
        if now.same(self._before):
            return
        self._before, self._idle = None, []
        tensors = canonical_tensors(self.module)
        if fingerprint(tensors) != self._fingerprint:
            raise ModelError(
                "the module is not what it was when its members were found, and they are steps from it; load the "
                "weights and buffers that it had then"
            )
        if not self._population.around(tensors):
            self._population = Members(self.module, self._noise, self._weights)
        self._before = now

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_before": None, "_idle": []}

    def _prepared(self, inputs: Any, predict: Predict, kind: Kind) -> Runner:
        """What calls the members: as at the call before, where that was like this one."""
        import torch

        with suppress(IndexError):
            before, like, runner = self._idle.pop()
            if same_function(predict, before) and kind.same(like):
                return runner
        runner = Runner(self.module, predict, self._population, self.memory, self._say)
        value = runner.measure(inputs)
        if not isinstance(value, Real | torch.Tensor):
            what = "the module gives" if predict is _forward else "predict gives"
            raise EnsembleError(
                f"{what} a {type(value).__name__}, and members are combined by tensors; give a predict(model, inputs) "
                "that returns one"
            )
        return runner


def _forward(model: nn.Module, inputs: Any) -> torch.Tensor:
    out: torch.Tensor = model(inputs)
    return out
