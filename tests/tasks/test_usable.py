"""Rows that cannot be questions: every task with a published file leaves them out, counts them and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.config import TaskConfig
from thickets.errors import DataError
from thickets.tasks import make_task, task_names

_STORY = {f"sentence{n}": f"Sentence {n}." for n in range(1, 6)}
# Of each task a row that can be used, what spoils it, and the reason that is then given.
_TASKS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "countdown": ({"numbers": [3, 5], "target": 8}, {"target": None}, "without a whole number in column 'target'"),
    "gsm8k": ({"question": "q?", "answer": "#### 1"}, {"answer": ""}, "without a number behind #### at the end"),
    "math500": ({"problem": "p?", "answer": "1"}, {"answer": " "}, "without an answer"),
    "mbpp": ({"text": "t", "test_list": ["assert f(1) == 1"]}, {"test_list": []}, "without tests in column"),
    "olympiadbench": ({"question": "q?", "final_answer": ["1"]}, {"final_answer": None}, "without a final answer"),
    "rocstories": (_STORY, {"sentence3": " "}, "without text in column 'sentence3'"),
    "sentiment": ({"text": "t", "label": "positive"}, {"label": "neutral"}, "with a label that is not"),
    "uspto50k": ({"class": 1, "rxn_smiles": "C>>O"}, {"class": 11}, "with a class that is not a number"),
}


def _task(folder: Path, name: str, *rows: dict[str, Any]) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_task(TaskConfig(name=name, data=str(path)))


def test_no_task_is_forgotten() -> None:
    # gqa has two files and a test of its own; the other two have no published file.
    assert {*_TASKS, "gqa", "custom", "reasoning_gym"} == set(task_names())


@pytest.mark.parametrize("name", _TASKS)
def test_they_are_left_out_and_counted(name: str, tmp_path: Path) -> None:
    good, spoilt, reason = _TASKS[name]
    pools = _task(tmp_path, name, good, {**good, **spoilt}, good, {**good, **spoilt}).pools()
    assert [example.label.rpartition(":")[2] for example in pools.train] == ["1", "3"]
    (note,) = [note for note in pools.notes if "left out" in note]
    assert note.startswith(f"2 rows left out {reason}")
    assert note.endswith(f"({tmp_path}/rows.jsonl:2, {tmp_path}/rows.jsonl:4).")


@pytest.mark.parametrize("name", _TASKS)
def test_a_file_with_no_other_rows_is_an_error(name: str, tmp_path: Path) -> None:
    good, spoilt, reason = _TASKS[name]
    with pytest.raises(DataError, match=rf"^no row can be used: 1 row {reason}"):
        _task(tmp_path, name, {**good, **spoilt}).pools()


@pytest.mark.parametrize("name", _TASKS)
def test_a_file_of_another_benchmark_is_an_error_that_names_the_columns(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:1 has no column .*; its columns are body, Equation"):
        _task(tmp_path, name, {"body": "SVAMP has none of these columns.", "Equation": "( 7.0 - 5.0 )"}).pools()
