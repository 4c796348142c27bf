"""Evolution strategies beside a run: one model that can be shared and exported, and the same after any kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from thickets.baselines.base import make_baseline
from thickets.baselines.evolution import Ascent
from thickets.config import RunConfig, merge, parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.ensemble import read_single
from thickets.randopt import execute
from thickets.store import Run
from thickets.types import Blend, Point
from thickets.weights import canonical_tensors, fingerprint

# Three steps of four models each.
ES = ("es", "--baselines.es.population", 4, "--baselines.es.budget", 12, "--baselines.es.sigma", 0.02)


def made(settings: dict[str, Any], **changes: Any) -> RunConfig:
    """A finished run of four candidates without baselines."""
    config = parse(merge(settings, {"search": {"population": 4}, "ensemble": {"top_k": 2}, **changes}))
    execute(config)
    return config


def model(directory: Path) -> dict[str, Any]:
    """The file without when and by which version it was made."""
    found: dict[str, Any] = json.loads((directory / "es.json").read_text())
    return {name: value for name, value in found.items() if name != "made_by"}


def trials(directory: Path) -> list[Any]:
    """All that es evaluated, without times."""
    with Run.read(directory) as run:
        ledger = run.ledger("es")
        return [
            (t.split, t.candidate, t.perturbation, t.outcomes)
            for split in ("selection", "validation", "test")
            for t in ledger.trials(split)  # type: ignore[arg-type]
        ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_centre_climbs_answers_alone_and_is_exported_bit_for_bit(
    dtype: str, settings: dict[str, Any], tmp_path: Path, thickets: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = made(settings, model={"dtype": dtype}).directory
    live: dict[Point | None, str] = {}
    place = HuggingFaceEngine.place

    def noted(self: HuggingFaceEngine, point: Point | None) -> None:
        place(self, point)
        live[point] = fingerprint(canonical_tensors(self.model))

    monkeypatch.setattr(HuggingFaceEngine, "place", noted)
    ended = thickets("baseline", directory, *ES)
    assert ended.code == 0, ended.err
    monkeypatch.undo()

    single = read_single(directory / "es.json")
    with Run.read(directory) as run:
        ledger, es = run.ledger("es"), make_baseline("es")
        scores = ledger.scores("selection")
        assert [t.candidate for t in scores] == list(range(12))
        # The centre is what the rule makes of the recorded scores, one population after the other.
        centre, ascent = Blend(()), Ascent(4, 3, 0.02, 0.01, run.config.search.seed)
        for iteration in range(3):
            mine = scores[4 * iteration : 4 * iteration + 4]
            assert [t.perturbation for t in mine] == [point for _, point in ascent.around(centre, iteration)]
            centre = ascent.advance(centre, iteration, [t.score for t in mine])
        assert centre.terms
        assert single.blend == centre
        # One model, one pass a question, on both held-out splits; its cost is all that it evaluated.
        for split in ("validation", "test"):
            (trial,) = ledger.trials(split)  # type: ignore[arg-type]
            assert trial.perturbation == centre
            assert [a.correct for a in es.answers(run, split) or ()] == [o.judgement.correct for o in trial.outcomes]  # type: ignore[arg-type]
            assert single.results[split] == {"questions": len(trial.outcomes), "accuracy": trial.accuracy}
        assert es.same_as(run) is None
        spent = es.spent(run)
        assert (spent.passes, spent.models) == (1, 14)
        assert spent.new_tokens == sum(o.new_tokens for _, _, _, outcomes in trials(directory) for o in outcomes)
        assert spent.seconds > 0
        details = es.details(run)
        assert details["mean rewards"] == [
            pytest.approx(sum(t.score for t in scores[4 * i : 4 * i + 4]) / 4) for i in range(3)
        ]
        assert (details["iterations"], details["failed models"]) == (3, 0)

    ended = thickets("export", directory / "es.json", "--out", tmp_path / "es")
    assert ended.code == 0, ended.err
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "es", dtype="auto")
    assert opened.dtype == getattr(torch, dtype)
    assert fingerprint(canonical_tensors(opened)) == live[centre] != single.base.fingerprint
    card = (tmp_path / "es" / "README.md").read_text()
    for word in (single.base.fingerprint, "moved by es", f"| steps from the base | {len(centre.terms)} |"):
        assert word in card


def test_by_default_it_evaluates_as_many_models_as_the_search(
    settings: dict[str, Any], thickets: Callable[..., Any]
) -> None:
    directory = made(settings).directory
    assert thickets("baseline", directory, "es").code == 0
    with Run.read(directory) as run:
        assert len(run.ledger("es").scores("selection")) == len(run.scores("selection")) - 1 == 4
        details = make_baseline("es").details(run)
    assert (details["population"], details["iterations"], details["sigma"]) == (4, 1, 0.01)
    assert details["learning rate"] == 0.005


def test_done_is_done_and_other_settings_are_refused(
    settings: dict[str, Any], thickets: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = made(settings).directory
    small = thickets("baseline", directory, "es", "--baselines.es.population", 9)
    assert small.code == 2
    assert "es compares at least two models" in small.err
    assert thickets("baseline", directory, *ES).code == 0
    before = trials(directory), model(directory)
    with monkeypatch.context() as patch:
        patch.setattr(HuggingFaceEngine, "start", lambda *_: pytest.fail("an engine was started for nothing"))
        assert thickets("baseline", directory, *ES).code == 0
        other = thickets("baseline", directory, *ES[:-1], 0.03)
    assert other.code == 2
    assert "es of" in other.err
    assert "sigma" in other.err
    assert len(other.err.strip().splitlines()) == 1
    assert (trials(directory), model(directory)) == before


def test_where_no_model_is_better_it_stays_at_the_base_and_says_so(
    settings: dict[str, Any], letters: Path, thickets: Callable[..., Any]
) -> None:
    (letters / "my.py").write_text(
        "def letters(completions, **columns):\n    return [0.1] * len(completions)\n\n"
        "def first_vowel(completion):\n    return next((c for c in completion if c in 'aeiou'), None)\n"
    )
    directory = made(settings).directory
    ended = thickets("baseline", directory, *ES, "--progress", "plain")
    assert ended.code == 0, ended.err
    assert "es went nowhere" in ended.err
    assert model(directory)["terms"] == []
    with Run.read(directory) as run:
        (trial,) = run.ledger("es").trials("test")
        assert trial.outcomes == run.trials("test", [None])[0].outcomes
        assert make_baseline("es").details(run)["populations without a difference"] == 3
        assert make_baseline("es").same_as(run) == "base"


def test_files_that_are_no_single_model_are_one_sentence(
    settings: dict[str, Any], tmp_path: Path, thickets: Callable[..., Any]
) -> None:
    directory = made(settings).directory
    assert thickets("baseline", directory, *ES).code == 0
    good = json.loads((directory / "es.json").read_text())
    (tmp_path / "taken").mkdir()
    for change, flags, said in (
        ({}, ["--out", tmp_path / "taken"], "is there already"),
        ({}, ["--out", tmp_path / "x", "--member", 1], "single model without members"),
        ({"terms": [[1, "inf"]]}, ["--out", tmp_path / "x"], "finite number"),
        ({"terms": [[-1, 0.5]]}, ["--out", tmp_path / "x"], "seed -1"),
        ({"noise": "pink/1"}, ["--out", tmp_path / "x"], "no noise scheme 'pink/1'"),
        ({"base": good["base"] | {"fingerprint": "sha256:0"}}, ["--out", tmp_path / "x"], "another base model"),
    ):
        file = tmp_path / "one.json"
        file.write_text(json.dumps(good | change))
        ended = thickets("export", file, *flags)
        assert ended.code == 2
        assert said in ended.err
        assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_killed_again_and_again_it_ends_at_the_same_centre(settings: dict[str, Any], tmp_path: Path) -> None:
    def command(directory: Path) -> list[str]:
        flags = ("--baselines.es.population", 6, "--baselines.es.budget", 48, "--progress", "plain")
        return [sys.executable, "-m", "thickets", "baseline", *map(str, (directory, "es", *flags))]

    undisturbed, killed = (
        made({**settings, "out": str(tmp_path / name)}).directory for name in ("undisturbed", "killed")
    )
    subprocess.run(command(undisturbed), check=True, capture_output=True)
    moments, kills = random.Random(0), 0
    for _ in range(3):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = _count(killed)
        while process.poll() is None and _count(killed) < before + moments.randint(2, 12):
            time.sleep(0.05)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before <= _count(killed)
    assert kills == 3
    assert 0 < _count(killed) < 48
    subprocess.run(command(killed), check=True, capture_output=True)
    assert trials(killed) == trials(undisturbed)
    assert model(killed) == model(undisturbed)
    assert model(killed)["terms"]


def _count(directory: Path) -> int:
    with Run.read(directory) as run:
        return len(run.ledger("es").recorded("selection"))
