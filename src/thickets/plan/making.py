"""Puts a plan together: what the run evaluates, how long that takes, and what it fills. Measures nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thickets.baselines.base import Baseline
from thickets.baselines.running import chosen, done
from thickets.config import RunConfig, differences
from thickets.plan.given import ANSWER_SHARE, BYTES_PER_TOKEN, MOST_TOKENS, OPERATIONS, SWITCH, Given, Range
from thickets.plan.measured import Measured, measure, measure_at
from thickets.plan.questions import Questions, look_at_questions
from thickets.plan.shape import ModelShape, read_shape
from thickets.plan.storage import (
    DRIVER,
    LEDGER,
    LOADED,
    OUTCOME,
    REPORT,
    SCORE,
    TRIAL,
    Disk,
    EngineMemory,
    engine_memory,
    text_bytes,
)
from thickets.plan.training import TrainingPlan, not_counted, plan_trainings
from thickets.randopt import sampling
from thickets.store import Run
from thickets.tasks import make_task
from thickets.types import SplitName

# What has been evaluated: the search under an empty name, each baseline under its own; candidates by split.
Done = Mapping[str, Mapping[SplitName, set[int | None]]]

# Bytes of one weight, by the number type's name.
_BASE = "base on selection"
_SPLITS: tuple[SplitName, ...] = ("selection", "validation", "test")
_ITEMSIZE = {"float32": 4, "bfloat16": 2, "float16": 2}
_GIB = 2**30


@dataclass(frozen=True)
class Phase:
    """One part of a run. `models` are evaluated on `examples` each, `done` of them already.

    Tokens are of all models together, `engine_seconds` what one engine alone would take for all of them.
    """

    name: str
    split: SplitName
    models: int
    done: int
    examples: int
    prompt_tokens: float
    new_tokens: Range
    engine_seconds: Range

    @property
    def evaluations(self) -> int:
        """Pairs of a model and an example."""
        return self.models * self.examples

    @property
    def left(self) -> Range:
        """Engine seconds of the models that are not done."""
        return self.engine_seconds.times((self.models - self.done) / self.models)


@dataclass(frozen=True)
class Plan:
    """What a run will take. Bytes are bytes, seconds seconds; a rate is in tokens per second of one engine.

    `said` are the sentences about what was measured and what is assumed, `measured` the run that figures come from.
    """

    model: str
    task: str
    directory: str
    parameters: int
    moving: int
    dtype: str
    unit: Literal["gpu", "cpu"]
    engines: int
    gpus_per_engine: int
    rate: float
    switch_seconds: float
    phases: tuple[Phase, ...]
    disk: Disk
    driver: float
    engine: EngineMemory
    trainings: tuple[TrainingPlan, ...]
    measured: Measured | None
    said: tuple[str, ...]

    @property
    def engine_seconds(self) -> Range:
        """Of all phases."""
        return _total([p.engine_seconds for p in self.phases])

    @property
    def left(self) -> Range:
        """Engine seconds that are left."""
        return _total([p.left for p in self.phases])

    @property
    def begun(self) -> bool:
        """Whether the run directory holds trials of this very run."""
        return any(p.done for p in self.phases)

    def hours(self, engine_seconds: Range) -> Range:
        """Hours of GPUs (or CPUs): every GPU of an engine counts."""
        return engine_seconds.times(self.gpus_per_engine / 3600)

    def wall_seconds(self, engine_seconds: Range) -> Range:
        """Seconds on the clock with all engines busy all the time, start-up apart."""
        return engine_seconds.times(1 / self.engines)


def make_plan(config: RunConfig, given: Given) -> Plan:
    """Plan the run that the configuration describes. Raises a `ThicketsError` for whatever the user can mend."""
    task = make_task(config.task)
    baselines = chosen(config.baselines.names, config, task)
    decoding = sampling(config, task)
    shape, said = _shape(config, given)
    begun, own, note = _begun(config, baselines, decoding.max_new_tokens)
    measured = measure_at(given.source, decoding.max_new_tokens) if given.source else own
    said += [s for s in (note, _differing(config, given.source)) if s]
    questions = look_at_questions(
        config, task, decoding, given, measured.prompt_tokens if measured else None, shape.context
    )
    kind = _kind(config, measured, said)
    gpus = config.engine.tensor_parallel
    answer = _answer(given, measured, decoding.max_new_tokens, said)
    rate = _rate(given, measured, shape, kind, gpus, said)
    switch = _switch(measured, shape, kind, gpus, said)
    dtype = _dtype(config, measured, said)
    phases = _phases(
        config, baselines, questions, begun, answer, rate, switch, measured.failed_share if measured else 0.0
    )
    # A baseline that trains answers held-out questions once it has been trained.
    trained = [name for name, there in begun.items() if there.get("validation") or there.get("test")]
    trainings = plan_trainings(config, baselines, trained, questions, answer, shape, _ITEMSIZE[dtype])
    engine = _engine(config, given, baselines, shape, _ITEMSIZE[dtype], questions.longest + decoding.max_new_tokens)
    per_token = measured.text_bytes if measured and measured.text_bytes is not None else BYTES_PER_TOKEN
    return Plan(
        model=config.model.name,
        task=config.task.name,
        directory=str(config.directory),
        parameters=shape.parameters,
        moving=shape.moving,
        dtype=dtype,
        unit=kind,
        engines=config.engine.count,
        gpus_per_engine=gpus,
        rate=rate,
        switch_seconds=switch,
        phases=tuple(phases),
        disk=_disk(config, baselines, questions, phases, answer.mean * per_token),
        driver=_driver(config, phases, answer.mean * per_token),
        engine=engine,
        trainings=tuple(trainings),
        measured=measured,
        said=(*questions.said, *said, *not_counted(trainings), *_outside(engine, config, kind)),
    )


def _engine(
    config: RunConfig, given: Given, baselines: Sequence[Baseline], shape: ModelShape, itemsize: int, longest: int
) -> EngineMemory:
    return engine_memory(
        shape,
        itemsize,
        config.engine.tensor_parallel,
        config.engine.base == "host",
        config.engine.memory,
        longest,
        None if given.gpu_memory is None else given.gpu_memory * _GIB,
        any(b.shares_steps for b in baselines),
    )


def _outside(engine: EngineMemory, config: RunConfig, kind: Literal["gpu", "cpu"]) -> list[str]:
    """A sentence about what no share of a GPU has in it, where there is such a thing."""
    if not engine.steps or config.engine.base == "host" or kind == "cpu":
        return []
    most = None if engine.gpu is None else 1 - engine.steps / engine.gpu
    if most is not None and most >= config.engine.memory:
        return []
    lower = "lower that" if most is None else f"lower that to {max(int(most * 100), 0) / 100:.2f}"
    return [
        f"sum of steps: {engine.steps / _GIB:.1f} GiB of each GPU, outside of engine.memory; {lower} to leave room for "
        "it, or keep it and the base copy in host memory with --engine.base host"
    ]


def _shape(config: RunConfig, given: Given) -> tuple[ModelShape, list[str]]:
    if given.parameters is None:
        shape = read_shape(config)
        return shape, [shape.note] if shape.note else []
    n = round(given.parameters)
    return ModelShape(n, n, (n,)), ["model: only its number of weights is given; all of them are taken to move"]


def _begun(config: RunConfig, baselines: Sequence[Baseline], most: float) -> tuple[Done, Measured | None, str | None]:
    """What the run directory holds of this run, and its figures; or why it is not used."""
    nothing: Done = {"": {split: set() for split in _SPLITS}}
    if not (config.directory / "run.db").is_file():
        return nothing, None, None
    with Run.read(config.directory) as run:
        # What a whole baseline did not ask (a winner that is the base itself) is not left either.
        whole: Done = {
            b.name: {s: set(range(n)) for s, n in b.planned(config).items()} for b in baselines if done(b, run)
        }
        there = {name: {s: run.ledger(name).recorded(s) for s in _SPLITS} for name in ("", *run.ledgers())}
        changed = differences(run.config.fixed(), config.fixed())
        if changed and there[""]["selection"]:
            return nothing, None, f"{config.directory} holds a run with other settings ({'; '.join(changed)})"
        return {**there, **whole}, measure(run, most), None


def _differing(config: RunConfig, source: Path | None) -> str | None:
    """A sentence about how the run that figures are taken from is another one than the run planned."""
    if source is None:
        return None
    with Run.read(source) as run:
        theirs, ours = run.config.fixed(), config.fixed()
    parts = ("model", "task", "generation", "weights", "engine")
    changed = differences({p: theirs[p] for p in parts}, {p: ours[p] for p in parts})
    return f"{source} is another run ({'; '.join(changed)}); its figures are taken as they are" if changed else None


def _kind(config: RunConfig, measured: Measured | None, said: list[str]) -> Literal["gpu", "cpu"]:
    """What engines run on. The machine that plans is often not the one that runs, so `auto` is a GPU."""
    if measured is not None:
        return "cpu" if measured.on_cpu else "gpu"
    if config.engine.device == "auto":
        said.append("device: GPUs assumed; --engine.device cpu says otherwise")
    return "cpu" if config.engine.device.startswith("cpu") else "gpu"


def _answer(given: Given, measured: Measured | None, most: int, said: list[str]) -> Range:
    """New tokens of one evaluation."""
    if measured is not None and given.answer_share is None:
        said.append(f"new tokens: measured, {measured.new_tokens.mean:.1f} of at most {most} an answer")
        return measured.new_tokens
    shares = given.answer_share or ANSWER_SHARE
    low, mean, high = shares if len(shares) == 3 else shares * 3
    how = "as given with --answer-share" if given.answer_share else "assumed; --answer-share says otherwise"
    said.append(
        f"new tokens: {low * 100:g}, {mean * 100:g} and {high * 100:g} % of the longest answer of {most}, {how}"
    )
    return Range(low * most, mean * most, high * most)


def _rate(
    given: Given, measured: Measured | None, shape: ModelShape, kind: Literal["gpu", "cpu"], gpus: int, said: list[str]
) -> float:
    """Tokens per second of one engine."""
    if given.rate is not None:
        said.append("rate: as given with --rate")
        return given.rate
    if measured is not None:
        said.append(f"rate: measured on {measured.device}")
        return measured.rate
    said.append(
        f"rate: assumed, {OPERATIONS[kind]:.0e} useful operations a second on each {kind.upper()}, two for a weight "
        f"and a token, and no more than {MOST_TOKENS[kind]:,.0f} tokens; the truth may be several times more or less: "
        "let 20 candidates run, or give --rate"
    )
    return gpus * min(OPERATIONS[kind] / (2 * shape.parameters), MOST_TOKENS[kind])


def _switch(
    measured: Measured | None, shape: ModelShape, kind: Literal["gpu", "cpu"], gpus: int, said: list[str]
) -> float:
    """Seconds to place one candidate's weights."""
    if measured is not None:
        return measured.switch_seconds
    said.append(f"placing weights: assumed, {SWITCH[kind]:.0e} weights a second on each {kind.upper()}")
    return shape.moving / (SWITCH[kind] * gpus)


