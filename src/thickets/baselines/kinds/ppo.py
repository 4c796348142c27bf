"""PPO (Schulman et al. 2017, arXiv:1707.06347) by verl: files for the same base, questions and reward, and its result.

verl trains in an environment of its own, on GPUs. Knows nothing of how verl works inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, Training
from thickets.baselines.trained import (
    base_of,
    check_trainable,
    evaluate_folder,
    evaluated,
    trained_answers,
    trained_spent,
)
from thickets.baselines.training.budget import Budget, budget, searched
from thickets.baselines.verl.files import CHECKPOINTS, SCRIPT, Files, write
from thickets.baselines.verl.result import Result, newest
from thickets.config import RunConfig, differences
from thickets.errors import ConfigError, ModelError, RunError
from thickets.pool import Pool
from thickets.store import Run
from thickets.types import SplitName

# In the run's record: what the files were written with and, later, which model was evaluated.
_RECORD = "ppo"
# What changes nothing in what is learnt from, or names the result.
_FREE = {"at_once", "gpus", "result"}


class Ppo(Baseline):
    """Writes the files as long as there is no result, and evaluates the result once there is one."""

    name: ClassVar[str] = "ppo"
    summary: ClassVar[str] = "PPO with verl: writes what verl trains from, and evaluates the model that it leaves."

    def settings(self, config: RunConfig) -> Mapping[str, Any]:
        return config.baselines.ppo.model_dump(mode="json", exclude=_FREE)

    def check(self, setting: Setting) -> None:
        check_trainable(self.name, setting)
        if setting.config.model.revision is not None:
            raise ConfigError(
                f"verl takes no model.revision (here {setting.config.model.revision}); make the run on a folder with "
                "that revision, or leave ppo out"
            )
        _budget(setting.config, len(setting.splits["selection"]))

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        # Of the evaluation alone: how long training takes, no run has measured.
        return dict.fromkeys(HELD_OUT, 1)

    def training(self, config: RunConfig) -> Training | None:
        settings = config.baselines.ppo
        if settings.result is not None:
            return None
        # Model and critic, each with gradients and AdamW's two moments in float32, as verl keeps them by default.
        return Training(_budget(config, config.splits.selection).samples, 2 * 16, settings.gpus)

    def title(self, run: Run) -> str:
        return "PPO"

    def evaluate(self, setting: Setting) -> None:
        run = setting.run
        if evaluated(run, self.name):
            return
        self.check(setting)
        result = _result(setting)
        if result is None:
            _write(setting, dict(self.settings(setting.config)))
            return
        evaluate_folder(setting, self.name, result.folder, lambda pool: _accept(setting, result, pool))

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        return trained_answers(run, self.name, split)

    def spent(self, run: Run) -> Spent:
        return trained_spent(run, self.name, {})

    def details(self, run: Run) -> Mapping[str, Any]:
        record = _record(run)
        if "result" not in record:
            return {}
        step, settings = record["step"], record.get("settings")
        learnt = "not known" if step is None or settings is None else step * record["answers a step"]
        return {
            "answers learnt from": learnt,
            "answers of the search": searched(run.config),
            "steps": "not known" if step is None else step,
            "learning rate": "not known" if settings is None else settings["learning_rate"],
            "evaluated model": record["result"],
            "trained by": "verl, outside this run: its tokens and seconds are not known here",
        }


def _result(setting: Setting) -> Result | None:
    """The model to evaluate: the one that is named, or the last that verl left.

    Raises `ConfigError` where none is there that is named, `RunError` where verl has not come to its end.
    """
    named = setting.config.baselines.ppo.result
    if named is not None:
        if not any(Path(named).glob("*.safetensors")):
            raise ConfigError(f"baselines.ppo.result: {named} is no folder with *.safetensors; give the trained model")
        return Result(Path(named), None)
    found = newest(_folder(setting.run) / CHECKPOINTS)
    steps = _record(setting.run).get("steps")
    if found is not None and steps is not None and found.step != steps:
        raise RunError(
            f"verl has saved step {found.step} of {steps} in {found.folder}; let it go on ({_script(setting.run)}), or "
            "evaluate this one with --baselines.ppo.result"
        )
    return found


def _accept(setting: Setting, result: Result, pool: Pool) -> None:
    """Refuse a model that is not a trained copy of the base, and record the one that is. Raises `ModelError`."""
    base = base_of(setting.run)
    weights = pool.description["parameters"]
    if weights != base.parameters:
        raise ModelError(
            f"the model in {result.folder} has {weights:,} weights and the base {base.parameters:,}; give the model "
            "that was trained from this base"
        )
    if pool.fingerprint == base.fingerprint:
        raise ModelError(f"the model in {result.folder} is the base itself; give the one that was trained")
    found = {"result": str(result.folder), "step": result.step, "fingerprint": pool.fingerprint}
    before = _record(setting.run)
    if before.get("fingerprint", pool.fingerprint) != pool.fingerprint and setting.run.ledger("ppo").scores("test"):
        raise ModelError(f"the model in {result.folder} is not the one that part of the questions were put to")
    setting.run.set_meta(_RECORD, {**before, **found})


def _write(setting: Setting, now: dict[str, Any]) -> None:
    """The files for verl, and what to do with them."""
    from thickets.engines.prompts import Renderer, load_tokenizer

    run, folder = setting.run, _folder(setting.run)
    changed = differences(_record(run).get("settings", now), now)
    if changed and (folder / CHECKPOINTS).exists():
        raise RunError(
            f"verl has begun with other settings ({'; '.join(changed)}); go back to them, or remove "
            f"{folder / CHECKPOINTS} to begin anew"
        )
    plan = _budget(setting.config, len(setting.splits["selection"]))
    files = Files(
        folder,
        run.directory,
        setting.config,
        setting.config.baselines.ppo,
        plan,
        setting.task,
        {split: setting.splits[split] for split in ("selection", "validation")},
        setting.sampling,
        base_of(run).dtype,
    )
    write(files, Renderer(load_tokenizer(setting.config.model), setting.config, None))
    run.set_meta(_RECORD, {"settings": now, "steps": plan.steps, "answers a step": plan.a_step})
    setting.progress.say(
        f"ppo: wrote {folder} for verl 0.9: {plan.steps} steps of {plan.questions} answers, {plan.samples} in all; the "
        f"search generated {searched(setting.config)}"
    )
    setting.progress.say(f"ppo: where verl and its GPUs are, run {_script(run)}; then repeat this command here")


def _budget(config: RunConfig, there: int) -> Budget:
    s = config.baselines.ppo
    return budget(s.samples or searched(config), s.questions, 1, there, s.gpus)


def _record(run: Run) -> dict[str, Any]:
    return run.meta(_RECORD) or {}


def _folder(run: Run) -> Path:
    return run.directory / "baselines" / "ppo"


def _script(run: Run) -> str:
    return f"bash {_folder(run) / SCRIPT}"
