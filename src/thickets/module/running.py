"""Runs a function of a module for many candidates at once. Knows nothing of what the function's values mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from thickets.errors import EngineError
from thickets.module import batch as batches
from thickets.module.agreement import FACTORS, moves
from thickets.module.asked import check_memory
from thickets.module.fused import fuse, lend
from thickets.module.intact import intact, without_gradients
from thickets.module.memory import budget, peak
from thickets.module.population import Population
from thickets.module.swapping import Swapping
from thickets.types import Perturbation

if TYPE_CHECKING:
    import torch
    from torch import nn

    from thickets.module.swapping import Function

    # Makes a candidate's value of a call of the function, or of its failure.
    Guard = Callable[[Perturbation | None, Callable[[], Any]], torch.Tensor]


class Runner:
    """Calls `function(module, batch)` under candidates' weights, as many at once as `memory` bytes hold.

    Where the function cannot be vmapped, or gives other values then, it is called for one candidate after the other;
    `say` hears of that once.

    Raises `ConfigError` for memory that cannot be.
    """

    def __init__(
        self,
        module: nn.Module,
        function: Function,
        population: Population,
        memory: int | None,
        say: Callable[[str], None],
    ) -> None:
        check_memory(memory)
        self.population, self.say = population, say
        self.device = next(iter(population.base.values())).device
        self.memory = budget(self.device) if memory is None else memory
        self._plain = Swapping(module, function, population.tensors)
        self._fused = Swapping(fuse(module), function, population.tensors)
        self.vectorised: bool | None = None  # not known before the first chunk
        self._stumbled = False
        self._parameters = list(module.parameters())
        self.left_gradients = False  # whether the function called backward() when it was measured
        # Of one candidate on one example, or on the whole batch where examples cannot be told apart.
        self._activations = 0.0

    def measure(self, batch: Any) -> Any:
        """The function's value for the module as it is, unconverted; learns how much memory one candidate takes.

        Raises `ModelError` where that changes the module's parameters or buffers, which get their values back, and
        `EngineError` where it meets a tensor on another device, or memory does not suffice.
        """
        import torch

        self.check_device(batch)
        try:
            with torch.no_grad(), intact(self._plain.module), without_gradients(self._parameters) as traces:
                there = [*self.population.tensors.values(), *batches.tensors(batch)]
                value, most = peak(lambda: self._plain({}, batch), there)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._no_room() from error
        except RuntimeError as error:
            # As torch says it of an operation that it knows by name, and of any other.
            if not any(words in str(error) for words in ("on the same device", "on the expected device")):
                raise
            raise EngineError(
                f"the module is on {self.device}, and something that is used with it is not ({brief(error)}); move "
                "there what the score brings along"
            ) from error
        self.left_gradients = traces.gradients
        self._activations = most / (batches.examples(batch) or 1)
        return value

    def check_device(self, batch: Any) -> None:
        """Raise `EngineError` for data on another device than the module."""
        homes = {str(t.device) for t in batches.tensors(batch)}
        if strangers := homes - {str(self.device)}:
            raise EngineError(
                f"the module is on {self.device} and its data on {', '.join(sorted(strangers))}; move one to the other"
            )

    def chunk(self, batch: Any, size: float = 1.0) -> int:
        """How many candidates go into one call. `size` is that of the numbers, of float32 ones 1."""
        one = (self._activations * (batches.examples(batch) or 1) + self.population.bytes) * size
        return max(1, int(self.memory // max(one, 1)))

    def run(
        self,
        perturbations: Sequence[Perturbation | None],
        batch: Any,
        dtype: torch.dtype | None = None,
        guard: Guard | None = None,
    ) -> Iterator[torch.Tensor]:
        """The function's values `[chunk, ...]`, chunk after chunk in order. `dtype` computes in another number type.

        A chunk that raises at once is evaluated one candidate at a time; what one raises then is the `guard`'s to keep.
        Raises `EngineError` for a candidate that alone does not fit into memory.
        """
        import torch

        if self.vectorised is None and perturbations:
            with torch.no_grad(), without_gradients(self._parameters):
                self._find_out(perturbations, batch)
        if dtype is not None:
            batch = batches.lowered(batch, dtype)
        size = self.chunk(batch, 1.0 if dtype is None else 0.5)
        first = 0
        while first < len(perturbations):
            some = perturbations[first : first + size]
            with torch.no_grad(), without_gradients(self._parameters):
                try:
                    values = self._values(some, batch, dtype, guard or _unguarded)
                except (torch.OutOfMemoryError, MemoryError) as error:
                    if min(size, len(some)) == 1:
                        raise self._no_room() from error
                    size = max(1, min(size, len(some)) // 2)
                    self.memory = self.memory // 2
                    self.say(f"a chunk of candidates did not fit into memory; going on with {size} at a time")
                    continue
            yield values
            first += len(some)

    def _no_room(self) -> EngineError:
        return EngineError(
            f"one candidate alone does not fit into the memory of {self.device}; let the score take the data in "
            "smaller batches, or move module and data to a device with more memory"
        )

    def _values(
        self, some: Sequence[Perturbation | None], batch: Any, dtype: torch.dtype | None, guard: Guard
    ) -> torch.Tensor:
        import torch

        stacks = self._weights(some, dtype)
        if not self.vectorised:
            return self._in_turn(some, stacks, batch, guard)
        try:
            return self._at_once(stacks, batch)
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever the function's own code raises
            fault = brief(error)
        values = self._in_turn(some, stacks, batch, guard)
        if not self._stumbled:
            self._stumbled = True
            self.say(f"candidates at once raised, so those of such a chunk are evaluated alone: {fault}")
        return values

    def _weights(self, some: Sequence[Perturbation | None], dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
        stacks = self.population.stack(some, dtype)
        if dtype is None:
            return stacks
        # What does not move is a stack of one value for all.
        still = {
            name: t.detach().expand(len(some), *t.shape)
            for name, t in self.population.tensors.items()
            if name not in stacks and t.is_floating_point()
        }
        return batches.lowered(still | stacks, dtype)  # type: ignore[no-any-return]

    def _find_out(self, perturbations: Sequence[Perturbation | None], batch: Any) -> None:
        """Try the base and two candidates at once, and believe it only where each alone moves by the same."""
        some = [None, *(p for p in perturbations if p is not None)][:3]
        if len(some) == 1:
            return  # the base alone says nothing about it
        reason = self._refusal(some, batch)
        self.vectorised = reason is None
        if reason is not None:
            self.say(f"candidates are evaluated one at a time, because they cannot be at once: {reason}")

    def _refusal(self, some: Sequence[Perturbation | None], batch: Any) -> str | None:
        """Why candidates cannot be evaluated at once; `None` where they can. The first of `some` is the base."""
        import torch

        seen = torch.zeros(len(some) - 1, dtype=torch.bool)
        for factor in FACTORS:
            try:
                moved = self._compared(some, batch, factor)
            except Exception as error:  # noqa: BLE001 - vmap, a fused chain, the function itself: each its own kinds
                if factor > FACTORS[0]:
                    break  # no candidate's step is so large
                return brief(error)
            if moved is None:
                return "at once they give other values than alone"
            seen |= moved
            if seen.all():
                break
        if seen.any():
            return None
        return (
            f"no value moves even with steps {FACTORS[-1]:.0f} times as large, so it cannot be seen whether they would "
            "be the same; is the module that the score is given also the one that it uses?"
        )

    def _compared(self, some: Sequence[Perturbation | None], batch: Any, factor: float) -> torch.Tensor | None:
        """What `moves` says of them at once and alone, in the module's own numbers, steps times `factor`."""
        import torch

        stacks = self._weights(some, None)
        if factor != 1:
            for name, stack in stacks.items():
                base = self.population.base[name]
                stack.sub_(base).mul_(factor).add_(base)
        size = self.chunk(batch)
        chunks = [{name: stack[i : i + size] for name, stack in stacks.items()} for i in range(0, len(some), size)]
        together = torch.cat([self._at_once(chunk, batch) for chunk in chunks])
        precision = max(torch.finfo(t.dtype).eps for t in (*stacks.values(), together) if t.is_floating_point())
        return moves(together, self._in_turn(some, stacks, batch, _unguarded), precision)

    def _at_once(self, stacks: dict[str, torch.Tensor], batch: Any) -> torch.Tensor:
        import torch

        lend(self._fused.module, stacks)
        try:
            values: torch.Tensor = torch.func.vmap(lambda weights: self._fused(weights, batch))(stacks)
        finally:
            lend(self._fused.module, {})
        return values

    def _in_turn(
        self, some: Sequence[Perturbation | None], stacks: dict[str, torch.Tensor], batch: Any, guard: Guard
    ) -> torch.Tensor:
        import torch

        values = []
        for i, perturbation in enumerate(some):
            weights = {name: stack[i] for name, stack in stacks.items()}
            values.append(guard(perturbation, partial(self._plain, weights, batch)))
        return torch.stack(values)


def brief(error: Exception) -> str:
    """What an error says, on one line that is not long."""
    return " ".join(str(error).split())[:160] or type(error).__name__


def _unguarded(perturbation: Perturbation | None, call: Callable[[], Any]) -> torch.Tensor:
    import torch

    return torch.as_tensor(call()).detach()
