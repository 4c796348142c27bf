"""PPO (Schulman et al. 2017, arXiv:1707.06347) by verl: files for the same base, questions and reward, and its result.

verl trains in an environment of its own, on GPUs. Knows nothing of how verl works inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from thickets.baselines.base import Setting, Training
from thickets.baselines.trained import (
    Trained,
    base_of,
    begun,
    check_trainable,
    evaluate_folder,
)
from thickets.baselines.training.budget import Budget, budget, searched
from thickets.baselines.verl.files import CHECKPOINTS, SCRIPT, Files, write
from thickets.baselines.verl.result import Result, newest
from thickets.config import RunConfig, differences
from thickets.errors import ConfigError, ModelError, RunError
from thickets.pool import Pool
from thickets.store import Run

# What changes nothing in what is learnt from, or names the result. GPUs are not among it: they divide a step evenly.
_FREE = {"at_once", "result"}


class Ppo(Trained):
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

    def training(self, config: RunConfig, questions: int) -> Training | None:
        settings = config.baselines.ppo
        if settings.result is not None:
            return None
        # Model and critic, each with gradients and AdamW's two moments in float32, as verl keeps them by default.
        return Training(_budget(config, questions).samples, 2 * 16, settings.gpus)

    def title(self, run: Run) -> str:
        return "PPO"

    def evaluate(self, setting: Setting) -> None:
        result = _result(setting)
        if result is None:
            _write(setting)
            return
        evaluate_folder(setting, self.name, result.folder, lambda pool: _accept(setting, result, pool))

    def details(self, run: Run) -> Mapping[str, Any]:
        record = self.record(run)
        if "result" not in record:
            return {}
        step, settings = record["step"], record.get("settings")
        known: Mapping[str, Any] = {}
        # Of a model that was named, nobody knows whether it was trained from these files.
        if step is not None and settings is not None:
            known = {"learnt": step * record["answers a step"], "steps": step, "rate": settings["learning_rate"]}
        return {
            "answers learnt from": known.get("learnt", "not known"),
            "answers of the search": searched(run.config, len(run.examples("selection"))),
            "steps": known.get("steps", "not known"),
            "learning rate": known.get("rate", "not known"),
            "evaluated model": record["result"],
            "trained by": "verl, outside this run: its tokens and seconds are not known here",
        }


def _result(setting: Setting) -> Result | None:
    """The model to evaluate: the one that is named, or was begun with, or the last that verl left.

    Raises `ConfigError` where none is there that is named, `RunError` where verl has not come to its end, or was given
    other settings than there are now.
    """
    named = setting.config.baselines.ppo.result
    if named is not None:
        if not any(Path(named).glob("*.safetensors")):
            raise ConfigError(f"baselines.ppo.result: {named} is no folder with *.safetensors; give the trained model")
        return Result(Path(named), None)
    if begun(setting.run, Ppo.name):
        return Result(Path(Ppo.record(setting.run)["result"]), Ppo.record(setting.run)["step"])
    _refuse_changes(setting)
    found = newest(Ppo.folder(setting.run) / CHECKPOINTS)
    steps = Ppo.record(setting.run).get("steps")
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
    Ppo.keep(setting.run, {**Ppo.record(setting.run), **found})


def _refuse_changes(setting: Setting) -> None:
    """Refuse other settings than the files for verl were written with, as long as they are there. Raises `RunError`.

    verl may be learning from them at this moment.
    """
    folder, now = Ppo.folder(setting.run), _given(setting.config)
    changed = differences(Ppo.record(setting.run).get("settings", now), now)
    if changed and folder.exists():
        raise RunError(
            f"verl was given other settings in {folder} ({'; '.join(changed)}); go back to them, or remove that folder "
            "to begin anew"
        )


def _write(setting: Setting) -> None:
    """The files for verl where they are not there yet, and what to do with them."""
    run, folder = setting.run, Ppo.folder(setting.run)
    if "settings" in Ppo.record(run) and (folder / SCRIPT).exists():
        setting.progress.say(f"ppo: {folder} holds what verl trains from, and no result yet; it stays as it is")
    else:
        _write_files(setting)
    setting.progress.say(f"ppo: where verl and its GPUs are, run {_script(run)}; then repeat this command here")


def _write_files(setting: Setting) -> None:
    from thickets.engines.prompts import Renderer, load_tokenizer

    run, folder = setting.run, Ppo.folder(setting.run)
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
    # Killed in between, the record must not speak of other files.
    Ppo.keep(run, {})
    write(files, Renderer(load_tokenizer(setting.config.model), setting.config, None))
    Ppo.keep(run, {"settings": _given(setting.config), "steps": plan.steps, "answers a step": plan.a_step})
    setting.progress.say(
        f"ppo: wrote {folder} for verl 0.9: {plan.steps} steps of {plan.questions} answers, {plan.samples} in all; the "
        f"search generated {searched(setting.config, len(setting.splits['selection']))}"
    )


def _given(config: RunConfig) -> dict[str, Any]:
    """All that the files for verl are written from."""
    return config.baselines.ppo.model_dump(mode="json", exclude={"result"})


def _budget(config: RunConfig, there: int) -> Budget:
    s = config.baselines.ppo
    return budget(s.samples or searched(config, there), s.questions, 1, there, s.gpus)


def _script(run: Run) -> str:
    return f"bash {Ppo.folder(run) / SCRIPT}"
