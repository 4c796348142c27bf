"""MBPP from local files: the real data where they are, small files in both published layouts otherwise."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from tests.published import PUBLISHED

from thickets.config import SplitsConfig, TaskConfig
from thickets.errors import ConfigError, DataError, SandboxError
from thickets.tasks import make_task
from thickets.tasks.holding import Right
from thickets.tasks.mbpp import MBPP
from thickets.tasks.splits import divided
from thickets.types import Example, prompt_text

_REAL = PUBLISHED / "mbpp" / "mbpp.jsonl"
_ROW: dict[str, Any] = {
    "text": " Double a number. ",
    "code": "def twice(x, by=2):\r\n  return by * x",
    "task_id": 1,
    "test_setup_code": "",
    "test_list": ["assert twice(2) == 4", "assert twice(5)==10"],
    "challenge_test_list": [],
}
_SANITIZED: dict[str, Any] = {
    "source_file": "a.ipynb",
    "task_id": 2,
    "prompt": "Find a root.",
    "code": "import math\ndef root(x):\n  return math.sqrt(x)",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(4), 2.0)", "assert set([root(9)]) == set([3.0])"],
}


def _write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _answer(code: str) -> str:
    return f"<answer>\n{code}\n</answer>"


@pytest.mark.skipif(not _REAL.is_file(), reason="the benchmark's file is not here")
def test_every_real_row_loads_and_renders() -> None:
    task = make_task(TaskConfig(name="mbpp", data=str(_REAL)))
    pools = task.pools()
    # Every test can be taken apart. Two questions stand in the file twice.
    assert len(pools.train) == 974
    assert not [note for note in pools.notes if "left out" in note]
    splits = divided(task, SplitsConfig(selection=900))
    assert len(splits.selection) + len(splits.test) == 972
    assert "2 rows left out whose question stands earlier in the data." in splits.notes
    for example in pools.train:
        shown = prompt_text(example.prompt)
        assert not any(test in shown for test in example.columns["tests"]), example.label
        assert "<answer>" in shown
    shown = make_task(TaskConfig(name="mbpp", data=str(_REAL), show_tests=True)).pools().train
    for example in shown:
        assert all(test in example.prompt[-1].content for test in example.columns["tests"])  # type: ignore[union-attr]


@pytest.mark.skipif(not _REAL.is_file(), reason="the benchmark's file is not here")
def test_real_solutions_pass_their_own_tests_and_no_others() -> None:
    task = make_task(TaskConfig(name="mbpp", data=str(_REAL)))
    lines = _REAL.read_text(encoding="utf-8").splitlines()
    codes = {f"{_REAL}:{n}": json.loads(line)["code"] for n, line in enumerate(lines, 1)}
    # Those with classes, setup code, names of builtins and expected values that must be worked out among them.
    hard = {f"{_REAL}:{n}" for n in (367, 486, 533, 596, 601, 912, 927)}
    examples = task.pools().train
    sample = [e for n, e in enumerate(examples) if n % 50 == 0 or e.label in hard]
    judged = task.judge_all(sample, [_answer(codes[e.label]) for e in sample])
    assert [e.label for e, j in zip(sample, judged, strict=True) if not j.correct] == []
    # Two have nothing to change: their tests give a tree that was built before.
    assert sum(str(j.key).startswith("does ") for j in judged) == len(sample) - 2
    others = task.judge_all(sample, [_answer(codes[e.label]) for e in [*sample[1:], sample[0]]])
    assert not any(j.correct for j in others)


def test_both_layouts_are_read_and_their_solutions_pass(tmp_path: Path) -> None:
    for row in (_ROW, _SANITIZED):
        task = make_task(TaskConfig(name="mbpp", data=_write(tmp_path / "a.jsonl", row)))
        (example,) = task.pools().train
        right, wrong = task.judge_all([example] * 2, [_answer(row["code"]), _answer("def twice(x): return x")])
        assert (right.reward, right.correct) == (1.0, True)
        assert (wrong.reward, wrong.correct) == (0.0, False)
        assert right.key != wrong.key


def test_a_csv_file_has_lists_as_texts(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(_ROW))
        writer.writeheader()
        writer.writerow(_ROW)
    (example,) = make_task(TaskConfig(name="mbpp", data=str(tmp_path / "a.csv"))).pools().train
    assert example.columns["tests"] == ["assert twice(2) == 4", "assert twice(5)==10"]


def test_the_prompt_names_what_is_called_and_shows_tests_only_when_asked(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.jsonl", _ROW)
    hidden = prompt_text(make_task(TaskConfig(name="mbpp", data=data)).pools().train[0].prompt)
    assert "Double a number." in hidden
    assert "`twice(x, by=2)`" in hidden
    assert "assert" not in hidden
    shown = prompt_text(make_task(TaskConfig(name="mbpp", data=data, show_tests=True)).pools().train[0].prompt)
    assert "assert twice(2) == 4\\nassert twice(5)==10" in shown
    own = TaskConfig(name="mbpp", data=data, prompt="{text} As {signature}.", chat="plain")
    assert make_task(own).pools().train[0].prompt == "Double a number. As `twice(x, by=2)`."


def test_a_template_shows_tests_where_the_setting_says_so_and_only_there() -> None:
    with pytest.raises(ConfigError, match="would see what it is scored by"):
        make_task(TaskConfig(name="mbpp", prompt="{text} {tests}"))
    with pytest.raises(ConfigError, match=r"has no \{tests\}"):
        make_task(TaskConfig(name="mbpp", prompt="{text}", show_tests=True))


def test_rows_that_cannot_be_used_are_counted_and_named(tmp_path: Path) -> None:
    bad = [
        _ROW | {"text": f"q{n}", "test_list": [test]}
        for n, test in enumerate(
            ["x = twice(2)\nassert x == 4", "assert [twice(x) for x in (1, 2)]", "assert", "assert 1"]
        )
    ]
    pools = make_task(TaskConfig(name="mbpp", data=_write(tmp_path / "a.jsonl", _ROW, *bad))).pools()
    assert len(pools.train) == 1
    left_out = [note for note in pools.notes if "left out" in note]
    assert sum(int(note.split()[0]) for note in left_out) == 4
    (note,) = [note for note in left_out if "one assert" in note]
    assert note.startswith("1 row left out with a test that cannot be used (it is not one assert statement) (")
    assert note.endswith("a.jsonl:2).")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (_ROW | {"text": " "}, "no row can be used: 1 row without text in column 'text' ("),
        (_ROW | {"test_list": []}, "1 row without tests in column 'test_list' ("),
        (_ROW | {"test_list": [1]}, "1 row without a list of texts in column 'test_list' ("),
        (_ROW | {"test_list": "[assert"}, "1 row without a list that can be read in column 'test_list' ("),
        ({"question": "Q?", "answer": "#### 1"}, "a.jsonl:1 has no column 'test_list'"),
        ({"test_list": ["assert f(1)"], "task": "q"}, "a.jsonl:1 has no column 'text' or 'prompt'"),
    ],
)
def test_rows_of_another_kind_are_errors_that_name_them(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        make_task(TaskConfig(name="mbpp", data=_write(tmp_path / "a.jsonl", row))).pools()
    assert sentence in str(caught.value)


def test_a_sandbox_that_does_not_start_stops_the_run_and_scores_nothing(tmp_path: Path) -> None:
    task = make_task(TaskConfig(name="mbpp", data=_write(tmp_path / "a.jsonl", _ROW), sandbox="/no/such/container run"))
    example = Example("row", "?", {"tests": _ROW["test_list"], "own": ["twice"]})
    with pytest.raises(SandboxError, match="/no/such/container"):
        task.judge(example, _answer(_ROW["code"]))
    assert task.judge(example, "no code").reward == 0.0


def test_whether_a_text_holds_a_program_is_found_in_its_tree_however_deep_or_long_it_is() -> None:
    right = Right(frozenset({"does x"}), (_answer("def f(x):\n    return x + 1"),))
    assert MBPP.holds("```python\ndef f(x): return x + 1  # done\n```", right)
    for deep in ("-" * 3000 + "1", "a" + ".b" * 3000, "1" + "+1" * 3000, "(" * 3000 + ")" * 3000, "1," * 500_000):
        assert not MBPP.holds(_answer(deep), right)


def test_a_typed_question_has_its_text_for_a_vote() -> None:
    task = make_task(TaskConfig(name="mbpp"))
    example = task.question("Add two numbers.")
    keys = {task.key(example, _answer(code)) for code in ("a = 1", "# first\na = 1   \n", "a = 2")}
    assert keys == {"says a = 1", "says a = 2"}
    assert task.key(example, "a = 1") is None
