"""How large a model is, from its configuration, and from its files' headers if it is quantised. Loads no weight."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.config import RunConfig
from thickets.engines import engine_class
from thickets.engines.checkpoint import read_layout
from thickets.engines.files import folder_here, unreadable_weights
from thickets.engines.loading import check_not_quantised, is_quantised, model_class
from thickets.engines.prompts import first_line
from thickets.errors import ModelError
from thickets.weights import moving, refuse_packed


@dataclass(frozen=True)
class ModelShape:
    """A model's size. Counts are of single weights, tied ones once.

    `moving` are those in the scope and `tensors` how many each of its tensors has. `layers`, `kv_heads` and
    `head_width` are those of the key-value cache, 0 where they are not known. `context` is the longest text that the
    model takes, in tokens. Of a quantised model `quantised` are the weights that are stored so, in `packed` bytes with
    their scales, and `note` is a sentence about how they are counted.
    """

    parameters: int
    moving: int
    tensors: tuple[int, ...]
    layers: int = 0
    kv_heads: int = 0
    head_width: int = 0
    context: int | None = None
    quantised: int = 0
    packed: int = 0
    note: str | None = None

    def weight_bytes(self, itemsize: int) -> int:
        """Bytes of all weights, with `itemsize` for each that is not quantised."""
        return (self.parameters - self.quantised) * itemsize + self.packed

    def cache_bytes(self, itemsize: int, gpus: int = 1) -> int | None:
        """Bytes of key-value cache for one token on each of `gpus`; `None` where it is not known.

        Heads are divided among the GPUs, and each has at least one. An upper bound for layers that look back over a
        window only.
        """
        heads = -(-self.kv_heads // gpus)
        return 2 * self.layers * heads * self.head_width * itemsize or None


def read_shape(config: RunConfig) -> ModelShape:
    """The shape of the configuration's model, and what of it moves. Raises `ModelError` and `WeightsError`."""
    import torch
    from transformers import AutoConfig

    name, revision = config.model.name, config.model.revision
    try:
        settings = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
        cache = _cache(settings.get_text_config())
        note = None
        if is_quantised(settings):
            if not engine_class(config.engine.name).takes_quantised:
                check_not_quantised(settings, name)
            folder = folder_here(config.model)
            if folder is not None and unreadable_weights(folder) is None:
                return _quantised(config, folder, cache)
            del settings.quantization_config
            note = (
                "model: it is quantised and its files are not at hand, so memory is estimated as if it were not, which "
                "is too much"
            )
        with torch.device("meta"):
            model = model_class(settings).from_config(settings, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the size of model {name!r} cannot be found out: {first_line(error).rstrip('.')}; "
            "say it with --parameters, 7.6e9 for instance"
        ) from error
    tensors = dict(model.named_parameters(remove_duplicate=True))
    sizes = tuple(tensors[n].numel() for n in moving(tensors, config.weights.include, config.weights.exclude))
    return ModelShape(sum(t.numel() for t in tensors.values()), sum(sizes), sizes, *cache, note=note)


def _quantised(config: RunConfig, folder: Path, cache: tuple[int, int, int, int | None]) -> ModelShape:
    """The shape of a quantised model whose files are here. Raises `WeightsError` where the scope has quantised ones."""
    import torch

    here = config.model.model_copy(update={"name": str(folder), "revision": None})
    layout = read_layout(here, torch.bfloat16)  # how much is packed does not depend on the type of the rest
    refuse_packed(layout.packed, config.weights.include, config.weights.exclude)
    names = moving(layout.tensors, config.weights.include, config.weights.exclude)
    sizes = tuple(layout.tensors[n].numel() for n in names)
    entries = layout.checkpoint.entries
    whole = {name: tensor.numel() for name, tensor in layout.model.named_parameters(remove_duplicate=True)}
    quantised = sum(n for name, n in whole.items() if name not in entries or name in layout.packed)
    packed = sum(entries[name].bytes for name in layout.packed)
    note = (
        f"model: {quantised:,} of its weights are quantised; they are counted as its files have them, {packed:,} bytes "
        "with their scales"
    )
    return ModelShape(sum(whole.values()), sum(sizes), sizes, *cache, quantised=quantised, packed=packed, note=note)


def _cache(text: Any) -> tuple[int, int, int, int | None]:
    """Layers, key-value heads, their width and the longest context, as the model's text configuration has them."""
    context = getattr(text, "max_position_embeddings", None)
    heads = getattr(text, "num_attention_heads", None)
    layers = getattr(text, "num_hidden_layers", None)
    if not isinstance(heads, int) or not isinstance(layers, int):
        return 0, 0, 0, context
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return layers, getattr(text, "num_key_value_heads", None) or heads, width, context
