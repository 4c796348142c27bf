"""A module's buffers, which no call may leave changed. Knows nothing of what is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from thickets.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Give changed buffers their values back, however the block ends. Raises `ModelError` where there were any."""
    before = {name: (buffer, buffer.detach().clone()) for name, buffer in module.named_buffers()}
    try:
        yield
    except BaseException:
        _put_back(module, before)
        raise
    if changed := _put_back(module, before):
        raise ModelError(
            f"a call of the module changes its buffer {changed[0]}, so each value would depend on those before it; "
            "call module.eval() first (BatchNorm keeps running statistics in training mode)"
        )


def _put_back(module: nn.Module, before: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> list[str]:
    """The names of those that had changed."""
    import torch

    changed = []
    for name, (buffer, value) in before.items():
        path, _, own = name.rpartition(".")
        holder = module.get_submodule(path)
        now = holder._buffers.get(own)
        if now is buffer and now.shape == value.shape and torch.equal(now.detach(), value):
            continue
        if now is None or now.shape != value.shape or not torch.equal(now.detach(), value):
            changed.append(name)
        # The tensor itself comes back too: others may hold it.
        with torch.no_grad():
            buffer.data = value
        holder._buffers[own] = buffer
    return changed
