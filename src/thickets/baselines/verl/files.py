"""Writes what verl 0.9 trains from: configuration, Parquet files, reward, start script. Knows no results."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.baselines.training.budget import Budget
from thickets.config import PpoConfig, RunConfig
from thickets.engines.prompts import Renderer
from thickets.errors import EngineError
from thickets.searching.scoring import patience
from thickets.store import write_atomically
from thickets.store.database import explained
from thickets.tasks import Task
from thickets.types import Example, Prompt, Sampling, SplitName

CONFIGURATION, SCRIPT, CHECKPOINTS = "ppo.yaml", "train.sh", "checkpoints"
# Seconds within which a judge has to be up: it loads the task's data.
_SLOWEST_START = 300.0


@dataclass(frozen=True)
class Files:
    """What is written, and where: `folder`. `learnt` are the questions by split, `dtype` the run's number type."""

    folder: Path
    run: Path
    config: RunConfig
    settings: PpoConfig
    budget: Budget
    task: Task
    learnt: Mapping[SplitName, Sequence[Example]]
    sampling: Sampling
    dtype: str


def write(files: Files, renderer: Renderer) -> None:
    """Write all of them anew. Raises `EngineError` for prompts that verl could not be given as they are asked here."""
    longest = _check_prompts(files, renderer)
    with explained(files.folder):
        files.folder.mkdir(parents=True, exist_ok=True)
        for split, examples in files.learnt.items():
            if examples:
                _write_parquet(files.folder / f"{split}.parquet", split, examples, files.task, renderer)
        shutil.copyfile(Path(__file__).with_name("compute_score.py"), files.folder / "reward.py")
    judge = {
        "command": [sys.executable, "-m", "thickets.baselines.verl.judging", str(files.run.absolute())],
        "folder": os.getcwd(),
        "source": str(Path(__file__).absolute().parents[3]),
        "start": _SLOWEST_START,
        # One answer at a time.
        "timeout": patience(files.config.scoring.timeout, files.task.seconds_each, 1),
    }
    write_atomically(files.folder / "judge.json", json.dumps(judge, indent=1))
    write_atomically(files.folder / CONFIGURATION, _yaml(configuration(files, renderer, longest)))
    write_atomically(files.folder / SCRIPT, _SCRIPT.format(folder=shlex.quote(str(files.folder.absolute()))))


