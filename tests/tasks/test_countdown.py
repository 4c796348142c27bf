"""Countdown's own puzzles can be solved, repeat exactly, and files in the published format are read."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.config import TaskConfig
from thickets.errors import DataError
from thickets.tasks import make_task
from thickets.tasks.arithmetic import evaluate
from thickets.tasks.countdown import format_score, puzzles
from thickets.types import prompt_text


def _solvable(numbers: tuple[Fraction, ...], target: int) -> bool:
    """Brute force over all pairs and operators: shares nothing with the generator."""
    if len(numbers) == 1:
        return numbers[0] == target
    for i, left in enumerate(numbers):
        for j, right in enumerate(numbers):
            if i == j:
                continue
            rest = tuple(n for k, n in enumerate(numbers) if k not in (i, j))
            results = {left + right, left - right, left * right} | ({left / right} if right else set())
            if any(_solvable((*rest, result), target) for result in results):
                return True
    return False


@pytest.mark.parametrize("seed", [0, 7])
def test_every_puzzle_can_be_solved(seed: int) -> None:
    for puzzle in islice(puzzles(seed), 60):
        assert _solvable(tuple(map(Fraction, puzzle.numbers)), puzzle.target)


@settings(max_examples=30)
@given(st.integers(0, 2**63 - 1))
def test_puzzles_keep_their_ranges_and_solutions(seed: int) -> None:
    for puzzle in islice(puzzles(seed), 20):
        found = evaluate(puzzle.solution)
        assert found is not None
        assert found.value == puzzle.target
        assert sorted(found.numbers) == sorted(puzzle.numbers)
        assert len(puzzle.numbers) in (3, 4)
        assert all(1 <= number <= 99 for number in puzzle.numbers)
        assert 10 <= puzzle.target <= 100


def test_puzzles_never_repeat_and_both_lengths_are_common() -> None:
    made = list(islice(puzzles(0), 3000))
    assert len({(*sorted(p.numbers), p.target) for p in made}) == 3000
    assert 1300 < sum(len(p.numbers) == 3 for p in made) < 1700


def test_puzzles_are_the_same_on_every_machine() -> None:
    assert [(p.numbers, p.target) for p in islice(puzzles(0), 3)] == [
        ((73, 83, 91, 17), 48),
        ((83, 25, 56), 52),
        ((2, 42, 75, 31), 11),
    ]


def test_size_only_cuts_the_sequence() -> None:
    def made(size: int, seed: int = 0) -> list[str]:
        task = make_task(TaskConfig(name="countdown", size=size, seed=seed))
        return [example.content_hash for example in task.pools().train]

    assert made(300)[:100] == made(100) == made(100)
    assert len(made(300)) == 300
    assert made(100, seed=1) != made(100)


def test_the_solutions_are_judged_right() -> None:
    task = make_task(TaskConfig(name="countdown", size=200))
    pools = task.pools()
    assert pools.test is None
    for example, puzzle in zip(pools.train, puzzles(0), strict=False):
        judged = task.judge(example, f"<think>So.</think>\n<answer>{puzzle.solution}</answer>")
        assert (judged.reward, judged.correct, judged.key) == (1.1, True, str(puzzle.target))


def test_the_prompt_names_the_puzzle_and_the_tags() -> None:
    text = prompt_text(make_task(TaskConfig(name="countdown")).question("3 5 7 36").prompt)
    for piece in ("3, 5, 7", "36", "<think>", "<answer>", "+ - * /", "exactly once"):
        assert piece in text


def test_a_template_of_ones_own() -> None:
    task = make_task(TaskConfig(name="countdown", prompt="{{{numbers}}} -> {target}", chat="plain"))
    assert task.question("3 5 7 36").prompt == "{3, 5, 7} -> 36"


def test_the_order_of_the_numbers_makes_no_new_puzzle() -> None:
    task = make_task(TaskConfig(name="countdown"))
    assert task.question("3 5 7 36").content_hash == task.question("7 5 3 36").content_hash
    assert task.question("3 5 7 36").content_hash != task.question("3 5 7 37").content_hash


@pytest.mark.parametrize(
    "text",
    [
        "3 5 7 36",
        "3, 5, 7 -> 36",
        "numbers: 3, 5, 7 target: 36",
        "[3, 5, 7] = 36?",
        "target is 36, numbers are 3 5 7",
        "Target: 36. Numbers: 3 5 7",
    ],
)
def test_typed_puzzles(text: str) -> None:
    assert make_task(TaskConfig(name="countdown")).question(text).columns == {"numbers": [3, 5, 7], "target": 36}


@pytest.mark.parametrize("text", ["", "hello", "36", "5 36", "target: 36", "٣ ٤ ٥", "9" * 5000])
def test_other_texts_are_no_puzzle(text: str) -> None:
    with pytest.raises(DataError, match=r'at least two numbers and then the target, such as "3 5 7 36"'):
        make_task(TaskConfig(name="countdown")).question(text)


@given(st.text())
def test_a_typed_question_is_a_puzzle_or_a_data_error(text: str) -> None:
    task = make_task(TaskConfig(name="countdown"))
    try:
        example = task.question(text)
    except DataError:
        return
    assert len(example.columns["numbers"]) >= 2


def test_published_columns_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"id": 1, "context": "c", "numbers": [3, 5, 7], "target": 36, "solution": "(5+7)*3"}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.jsonl").write_text(json.dumps({"nums": [3, 5, 7], "target": 36.0}))
    pq.write_table(pa.table({"target": [36], "nums": [[3, 5, 7]]}), tmp_path / "c.parquet")
    with (tmp_path / "d.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["numbers", "target"], ["[3 5 7]", "36"]])
    for file_name in ("a.json", "b.jsonl", "c.parquet", "d.csv"):
        task = make_task(TaskConfig(name="countdown", data=str(tmp_path / file_name)))
        (example,) = task.pools().train
        solved = {"solution": "(5+7)*3"} if file_name == "a.json" else {}
        assert example.columns == {"numbers": [3, 5, 7], "target": 36, **solved}
        answer = task.right_answer(example)
        assert bool(answer) == bool(solved)
        if answer:
            assert task.judge(example, answer).reward == 1.1


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"target": 1}, "d.jsonl:1 has no column 'numbers' or 'nums'; its columns are target"),
        ({"numbers": [1, 2]}, "d.jsonl:1 has no column 'target'; its columns are numbers"),
        ({"numbers": [1], "target": 1}, "1 row without a list of two or more whole numbers in column 'numbers' ("),
        ({"numbers": [1, "x"], "target": 1}, "without a list of two or more whole numbers"),
        ({"numbers": [1, 2.5], "target": 1}, "without a list of two or more whole numbers"),
        ({"numbers": [1, True], "target": 1}, "without a list of two or more whole numbers"),
        ({"numbers": 5, "target": 1}, "without a list of two or more whole numbers"),
        ({"numbers": [1, 2], "target": "x"}, "no row can be used: 1 row without a whole number in column 'target' ("),
        ({"numbers": [1, 2], "target": None}, "without a whole number in column 'target'"),
        ({"numbers": [1, 2], "target": 1e300}, "without a whole number in column 'target'"),
    ],
)
def test_rows_that_are_no_puzzle_are_named(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(DataError) as caught:
        make_task(TaskConfig(name="countdown", data=str(file))).pools()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<think>a</think>\n<answer>1</answer>", 1.0),
        ("<think>a</think><answer>1</answer><answer>2</answer>", 0.6),
        ("<think>a<answer>1</answer>", 0.5),
        ("<think>a</think>", 0.1),
        ("<answer>1</answer>", 0.5),
        ("a</think><answer>1</answer>", 0.5),
        ("<think>a</think><answer>", 0.1),
        ("", 0.0),
    ],
)
def test_format_score(text: str, score: float) -> None:
    assert format_score(text) == pytest.approx(score)