def _dtype(config: RunConfig, measured: Measured | None, said: list[str]) -> str:
    if config.model.dtype != "auto":
        return config.model.dtype
    if measured is not None and measured.dtype in _ITEMSIZE:
        return measured.dtype
    said.append("number type: bfloat16 assumed; --model.dtype says otherwise")
    return "bfloat16"


def _phases(
    config: RunConfig,
    baselines: Sequence[Baseline],
    questions: Questions,
    begun: Done,
    answer: Range,
    rate: float,
    switch: float,
    failed: float,
) -> list[Phase]:
    """Base, search, validation, test, baselines. Candidates that fail leave no tokens; the rate has their time."""
    sizes = {s.split: s for s in questions.splits}
    members, search = 1 + config.ensemble.top_k, begun[""]
    searched = len(search["selection"] - {None})
    plans: list[tuple[str, SplitName, int, int, float]] = [
        (_BASE, "selection", 1, len(search["selection"] & {None}), 1.0),
        ("search", "selection", config.search.population, searched, 1 - failed),
        ("validation", "validation", members, len(search["validation"]), 1.0),
        ("test", "test", members, len(search["test"]), 1.0),
    ]
    for b in baselines:
        there = begun.get(b.name, {})
        # At most: what the run has already of a model is not asked again.
        plans += [
            (f"{b.name.replace('_', ' ')}, {split}", split, models, len(there.get(split, ())), 1.0)
            for split, models in b.planned(config).items()
        ]
    phases = []
    for name, split, models, finished, scored in plans:
        size = sizes[split]
        if not size.examples:
            continue
        prompt_tokens = models * scored * size.prompt_tokens
        new_tokens = answer.times(models * scored * size.examples)
        seconds = new_tokens.plus(prompt_tokens).times(1 / rate).plus(models * switch)
        phases.append(
            Phase(name, split, models, min(finished, models), size.examples, prompt_tokens, new_tokens, seconds)
        )
    return phases


