"""Summaries for the report's tests: built from invented answers, or of whole runs in worlds that are known."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.evidence.worlds import Sizes, World, made, registered

from thickets.analysis.baselines import BaselineFigures, BaselineHeldOut
from thickets.analysis.statistics import paired, share
from thickets.analysis.summary import Cost, HeldOut, MemberFigures, Question, SigmaFigures, Summary, summarise
from thickets.baselines.base import Answer, Spent
from thickets.ensemble.rules.majority import MajorityVote
from thickets.types import Judgement, Outcome, Perturbation, SplitName

CONFIG: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B", "dtype": "auto"},
    "task": {"name": "countdown", "size": 2000, "seed": 0},
    "search": {"strategy": "random", "population": 60, "sigmas": [2e-3, 4e-3], "noise": "gaussian/1"},
    "ensemble": {"top_k": 5, "vote": "majority"},
    "out": "/home/ann/runs/countdown",
}


def invented(
    n: int = 400,
    k: int = 5,
    tried: int = 60,
    base: float = 0.44,
    member: float = 0.56,
    silent: float = 0.22,
    text: str | None = "We need 24. 6 × 4 = 24.\nAnswer: <answer>6 * 4</answer>",
    finished: bool = True,
    seed: int = 0,
) -> Summary:
    """A run of `n` test questions, `k` members and `tried` candidates with about the given accuracies."""
    rng = random.Random(seed)
    members = _members(rng, k, tried)
    questions = _questions(rng, n, k, base, member, silent, text) if finished else []
    test = _held_out("test", questions) if questions else None
    base_score = round(base * 200) / 200
    sigmas = tuple(_sigma(rng, s, base_score, tried // 2, members) for s in (2e-3, 4e-3))
    hits = sum(s >= base_score for f in sigmas for s in f.scores)
    total = sum(len(f.scores) for f in sigmas)
    return Summary(
        name="countdown-Qwen3-0.6B",
        config=CONFIG,
        identity={"model": "sha256:" + "9f3a" * 16, "data": "c0de" * 16},
        engine={"engine": "hf", "device": "cpu", "dtype": "bfloat16"},
        versions={"python": "3.11.9", "thickets": "0.1.0", "torch": "2.9.0", "transformers": "5.0.0"},
        created="2026-11-12T14:03:22.123+00:00",
        finished="2026-11-12T19:48:01+00:00" if finished else None,
        base_verified=finished,
        notes=("3 rows were left out: the answer is empty",),
        sizes={"selection": 200, "validation": 100, "test": n},
        base_score=base_score,
        base_selection_accuracy=base_score,
        tried=tried if finished else tried * 2 // 3,
        population=tried,
        failures=(("the logits of 3 of 200 prompts are NaN", 2),),
        sigmas=sigmas,
        density=share(hits, total),
        members=tuple(_figures(m, questions, r) for r, m in enumerate(members)) if finished else (),
        test=test,
        validation=_held_out("validation", questions[:100]) if questions else None,
        costs=_costs(n, k, tried) if finished else _costs(n, k, tried)[:2],
        questions=tuple(questions),
        baselines=_baselines(rng, k, questions),
    )


def _baselines(rng: random.Random, k: int, questions: list[Question]) -> tuple[BaselineFigures, ...]:
    """One that was run, one that says nothing here, one that was not run."""
    held_out: tuple[BaselineHeldOut, ...] = ()
    best: tuple[BaselineHeldOut, ...] = ()
    if questions:
        base, vote = [q.base.judgement.correct for q in questions], [q.correct for q in questions]
        said = [Answer("24" if right or rng.random() < 0.1 else None, right or rng.random() < 0.1) for right in base]
        held_out = (_measured(said, base, vote),)
        first = [Answer(q.members[0].judgement.key, q.members[0].judgement.correct) for q in questions]
        best = (_measured(first, base, vote),)
    spent = Spent(k, k, 180_000, 240_000, 800.0)
    samples = {"samples": k, "temperature": 0.7, "top_p": 1.0, "seed": 0}
    title, reason = f"self-consistency@{k}", None if held_out else "not run"
    found = spent if held_out else None
    return (
        BaselineFigures("best_of_n", f"best of {k} by reward", True, (), None, {}, "the reward knows the answers"),
        BaselineFigures(
            "best_single",
            "best single member",
            True,
            best,
            Spent(1, k, 90, 80, 80.0) if best else None,
            {},
            None if best else "not run",
        ),
        BaselineFigures("random_members", f"{k} random members", True, (), None, {}, "not run"),
        BaselineFigures("self_consistency", title, True, held_out, found, samples, reason),
    )


def _measured(said: list[Answer], base: list[bool], vote: list[bool]) -> BaselineHeldOut:
    right = [a.correct for a in said]
    silent = sum(a.key is None for a in said) / len(said)
    return BaselineHeldOut(
        "test", share(sum(right), len(right)), paired(right, vote), paired(base, right), silent, tuple(said)
    )


def _members(rng: random.Random, k: int, tried: int) -> list[MemberFigures]:
    scores = sorted((0.55 + 0.005 * rng.randrange(8) for _ in range(k)), reverse=True)
    return [
        MemberFigures(
            i + 1,
            rng.randrange(tried),
            Perturbation(rng.getrandbits(63), rng.choice([2e-3, 4e-3]), rng.choice([1, -1])),
            score,
            score,
            None,
            None,
        )
        for i, score in enumerate(scores)
    ]


def _sigma(rng: random.Random, sigma: float, base: float, n: int, members: list[MemberFigures]) -> SigmaFigures:
    mine = [m for m in members if m.perturbation.sigma == sigma]
    kept = [m.score for m in mine]
    spread = 0.04 if sigma < 3e-3 else 0.1
    others = [round((base + rng.gauss(0.01, spread)) * 200) / 200 for _ in range(n - len(kept) - 1)]
    scores = tuple(kept + [min(max(s, 0.0), 0.6) for s in others])
    numbers = (*(m.candidate for m in mine), *range(1000, 1000 + len(others)))
    return SigmaFigures(sigma, n, n - len(scores), scores, numbers, share(sum(s >= base for s in scores), len(scores)))


def _answer(rng: random.Random, right: float, silent: float, text: str | None) -> Outcome:
    roll = rng.random()
    key = "24" if roll < right else None if rng.random() < silent else str(rng.randrange(25, 40))
    correct = key == "24"
    return Outcome(Judgement(float(correct), correct, key), 90, 120, "eos" if key else "length", text)


def _questions(
    rng: random.Random, n: int, k: int, base: float, member: float, silent: float, text: str | None
) -> list[Question]:
    questions = []
    for i in range(n):
        ease = rng.gauss(0, 0.45)
        outcomes = tuple(_answer(rng, member + ease, silent / 2, text) for _ in range(k))
        vote = MajorityVote().decide([o.judgement.key for o in outcomes])
        right = vote.winner is not None and outcomes[vote.winner].judgement.correct
        prompt = f"Using the numbers [{i % 7 + 2}, {i % 5 + 3}, 8, {i}], create an equation that equals 24."
        reference = {"target": 24, "numbers": [i % 7 + 2, i % 5 + 3, 8, i]}
        questions.append(
            Question(
                f"countdown:{i}", prompt, reference, _answer(rng, base + ease, silent, text), outcomes, vote, right
            )
        )
    return questions


def _held_out(split: SplitName, questions: list[Question]) -> HeldOut:
    n = len(questions)
    base = [q.base.judgement.correct for q in questions]
    best = [q.members[0].judgement.correct for q in questions]
    vote = [q.correct for q in questions]
    gained = [q for q in questions if q.correct and not q.base.judgement.correct]
    by_k = []
    for k in range(1, len(questions[0].members) + 1):
        keys = [MajorityVote().decide([o.judgement.key for o in q.members[:k]]).key for q in questions]
        by_k.append((k, share(sum(key == "24" for key in keys), n)))
    return HeldOut(
        split=split,
        questions=n,
        base=share(sum(base), n),
        best=share(sum(best), n),
        ensemble=share(sum(vote), n),
        best_gain=paired(base, best),
        over_best=paired(best, vote),
        members_failed=0,
        gain=paired(base, vote),
        by_k=tuple(by_k),
        base_abstained=sum(q.base.judgement.key is None for q in questions) / n,
        ensemble_abstained=sum(q.vote.key is None for q in questions) / n,
        gained_from_wrong=sum(q.base.judgement.key is not None for q in gained),
        gained_from_none=sum(q.base.judgement.key is None for q in gained),
    )


def _figures(member: MemberFigures, questions: list[Question], rank: int) -> MemberFigures:
    answers = [q.members[rank].judgement for q in questions]
    right = share(sum(a.correct for a in answers), len(answers))
    silent = sum(a.key is None for a in answers) / len(answers)
    return MemberFigures(
        rank + 1, member.candidate, member.perturbation, member.score, member.selection_accuracy, right, silent
    )


def _costs(n: int, k: int, tried: int) -> tuple[Cost, ...]:
    phases = [
        ("base on selection", 1, 0, 200),
        ("search", tried, 2, 200),
        ("validation", k + 1, 0, 100),
        ("test", k + 1, 0, n),
    ]
    return tuple(Cost(p, m, f, m * q * 90, m * q * 120, m * q * 0.4 + 1, m * 0.9) for p, m, f, q in phases)


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Summary]:
    """The summary, with all its evidence, of a whole run in a world whose truth is known; made once for each."""
    sizes = Sizes(population=40, top_k=5, selection=40, validation=100, test=100)

    @functools.cache
    def make(world: World) -> Summary:
        with registered(), made(world, 3, tmp_path_factory.mktemp("world"), sizes) as (_, run):
            return summarise(run, in_depth=True)

    return make


@pytest.fixture(scope="session")
def make_summary() -> Callable[..., Summary]:
    """`invented`, as a fixture."""
    return invented
