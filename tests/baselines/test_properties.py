"""What holds of phrasings, votes, seeds and picks, whatever goes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.baselines.kinds.random_members import picked
from thickets.baselines.kinds.self_consistency import sample_seeds
from thickets.baselines.phrasing import check_columns, phrasings
from thickets.baselines.voting import voted
from thickets.config import RunConfig, TaskConfig, parse
from thickets.ensemble.deciding import outcomes_of
from thickets.errors import ConfigError
from thickets.tasks import make_task
from thickets.types import Example, Image, Judgement, Message, Outcome, Prompt, Trial, images_of

texts = st.text(min_size=1, max_size=40)
pictures = st.lists(st.text("0123456789abcdef", min_size=8, max_size=8).map(lambda d: Image(d, d)), max_size=2)
turns = st.tuples(texts, texts, st.booleans(), pictures).map(
    lambda t: (*([Message("system", t[0])] if t[2] else []), Message("user", t[1], tuple(t[3])))
)
prompts = st.one_of(texts, turns)


def config(population: int, top_k: int, seed: int, **more: Any) -> RunConfig:
    search = {"population": population, "seed": seed}
    return parse({"model": "m", "search": search, "ensemble": {"top_k": top_k}, **more})


def content(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1].content


@given(prompts)
def test_every_phrasing_asks_the_same_question_about_the_same_pictures(prompt: Prompt) -> None:
    example = Example("one", prompt, {"question": content(prompt)})
    for way in phrasings(["So: {prompt}", "{question}?"]):
        put = way.put(example)
        assert content(prompt) in content(put)
        assert images_of(put) == images_of(prompt)
        assert isinstance(put, str) == isinstance(prompt, str)
        if not isinstance(put, str) and not isinstance(prompt, str):
            # At most one system turn, and first; the last turn is still the user's.
            assert [m.role for m in put][-1] == "user"
            assert [m.role for m in put].count("system") <= 1
            assert "system" not in [m.role for m in put][1:]
    assert phrasings([])[0].put(example) == prompt


def rows_of(tmp_path: Path, task: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[Any, Any]:
    """A task with these rows as its data, and its examples."""
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    (tmp_path / "my.py").write_text("def reward(completions, **columns): return [0.0] * len(completions)\n")
    made = make_task(TaskConfig(data=str(tmp_path / "data.jsonl"), **task))
    return made, made.pools().train


def refused(template: str, task: Any, examples: Any) -> str:
    (*_, way) = phrasings([template])
    with pytest.raises(ConfigError, match=r"it may be the answer; name \{prompt\}") as caught:
        check_columns(way, examples, task)
    return str(caught.value)


def accepted(template: str, task: Any, examples: Any) -> None:
    (*_, way) = phrasings([template])
    check_columns(way, examples, task)


def test_a_label_is_refused_though_the_question_lists_all_labels(tmp_path: Path) -> None:
    rows = [{"text": f"A film, number {i}.", "label": ["positive", "negative"][i % 3 == 0]} for i in range(12)]
    task, examples = rows_of(tmp_path, {"name": "sentiment"}, rows)
    assert "the right answer to" in refused("It is {label}. {prompt}", task, examples)
    accepted("{text} Which is it, positive or negative?", task, examples)
    # Nothing but the question says what the answers are where the reward is the user's own.
    own = {"name": "custom", "prompt": "{text} Is it positive or negative?", "reward": (f"{tmp_path}/my.py:reward",)}
    task, examples = rows_of(tmp_path, own, rows)
    assert "for other questions stands in the question" in refused("It is {label}. {prompt}", task, examples)
    accepted("{text} {prompt}", task, examples)


def test_a_copy_of_the_answer_is_refused_and_what_only_asks_is_not(tmp_path: Path) -> None:
    rows = [{"question": f"Take {i} away from {2 * i + 50}.", "answer": f"{i + 50}", "less": i} for i in range(60, 70)]
    rows = [r | {"question": f"{r['question']} Not {r['answer']}?", "said": r["answer"]} for r in rows]
    task, examples = rows_of(tmp_path, {"name": "custom", "prompt": "{question}", "reward": ("exact",)}, rows)
    for template in ("{answer} {prompt}", "{said} {prompt}"):
        assert "the right answer to" in refused(template, task, examples)
    accepted("{less}: {question}", task, examples)
    puzzles = make_task(TaskConfig(name="countdown", size=20))
    accepted("Make {target}. {prompt}", puzzles, puzzles.pools().train)


@given(st.integers(0, 2**40), st.integers(1, 30))
def test_samples_have_seeds_of_their_own_and_more_leave_the_others(seed: int, k: int) -> None:
    seeds = sample_seeds(config(40, k, seed))
    assert len(set(seeds)) == k
    assert sample_seeds(config(40, k + 1, seed))[:k] == seeds
    assert all(0 <= s < 2**53 for s in seeds)


@given(st.integers(0, 2**40), st.integers(1, 60), st.data())
def test_picked_candidates_are_k_different_ones_that_were_tried(seed: int, population: int, data: Any) -> None:
    k = data.draw(st.integers(1, population))
    found = picked(config(population, k, seed))
    assert len(set(found)) == k
    assert set(found) <= set(range(population))
    if k == population:
        assert set(found) == set(range(population))


def test_picks_leave_no_candidate_out() -> None:
    counts = [0] * 8
    for seed in range(4000):
        for n in picked(config(8, 2, seed)):
            counts[n] += 1
    # A thousand each, with a standard deviation of about 27.
    assert all(850 < c < 1150 for c in counts)


keys = st.sampled_from(["a", "b", "c", None])


@given(st.lists(st.lists(keys, min_size=4, max_size=4), min_size=1, max_size=7), keys)
def test_a_vote_is_as_right_as_its_key_and_silence_changes_nothing(said: list[list[Any]], truth: Any) -> None:
    voters = [tuple(Outcome(Judgement(0.0, key == truth, key), 1, 1, "eos") for key in row) for row in said]
    answers = voted("majority", voters)
    for answer, column in zip(answers, zip(*said, strict=True), strict=True):
        votes = [key for key in column if key is not None]
        assert (answer.key is None) == (not votes)
        assert answer.correct == (answer.key is not None and answer.key == truth)
        assert all(votes.count(key) <= votes.count(answer.key) for key in votes)
    failed = outcomes_of([Trial("test", 9, None, (), "NaN")], 4)
    assert voted("majority", [*voters, *failed]) == answers
