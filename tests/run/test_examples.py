"""Every configuration in `examples/` is parsed and really started, on a tiny model and few questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.published import PUBLISHED
from thickets.config import merge, parse, read_toml
from thickets.randopt import execute

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(ROOT.glob("examples/**/*.toml"))

# Data that the examples take from elsewhere, in the same layout.
STAND_INS = {
    "sentiment": [{"text": f"film {i}", "label": ("positive", "negative")[i % 2]} for i in range(30)],
    "math500": [{"problem": f"What is {i} + 1?", "answer": f"\\frac{{{2 * i + 2}}}{{2}}"} for i in range(30)],
    "gsm8k": [{"question": f"What is {i} + 1?", "answer": f"It is one more.\n#### {i + 1}"} for i in range(30)],
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_starts(path: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = read_toml(path)
    small: dict[str, Any] = {
        "model": {"name": str(llama), "dtype": "float32"},
        "splits": {"selection": 4, "validation": 4, "test": 4},
        "search": {"population": 2},
        "ensemble": {"top_k": 2},
        "generation": {"max_new_tokens": 3},
        "out": str(tmp_path / "run"),
    }
    name = parse(given).task.name
    if name in STAND_INS:
        (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, STAND_INS[name])))
        small["task"] = {"data": str(tmp_path / "rows.jsonl")}
    summary = execute(parse(merge(given, small)))
    assert summary.finished
    assert len(summary.members) == 2


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_decides_or_says_why_not(path: Path) -> None:
    splits = parse(read_toml(path)).splits
    assert splits.validation >= 50 or "too few for a validation split" in path.read_text()


def test_there_are_examples() -> None:
    assert {p.stem for p in EXAMPLES} >= {"sentiment", "countdown", "gsm8k", "words", "math500"}


GSM8K = PUBLISHED / "gsm8k"


@pytest.mark.skipif(not GSM8K.is_dir(), reason="the published GSM8K files are not on this machine")
def test_gsm8k_from_its_published_files(llama: Path, tmp_path: Path) -> None:
    small = {
        "model": {"name": str(llama), "dtype": "float32"},
        "task": {"data": str(GSM8K / "train.jsonl"), "test_data": str(GSM8K / "test.jsonl")},
        "splits": {"selection": 6, "validation": 4, "test": 5},
        "search": {"population": 2},
        "ensemble": {"top_k": 1},
        "generation": {"max_new_tokens": 4},
        "out": str(tmp_path / "run"),
    }
    summary = execute(parse(merge(read_toml(ROOT / "examples" / "gsm8k.toml"), small)))
    assert summary.test is not None
    assert all(q.label.startswith("test.jsonl") or "test.jsonl" in q.label for q in summary.questions)
