"""What is exported is the model that was scored, bit for bit, and answers as it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from thickets.config import merge, parse
from thickets.engines import start_engine
from thickets.engines.hf import HuggingFaceEngine
from thickets.randopt import execute, sampling
from thickets.store import Run
from thickets.tasks import make_task
from thickets.types import Perturbation
from thickets.weights import canonical_tensors, fingerprint

DTYPES = ["float32", "bfloat16"]


@pytest.mark.parametrize("noise", ["gaussian/1", "rademacher/1"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_export_is_the_scored_model(
    dtype: str, noise: str, settings: dict[str, Any], tmp_path: Path, thickets: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    live: dict[Perturbation | None, str] = {}
    place, generate = HuggingFaceEngine.place, HuggingFaceEngine.generate
    current: list[Perturbation | None] = [None]

    def noted_place(self: HuggingFaceEngine, perturbation: Perturbation | None) -> None:
        current[0] = perturbation
        place(self, perturbation)

    def noted_generate(self: HuggingFaceEngine, *arguments: Any) -> Any:
        live[current[0]] = fingerprint(canonical_tensors(self.model))
        return generate(self, *arguments)

    monkeypatch.setattr(HuggingFaceEngine, "place", noted_place)
    monkeypatch.setattr(HuggingFaceEngine, "generate", noted_generate)
    small = {"model": {"dtype": dtype}, "search": {"noise": noise, "population": 5}, "keep_texts": "all"}
    config = parse(merge(settings, small))
    summary = execute(config)
    monkeypatch.undo()

    for member in summary.members[:2]:
        out = tmp_path / f"member-{member.rank}"
        ended = thickets("export", config.directory, "--member", member.rank, "--out", out)
        assert ended.code == 0, ended.err
        assert ended.out.strip().endswith(str(out))
        opened = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
        assert opened.dtype == getattr(torch, dtype)
        assert fingerprint(canonical_tensors(opened)) == live[member.perturbation]
        assert AutoTokenizer.from_pretrained(out).chat_template
        card = (out / "README.md").read_text()
        for word in (str(member.perturbation.seed), noise, summary.identity["model"], f"{member.score:.4f}"):
            assert word in card

        # Its greedy answers on the selection split are those that the run stored for the member.
        engine = start_engine(parse({"model": {"name": str(out), "dtype": dtype}}))
        with Run.read(config.directory) as run:
            stored = [o.text for o in run.trials("selection", [member.candidate])[0].outcomes]
            prompts = [e.prompt for e in run.examples("selection")]
        task = make_task(config.task)
        assert [g.text for g in engine.generate(prompts, sampling(config, task))] == stored


def test_bad_exports_are_one_sentence_and_leave_nothing(
    settings: dict[str, Any], tmp_path: Path, thickets: Callable[..., Any]
) -> None:
    config = parse(merge(settings, {"search": {"population": 3}}))
    execute(config)
    (tmp_path / "taken").mkdir()
    for arguments, said in (
        (["--member", 4, "--out", tmp_path / "x"], "there is no member 4"),
        (["--member", 0, "--out", tmp_path / "x"], "there is no member 0"),
        (["--member", 1, "--out", tmp_path / "taken"], "is there already"),
        (["--member", 1, "--out", tmp_path / "my.py" / "x"], "cannot write"),
    ):
        ended = thickets("export", config.directory, *arguments)
        assert ended.code == 2
        assert said in ended.err
        assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
