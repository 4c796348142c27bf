"""Chains of linear layers and activations as one call for all candidates. Knows nothing of scores or noise.

`vmap` takes a linear layer apart (a product, a sum, each with memory of its own) and pays its price at every operation.
Here a whole `Sequential` is one operation to it: a fused product and sum for all candidates, activations in place.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    # A linear layer's stacked weights and bias, or an activation that works in place.
    Layer = Callable[[torch.Tensor], torch.Tensor] | tuple[torch.Tensor, torch.Tensor | None]


def fuse(module: nn.Module) -> nn.Module:
    """The module with every chain that can be fused replaced; parameters, buffers and names are the module's own."""
    # Tensors are shared, not copied: what is swapped in by name serves both.
    shared: dict[int, Any] = {id(t): t for t in (*module.parameters(), *module.buffers())}
    try:
        shadow: nn.Module = copy.deepcopy(module, shared)
    except (TypeError, RuntimeError, AttributeError):
        # Something in it cannot be copied (a lock, a file): it is used as it is.
        return module
    return _replaced(shadow)


def _replaced(module: nn.Module) -> nn.Module:
    if _is_chain(module):
        # By name and in order: layers may have names of their own, and one may come twice.
        fused = _fused_chain()(
            OrderedDict((name, layer) for name, layer in module._modules.items() if layer is not None)
        )
        return fused.train(module.training)
    for name, child in list(module._modules.items()):
        if child is not None:
            setattr(module, name, _replaced(child))
    return module


def _is_chain(module: nn.Module) -> bool:
    """A plain `Sequential` of linear layers and activations that work in place, without hooks."""
    from torch import nn

    layers = list(module._modules.values())
    return (
        type(module) is nn.Sequential
        and any(type(layer) is nn.Linear for layer in layers)
        and all(type(layer) is nn.Linear or type(layer) in _activations() for layer in layers)
        and not any(_hooked(m) for m in module.modules())
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


@cache
def _activations() -> dict[type, Callable[[torch.Tensor], torch.Tensor]]:
    import torch
    from torch import nn

    return {
        nn.ReLU: torch.relu_,
        nn.Tanh: torch.tanh_,
        nn.Sigmoid: torch.sigmoid_,
        nn.SiLU: lambda x: nn.functional.silu(x, inplace=True),
        nn.Identity: lambda x: x,
    }


@cache
def _fused_chain() -> type[nn.Sequential]:
    from torch import nn

    class FusedChain(nn.Sequential):
        """A `Sequential` whose forward is one operation on the stacks that `lend` gave it."""

        layers: Sequence[Layer] = ()

        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - Sequential's own name for it
            if not self.layers:
                plain: torch.Tensor = super().forward(input)  # type: ignore[no-untyped-call]
                return plain
            return _past_vmap(self.layers, input)

    return FusedChain


def _past_vmap(layers: Sequence[Layer], x: torch.Tensor) -> torch.Tensor:
    """The chain of `x` for all candidates that vmap is at, as one step of it.

    By the functions that torch makes its own batching of: the public ways there (`torch.autograd.Function` with `vmap`,
    `torch.library.register_vmap`) spend more on each call than the products take. Whoever runs a chain compares what
    comes out with candidates one at a time, so another torch can make this slower, not wrong.
    """
    from torch._C._functorch import _add_batch_dim, _unwrap_batched
    from torch._functorch.pyfunctorch import VmapInterpreter, retrieve_current_functorch_interpreter

    vmapping = retrieve_current_functorch_interpreter()
    if not isinstance(vmapping, VmapInterpreter):
        raise RuntimeError("a fused chain is for candidates at once")
    stack, dim = _unwrap_batched(x, vmapping.level())
    with vmapping.lower():
        stack = stack.unsqueeze(0) if dim is None else stack.movedim(dim, 0)
        out = _stacked(layers, stack, vmapping.batch_size())
    made: torch.Tensor = _add_batch_dim(out, 0, vmapping.level())
    return made


def lend(module: nn.Module, stacks: Mapping[str, torch.Tensor]) -> None:
    """Give every fused chain of `module` the candidates' weights by name, each `[candidates, *shape]`."""
    from torch import nn

    # By tensor, not by name: one that several layers share has many names, and is stacked under one of them.
    named = dict(module.named_parameters(remove_duplicate=False))
    lent = {id(named[name]): stack for name, stack in stacks.items() if name in named}
    chains: list[Any] = [m for m in module.modules() if isinstance(m, _fused_chain())]
    for chain in chains:
        layers: list[Layer] = []
        moved = False
        for layer in chain._modules.values():
            if not isinstance(layer, nn.Linear):
                layers.append(_activations()[type(layer)])
                continue
            weight, bias = (lent.get(id(own), own) for own in (layer.weight, layer.bias))
            moved = moved or weight is not layer.weight or bias is not layer.bias
            layers.append((_matrices(weight), None if bias is None else _rows(bias)))
        # One that does not move is the same for all candidates, and need not be stacked.
        chain.layers = layers if moved else ()


def _matrices(weight: torch.Tensor) -> torch.Tensor:
    """`[candidates or 1, in, out]`."""
    return (weight if weight.ndim == 3 else weight.detach().unsqueeze(0)).transpose(1, 2)


def _rows(bias: torch.Tensor) -> torch.Tensor:
    """`[candidates or 1, 1, out]`."""
    return bias.unsqueeze(1) if bias.ndim == 2 else bias.detach().view(1, 1, -1)


def _stacked(layers: Sequence[Layer], x: torch.Tensor, candidates: int) -> torch.Tensor:
    """`x` `[candidates or 1, ..., in]` through all layers."""
    import torch

    middle = x.shape[1:-1]
    own = False  # whether `x` is ours to write to
    x = _of_all(x.reshape(x.shape[0], -1, x.shape[-1]), candidates)
    # A product in bfloat16 packs its right-hand matrix anew each time: let that be the smaller one.
    wide = max(weight.shape[1] for weight, _ in (layer for layer in layers if not callable(layer)))
    turned = x.dtype != torch.float32 and x.shape[1] < wide
    x = x.mT if turned else x
    for layer in layers:
        if callable(layer):
            x = layer(x if own else x.clone())
        else:
            weight, bias = layer
            weight = _of_all(weight, candidates)
            left, right = (weight.mT, x) if turned else (x, weight)
            if bias is None:
                x = torch.bmm(left, right)
            else:
                x = torch.baddbmm(_of_all(bias.mT if turned else bias, candidates), left, right)
        own = True
    x = x.mT if turned else x
    return x if len(middle) == 1 else x.reshape(candidates, *middle, x.shape[-1])


def _of_all(stack: torch.Tensor, candidates: int) -> torch.Tensor:
    return stack if len(stack) == candidates else stack.expand(candidates, -1, -1)
