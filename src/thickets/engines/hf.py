"""The `hf` engine: a transformers model, of text or of images and text, on the CPU or one GPU. Knows no tasks."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thickets.config import ModelConfig, RunConfig
from thickets.engines.base import Engine
from thickets.engines.decoding import Continuation, Decoder
from thickets.engines.image_decoding import ImageDecoder
from thickets.engines.image_prompts import ImageRenderer, make_renderer
from thickets.engines.loading import (
    cache_budget,
    check_not_quantised,
    device_name,
    load_front,
    load_model,
    pick_device,
    pick_dtype,
)
from thickets.engines.processors import is_processor, save_processor
from thickets.engines.prompts import eos_ids
from thickets.errors import EngineError, ModelError
from thickets.types import Generation, Point, Prompt, Sampling, images_of
from thickets.weights import ReadOnlyBase, canonical_tensors, check_steps, moving, scale_factors, tensor_kinds


class HuggingFaceEngine(Engine):
    """Generates with `transformers`; weights are placed by the read-only base, in place.

    `front` is the model's tokenizer, or the processor of a model that takes images.
    """

    name = "hf"
    summary = "transformers, on the CPU or one GPU"

    def __init__(self, model: Any, front: Any, config: RunConfig) -> None:
        import torch
        import transformers

        check_not_quantised(model.config, config.model.name)
        self.model = model.eval()
        # Where the front was loaded from, if it was not given.
        self.source: ModelConfig | None = None
        self.front = front
        self.tokenizer = front.tokenizer if is_processor(front) else front
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.renderer = make_renderer(front, config, limit)
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise ModelError(
                f"{config.model.name} is a {type(model).__name__}, which keeps no key-value cache; "
                "the hf engine needs a causal language model with one"
            )
        tensors = canonical_tensors(model)
        names = moving(tensors, config.weights.include, config.weights.exclude)
        # Before anything is placed: the rules look at the untouched weights.
        factors = scale_factors(tensors, names, tensor_kinds(model), config.search.noise, config.weights)
        check_steps(config.search.sigmas, factors)
        self.base = ReadOnlyBase(tensors, names, config.search.noise, factors, config.engine.base, config.engine.kernel)
        self.fingerprint = self.base.fingerprint
        self.factors = self.base.factors
        parameter = next(model.parameters())
        budget = config.engine.batch_tokens or cache_budget(model, parameter.device)
        self.decoder = Decoder(model, self.tokenizer, eos_ids(model.generation_config, self.tokenizer), budget)
        self.description: Mapping[str, Any] = {
            "engine": self.name,
            "device": str(parameter.device),
            "device_name": device_name(parameter.device),
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "parameters": sum(t.numel() for t in tensors.values()),
            "moving": sum(t.numel() for t in self.base.pristine.values()),
            "base_copy": self.base.cost,
            "batch_tokens": budget,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        if is_processor(front):
            # Libraries that make images smaller do not agree on every pixel.
            self.description = {**self.description, "images_by": type(front.image_processor).__name__}

    @classmethod
    def start(cls, config: RunConfig, model: Any = None, tokenizer: Any = None) -> HuggingFaceEngine:
        device = pick_device(config.engine.device)
        if model is None:
            model = load_model(config.model, device, pick_dtype(config.model.dtype, device))
        elif config.engine.device != "auto":
            model = model.to(device)
        if tokenizer is not None:
            return cls(model, tokenizer, config)
        engine = cls(model, load_front(config.model, model.config), config)
        engine.source = config.model
        return engine

    def place(self, perturbation: Point | None) -> None:
        import torch

        self.base.place(perturbation)
        if self.decoder.device.type == "cuda":
            # Kernels are only queued: without waiting, the time of the switch would be counted as generation.
            torch.cuda.synchronize(self.decoder.device)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        import torch

        ids = [self.renderer.tokens(p) for p in prompts]
        self.renderer.check(ids, sampling)
        try:
            done = self._decode(prompts, ids, sampling)
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

    def interrupt(self) -> None:
        self.decoder.cancelled.set()

    def _decode(
        self, prompts: Sequence[Prompt], ids: Sequence[Sequence[int]], sampling: Sampling
    ) -> list[Continuation]:
        """Text and pictures apart, each in its own batches; what comes back is in the order of the prompts."""
        pictured = [i for i, prompt in enumerate(prompts) if images_of(prompt)]
        if not pictured or not isinstance(self.renderer, ImageRenderer):
            return self.decoder.decode(ids, sampling)
        written = sorted(set(range(len(prompts))) - set(pictured))
        done = dict(zip(written, self.decoder.decode([ids[i] for i in written], sampling), strict=True))
        seeing = ImageDecoder(self.decoder, self.renderer)
        done |= zip(pictured, seeing.decode([prompts[i] for i in pictured], sampling), strict=True)
        return [done[i] for i in range(len(prompts))]

    def save(self, folder: Path) -> None:
        """Write the model as it is now, and what stands before it, as an ordinary Hugging Face folder."""
        self.model.save_pretrained(folder, max_shard_size="5GB")
        if is_processor(self.front):
            save_processor(self.front, self.source, folder)
        else:
            self.front.save_pretrained(folder)

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self.renderer.check([self.renderer.tokens(p) for p in prompts], sampling)

    def verify_base(self) -> None:
        self.base.verify()

    def close(self) -> None:
        self.base.place(None)
