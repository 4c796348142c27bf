"""GSM8K from local files: the real data where they are, small files otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.published import PUBLISHED

from thickets.config import TaskConfig
from thickets.errors import DataError
from thickets.tasks import make_task
from thickets.types import prompt_text

_REAL = PUBLISHED / "gsm8k"


def _write(path: Path, *rows: dict[str, object]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.skipif(not _REAL.is_dir(), reason="the benchmark's files are not here")
def test_the_real_data_load_and_their_solutions_are_right() -> None:
    files = [_REAL / "train.jsonl", _REAL / "test.jsonl"]
    task = make_task(TaskConfig(name="gsm8k", data=str(files[0]), test_data=str(files[1])))
    pools = task.pools()
    assert pools.test is not None
    assert (len(pools.train), len(pools.test)) == (7473, 1319)
    for file, examples in zip(files, (pools.train, pools.test), strict=True):
        lines = file.read_text(encoding="utf-8").split("\n")
        for example, line in zip(examples, lines, strict=False):
            row = json.loads(line)
            judged = task.judge(example, row["answer"])
            assert judged.correct, example.label
            assert judged.key == example.columns["answer"]
            assert not task.judge(example, row["answer"] + "1").correct
            assert row["question"].strip()[:20] in str(example.prompt[0].content)  # type: ignore[union-attr]


def test_with_one_file_the_test_comes_from_it_too(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.jsonl", {"question": " Q? ", "answer": "so\n#### 1,000"})
    pools = make_task(TaskConfig(name="gsm8k", data=data)).pools()
    assert pools.test is None
    assert pools.train[0].columns == {"question": "Q?", "answer": "1000"}
    assert pools.train[0].label == f"{data}:1"


def test_the_prompt_asks_for_the_mark_and_can_be_replaced(tmp_path: Path) -> None:
    assert "####" in prompt_text(make_task(TaskConfig(name="gsm8k")).question("Q?").prompt)
    task = make_task(TaskConfig(name="gsm8k", prompt="Q: {question}\nA:", chat="plain"))
    assert task.question(" Why {this}? ").prompt == "Q: Why {this}?\nA:"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"question": "Q?", "answer": "#### none"},
            "1 row without a number behind #### at the end of column 'answer' (",
        ),
        ({"question": "Q?", "answer": None}, "1 row without a number behind #### at the end of column 'answer' ("),
        ({"question": " ", "answer": "#### 1"}, "no row can be used: 1 row without text in column 'question' ("),
        ({"question": "Q?"}, "a.jsonl:1 has no column 'answer'; its columns are question"),
        (
            {"Question": "Q?", "answer": "1"},
            "a.jsonl:1 has no column 'question'; its columns are Question, answer; did",
        ),
    ],
)
def test_rows_without_a_problem_are_named(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        make_task(TaskConfig(name="gsm8k", data=_write(tmp_path / "a.jsonl", row))).pools()
    assert sentence in str(caught.value)
