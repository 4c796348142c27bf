"""A model that was trained, evaluated beside a run by the run's own engines. Knows nothing of how it was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from thickets.baselines.base import HELD_OUT, Answer, Baseline, Setting, Spent, spent_on
from thickets.baselines.voting import answers_of
from thickets.config import ModelConfig, RunConfig, WeightsConfig
from thickets.engines import engine_class
from thickets.ensemble.deciding import outcomes_of
from thickets.errors import ConfigError, EngineError, ModelError, RunError
from thickets.pool import Pool, start_pool
from thickets.provenance import keep_notes
from thickets.store import Run
from thickets.types import SplitName, images_of

Dtype = Literal["bfloat16", "float16", "float32"]
# A training leaves one model.
_ONLY = 0


class Trained(Baseline):
    """A baseline whose model is trained outside the engines, which then answer with it at one pass a question.

    The run's record has under its name what is known of the training, and `baselines/NAME` its files.
    """

    def planned(self, config: RunConfig) -> Mapping[SplitName, int]:
        # Of the evaluation alone: how long training takes, no run has measured.
        return dict.fromkeys(HELD_OUT, 1)

    def answers(self, run: Run, split: SplitName) -> Sequence[Answer] | None:
        questions, trials = len(run.examples(split)), run.ledger(self.name).trials(split, [_ONLY])
        return answers_of(outcomes_of(trials, questions)[0]) if questions and trials else None

    def spent(self, run: Run) -> Spent:
        """The evaluations and, where the training was recorded, the tokens that it generated and its seconds."""
        evaluations = spent_on(1, [t for split in HELD_OUT for t in run.ledger(self.name).scores(split)])
        training = self.record(run).get("training", {})
        return replace(
            evaluations,
            prompt_tokens=evaluations.prompt_tokens + training.get("prompt_tokens", 0),
            new_tokens=evaluations.new_tokens + training.get("new_tokens", 0),
            training_seconds=training.get("seconds"),
        )

    @classmethod
    def record(cls, run: Run) -> dict[str, Any]:
        """What is known of the training; empty before that."""
        return run.meta(cls.name) or {}

    @classmethod
    def keep(cls, run: Run, record: Mapping[str, Any]) -> None:
        """Record that, as JSON values."""
        run.set_meta(cls.name, dict(record))

    @classmethod
    def folder(cls, run: Run) -> Path:
        """Where its files are."""
        return run.directory / "baselines" / cls.name


def check_trainable(name: str, setting: Setting) -> None:
    """Raise a `ThicketsError` where such a run cannot be trained on, or its engine could not evaluate the result."""
    from transformers import AutoConfig

    from thickets.engines.loading import is_quantised
    from thickets.engines.processors import takes_images

    if any(images_of(e.prompt) for examples in setting.splits.values() for e in examples):
        raise ConfigError(f"{name} here trains on text alone, but the questions of this run have images; leave it out")
    model = setting.config.model
    try:
        settings = AutoConfig.from_pretrained(model.name, revision=model.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{name} needs the base model where it was, and {model.name!r} cannot be loaded; put it back"
        ) from error
    if is_quantised(settings):
        raise ConfigError(f"{name} trains weights, and {model.name} has them quantised; leave it out")
    if takes_images(settings):
        raise ConfigError(f"{name} here trains models of text alone, but {model.name} takes images; leave it out")
    engine = engine_class(setting.config.engine.name)
    if (reason := engine.missing()) is not None:
        raise EngineError(f"engine {engine.name!r}, which is to evaluate the trained model, cannot run here: {reason}")


@dataclass(frozen=True)
class Base:
    """What a training starts from: the run's base, its number type and how many weights it has."""

    fingerprint: str
    dtype: Dtype
    parameters: int


def base_of(run: Run) -> Base:
    """The base that the run has evaluated. Raises `RunError`."""
    identity, engine = run.meta("identity"), run.meta("engine")
    if identity is None or engine is None:
        raise RunError(f"{run.directory} has not evaluated its base yet; start it with `thickets run` first")
    return Base(identity["model"], engine["dtype"], engine["parameters"])


def evaluate_folder(setting: Setting, name: str, folder: Path, check: Callable[[Pool], None]) -> None:
    """Evaluate the model in `folder` on the held-out splits that have no trial of it yet.

    `check` looks at the engines that loaded it first, and raises where it is not what it should be. Raises `ModelError`
    where part of the questions were put to another model.
    """
    setting.release()
    config = setting.config.model_copy(
        update={
            "model": ModelConfig(name=str(folder), dtype=base_of(setting.run).dtype),
            # Nothing is going to move: what a step would be in these weights need not be worked out.
            "weights": WeightsConfig(include=setting.config.weights.include, exclude=setting.config.weights.exclude),
        }
    )
    setting.progress.say(f"loading {folder}")
    pool = start_pool(config, setting.progress.say)
    try:
        refuse_another(setting.run, name, pool.fingerprint, folder)
        check(pool)
        setting.run.set_meta(_evaluated(name), pool.fingerprint)
        missing = [s for s in HELD_OUT if setting.splits[s] and _ONLY not in setting.run.ledger(name).recorded(s)]
        for split in missing:
            pool.check([e.prompt for e in setting.splits[split]], setting.sampling)
        for split in missing:
            setting.evaluate(name, name, split, [(_ONLY, None)], pool=pool)
    finally:
        pool.close()
        keep_notes(setting.run, pool.notes)


def begun(run: Run, name: str) -> bool:
    """Whether some held-out questions have been put to the trained model."""
    return any(run.ledger(name).recorded(s) for s in HELD_OUT)


def refuse_another(run: Run, name: str, fingerprint: str, folder: Path) -> None:
    """Refuse another model than the one that part of the held-out questions were put to. Raises `ModelError`."""
    if begun(run, name) and run.meta(_evaluated(name)) not in (None, fingerprint):
        raise ModelError(
            f"the model in {folder} is not the one that {name} of {run.directory} put part of the questions to; give "
            "that one, or choose another --out"
        )


def _evaluated(name: str) -> str:
    """Where the run's record has the fingerprint of the model that was evaluated."""
    return f"evaluated:{name}"
