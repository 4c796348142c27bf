"""Each control worked out once more by hand, from the engine's own answers and the recorded trials."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from thickets.analysis.summary import Summary
from thickets.baselines.base import make_baseline
from thickets.baselines.kinds.random_members import picked
from thickets.baselines.kinds.self_consistency import sample_seeds
from thickets.baselines.phrasing import phrasings
from thickets.config import RunConfig, merge, parse
from thickets.engines import start_engine
from thickets.randopt import add_baselines, execute, sampling
from thickets.store import Run
from thickets.tasks import make_task
from thickets.tasks.splits import split_task
from thickets.types import Judgement, SplitName

HELD_OUT: tuple[SplitName, ...] = ("validation", "test")


@pytest.fixture
def plain(settings: dict[str, Any]) -> tuple[RunConfig, Summary]:
    """A finished run with all default baselines."""
    config = parse(merge(settings, {"baselines": {"names": ["default"]}}))
    return config, execute(config)


def voted(keys: Sequence[str | None], right: Sequence[bool]) -> tuple[str | None, bool]:
    """Most votes win, of equals the one that was first to say it."""
    counts = Counter(key for key in keys if key is not None)
    if not counts:
        return None, False
    key = max(counts, key=lambda k: (counts[k], -keys.index(k)))
    return key, right[keys.index(key)]


def found(summary: Summary, name: str, split: SplitName) -> list[tuple[str | None, bool]]:
    figures = next(b for b in summary.baselines if b.name == name).on(split)
    assert figures is not None
    return [(a.key, a.correct) for a in figures.answers]


def judged(config: RunConfig, split: SplitName, prompts: Any, **decoding: Any) -> list[Judgement]:
    """The base's answers, asked for outside any run."""
    task = make_task(config.task)
    examples = getattr(split_task(task, config), split)
    engine = start_engine(config)
    engine.place(None)
    said = engine.generate([prompts(e) for e in examples], replace(sampling(config, task), **decoding))
    engine.close()
    return task.judge_all(examples, [g.text for g in said])


def test_self_consistency_is_the_vote_of_seeded_samples(plain: tuple[RunConfig, Summary]) -> None:
    config, summary = plain
    passes = [judged(config, "test", lambda e: e.prompt, temperature=0.7, seed=seed) for seed in sample_seeds(config)]
    assert len(passes) == 3
    by_hand = [voted([j.key for j in column], [j.correct for j in column]) for column in zip(*passes, strict=True)]
    assert found(summary, "self_consistency", "test") == by_hand
    # Samples that were all the same would be no control.
    assert len({tuple(j.key for j in one) for one in passes}) == 3


def test_random_members_are_the_vote_of_drawn_candidates(plain: tuple[RunConfig, Summary]) -> None:
    config, summary = plain
    wanted = picked(config)
    with Run.read(config.directory) as run:
        ledger = run.ledger("random_members")
        # What the search has of a member is not asked again.
        assert ledger.recorded("test") == set(wanted) - run.recorded("test")
        trials = {t.candidate: t for t in (*run.trials("test"), *ledger.trials("test"))}
        tried = {t.candidate: t.perturbation for t in run.scores("selection")}
    assert all(trials[n].perturbation == tried[n] for n in wanted)
    columns = zip(*(trials[n].outcomes for n in wanted), strict=True)
    judgements = [[o.judgement for o in column] for column in columns]
    assert found(summary, "random_members", "test") == [
        voted([j.key for j in column], [j.correct for j in column]) for column in judgements
    ]


