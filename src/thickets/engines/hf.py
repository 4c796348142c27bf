"""The `hf` engine: a transformers causal language model on the CPU or one GPU. Knows nothing of tasks."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.config import ModelConfig, RunConfig
from thickets.engines.base import Engine
from thickets.engines.decoding import Decoder
from thickets.errors import EngineError, ModelError
from thickets.types import Generation, Perturbation, Prompt, Sampling
from thickets.weights import ReadOnlyBase, canonical_tensors, moving, scale_factors, tensor_kinds

if TYPE_CHECKING:
    import torch


class HuggingFaceEngine(Engine):
    """Generates with `transformers`; weights are placed by the read-only base, in place."""

    name = "hf"
    summary = "transformers, on the CPU or one GPU"

    def __init__(self, model: Any, tokenizer: Any, config: RunConfig) -> None:
        import torch
        import transformers

        _check_not_quantised(model.config, config.model.name)
        self.model = model.eval()
        self.tokenizer = tokenizer
        tensors = canonical_tensors(model)
        names = moving(tensors, config.weights.include, config.weights.exclude)
        # Before anything is placed: the rules look at the untouched weights.
        factors = scale_factors(tensors, names, tensor_kinds(model), config.search.noise, config.weights)
        self.base = ReadOnlyBase(tensors, names, config.search.noise, factors, config.engine.base)
        self.fingerprint = self.base.fingerprint
        self.factors = self.base.factors
        parameter = next(model.parameters())
        # A cache of some gigabytes for models of a few billion parameters.
        budget = config.engine.batch_tokens or (32_768 if parameter.device.type == "cpu" else 262_144)
        self.decoder = Decoder(model, tokenizer, _eos(model, tokenizer), budget)
        self.description: Mapping[str, Any] = {
            "engine": self.name,
            "device": str(parameter.device),
            "device_name": _device_name(parameter.device),
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "parameters": sum(t.numel() for t in tensors.values()),
            "moving": sum(t.numel() for t in self.base.pristine.values()),
            "base_copy": self.base.cost,
            "batch_tokens": budget,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    @classmethod
    def start(cls, config: RunConfig, model: Any = None, tokenizer: Any = None) -> HuggingFaceEngine:
        device = _device(config.engine.device)
        if model is None:
            model = load_model(config.model, device, _dtype(config.model.dtype, device))
        elif config.engine.device != "auto":
            model = model.to(device)
        if tokenizer is None:
            tokenizer = load_tokenizer(config.model)
        return cls(model, tokenizer, config)

    def place(self, perturbation: Perturbation | None) -> None:
        self.base.place(perturbation)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        ids = [self._tokens(p) for p in prompts]
        self._check_lengths(ids, sampling)
        done = self.decoder.decode(ids, sampling)
        open_ends = [d for d in done if d.text is None]
        texts = iter(self.tokenizer.batch_decode([d.generated for d in open_ends], skip_special_tokens=True))
        return [
            Generation(next(texts) if d.text is None else d.text, len(d.prompt), len(d.generated), d.finish)
            for d in done
        ]

    def verify_base(self) -> None:
        self.base.verify()

    def _tokens(self, prompt: Prompt) -> list[int]:
        """Chat turns through the model's template; plain text with the tokenizer's own special tokens."""
        if isinstance(prompt, str):
            return list(self.tokenizer(prompt).input_ids)
        if not self.tokenizer.chat_template:
            return list(self.tokenizer("\n\n".join(m.content for m in prompt)).input_ids)
        turns = [{"role": m.role, "content": m.content} for m in prompt]
        text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        # The template writes its own special tokens; a second beginning-of-text would change the model's answers.
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _check_lengths(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        longest = max(map(len, prompts), default=0)
        if limit is not None and longest + sampling.max_new_tokens > limit:
            raise EngineError(
                f"the longest prompt has {longest} tokens, and with {sampling.max_new_tokens} new ones it is over the "
                f"model's limit of {limit}; shorten the prompts or set --generation.max-new-tokens"
            )
        if any(not p for p in prompts):
            raise EngineError("a prompt has no tokens at all; check the prompt template")


def load_tokenizer(config: ModelConfig) -> Any:
    """The model's tokenizer. Raises `ModelError` where there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(config.name, revision=config.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"no tokenizer can be loaded for model {config.name!r}: {_first_line(error)}") from error


def load_model(config: ModelConfig, device: torch.device, dtype: torch.dtype | Literal["auto"]) -> Any:
    """The model with its weights in `dtype` (`auto`: as they were saved). Raises `ModelError`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = Path(config.name)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise ModelError(f"{config.name} has no *.safetensors file; convert the weights to safetensors first")
    try:
        # Before the weights: unpacking quantised ones takes libraries that this has no use for.
        settings = AutoConfig.from_pretrained(config.name, revision=config.revision, trust_remote_code=False)
        _check_not_quantised(settings, config.name)
        model = AutoModelForCausalLM.from_pretrained(
            config.name,
            revision=config.revision,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, RuntimeError) as error:
        where = (
            "is neither a local folder nor can it be loaded from the Hub" if not folder.exists() else "does not load"
        )
        raise ModelError(f"model {config.name!r} {where}: {_first_line(error)}") from error
    moved: Any = model  # transformers' annotations do not know `to` with a device
    return moved.to(device)


def _check_not_quantised(settings: Any, name: str) -> None:
    if getattr(settings, "quantization_config", None) is not None:
        raise ModelError(f"model {name!r} is quantised, and its weights cannot take a step; use the original")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"engine.device {name!r} cannot be used here: {_first_line(error)}") from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    import torch

    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AMX or AVX-512 BF16), rather than by emulation."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def _device_name(device: torch.device) -> str:
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


def _eos(model: Any, tokenizer: Any) -> frozenset[int]:
    """Token ids that end an answer, from the model's generation settings and its tokenizer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if i is not None)
