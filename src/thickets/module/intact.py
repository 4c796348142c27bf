"""A module that no call may leave changed: its parameters, buffers and gradients. Knows nothing of what is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from thickets.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn


class Kept(NamedTuple):
    """A tensor of the module, where it is, and a copy of its values."""

    name: str
    kind: str
    tensor: torch.Tensor
    value: torch.Tensor


@dataclass
class Traces:
    """What calls left behind that was taken away again."""

    gradients: bool = False


@contextmanager
def intact(module: nn.Module) -> Iterator[None]:
    """Give parameters and buffers their values back, however the block ends. Raises `ModelError` for changed ones."""
    before = _kept(module)
    try:
        yield
    except BaseException:
        _put_back(module, before)
        raise
    changed = _put_back(module, before)
    if not changed:
        return
    if changed[0].kind == "parameter":
        raise ModelError(
            f"a call of the module changes its parameter {changed[0].name}, so candidates would not be compared around "
            "one base; leave the module's own weights as they are (they have their values back)"
        )
    raise ModelError(
        f"a call of the module changes its buffer {changed[0].name}, so each value would depend on those before it; "
        "call module.eval() first (BatchNorm keeps running statistics in training mode)"
    )


@contextmanager
def without_gradients(parameters: Sequence[torch.Tensor]) -> Iterator[Traces]:
    """Leave each the `.grad` that it has: what a call of `backward()` adds in the block is dropped."""
    traces = Traces()
    before = [p.grad for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    try:
        yield traces
    finally:
        for parameter, grad in zip(parameters, before, strict=True):
            traces.gradients = traces.gradients or parameter.grad is not None
            parameter.grad = grad


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal bit for bit, so that NaN is what it was."""
    import torch

    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    if one.layout != torch.strided or one.is_quantized or not one.numel():
        return torch.equal(one, other)
    return torch.equal(*(t.detach().contiguous().view(-1).view(torch.uint8) for t in (one, other)))


def _kept(module: nn.Module) -> list[Kept]:
    """Under every name that it has, as a call may put another tensor under one of them."""
    copies: dict[int, torch.Tensor] = {}

    def copied(kind: str, named: Iterable[tuple[str, torch.Tensor]]) -> list[Kept]:
        return [Kept(n, kind, t, _copy(t, copies)) for n, t in named]

    return [
        *copied("parameter", module.named_parameters(remove_duplicate=False)),
        *copied("buffer", module.named_buffers(remove_duplicate=False)),
    ]


def _copy(tensor: torch.Tensor, copies: dict[int, torch.Tensor]) -> torch.Tensor:
    if id(tensor) not in copies:
        copies[id(tensor)] = tensor.detach().clone()
    return copies[id(tensor)]


def _put_back(module: nn.Module, before: Sequence[Kept]) -> list[Kept]:
    """Those that had changed."""
    import torch

    changed = []
    for kept in before:
        path, _, own = kept.name.rpartition(".")
        holder = module.get_submodule(path)
        homes = holder._parameters if kept.kind == "parameter" else holder._buffers
        now = homes.get(own)
        if now is kept.tensor and same_bits(now, kept.value):
            continue
        if now is None or not same_bits(now, kept.value):
            changed.append(kept)
        # The tensor itself comes back too, in its own memory: others may hold it.
        with torch.no_grad():
            if kept.tensor.shape == kept.value.shape and kept.tensor.dtype == kept.value.dtype:
                kept.tensor.data.copy_(kept.value)
            else:
                kept.tensor.data = kept.value
        homes[own] = kept.tensor  # type: ignore[assignment]
    return changed