def configuration(files: Files, renderer: Renderer, longest: int) -> dict[str, Any]:
    """verl's configuration: what is not here is as verl's `ppo_trainer` has it."""
    settings, budget = files.settings, files.budget
    at_once = Budget(1, budget.questions // settings.gpus, 1).at_once(settings.at_once)
    return {
        "hydra": {"searchpath": ["pkg://verl.trainer.config"]},
        "defaults": ["ppo_trainer", "_self_"],
        "data": _data(files, longest),
        "actor_rollout_ref": _actor(files, renderer, at_once),
        "critic": {
            # The critic reads the same tokens; its model needs no template of its own.
            "model": {"path": _place(files.config.model.name)},
            "optim": {"lr": settings.critic_learning_rate},
            "ppo_micro_batch_size_per_gpu": at_once,
        },
        "algorithm": {
            "adv_estimator": "gae",
            "use_kl_in_reward": settings.kl > 0,
            "kl_ctrl": {"kl_coef": settings.kl},
        },
        "reward": {
            "custom_reward_function": {"path": str(files.folder.absolute() / "reward.py"), "name": "compute_score"}
        },
        "trainer": _trainer(files),
    }


def _data(files: Files, longest: int) -> dict[str, Any]:
    folder = files.folder.absolute()
    validation = "validation" if files.learnt.get("validation") else "selection"
    return {
        "train_files": str(folder / "selection.parquet"),
        "val_files": str(folder / f"{validation}.parquet"),
        "train_batch_size": files.budget.questions,
        "max_prompt_length": longest,
        "max_response_length": files.sampling.max_new_tokens,
        "seed": files.settings.seed,
        # Too long a prompt stops the training instead of leaving it without a word.
        "filter_overlong_prompts": False,
        "truncation": "error",
    }


def _actor(files: Files, renderer: Renderer, at_once: int) -> dict[str, Any]:
    """The model that learns, what generates its answers, and the base that it is to stay near to."""
    settings = files.settings
    template = _template(renderer, files.learnt["selection"][0].prompt)
    return {
        "model": {"path": _place(files.config.model.name), "custom_chat_template": template},
        "actor": {
            "optim": {"lr": settings.learning_rate},
            "ppo_mini_batch_size": files.budget.questions,
            "ppo_micro_batch_size_per_gpu": at_once,
            "checkpoint": {"save_contents": ["model", "optimizer", "extra", "hf_model"]},
        },
        "ref": {"log_prob_micro_batch_size_per_gpu": at_once},
        "rollout": {
            "name": "vllm",
            "n": 1,
            "temperature": settings.temperature,
            "dtype": files.dtype,
            "seed": settings.seed,
            "tensor_model_parallel_size": 1,
            "log_prob_micro_batch_size_per_gpu": at_once,
        },
    }


def _trainer(files: Files) -> dict[str, Any]:
    budget = files.budget
    return {
        "total_training_steps": budget.steps,
        "total_epochs": -(-budget.steps // (len(files.learnt["selection"]) // budget.questions)),
        "n_gpus_per_node": files.settings.gpus,
        "nnodes": 1,
        "logger": ["console"],
        "project_name": "thickets",
        "experiment_name": files.run.name,
        "default_local_dir": str(files.folder.absolute() / CHECKPOINTS),
        "save_freq": max(1, budget.steps // 5),
        "max_actor_ckpt_to_keep": 1,
        "max_critic_ckpt_to_keep": 1,
        # thickets evaluates what comes out, as it evaluates everything else.
        "val_before_train": False,
        "test_freq": -1,
    }


def rows(split: SplitName, examples: Sequence[Example], task: Task, renderer: Renderer) -> list[dict[str, Any]]:
    """In verl's schema. The prompt is the whole text that the model is given here, as one turn."""
    return [
        {
            "data_source": f"thickets/{task.name}",
            "prompt": [{"role": "user", "content": renderer.text(example.prompt)}],
            "ability": task.name,
            # For people: the judge knows what is right by the index.
            "reward_model": {"style": "rule", "ground_truth": task.right_answer(example) or ""},
            "extra_info": {"split": split, "index": index, "label": example.label},
        }
        for index, example in enumerate(examples)
    ]


def _write_parquet(path: Path, split: SplitName, examples: Sequence[Example], task: Task, renderer: Renderer) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows(split, examples, task, renderer)), path)


def _template(renderer: Renderer, prompt: Prompt) -> str:
    """A chat template that gives a turn's text and nothing else.

    Plain text may get a token in front of it from the tokenizer; the model's own template has written it already.
    """
    opening = [renderer.tokenizer.bos_token_id]
    bare = list(renderer.tokenizer(renderer.text(prompt), add_special_tokens=False).input_ids)
    opens = renderer.tokens(prompt) == opening + bare
    return ("{{ bos_token }}" if opens else "") + "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def _check_prompts(files: Files, renderer: Renderer) -> int:
    """The longest prompt's tokens, once it is sure that verl will make the same ones."""
    tokenizer, longest = renderer.tokenizer, 1
    template = _template(renderer, files.learnt["selection"][0].prompt)
    for example in (e for examples in files.learnt.values() for e in examples):
        wanted, turn = renderer.tokens(example.prompt), {"role": "user", "content": renderer.text(example.prompt)}
        text = tokenizer.apply_chat_template([turn], chat_template=template, tokenize=False, add_generation_prompt=True)
        if list(tokenizer(text, add_special_tokens=False).input_ids) != wanted:
            raise EngineError(
                f"verl would give the model other tokens for {example.label} than it is asked with here; "
                "PPO cannot be held against this run"
            )
        longest = max(longest, len(wanted))
    return longest


def _place(model: str) -> str:
    """A folder by its whole path: verl's processes have working directories of their own."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def _yaml(values: Mapping[str, Any]) -> str:
    import yaml

    head = "# Written by thickets for verl 0.9; on top of verl's own ppo_trainer.yaml.\n"
    return head + str(yaml.safe_dump(dict(values), sort_keys=False, width=120))


_SCRIPT = """#!/usr/bin/env bash
# Trains by PPO with verl 0.9, in an environment that has it (pip install 'verl[vllm]==0.9.1') and NVIDIA GPUs.
# Stopped and started again it goes on from its newest checkpoint. Overrides may be added: train.sh trainer.nnodes=2
set -euo pipefail
exec "${{PYTHON:-python3}}" -m verl.trainer.main_ppo --config-dir {folder} --config-name ppo "$@"
"""
