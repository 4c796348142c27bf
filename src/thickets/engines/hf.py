"""The `hf` engine: a transformers causal language model on the CPU or one GPU. Knows nothing of tasks."""

from __future__ import annotations

import inspect
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.config import ModelConfig, RunConfig
from thickets.engines.base import Engine
from thickets.engines.decoding import Decoder
from thickets.errors import EngineError, ModelError, WeightsError
from thickets.types import Generation, Perturbation, Prompt, Sampling
from thickets.weights import ReadOnlyBase, canonical_tensors, moving, scale_factors, tensor_kinds

if TYPE_CHECKING:
    import torch


# Above this a float32 step is infinite.
_LARGEST_STEP = 3.4e38
# Some chat templates print today's date (Llama 3.1): a run that goes on tomorrow must ask the same questions.
_ONE_DAY = datetime(2026, 1, 1, tzinfo=UTC)


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
        self.template = _on_one_day(tokenizer.chat_template)
        if config.task.chat == "chat" and not tokenizer.chat_template:
            raise EngineError(
                f"task.chat is chat, but the tokenizer of {config.model.name} has no chat template; "
                "use --task.chat plain, or a model that was trained to chat"
            )
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise ModelError(
                f"{config.model.name} is a {type(model).__name__}, which keeps no key-value cache; "
                "the hf engine needs a causal language model with one"
            )
        tensors = canonical_tensors(model)
        names = moving(tensors, config.weights.include, config.weights.exclude)
        # Before anything is placed: the rules look at the untouched weights.
        factors = scale_factors(tensors, names, tensor_kinds(model), config.search.noise, config.weights)
        _check_steps(config, factors)
        self.base = ReadOnlyBase(tensors, names, config.search.noise, factors, config.engine.base, config.engine.kernel)
        self.fingerprint = self.base.fingerprint
        self.factors = self.base.factors
        parameter = next(model.parameters())
        budget = config.engine.batch_tokens or _budget(model, parameter.device)
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
        import torch

        self.base.place(perturbation)
        if self.decoder.device.type == "cuda":
            # Kernels are only queued: without waiting, the time of the switch would be counted as generation.
            torch.cuda.synchronize(self.decoder.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        import torch

        ids = [self._tokens(p) for p in prompts]
        self._check_lengths(ids, sampling)
        try:
            done = self.decoder.decode(ids, sampling)
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"the GPU ran out of memory while generating (batches of up to {self.decoder.budget} tokens); "
                "repeat the command with a smaller --engine.batch-tokens, every finished trial is kept"
            ) from error
        open_ends = [d for d in done if d.text is None]
        texts = iter(self.tokenizer.batch_decode([d.generated for d in open_ends], skip_special_tokens=True))
        return [
            Generation(next(texts) if d.text is None else d.text, len(d.prompt), len(d.generated), d.finish)
            for d in done
        ]

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self._check_lengths([self._tokens(p) for p in prompts], sampling)

    def verify_base(self) -> None:
        self.base.verify()

    def close(self) -> None:
        self.base.place(None)

    def _tokens(self, prompt: Prompt) -> list[int]:
        """Chat turns through the model's template; plain text with the tokenizer's own special tokens."""
        from jinja2.exceptions import TemplateError

        if isinstance(prompt, str):
            return list(self.tokenizer(prompt).input_ids)
        if not self.tokenizer.chat_template:
            return list(self.tokenizer("\n\n".join(m.content for m in prompt)).input_ids)
        turns = [{"role": m.role, "content": m.content} for m in prompt]
        try:
            text = self.tokenizer.apply_chat_template(
                turns, chat_template=self.template, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, ValueError) as error:
            # Some templates know no system turn (Gemma), or want turns to alternate.
            raise EngineError(
                f"the model's chat template refuses the turns {[m.role for m in prompt]}: {_first_line(error)}; "
                "leave out --task.system, or use --task.chat plain"
            ) from error
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
        # Cards that only emulate bfloat16 (T4, V100) are many times faster in float16.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16 (AMX or AVX-512 BF16), rather than by emulation."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def _on_one_day(template: Any) -> Any:
    """A chat template with its calls for today's date replaced by a fixed one; others as they are."""
    if not isinstance(template, str):
        return template
    return re.sub(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""", lambda call: repr(_ONE_DAY.strftime(call[2])), template)


def _check_steps(config: RunConfig, factors: Mapping[str, float]) -> None:
    """Refuse a sigma whose step no weight can take, before anything is evaluated."""
    largest = max(factors, key=lambda name: factors[name])
    step = max(config.search.sigmas) * factors[largest]
    if not step <= _LARGEST_STEP:
        raise WeightsError(
            f"sigma {max(config.search.sigmas):g} makes a step of {step:g} for {largest}, beyond what float32 holds; "
            "use a smaller one"
        )


def _budget(model: Any, device: torch.device) -> int:
    """Tokens of key-value cache that a batch may take: on a GPU those that fit into half of what is free."""
    import torch

    if device.type != "cuda":
        return 32_768
    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    bytes_per_token = 2 * text.num_hidden_layers * heads * width * model.dtype.itemsize
    free, _ = torch.cuda.mem_get_info(device)
    return int(max(1024, min(262_144, free // 2 // bytes_per_token)))


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
