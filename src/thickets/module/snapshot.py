"""Whether a module, or a batch, is what it was at the call before. Knows nothing of what is called.

Cheap enough for every call: objects by identity, tensors by address, by how often they were written to, and by a sum of
their bits, as a write through `.data` is not counted. What cannot be told so is never what it was.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any

from thickets.module import batch as batches

if TYPE_CHECKING:
    import torch
    from torch import nn

_PLAIN = (int, float, complex, str, bytes, bool, type(None), frozenset)
_CODE = (FunctionType, BuiltinFunctionType, type)


class Snapshot:
    """What a module was: its parts, their attributes, its parameters and buffers. It keeps hold of them."""

    def __init__(self, module: nn.Module) -> None:
        self._objects: list[Any] = []
        tensors = [*module.parameters(), *module.buffers()]
        self.told = all(map(_has_bits, tensors)) and _take_module(module, self._objects)
        self._bits = _bits(tensors) if self.told else []

    def same(self, other: Snapshot | None) -> bool:
        """Whether nothing is different; never of what no snapshot tells."""
        return (
            other is not None
            and self.told
            and other.told
            and self._bits == other._bits
            and _all_same(self._objects, other._objects)
        )


class Kind:
    """What a batch is like, whatever its values and however many examples it has, so that a function does the same."""

    def __init__(self, batch: Any) -> None:
        # Where examples cannot be told apart, a batch of another size is another batch.
        sized = batches.examples(batch) is None
        self._leaves: list[Any] = [sized]
        self.told = _take_batch(batch, self._leaves, sized)

    def same(self, other: Kind | None) -> bool:
        """Whether the other is alike; never of what this does not tell."""
        return other is not None and self.told and other.told and _all_same(self._leaves, other._leaves)


def same_function(one: Any, other: Any) -> bool:
    """Whether two functions are one, or the same lines of code that hold on to nothing, as of a lambda in a loop."""
    if one is other:
        return True
    if not (isinstance(one, FunctionType) and isinstance(other, FunctionType)):
        return False
    held = (f.__closure__ or f.__defaults__ or f.__kwdefaults__ or f.__dict__ for f in (one, other))
    return one.__code__ is other.__code__ and one.__globals__ is other.__globals__ and not any(held)


def _all_same(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(
        a is b or (type(a) is type(b) and isinstance(a, _PLAIN) and a == b) for a, b in zip(some, others, strict=True)
    )


def _take_module(module: nn.Module, taken: list[Any]) -> bool:
    for name, part in module.named_modules(remove_duplicate=False):
        taken += (name, part, type(part))
        for key, value in vars(part).items():
            taken.append(key)
            if key in ("_parameters", "_buffers", "_modules"):
                # Not values of the module's own, but what `_bits` and the other parts tell.
                for own, held in value.items():
                    taken += (own, held)
            elif not _take(value, taken):
                return False
    return True


def _take(value: Any, taken: list[Any]) -> bool:
    """Put all that a value is into `taken`; false where it may change unseen."""
    import torch

    if isinstance(value, dict):
        taken += (type(value), len(value))
        return all(_take(key, taken) and _take(held, taken) for key, held in value.items())
    if isinstance(value, list | tuple):
        taken += (type(value), len(value))
        return all(_take(held, taken) for held in value)
    if isinstance(value, set):
        taken.append(frozenset(value))
        return all(isinstance(held, _PLAIN) for held in value)
    taken.append(value)
    return isinstance(value, (*_PLAIN, *_CODE, torch.dtype, torch.device))


def _take_batch(batch: Any, taken: list[Any], sized: bool) -> bool:
    import torch

    if isinstance(batch, torch.Tensor):
        shape = list(batch.shape if sized else batch.shape[1:])
        taken += (type(batch), f"{batch.ndim} {shape} {batch.dtype} {batch.device} {batch.layout}")
        return True
    if isinstance(batch, dict):
        taken += (type(batch), len(batch))
        return all(_take(key, taken) and _take_batch(value, taken, sized) for key, value in batch.items())
    if isinstance(batch, list | tuple):
        taken += (type(batch), len(batch))
        return all(_take_batch(value, taken, sized) for value in batch)
    taken.append(batch)
    return isinstance(batch, _PLAIN)


def _has_bits(tensor: torch.Tensor) -> bool:
    import torch

    return tensor.layout == torch.strided and tensor.device.type != "meta" and not tensor.is_quantized


def _bits(tensors: list[torch.Tensor]) -> list[tuple[int, int, str, int]]:
    """Of each: its address, how often it was written to, where it is, and a sum of its bits."""
    import torch

    by_device: dict[torch.device, list[torch.Tensor]] = {}
    for tensor in tensors:
        by_device.setdefault(tensor.device, []).append(_sum_of_bits(tensor.detach()))
    # One answer from a device for all its tensors, which is one wait for it.
    sums = {device: iter(torch.stack(of).tolist()) for device, of in by_device.items()}
    return [(t.data_ptr(), 0 if t.is_inference() else t._version, str(t.device), next(sums[t.device])) for t in tensors]


def _sum_of_bits(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    flat = tensor.contiguous().view(-1).view(torch.uint8)
    # Sums of int32 that overflow do so the same way every time, and are many times as fast as any other.
    if flat.numel() % 4 == 0 and flat.storage_offset() % 4 == 0:
        return flat.view(torch.int32).sum(dtype=torch.int32).long()
    return flat.sum()