def _disk(
    config: RunConfig, baselines: Sequence[Baseline], questions: Questions, phases: list[Phase], text: float
) -> Disk:
    """`text` is the mean length of an answer in bytes."""
    evaluations, models = sum(p.evaluations for p in phases), sum(p.models for p in phases)
    ledgers = sum(bool(b.planned(config)) for b in baselines)
    kept = evaluations if config.keep_texts == "all" else sum(p.evaluations for p in phases if _keeps_texts(p))
    return Disk(
        sum(s.stored for s in questions.splits),
        models * TRIAL + evaluations * OUTCOME + ledgers * LEDGER,
        kept * text_bytes(text),
    )


def _keeps_texts(phase: Phase) -> bool:
    return phase.split != "selection" or phase.name == _BASE


def _driver(config: RunConfig, phases: list[Phase], text: float) -> float:
    """All scores, and the answers of the test, which the report needs at once; several engines' work in flight."""
    tested = max((p.evaluations for p in phases if p.split == "test"), default=0)
    flying = 2 * config.engine.count * max(p.examples for p in phases)
    return DRIVER + REPORT + config.search.population * SCORE + (tested + flying) * (LOADED + text)


def _total(ranges: list[Range]) -> Range:
    total = Range(0.0, 0.0, 0.0)
    for one in ranges:
        total = total.and_(one)
    return total
