"""A whole small run of every built-in task, from a file in the layout in which its data were published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vision import picture, save_vision_model
from thickets.store import Run
from thickets.tasks import make_task, task_names

_ROWS = 24


def _rows(row: Callable[[int], dict[str, Any]]) -> str:
    return "".join(json.dumps(row(n)) + "\n" for n in range(_ROWS))


def _reactions() -> str:
    lines = [f"{1 + n % 10},id{n},[CH3:1][OH:2].{'C' * (n + 1)}>>[CH3:1]{'C' * (n + 1)}" for n in range(_ROWS)]
    return "\n".join(["class,id,rxn_smiles", *lines])


# Of each task the name of its file, and what is in it.
_FILES: dict[str, tuple[str, str]] = {
    "countdown": (
        "c.jsonl",
        _rows(lambda n: {"id": n, "context": "", "numbers": [n, 5], "target": n + 5, "solution": f"{n}+5"}),
    ),
    "gsm8k": ("train.jsonl", _rows(lambda n: {"question": f"{n} + 1?", "answer": f"It is.\n#### {n + 1}"})),
    "math500": ("test.jsonl", _rows(lambda n: {"problem": f"Half of {n}?", "answer": rf"\frac{{{n}}}{{2}}"})),
    "mbpp": (
        "mbpp.jsonl",
        _rows(
            lambda n: {
                "text": f"Add {n}.", "code": f"def f(x):\r\n    return x + {n}", "task_id": n, "test_setup_code": "",
                "test_list": [f"assert f(1) == {n + 1}"], "challenge_test_list": [],
            }
        ),
    ),
    "olympiadbench": (
        "test.jsonl",
        _rows(lambda n: {"question": f"Which is {n}?", "final_answer": [f"${n}$"], "context": None, "error": None}),
    ),
    "rocstories": (
        "roc.csv",
        "\n".join(["storyid,storytitle," + ",".join(f"sentence{k}" for k in range(1, 6)),
                   *(f"{n},T," + ",".join(f"It was {k} o'clock on day {n}." for k in range(5)) for n in range(_ROWS))]),
    ),
    "sentiment": ("r.jsonl", _rows(lambda n: {"text": f"film {n}", "label": ("positive", "negative")[n % 2]})),
    "uspto50k": ("raw_train.csv", _reactions()),
    "gqa": (
        "train_balanced_questions.json",
        json.dumps({str(n): {"question": f"Cup {n}?", "imageId": f"i{n % 3}", "answer": "red"} for n in range(_ROWS)}),
    ),
}  # fmt: skip


def test_no_task_is_forgotten() -> None:
    assert {*_FILES, "reasoning_gym", "custom"} == set(task_names())


def _run(thickets: Callable[..., Any], model: Path, folder: Path, *flags: object) -> None:
    small = ["--splits.selection", 8, "--splits.test", 6, "--search.population", 2, "--ensemble.top-k", 1]
    limits = [
        "--generation.max-new-tokens",
        6,
        "--progress",
        "off",
        "--model.dtype",
        "float32",
        "--out",
        folder / "run",
    ]
    ended = thickets("run", "--model", model, *flags, *small, *limits)
    assert (ended.code, ended.err) == (0, "")
    with Run.read(folder / "run") as run:
        for split, trials, examples in (("selection", 3, 8), ("test", 2, 6)):
            found = run.trials(split)
            assert [trial.failure for trial in found] == [None] * trials
            assert {len(trial.outcomes) for trial in found} == {examples}
        # The questions are those of the file: what it says is right is judged to be.
        task, asked = make_task(run.config.task), run.examples("test")
        right = [(e, answer) for e in asked if (answer := task.right_answer(e)) is not None]
        assert all(task.judge(e, answer).correct for e, answer in right)
        assert len(right) == len(asked)
    assert (folder / "run" / "report.html").is_file()


@pytest.mark.parametrize("name", _FILES)
def test_it_runs_from_its_published_file(name: str, llama: Path, tmp_path: Path, thickets: Callable[..., Any]) -> None:
    file, content = _FILES[name]
    (tmp_path / file).write_text(content)
    flags: list[object] = ["--task", name, "--task.data", tmp_path / file]
    model = llama
    if file.endswith("questions.json"):
        (tmp_path / "images").mkdir()
        for n in range(3):
            (tmp_path / "images" / f"i{n}.jpg").write_bytes(picture(n, kind="JPEG"))
        flags += ["--task.images", tmp_path / "images"]
        model = save_vision_model(tmp_path / "model")
    _run(thickets, model, tmp_path, *flags)


def test_puzzles_of_reasoning_gym_run_by_name(llama: Path, tmp_path: Path, thickets: Callable[..., Any]) -> None:
    pytest.importorskip("reasoning_gym")
    _run(thickets, llama, tmp_path, "--task", "reasoning_gym:letter_counting", "--task.size", "20")
