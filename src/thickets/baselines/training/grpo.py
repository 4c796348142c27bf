"""Trains a model by GRPO (Shao et al. 2024) with TRL's trainer and saves it. Knows nothing of evaluation.

Imported only where something is trained: it needs TRL.
"""

from __future__ import annotations

import copy
import gc
import importlib.metadata
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from thickets.baselines.training.budget import Budget
from thickets.baselines.training.checkpoints import mark, newest
from thickets.baselines.training.course import Course, Step
from thickets.baselines.training.rewards import Rewards
from thickets.baselines.training.rollouts import Rollouts
from thickets.config import GrpoConfig, ModelConfig, RunConfig
from thickets.engines.loading import load_model, pick_device
from thickets.engines.prompts import Renderer, first_line, load_tokenizer
from thickets.errors import CandidateFailed, EngineError, ModelError, RunError
from thickets.searching.progress import Progress
from thickets.searching.scoring import Scorer
from thickets.store.database import explained
from thickets.types import Prompt, Sampling
from thickets.weights import canonical_tensors, fingerprint


@dataclass(frozen=True)
class Schooling:
    """What is to be trained on what. `dtype` is the number type that the run has its base in."""

    config: RunConfig
    settings: GrpoConfig
    budget: Budget
    prompts: Sequence[Prompt]
    # The task's limits and stops; the temperature is the settings'.
    sampling: Sampling
    dtype: str
    # Of the base model, to be sure that it is the one.
    fingerprint: str
    checkpoints: Path
    model: Path


@dataclass(frozen=True)
class Learnt:
    """The fingerprint of the model that was saved, and the steps that led to it."""

    fingerprint: str
    steps: Sequence[Step]


def train(schooling: Schooling, scorer: Scorer, progress: Progress) -> Learnt:
    """Train the base, or go on with the newest checkpoint, and save the result as a Hugging Face folder.

    Raises `ModelError` for a base that is not the run's or cannot be trained, `EngineError` where memory runs out,
    `RunError` where the training diverges, and whatever the task stops a run by.
    """
    device = _device(schooling.config)
    tokenizer = load_tokenizer(schooling.config.model)
    model = load_model(schooling.config.model, device, getattr(torch, schooling.dtype))
    if fingerprint(canonical_tensors(model)) != schooling.fingerprint:
        raise ModelError(
            f"the weights of {schooling.config.model.name} are not those that the run was started with; restore them"
        )
    # The trainer adapts these to itself; the trained model is to answer as the base does.
    kept = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
    if not schooling.settings.lora:
        # Steps of full training are far smaller than what bfloat16 can tell apart.
        model = model.float()
    course = Course(schooling.budget.steps, progress, "grpo, training")
    checkpoint = newest(schooling.checkpoints)
    course.begin(checkpoint.steps if checkpoint else ())
    try:
        with explained(schooling.checkpoints.parent), _told():
            trainer = _trainer(schooling, model, tokenizer, scorer, course, device)
            trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    finally:
        progress.end()
    trained = _plain(trainer, schooling, kept)
    with explained(schooling.model.parent):
        _save(trained, tokenizer, schooling.model)
    # As an engine will load it: some architectures keep some tensors in float32 whatever is asked for.
    saved = load_model(ModelConfig(name=str(schooling.model)), torch.device("cpu"), getattr(torch, schooling.dtype))
    return Learnt(fingerprint(canonical_tensors(saved)), course.steps)


