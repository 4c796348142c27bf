"""RandOpt from end to end: guess, check, keep, vote, report. Puts the layers together; holds no method of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from thickets.analysis.parts import candidates_by_part, part_members, parts
from thickets.analysis.summary import HeldOut, MemberFigures, Summary, summarise
from thickets.baselines.base import HELD_OUT, Baseline, Setting
from thickets.baselines.running import chosen, evaluate, owed, unsuited
from thickets.config import RunConfig
from thickets.engines import engine_class
from thickets.ensemble import EnsembleFile, vote_rule
from thickets.ensemble.file import Base, Member, generation_of
from thickets.errors import RunError
from thickets.noise import canonical_name
from thickets.pool import Pool, start_pool
from thickets.provenance import by_name, check_code, check_data, identify, keep_notes, relocated
from thickets.report import render_report
from thickets.searching import Evaluator, Progress, Strategy, make_scorer, make_strategy, rank, search
from thickets.searching.scoring import Scorer
from thickets.store import Run, write_atomically
from thickets.tasks import Task, make_task
from thickets.tasks.splits import Splits, split_task
from thickets.types import Example, Sampling, SplitName, TrialScore
from thickets.weights import make_scale_rule

# Seconds, and share of the engine's time, above which waiting for rewards is worth a word.
_LITTLE_WAITING, _MUCH_WAITING = 30.0, 0.2


def execute(
    config: RunConfig,
    progress: Progress | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    task: Task | None = None,
) -> Summary:
    """Do the run that the configuration describes, or go on with it, up to `ensemble.json` and `report.html`.

    `model` (with its `tokenizer`) and `task` stand in for those that the configuration names.
    Raises a `ThicketsError` for whatever the user can mend; the run can then go on.
    """
    progress = progress or Progress()
    strategy = make_strategy(config.search)
    vote_rule(config.ensemble.vote)
    canonical_name(config.search.noise)
    make_scale_rule(config.weights)
    if model is None:
        engine_class(config.engine.name)
    task = task or make_task(config.task)
    baselines = chosen(config.baselines.names, config, task)
    splits = split_task(task, config)
    with Run.begin(config) as run:
        if run.meta("finished"):
            check_data(run, splits)
            check_code(run, task)
            progress.say(f"{run.directory} is finished; nothing is repeated. Choose another --out to run again.")
            where = relocated(run, config, None)
        else:
            for note in splits.notes:
                progress.say(note)
            where = config
        return _carry_out(run, baselines, task, splits, Engines(run, where, progress, model, tokenizer), strategy)


def add_baselines(
    config: RunConfig,
    names: Sequence[str],
    progress: Progress | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    task: Task | None = None,
) -> Summary:
    """Evaluate baselines beside the finished run in the configuration's directory, and write its report again.

    `model` is the base where it is not where it was: another folder or Hub id, or a loaded model with its `tokenizer`.
    `task` stands in for the run's. Raises a `ThicketsError`; what was evaluated till then is kept.
    """
    progress = progress or Progress()
    with Run.read(config.directory) as before:
        if not before.meta("finished"):
            raise RunError(
                f"the run in {config.directory} has not finished; repeat its `thickets run` command to go on with it"
            )
    task = task or make_task(config.task)
    baselines = chosen(names, config, task)
    splits = split_task(task, config)
    with Run.begin(config) as run:
        check_data(run, splits)
        check_code(run, task)
        engines = Engines(run, relocated(run, config, model), progress, model, tokenizer)
        return _carry_out(run, baselines, task, splits, engines)


class Engines:
    """The engines of one command, started when they are asked for, and closed with the base checked."""

    def __init__(
        self, run: Run, config: RunConfig, progress: Progress, model: Any = None, tokenizer: Any = None
    ) -> None:
        self.run, self.config, self.progress = run, config, progress
        self._given = None if isinstance(model, str | Path) else model
        self._tokenizer, self._pool = tokenizer, cast("Pool | None", None)

    def pool(self) -> Pool:
        """Them. Raises `EngineError`, `ModelError`."""
        if self._pool is None:
            self.progress.say(f"loading {self.config.model.name}")
            self._pool = start_pool(self.config, self._heard, self._given, self._tokenizer)
        return self._pool

    def _heard(self, sentence: str) -> None:
        """Say it, and keep at once what the pool notes: its driver may be killed, and the run go on without it."""
        self.progress.say(sentence)
        self._keep_notes()

    def _keep_notes(self) -> None:
        if self._pool is not None:
            keep_notes(self.run, self._pool.notes)

    def verify(self) -> None:
        """Check that the base is what it was, where there are engines, and keep what happened to them."""
        if self._pool is None:
            return
        self.progress.say("checking that the base weights are what they were, bit for bit")
        self._pool.verify_base()
        self.run.set_meta("base_verified", True)
        self._keep_notes()

    def release(self) -> None:
        """Close them, checked; they can be asked for again."""
        self.verify()
        self._close()

    def _close(self) -> None:
        if self._pool is not None:
            self._keep_notes()
            self._pool.close()
            self._pool = None

    def __enter__(self) -> Engines:
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.end()
        self._close()


def _carry_out(
    run: Run,
    baselines: Sequence[Baseline],
    task: Task,
    splits: Splits,
    engines: Engines,
    strategy: Strategy | None = None,
) -> Summary:
    """What a run lacks: its search by `strategy`, if it is not finished, then these baselines, and the report.

    Engines start only where something is to be evaluated. A baseline that fails leaves a finished run.
    """
    run.set_meta("unsuited", unsuited(task, engines.config))
    try:
        with engines, beside(run, task, splits, engines) as setting:
            missing = owed(baselines, setting)
            if strategy is not None and not run.meta("finished"):
                _search(setting, strategy, engines)
            elif not (run.directory / "ensemble.json").exists():
                _write_ensembles(run, task)
            if missing:
                evaluate(missing, setting)
                engines.verify()
    except Exception:
        if run.meta("finished") and not (run.directory / "report.html").exists():
            finish(run)
        raise
    return finish(run)


@contextmanager
def beside(
    run: Run,
    task: Task,
    splits: Splits,
    engines: Engines,
    some: Mapping[SplitName, Sequence[Example]] | None = None,
) -> Iterator[Setting]:
    """What is evaluated with beside a run; its scoring processes end with it. `some`: questions, if not all are asked.

    Engines start when they are first asked for; then it is checked that the run was made with such.
    """

    def start() -> Pool:
        pool = engines.pool()
        identify(run, pool, splits, task, engines.progress)
        return pool

    config, examples = engines.config, by_name(splits) if some is None else some
    log, say = run.directory / "scoring.log", engines.progress.say
    scorer = make_scorer(config.scoring, task, examples, config.engine.count, log, say)
    try:
        how = sampling(config, task)
        yield Setting(run, config, task, examples, how, scorer, engines.progress, start, engines.release)
    finally:
        scorer.close()


def _search(setting: Setting, strategy: Strategy, engines: Engines) -> None:
    """The search, base and members on the held-out splits, the check of the base: then the run is finished."""
    run, config, progress = setting.run, setting.config, setting.progress
    for examples in setting.splits.values():
        # All splits now: a test question that does not fit must not be found after the search.
        setting.pool.check([e.prompt for e in examples], setting.sampling)
    evaluator = setting.evaluator("")
    search(evaluator, strategy, config.search.population, progress)
    kept = _keep(run, config.ensemble.top_k)
    # From here on the members are fixed: what decides and what is reported come after.
    for split in HELD_OUT:
        _evaluate_members(evaluator, split, kept, progress)
    _advise(setting.scorer, progress)
    engines.verify()
    _write_ensembles(run, setting.task)
    run.set_meta("finished", datetime.now(UTC).isoformat(timespec="seconds"))


def _advise(scorer: Scorer, progress: Progress) -> None:
    """Say so where engines waited long for rewards in this process, whatever an earlier one took."""
    if scorer.held_up > max(_LITTLE_WAITING, _MUCH_WAITING * scorer.worked):
        progress.say(
            f"judging answers held the engine up for {scorer.held_up:.0f} s while it worked for {scorer.worked:.0f} s; "
            "--scoring.workers 2 judges in other processes meanwhile"
        )


def finish(run: Run) -> Summary:
    """Write the report of a run as far as it is, and give back its figures."""
    summary = summarise(run, in_depth=True)
    write_atomically(run.directory / "report.html", render_report(summary))
    if summary.parts:
        write_atomically(run.directory / "candidates.csv", candidates_by_part(run))
    return summary


def sampling(config: RunConfig, task: Task) -> Sampling:
    """How answers are decoded: the configuration, and the task's own settings where that is silent."""
    g = config.generation
    stop = task.stop if g.stop is None else g.stop
    return Sampling(g.max_new_tokens or task.max_new_tokens, g.temperature, g.top_p, g.seed, stop)


