"""How much memory one call takes at its highest, by watching it. Knows nothing of what is called."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# On a CPU: what stays in the caches. On two cores with 1 MiB of L2 each, chunks of 16 MiB made the products of small
# models slower for each candidate by half or more, and of smaller chunks the calls themselves are the price.
CPU_BYTES = 8 << 20


def budget(device: Any) -> int:
    """Bytes that a chunk of candidates may take on a device, where the user does not say."""
    import torch

    if device.type != "cuda":
        return CPU_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return free // 2


def peak(call: Callable[[], Any], given: Iterable[torch.Tensor] = ()) -> tuple[Any, int]:
    """What `call` gives, and the most bytes of new tensors that were alive at one time.

    `given` are those that were there before: operations also make views of their memory, which is not new.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Counts the memory behind every tensor that an operation makes, until it is let go."""

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.alive: dict[int, int] = {}
            self.now = self.most = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, list | tuple) else (out,):
                self.see(tensor)
            return out

        def see(self, tensor: Any) -> None:
            if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
                return
            memory = tensor.untyped_storage()
            key = memory.data_ptr()
            if key in self.alive or key in known:
                return
            self.alive[key] = memory.nbytes()
            self.now += memory.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(tensor, self.forget, key)

        def forget(self, key: int) -> None:
            self.now -= self.alive.pop(key, 0)

    known = {t.untyped_storage().data_ptr() for t in given if t.layout == torch.strided}
    watch = Watch()
    with watch:
        result = call()
    return result, watch.most
