"""Canonical tensor names: those of the Hugging Face model, unsharded, unfused, tied tensors once.

Knows nothing of which of them move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from thickets.errors import WeightsError

if TYPE_CHECKING:
    import torch


def canonical_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and persistent buffer by name, tied ones once, in the order of the model.

    Raises `WeightsError` for a tensor that has no data (meta device).
    """
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=True))
    stored = model.state_dict(keep_vars=True).keys()
    known = {id(t) for t in tensors.values()}
    buffers = model.named_buffers(remove_duplicate=True)
    tensors |= {name: buffer for name, buffer in buffers if name in stored and id(buffer) not in known}
    for name, tensor in tensors.items():
        if tensor.device.type == "meta":
            raise WeightsError(f"tensor {name} is on the meta device and has no data; load the model's weights first")
    return tensors