def test_the_best_prompt_is_the_one_that_scores_highest_on_selection(
    plain: tuple[RunConfig, Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, summary = plain
    ways = phrasings(())
    scores = []
    for way in ways:
        judgements = judged(config, "selection", way.put)
        rewards, right = (sum(x) for x in zip(*((j.reward, j.correct) for j in judgements), strict=True))
        scores.append((rewards, right, -len(scores)))
    best = scores.index(max(scores))
    details = next(b for b in summary.baselines if b.name == "best_prompt").details
    assert details["chosen"] == ways[best].name
    assert set(details["score on selection"]) == {w.name for w in ways}
    assert found(summary, "best_prompt", "test") == [(j.key, j.correct) for j in judged(config, "test", ways[best].put)]
    # For the one trial of the base nobody reads the whole search.
    monkeypatch.setattr(Run, "scores", lambda *_: pytest.fail("the trials of the search were read"))
    with Run.read(config.directory) as run:
        baseline = make_baseline("best_prompt")
        assert baseline.details(run) == details
        assert baseline.spent(run).models == 3 + 1 + 2
        assert baseline.same_as(run) == ("base" if best == 0 else None)
        assert {n: make_baseline(n).same_as(run) for n in ("best_single", "self_consistency")} == {
            "best_single": None,
            "self_consistency": None,
        }


def test_where_the_own_prompt_is_best_the_base_is_not_asked_again(settings: dict[str, Any], letters: Any) -> None:
    # A reward that only the base's first evaluation gets.
    (letters / "my.py").write_text(
        "calls = 0\ndef letters(completions, **c):\n    global calls\n    calls += 1\n"
        "    return [1.0 if calls == 1 else 0.5] * len(completions)\ndef first_vowel(c): return c[:1]\n"
    )
    config = parse(merge(settings, {"baselines": {"names": ["best_prompt"]}}))
    summary = execute(config)
    figures = next(b for b in summary.baselines if b.name == "best_prompt")
    assert figures.details["chosen"] == "as the task asks"
    assert figures.spent is not None
    # Four prompts on selection, of which one is the base's own, and the base on two splits.
    assert (figures.spent.passes, figures.spent.models) == (1, 6)
    with Run.read(config.directory) as run:
        assert run.ledger("best_prompt").recorded("test") == set()
        assert make_baseline("best_prompt").same_as(run) == "base"
        base = [(o.judgement.key, o.judgement.correct) for o in run.trials("test", [None])[0].outcomes]
    assert found(summary, "best_prompt", "test") == base


def test_the_best_single_member_is_that_of_the_result(plain: tuple[RunConfig, Summary]) -> None:
    _, summary = plain
    single = next(b for b in summary.baselines if b.name == "best_single")
    assert summary.test is not None
    on_test = single.on("test")
    assert on_test is not None
    assert (on_test.accuracy, on_test.randopt_over) == (summary.test.best, summary.test.over_best)
    assert on_test.over_base == summary.test.best_gain
    assert single.spent is not None
    # The search, and its answers on validation and test.
    assert single.spent.models == 10 + 2


def test_the_best_of_a_vote_of_one_is_the_vote(settings: dict[str, Any]) -> None:
    config = parse(merge(settings, {"search": {"population": 3}, "ensemble": {"top_k": 1}}))
    summary = execute(config)
    with Run.read(config.directory) as run:
        single = make_baseline("best_single")
        assert single.same_as(run) == "vote"
        assert [a.correct for a in single.answers(run, "test") or ()] == [q.correct for q in summary.questions]


def by_reward(run: Run, split: SplitName) -> list[tuple[str | None, bool]]:
    """Of the samples that did not fail, for each question the first with the highest reward."""
    said = [t for t in run.ledger("self_consistency").trials(split) if t.failure is None]
    best = []
    for column in zip(*(t.outcomes for t in said), strict=True):
        top = max(o.judgement.reward for o in column)
        first = next(o.judgement for o in column if o.judgement.reward == top)
        best.append((first.key, first.correct))
    return best


def test_the_best_of_samples_is_the_one_with_the_highest_reward(settings: dict[str, Any]) -> None:
    # A letter that stands in some of a random model's answers costs one point; no reference is looked at.
    task = {"data": settings["task"]["data"], "prompt": "{question}", "reward": ["regex"], "pattern": "[a-h]"}
    settings = merge(
        {k: v for k, v in settings.items() if k != "task"},
        {
            "task": {"name": "custom", **task, "reward_weights": [-1.0], "correct_at": 0.0},
            "search": {"population": 3},
            "baselines": {"names": ["best_of_n"]},
        },
    )
    config = parse(settings)
    summary = execute(config)
    with Run.read(config.directory) as run:
        drawn = run.ledger("self_consistency").trials("test")
        assert found(summary, "best_of_n", "test") == by_reward(run, "test")
    columns = [[o.judgement.reward for o in column] for column in zip(*(t.outcomes for t in drawn), strict=True)]
    assert len(drawn) == 3
    # Another choice would be another result: on some questions the samples differ, and the best is not the first.
    assert any(max(rewards) > rewards[0] for rewards in columns)
    # Its samples are those of self-consistency, which is complete with them; nothing is drawn twice.
    again = add_baselines(config, ["self_consistency", "best_of_n"], model="/no/such/model")
    assert len(found(again, "self_consistency", "test")) == 20
    # The silence of a pass that failed has a reward of 0, and is no answer.
    assert any(max(rewards[1:]) < 0 for rewards in columns)
    with sqlite3.connect(config.directory / "run.db") as database:
        ((trial,),) = database.execute(
            "SELECT id FROM \"trials:self_consistency\" WHERE split = 'test' AND candidate = 0"
        ).fetchall()
        database.execute("UPDATE \"trials:self_consistency\" SET failure = 'NaN' WHERE id = ?", (trial,))
        database.execute('DELETE FROM "outcomes:self_consistency" WHERE trial = ?', (trial,))
    with Run.read(config.directory) as run:
        answers = make_baseline("best_of_n").answers(run, "test")
        assert answers is not None
        assert [(a.key, a.correct) for a in answers] == by_reward(run, "test")


def test_what_it_took_is_counted(plain: tuple[RunConfig, Summary]) -> None:
    config, summary = plain
    spent = {b.name: b.spent for b in summary.baselines if b.spent}
    with Run.read(config.directory) as run:
        drawn = [t for split in HELD_OUT for t in run.ledger("self_consistency").trials(split)]
        outcomes = [o for t in drawn for o in t.outcomes]
    counted = spent["self_consistency"]
    assert (counted.passes, counted.models) == (3, 6)
    assert counted.new_tokens == sum(o.new_tokens for o in outcomes)
    assert counted.prompt_tokens == sum(o.prompt_tokens for o in outcomes)
    assert counted.seconds > 0
    assert (spent["random_members"].passes, spent["random_members"].models) == (3, 6)
    # The run's own table has every evaluation once.
    costs = {c.phase: c.models for c in summary.costs}
    assert costs["self consistency"] == 6
    members = set(picked(config)) & {m.candidate for m in summary.members}
    assert costs["random members"] == 2 * (3 - len(members))