def free() -> None:
    """Give back what a training held, whose objects refer to one another, before engines want the memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _trainer(
    schooling: Schooling, model: Any, tokenizer: Any, scorer: Scorer, course: Course, device: torch.device
) -> GRPOTrainer:
    settings, budget = schooling.settings, schooling.budget
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    sampling = Sampling(
        schooling.sampling.max_new_tokens, settings.temperature, seed=settings.seed, stop=schooling.sampling.stop
    )
    renderer = Renderer(tokenizer, schooling.config, limit)
    batch_tokens = schooling.config.engine.batch_tokens
    rollouts = Rollouts(renderer, model.generation_config, schooling.prompts, sampling, batch_tokens, course)
    lora = LoraConfig(
        r=settings.lora, lora_alpha=2 * settings.lora, target_modules="all-linear", task_type="CAUSAL_LM"
    )  # fmt: skip
    with _no_telemetry():
        try:
            trainer = GRPOTrainer(
                model=model,
                args=_arguments(schooling, device),
                # TRL is told the positions of questions, not their texts: what it would tokenise is not what is asked.
                train_dataset=Dataset.from_dict({"prompt": [str(position) for position in _order(schooling)]}),
                reward_funcs=Rewards(scorer, budget.group, course),
                # A copy: TRL gives it a padding token, which is not to be saved with the model.
                processing_class=copy.deepcopy(tokenizer),
                peft_config=lora if settings.lora else None,
                rollout_func=rollouts,
                callbacks=[_Watch(course)],
            )
        except (ValueError, NotImplementedError) as error:
            raise ModelError(f"TRL cannot train {schooling.config.model.name}: {first_line(error)}") from error
    trainer.remove_callback(PrinterCallback)
    return trainer


def _order(schooling: Schooling) -> list[int]:
    """The questions of all steps in one sequence, each round through them in another order.

    One epoch for the trainer, which after a kill would begin a later one in the order of the first.
    """
    generator = np.random.default_rng(schooling.settings.seed)
    order: list[int] = []
    a_step = schooling.budget.questions
    a_round = len(schooling.prompts) // a_step * a_step
    while len(order) < schooling.budget.steps * a_step:
        order += generator.permutation(len(schooling.prompts))[:a_round].tolist()
    return order[: schooling.budget.steps * a_step]


def _arguments(schooling: Schooling, device: torch.device) -> GRPOConfig:
    settings, budget = schooling.settings, schooling.budget
    at_once = budget.at_once(settings.at_once)
    cuda = device.type == "cuda"
    arguments = GRPOConfig(
        output_dir=str(schooling.checkpoints),
        max_steps=budget.steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=budget.a_step // at_once,
        num_generations=budget.group,
        max_completion_length=schooling.sampling.max_new_tokens,
        temperature=settings.temperature,
        learning_rate=settings.rate,
        seed=settings.seed,
        shuffle_dataset=False,
        bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
        use_cpu=not cuda,
        gradient_checkpointing=cuda,
        dataloader_pin_memory=cuda,
        save_strategy="steps",
        save_steps=settings.save_every,
        # The last but one stays: a kill may tear the last.
        save_total_limit=2,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        trust_remote_code=False,
    )
    # One card trains; transformers would spread each batch over all that it sees.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


class _Watch(TrainerCallback):
    """Closes the steps of the course and marks whole checkpoints."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._course.close()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        mark(Path(args.output_dir) / f"checkpoint-{state.global_step}", self._course.as_json())


def _plain(trainer: GRPOTrainer, schooling: Schooling, kept: tuple[Any, Any]) -> Any:
    """The trained model without adapters and wrappers, in the number type of the base."""
    model: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if schooling.settings.lora:
        model = model.merge_and_unload()
    model = model.to(getattr(torch, schooling.dtype)).eval()
    model.config, model.generation_config = kept
    return model


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Whole or not at all."""
    unfinished = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished, max_shard_size="5GB")
    tokenizer.save_pretrained(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _device(config: RunConfig) -> torch.device:
    device = pick_device(config.engine.device)
    if device.type == "cuda" and device.index:
        raise EngineError(
            f"engine.device is {config.engine.device}, but TRL trains on the first GPU that it sees; set "
            f"CUDA_VISIBLE_DEVICES={device.index} and --engine.device cuda"
        )
    return device


@contextmanager
def _told() -> Iterator[None]:
    """Say in one sentence what a training can fail by, and keep the libraries' advice to each other out of it."""
    try:
        with warnings.catch_warnings():
            # TRL says of a rollout function that it may change; which TRL is used is pinned.
            warnings.simplefilter("ignore")
            yield
    except CandidateFailed as error:
        raise RunError(
            f"the training diverged ({error}); take a smaller --baselines.grpo.learning-rate, which begins it anew"
        ) from error
    except torch.OutOfMemoryError as error:
        raise EngineError(
            "the GPU ran out of memory while training; lower --baselines.grpo.at-once or --engine.batch-tokens, or "
            "train adapters with --baselines.grpo.lora 16"
        ) from error


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """TRL reports each trainer that is made to its authors unless it is told not to."""
    before = huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = before


def versions() -> dict[str, str]:
    """Of what a training depends on."""
    return {name: importlib.metadata.version(name) for name in ("trl", "peft", "transformers", "torch")}
