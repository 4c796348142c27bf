"""What a run amounts to: the figures that `show` and the report print. Reads the run alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thickets.analysis.baselines import BaselineFigures, baseline_figures
from thickets.analysis.density import reaching
from thickets.analysis.discordance import correlations
from thickets.analysis.evidence import Evidence, gather
from thickets.analysis.parts import part_scores, parts
from thickets.analysis.statistics import Interval, Paired, paired, share
from thickets.analysis.voting import Voted, members_of, voted, within
from thickets.baselines.base import HELD_OUT
from thickets.ensemble.votes import Vote
from thickets.searching.loop import rank
from thickets.store import Run
from thickets.types import Example, Outcome, Perturbation, SplitName, TrialScore

_SPLITS: tuple[SplitName, ...] = ("selection", "validation", "test")


@dataclass(frozen=True)
class MemberFigures:
    """One kept candidate: its rank from 1, how it did on selection, and held out where that was measured."""

    rank: int
    candidate: int
    perturbation: Perturbation
    score: float
    selection_accuracy: float
    held_out: Interval | None
    # Share of held-out questions on which it gave no answer to count.
    abstained: float | None


@dataclass(frozen=True)
class SigmaFigures:
    """All candidates of one sigma. `density` is the share that reaches the base's score on the selection split;
    a failed candidate does not reach it, and has no place in `scores` and `candidates`, which go together.
    """

    sigma: float
    tried: int
    failed: int
    scores: tuple[float, ...]
    candidates: tuple[int | None, ...]
    density: Interval


@dataclass(frozen=True)
class HeldOut:
    """Base, best single member and ensemble on one held-out split, with paired differences.

    `best_gain` and `gain` are over the base, `over_best` is the ensemble over the best single member.
    `by_k` is the ensemble's accuracy with only its best k members, k = 1 … K. `answered_before` counts, of the
    questions gained, those where the base gave a wrong answer; on the others it gave none. `members_failed` could not
    be evaluated here and abstain throughout.
    """

    split: SplitName
    questions: int
    base: Interval
    best: Interval
    ensemble: Interval
    best_gain: Paired
    gain: Paired
    over_best: Paired
    by_k: tuple[tuple[int, Interval], ...]
    base_abstained: float
    ensemble_abstained: float
    gained_from_wrong: int
    gained_from_none: int
    members_failed: int


@dataclass(frozen=True)
class Cost:
    """What was spent, by phase: models evaluated, tokens and seconds; and the share of time placing weights."""

    phase: str
    models: int
    failed: int
    prompt_tokens: int
    new_tokens: int
    seconds: float
    switch_seconds: float


@dataclass(frozen=True)
class Question:
    """One held-out question with what everyone said of it."""

    label: str
    prompt: str
    reference: dict[str, Any]
    base: Outcome
    members: tuple[Outcome, ...]
    vote: Vote
    correct: bool


@dataclass(frozen=True)
class PartFigures:
    """One task of several. `own` is the vote of the best at this task, `shared` that of the best over all of them.

    `correlation` is that of percentile ranks on selection with each task, by name (its own is 1): near 1 the same
    candidates are good at both (generalists), near 0 they have nothing to do with one another (specialists).
    """

    name: str
    base_score: float
    density: Interval
    members: tuple[MemberFigures, ...]
    own: HeldOut | None
    shared: HeldOut | None
    correlation: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Summary:
    """Everything the report shows."""

    name: str
    config: dict[str, Any]
    identity: dict[str, str]
    engine: dict[str, Any]
    versions: dict[str, str]
    created: str
    finished: str | None
    # Whether the base weights came back bit for bit at the end.
    base_verified: bool
    notes: tuple[str, ...]
    sizes: dict[str, int]
    base_score: float
    base_selection_accuracy: float
    tried: int
    population: int
    failures: tuple[tuple[str, int], ...]
    sigmas: tuple[SigmaFigures, ...]
    density: Interval
    members: tuple[MemberFigures, ...]
    test: HeldOut | None
    validation: HeldOut | None
    costs: tuple[Cost, ...]
    questions: tuple[Question, ...]
    # Of a run of several tasks, each of them; else empty.
    parts: tuple[PartFigures, ...] = ()
    baselines: tuple[BaselineFigures, ...] = ()
    # What the vote of the members took: the search, and the held-out answers of the base and of the members alone.
    randopt: tuple[Cost, ...] = ()
    # What the report shows beside these; only where it was asked for, since it takes a while on a large run.
    evidence: Evidence | None = None


def summarise(run: Run, in_depth: bool = False) -> Summary:
    """Work the figures out from what a run recorded, finished or not; `in_depth` with all its evidence."""
    config = run.config
    trials = run.scores("selection")
    base = next((t for t in trials if t.candidate is None), None)
    candidates = [t for t in trials if t.candidate is not None]
    kept = members_of(run, candidates)
    votes = {split: found for split in HELD_OUT if (found := voted(run, split, kept)) is not None}
    held_out = {split: _held_out(found) for split, found in votes.items()}
    test = votes.get("test")
    scored = [t.score for t in candidates if t.failure is None]
    reached = reaching(scored, base.score) if base else 0
    reasons = [t.failure for t in candidates if t.failure is not None]
    baselines = baseline_figures(run, votes)
    return Summary(
        name=run.directory.name,
        config=config.model_dump(mode="json", exclude_none=True),
        identity=run.meta("identity") or {},
        engine=run.meta("engine") or {},
        versions=run.meta("versions") or {},
        created=run.meta("created"),
        finished=run.meta("finished"),
        base_verified=bool(run.meta("base_verified")),
        notes=tuple(run.meta("notes") or ()),
        sizes={s: len(run.examples(s)) for s in ("selection", "validation", "test")},
        base_score=base.score if base else float("nan"),
        base_selection_accuracy=base.accuracy if base else float("nan"),
        tried=len(candidates),
        population=config.search.population,
        failures=tuple(sorted({r: reasons.count(r) for r in reasons}.items(), key=lambda kv: -kv[1])),
        sigmas=tuple(_sigma(s, candidates, base) for s in sorted(set(config.search.sigmas))),
        density=share(reached, len(candidates)),
        members=tuple(_members(kept, _answered(run, kept) if test is None else _tested(test))),
        test=held_out.get("test"),
        validation=held_out.get("validation"),
        costs=tuple(_costs(run, trials)),
        questions=tuple(_questions(run, test)) if test else (),
        parts=tuple(_parts(run, test)) if base and scored else (),
        baselines=baselines,
        randopt=tuple(_of_the_vote(run, trials, kept)),
        evidence=gather(run, votes, baselines) if in_depth and base else None,
    )


def _parts(run: Run, shared: Voted | None) -> Iterator[PartFigures]:
    places = parts(run)
    scores = {name: part_scores(run, name) for name in places}
    scored = {
        name: [t.score for t in trials if t.candidate is not None and t.failure is None]
        for name, trials in scores.items()
    }
    columns = {name: np.arange(*where["selection"]) for name, where in places.items()}
    related = correlations(run.table("selection").others, columns).tolist() if columns else []
    for (name, where), row in zip(places.items(), related, strict=True):
        base = scores[name][0]
        kept = rank(scores[name])[: run.config.ensemble.top_k] if run.meta("members") else []
        own = voted(run, "test", kept, where["test"])
        tested = _answered(run, kept, where["test"]) if own is None else _tested(own)
        reached = reaching(scored[name], base.score)
        yield PartFigures(
            name,
            base.score,
            share(reached, len(scores[name]) - 1),
            tuple(_members(kept, tested)),
            _held_out(own) if own else None,
            _held_out(shared.within(where["test"])) if shared else None,
            tuple(zip(places, row, strict=True)),
        )


def _sigma(sigma: float, candidates: Sequence[TrialScore], base: TrialScore | None) -> SigmaFigures:
    mine = [t for t in candidates if isinstance(t.perturbation, Perturbation) and t.perturbation.sigma == sigma]
    scored = [t for t in mine if t.failure is None]
    scores, numbers = tuple(t.score for t in scored), tuple(t.candidate for t in scored)
    reached = reaching(scores, base.score) if base else 0
    return SigmaFigures(sigma, len(mine), len(mine) - len(scores), scores, numbers, share(reached, len(mine)))


def _tested(found: Voted) -> dict[int, tuple[Outcome, ...]]:
    """What each member answered that could be evaluated."""
    answers = zip(found.candidates, found.members, strict=True)
    return {candidate: outcomes for candidate, outcomes in answers if candidate not in found.failed}


def _answered(
    run: Run, kept: Sequence[TrialScore], part: tuple[int, int] | None = None
) -> dict[int, tuple[Outcome, ...]]:
    """The same of a test that not all members have come to."""
    trials = run.trials("test", [t.candidate for t in kept])
    return {t.candidate: within(t, part).outcomes for t in trials if t.candidate is not None and t.failure is None}


def _members(kept: Sequence[TrialScore], tested: Mapping[int, tuple[Outcome, ...]]) -> list[MemberFigures]:
    figures = []
    for number, trial in enumerate(kept, 1):
        if trial.candidate is None or not isinstance(trial.perturbation, Perturbation):
            continue  # a kept trial is one step of the search, never the base
        outcomes = tested.get(trial.candidate, ())
        right = share(sum(o.judgement.correct for o in outcomes), len(outcomes)) if outcomes else None
        silent = sum(o.judgement.key is None for o in outcomes) / len(outcomes) if outcomes else None
        figures.append(
            MemberFigures(number, trial.candidate, trial.perturbation, trial.score, trial.accuracy, right, silent)
        )
    return figures


def _held_out(found: Voted) -> HeldOut:
    base, n, right, base_right = found.base, len(found.base), found.right, found.base_right
    best_right = [o.judgement.correct for o in found.members[0]]
    gained = [i for i in range(n) if right[i] and not base_right[i]]
    return HeldOut(
        split=found.split,
        questions=n,
        base=share(sum(base_right), n),
        best=share(sum(best_right), n),
        ensemble=share(sum(right), n),
        best_gain=paired(base_right, best_right),
        gain=paired(base_right, right),
        over_best=paired(best_right, right),
        by_k=tuple((k, share(hits, n)) for k, hits in enumerate(found.right_by_k().sum(axis=1).tolist(), 1)),
        base_abstained=sum(o.judgement.key is None for o in base) / n,
        ensemble_abstained=sum(v.key is None for v in found.votes) / n,
        gained_from_wrong=sum(base[i].judgement.key is not None for i in gained),
        gained_from_none=sum(base[i].judgement.key is None for i in gained),
        members_failed=len(found.failed.intersection(found.candidates)),
    )


def _costs(run: Run, selection: Sequence[TrialScore]) -> list[Cost]:
    phases: list[tuple[str, Sequence[TrialScore]]] = [
        ("base on selection", [t for t in selection if t.candidate is None]),
        ("search", [t for t in selection if t.candidate is not None]),
        ("validation", run.scores("validation")),
        ("test", run.scores("test")),
    ]
    for name in run.ledgers():
        # What a baseline took itself: trials that it shares with the search are in the rows above.
        ledger = run.ledger(name)
        phases.append((name.replace("_", " "), [t for split in _SPLITS for t in ledger.scores(split)]))
    return [_cost(name, trials) for name, trials in phases if trials]


def _of_the_vote(run: Run, selection: Sequence[TrialScore], kept: Sequence[TrialScore]) -> list[Cost]:
    """Without the candidates that are only the best at one of several tasks."""
    voting = {None, *(t.candidate for t in kept)}
    phases = {"search": [t for t in selection if t.candidate is not None]}
    phases |= {split: [t for t in run.scores(split) if t.candidate in voting] for split in HELD_OUT}
    return [_cost(name, trials) for name, trials in phases.items() if trials]


def _cost(phase: str, trials: Sequence[TrialScore]) -> Cost:
    return Cost(
        phase,
        len(trials),
        sum(t.failure is not None for t in trials),
        sum(t.prompt_tokens for t in trials),
        sum(t.new_tokens for t in trials),
        sum(t.seconds for t in trials),
        sum(t.switch_seconds for t in trials),
    )


def _questions(run: Run, found: Voted) -> Iterator[Question]:
    for i, e in enumerate(run.examples(found.split)):
        members = tuple(outcomes[i] for outcomes in found.members)
        vote, right = found.votes[i], found.right[i]
        yield Question(e.label, _readable(e), dict(e.columns), found.base[i], members, vote, right)


def _readable(example: Example) -> str:
    if isinstance(example.prompt, str):
        return example.prompt
    turns = [m for m in example.prompt if m.role != "system"]
    return "\n\n".join("\n".join([*(f"[image {i.name}]" for i in m.images), m.content]) for m in turns)


def headline(held_out: HeldOut, k: int) -> str:
    """The result in one or two sentences of plain words. Claims nothing that the interval does not."""
    gain, n = held_out.gain.difference, held_out.questions
    points = f"{abs(gain.value) * 100:.1f} points"
    interval = f"95 % interval {gain.low * 100:+.1f} to {gain.high * 100:+.1f}"
    if gain.low > 0:
        first = f"The vote of {k} answers {points} more of the {n} held-out questions right than the base ({interval})."
    elif gain.high < 0:
        return f"RandOpt made it worse: the vote of {k} answers {points} fewer of the {n} questions right ({interval})."
    else:
        return (
            f"No gain is shown: the vote of {k} differs from the base by {gain.value * 100:+.1f} points on {n} "
            f"held-out questions, and the interval includes zero ({interval})."
        )
    gained = held_out.gain.gained
    if held_out.gained_from_none > gained / 2:
        first += (
            f" On {held_out.gained_from_none} of the {gained} questions gained, "
            "the base had given no answer that counts."
        )
    return first
