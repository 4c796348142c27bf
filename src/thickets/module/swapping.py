"""A function of a module under other weights, swapped in for one call. Knows nothing of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    Function = Callable[[nn.Module, Any], Any]


class Swapping:
    """Calls `function(module, batch)` with tensors in place of the module's own, by name; those come back in the end.

    `tensors` are all that may be swapped, by the names that they are given under.
    """

    def __init__(self, module: nn.Module, function: Function, tensors: Mapping[str, torch.Tensor]) -> None:
        self.module = module
        self._holder = _holder(module, function)
        homes = _homes(self._holder)
        self._homes = {name: homes.get(id(tensor), [f"module.{name}"]) for name, tensor in tensors.items()}

    def __call__(self, weights: Mapping[str, torch.Tensor], batch: Any) -> Any:
        """The value under `weights`; tensors that are not among them stay the module's own."""
        import torch

        swapped = {home: tensor for name, tensor in weights.items() for home in self._homes[name]}
        return torch.func.functional_call(self._holder, swapped, (batch,), tie_weights=False)


def _homes(holder: nn.Module) -> dict[int, list[str]]:
    """Where each tensor is to be swapped: once for every module that has it, under one name of that module.

    `functional_call` finds tied tensors too (`tie_weights`), but swaps one of a module with two names twice, and puts
    the swapped one back in the end instead of the module's own.
    """
    found: dict[int, list[str]] = {}
    for path, module in holder.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), []).append(f"{path}.{name}")
    return found


def _holder(module: nn.Module, function: Function) -> nn.Module:
    """A module that calls the function, so that weights can be swapped for a whole score, not for one forward pass."""
    from torch import nn

    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, batch: Any) -> Any:
            return function(self.module, batch)

    # Its own flag is read by nobody; the module's own mode stays as it is.
    return Holder()