def _keep(run: Run, top_k: int) -> list[TrialScore]:
    """All candidates that are to be tested: the best over all and, of several tasks, the best of each."""
    trials = run.scores("selection")
    kept = rank(trials)[:top_k]
    if len(kept) < top_k:
        failed = [t for t in trials if t.failure is not None]
        reason = f" (the first failure: {failed[0].failure})" if failed else ""
        raise RunError(
            f"only {len(kept)} candidates could be scored, fewer than ensemble.top_k = {top_k}{reason}; "
            "mend the cause, or try more candidates or smaller sigmas, with another --out"
        )
    everyone = {t.candidate: t for t in kept}
    for part in parts(run):
        # The best of one task only, beside those that are best over all.
        everyone |= {t.candidate: t for t in part_members(run, part)}
    run.set_meta("members", [t.candidate for t in kept])
    return list(everyone.values())


def _evaluate_members(evaluator: Evaluator, split: SplitName, kept: Sequence[TrialScore], progress: Progress) -> None:
    """The base and every member on a held-out split."""
    if not evaluator.splits[split]:
        return
    recorded = evaluator.run.recorded(split)
    earlier = len({None, *(t.candidate for t in kept)} & recorded)
    progress.begin(split, 1 + len(kept), earlier, None)
    models = [(None, None), *((t.candidate, t.perturbation) for t in kept)]
    for trial in evaluator.evaluate(split, models):
        progress.trial(trial)
    progress.end()


