"""Loads a transformers model: device, number type, weights. Knows nothing of what is done with it."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.config import ModelConfig, RunConfig
from thickets.engines.image_prompts import make_renderer
from thickets.engines.processors import load_processor, takes_images
from thickets.engines.prompts import Renderer, first_line, load_tokenizer
from thickets.errors import EngineError, ModelError

if TYPE_CHECKING:
    import torch


def load_model(config: ModelConfig, device: torch.device, dtype: torch.dtype | Literal["auto"]) -> Any:
    """The model with its weights in `dtype` (`auto`: as they were saved); on the meta device only their shapes.

    On the meta device a quantised model has the shapes of the model it was made of. Raises `ModelError`; for a
    quantised model elsewhere too. Raises `EngineError` where the device has not room for it.
    """
    from transformers import AutoConfig

    folder = Path(config.name)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise ModelError(f"{config.name} has no *.safetensors file; convert the weights to safetensors first")
    try:
        # Before the weights: unpacking quantised ones takes libraries that this has no use for.
        settings = AutoConfig.from_pretrained(config.name, revision=config.revision, trust_remote_code=False)
        if device.type != "meta":
            check_not_quantised(settings, config.name)
        if is_quantised(settings):
            return _without_data(settings, dtype, config)
        model = model_class(settings).from_pretrained(
            config.name,
            revision=config.revision,
            dtype=dtype,
            use_safetensors=True,
            device_map="meta" if device.type == "meta" else None,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        where = (
            "is neither a local folder nor can it be loaded from the Hub" if not folder.exists() else "does not load"
        )
        raise ModelError(f"model {config.name!r} {where}: {first_line(error)}") from error
    return _moved(model, device, config.name)


def _moved(model: Any, device: torch.device, name: str) -> Any:
    """The model on the device. Raises `EngineError` where memory does not suffice."""
    import torch

    try:
        return model.to(device)
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"{device} has not room for model {name!r} ({first_line(error)}); free its memory, or take a GPU with more"
        ) from error


def _without_data(settings: Any, dtype: Any, config: ModelConfig) -> Any:
    """The model that a quantised one was made of, without data."""
    import torch
    from transformers import GenerationConfig

    del settings.quantization_config
    with torch.device("meta"):
        model = model_class(settings).from_config(settings, dtype=dtype, trust_remote_code=False)
    with suppress(OSError):  # there need not be one
        model.generation_config = GenerationConfig.from_pretrained(config.name, revision=config.revision or "main")
    return model


def model_class(settings: Any) -> Any:
    """The class of transformers that makes a model with these settings."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForImageTextToText if takes_images(settings) else AutoModelForCausalLM


def open_renderer(config: RunConfig, limit: int | None) -> Renderer:
    """What renders a run's prompts, without the weights of its model. Raises `ModelError`."""
    from transformers import AutoConfig

    name, revision = config.model.name, config.model.revision
    try:
        settings = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"what model {name!r} takes cannot be found out: {first_line(error)}") from error
    return make_renderer(load_front(config.model, settings), config, limit)


def load_front(config: ModelConfig, settings: Any) -> Any:
    """What stands before a model with these settings: its tokenizer, or the processor of one that takes images."""
    return load_processor(config) if takes_images(settings) else load_tokenizer(config)


def is_quantised(settings: Any) -> bool:
    """Whether these are the settings of a model whose weights are stored in fewer bits."""
    return getattr(settings, "quantization_config", None) is not None


def check_not_quantised(settings: Any, name: str) -> None:
    """Raise `ModelError` for the settings of a quantised model."""
    if is_quantised(settings):
        raise ModelError(
            f"model {name!r} is quantised, and its weights cannot take a step; use the original, or --engine vllm with "
            "a scope that leaves them out"
        )


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is a GPU if there is one. Raises `EngineError`."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"engine.device {name!r} cannot be used here: {first_line(error)}") from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number type of that name; `auto` is the narrowest that the device computes in."""
    import torch

    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    if device.type == "cuda":
        # Cards that only emulate bfloat16 (T4, V100) are many times faster in float16.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AMX or AVX-512 BF16), rather than by emulation."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def device_name(device: torch.device) -> str:
    """What the device is called, for the record of a run."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def cache_bytes_per_token(settings: Any, dtype: torch.dtype) -> int:
    """Bytes of key-value cache that one token takes in a model of these settings."""
    text = settings.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * dtype.itemsize)


def cache_budget(model: Any, device: torch.device) -> int:
    """Tokens of key-value cache that a batch may take: on a GPU those that fit into half of what is free."""
    import torch

    if device.type != "cuda":
        return 32_768
    bytes_per_token = cache_bytes_per_token(model.config, model.dtype)
    free, _ = torch.cuda.mem_get_info(device)
    return int(max(1024, min(262_144, free // 2 // bytes_per_token)))
