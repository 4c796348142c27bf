"""Every published file on this machine: all rows load or are counted, and every example renders for a chat model."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import build_tokenizer
from tests.published import PUBLISHED

from thickets.config import RunConfig, TaskConfig
from thickets.engines.prompts import Renderer
from thickets.tasks import Pools, make_task

_DATA = PUBLISHED
_OWN = {"name": "custom", "prompt": "{input}", "reference": "target"}
_BBH = ("boolean_expressions", "multistep_arithmetic_two", "navigate", "object_counting", "sports_understanding")

pytestmark = pytest.mark.skipif(not _DATA.is_dir(), reason="the published files are not on this machine")

# Settings, data, test data, and how many rows each has.
_FILES: list[tuple[dict[str, Any], str, str | None, tuple[int, int]]] = [
    ({"name": "gsm8k"}, "gsm8k/train.jsonl", "gsm8k/test.jsonl", (7473, 1319)),
    ({"name": "olympiadbench"}, "olympiadbench/test.jsonl", None, (675, 0)),
    ({"name": "mbpp"}, "mbpp/mbpp.jsonl", None, (974, 0)),
    ({"name": "uspto50k"}, "uspto50k/retroxpert_valid.csv", "uspto50k/retroxpert_test.csv", (5001, 5007)),
    ({"name": "sentiment"}, "movie-reviews", None, (2 * 5331, 0)),
    (
        {"name": "custom", "prompt": "{Body} {Question}", "reward": "numeric", "reference": "Answer"},
        "svamp/SVAMP.json", None, (1000, 0),
    ),
    (
        {"name": "custom", "prompt": "{text}", "reference": "label"},
        "snips/snips_train.jsonl", "snips/snips_test.jsonl", (13784, 700),
    ),
    *((_OWN, f"bbh/{name}.json", None, (250, 0)) for name in _BBH),
]  # fmt: skip


def _task(settings: dict[str, Any], data: str, test: str | None) -> Any:
    return make_task(TaskConfig(**settings, data=str(_DATA / data), test_data=test and str(_DATA / test)))


@pytest.mark.parametrize(("settings", "data", "test", "rows"), _FILES, ids=lambda value: str(value))
def test_all_rows_load_and_render(settings: dict[str, Any], data: str, test: str | None, rows: tuple[int, int]) -> None:
    task = _task(settings, data, test)
    pools: Pools = task.pools()
    assert not [note for note in pools.notes if "left out" in note]
    assert (len(pools.train), len(pools.test or ())) == rows
    tokenizer = build_tokenizer()
    renderer = Renderer(tokenizer, RunConfig(model={"name": "none"}), None)
    for example in (*pools.train, *(pools.test or ())):
        text = tokenizer.decode(renderer.tokens(example.prompt))
        assert text.startswith("<|user|>"), example.label
        assert text.endswith("<|end|><|assistant|>"), example.label
        assert example.prompt[-1].content in text, example.label


@pytest.mark.parametrize(("settings", "data", "test", "rows"), _FILES, ids=lambda value: str(value))
def test_right_answers_are_right(settings: dict[str, Any], data: str, test: str | None, rows: tuple[int, int]) -> None:
    task = _task(settings, data, test)
    # Running programs and algebra take their time; the tests of those tasks look at more of them.
    every = 50 if task.seconds_each else 1
    examples = task.pools().train[::every]
    answers = [task.right_answer(example) for example in examples]
    judged = task.judge_all(examples, answers)
    assert [e.label for e, j in zip(examples, judged, strict=True) if not j.correct or j.key is None] == []


def test_no_file_is_forgotten() -> None:
    named = {str(_DATA / file) for _, data, test, _ in _FILES for file in (data, test) if file}
    there = [file for file in _DATA.rglob("*") if file.is_file() and file.parent.name != "licenses"]
    forgotten = [str(file) for file in there if not {str(file), str(file.parent)} & named]
    assert forgotten == [str(_DATA / "README.md")]