def _write_ensembles(run: Run, task: Task) -> None:
    """`ensemble.json`, and of several tasks one more for the best of each; the common one last."""
    summary = summarise(run)
    for part in summary.parts:
        folder = run.directory / "ensembles"
        folder.mkdir(exist_ok=True)
        own = task.parts()[part.name]
        text = ensemble_file(run.config, summary, own, part.members, {"test": part.own, "validation": None}).to_json()
        write_atomically(folder / f"{part.name.replace(':', '-')}.json", text)
    held_out = {"validation": summary.validation, "test": summary.test}
    text = ensemble_file(run.config, summary, task, summary.members, held_out).to_json()
    write_atomically(run.directory / "ensemble.json", text)


def ensemble_file(
    config: RunConfig,
    summary: Summary,
    task: Task,
    members: Sequence[MemberFigures],
    held_out: Mapping[str, HeldOut | None],
) -> EnsembleFile:
    """The ensemble of `members`, which have been tested, as it answers one task."""
    return EnsembleFile(
        base=Base(model=config.model, fingerprint=summary.identity["model"], dtype=summary.engine["dtype"]),
        noise=config.search.noise,
        weights=config.weights,
        task=task.config if task.config.name != config.task.name else config.task,
        generation=generation_of(sampling(config, task)),
        vote=config.ensemble.vote,
        members=tuple(
            Member(
                rank=m.rank,
                candidate=m.candidate,
                seed=m.perturbation.seed,
                sigma=m.perturbation.sigma,
                sign=1 if m.perturbation.sign > 0 else -1,
                score=m.score,
                accuracy=m.selection_accuracy,
            )
            for m in members
        ),
        results={split: _results(h) for split, h in held_out.items() if h is not None},
        made_by={"thickets": summary.versions["thickets"], "created": summary.created},
    )


def _results(held_out: HeldOut) -> dict[str, Any]:
    gain = held_out.gain.difference
    return {
        "questions": held_out.questions,
        "base": held_out.base.value,
        "best_single": held_out.best.value,
        "ensemble": held_out.ensemble.value,
        "gain": {"value": gain.value, "low": gain.low, "high": gain.high},
    }
