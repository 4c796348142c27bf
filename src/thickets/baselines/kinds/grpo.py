"""GRPO (Shao et al. 2024, "DeepSeekMath", arXiv:2402.03300) by TRL: same base, questions and reward, but gradients.

It learns from the questions that the search was scored on, with as many answers. Knows nothing of perturbations.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from thickets.baselines.base import Setting, Training
from thickets.baselines.trained import (
    Trained,
    base_of,
    check_trainable,
    evaluate_folder,
    refuse_another,
)
from thickets.baselines.training.budget import Budget, budget, searched
from thickets.config import GrpoConfig, RunConfig
from thickets.errors import ModelError
from thickets.pool import Pool
from thickets.store import Run

# What may be other when a training goes on.
_FREE = {"at_once", "save_every"}


class Grpo(Trained):
    """Trains once, keeps the model in the run directory, and evaluates it there."""

    name: ClassVar[str] = "grpo"
    summary: ClassVar[str] = "GRPO with TRL: the base trained on the selection split, on as many answers as the search."

    @classmethod
    def missing(cls) -> str | None:
        absent = [p for p in ("trl", "peft") if importlib.util.find_spec(p) is None]
        return f"{' and '.join(absent)} not installed; pip install 'thickets[train]'" if absent else None

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        return config.baselines.grpo.model_dump(mode="json", exclude=_FREE)

    def check(self, setting: Setting) -> None:
        check_trainable(self.name, setting)
        _budget(setting.config, len(setting.splits["selection"]))

    def training(self, config: RunConfig, questions: int) -> Training:
        # Weights, gradients and AdamW's two moments, all in float32.
        each = 0 if config.baselines.grpo.lora else 16
        return Training(_budget(config, questions).samples, each)

    def title(self, run: Run) -> str:
        return "GRPO"

    def evaluate(self, setting: Setting) -> None:
        run = setting.run
        record = _settled(setting, dict(self.settings(setting.config)))
        if "fingerprint" not in record or not _model(run).is_dir():
            trained = _train(setting)
            # A record of this one beside answers of another would say what is not so.
            refuse_another(run, self.name, trained["fingerprint"], _model(run))
            record = {**record, **trained}
            self.keep(run, record)
        # Not before the record knows the model: a kill in between would cost the whole training.
        shutil.rmtree(_checkpoints(run), ignore_errors=True)
        folder = _model(run)

        def as_trained(pool: Pool) -> None:
            if pool.fingerprint != record["fingerprint"]:
                raise ModelError(f"the weights in {folder} are not those that were trained; remove it to train again")

        evaluate_folder(setting, self.name, folder, as_trained)

    def details(self, run: Run) -> Mapping[str, Any]:
        record = self.record(run)
        training = record.get("training", {})
        if not training:
            return {}
        settings = GrpoConfig.model_validate(record["settings"])
        return {
            "answers learnt from": training["samples"],
            "answers of the search": searched(run.config, len(run.examples("selection"))),
            "steps": training["steps"],
            "answers to a question": settings.group,
            "weights trained": f"LoRA adapters of rank {settings.lora}" if settings.lora else "all",
            "learning rate": settings.rate,
            "mean reward in the first tenth of steps": training["reward at first"],
            "mean reward in the last tenth of steps": training["reward at last"],
            "answers that could not be judged": training["not judged"],
            "trained by": record["versions"],
        }


def _train(setting: Setting) -> dict[str, Any]:
    """Train, and say what is to be recorded of it."""
    from thickets.baselines.training.course import totals
    from thickets.baselines.training.grpo import Schooling, free, train, versions

    base, run = base_of(setting.run), setting.run
    setting.release()
    selection = setting.splits["selection"]
    plan = _budget(setting.config, len(selection))
    setting.progress.say(
        f"grpo: {plan.steps} steps of {plan.questions} questions with {plan.group} answers each, {plan.samples} "
        f"answers in all; the search generated {searched(setting.config, len(selection))}"
    )
    schooling = Schooling(
        setting.config,
        setting.config.baselines.grpo,
        plan,
        [e.prompt for e in selection],
        setting.sampling,
        base.dtype,
        base.fingerprint,
        _checkpoints(run),
        _model(run),
    )
    Grpo.folder(run).mkdir(parents=True, exist_ok=True)
    learnt = train(schooling, setting.scorer, setting.progress)
    free()
    return {"fingerprint": learnt.fingerprint, "training": totals(learnt.steps), "versions": versions()}


def _settled(setting: Setting, now: dict[str, Any]) -> dict[str, Any]:
    """The record so far; what was trained with other settings is dropped, aloud."""
    record = Grpo.record(setting.run)
    if record.get("settings") == now:
        return record
    if record and Grpo.folder(setting.run).exists():
        setting.progress.say("grpo: the settings changed, so the training begins anew")
        shutil.rmtree(Grpo.folder(setting.run))
    record = {"settings": now}
    Grpo.keep(setting.run, record)
    return record


def _budget(config: RunConfig, there: int) -> Budget:
    s = config.baselines.grpo
    return budget(s.samples or searched(config, there), s.questions, s.group, there)


def _checkpoints(run: Run) -> Path:
    return Grpo.folder(run) / "checkpoints"


def _model(run: Run) -> Path:
    return Grpo.folder(run) / "model"
