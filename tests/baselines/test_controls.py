"""The controls beside real runs of two-layer models: what they answer, what they cost, and when they are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thickets.analysis.summary import Summary, summarise
from thickets.baselines.base import known_baselines
from thickets.config import merge, parse
from thickets.randopt import execute
from thickets.store import Run

Command = Callable[..., Any]
WITH = {"baselines": {"names": ["default"]}}


def figures(summary: Summary) -> dict[str, Any]:
    return {b.name: b for b in summary.baselines}


def test_default_controls_stand_beside_the_run(settings: dict[str, Any]) -> None:
    config = parse(merge(settings, WITH))
    summary = execute(config)
    found = figures(summary)
    assert {n for n, b in found.items() if b.held_out} == {
        "self_consistency",
        "best_prompt",
        "best_single",
        "random_members",
    }
    # The reward is a function of the user's own: nobody knows whether it looks at the answers.
    assert found["best_of_n"].unsuited
    assert "would look at the answers" in found["best_of_n"].reason
    for baseline in found.values():
        for held_out in baseline.held_out:
            assert len(held_out.answers) == {"validation": 8, "test": 20}[held_out.split]
    with Run.read(config.directory) as run:
        assert run.ledgers() == ["best_prompt", "random_members", "self_consistency"]


def test_added_to_a_finished_run_they_are_those_of_a_run_that_had_them(
    settings: dict[str, Any], config_file: Path, thickets: Command, tmp_path: Path
) -> None:
    assert thickets("run", config_file).code == 0
    with Run.read(tmp_path / "run") as run:
        assert run.ledgers() == []
        before = figures(summarise(run))
    # The best single member is in every run.
    assert {n for n, b in before.items() if b.held_out} == {"best_single"}
    assert before["self_consistency"].reason == "not run"
    ended = thickets("baseline", tmp_path / "run")
    assert ended.code == 0, ended.err
    at_once = figures(execute(parse(merge(settings, WITH | {"out": str(tmp_path / "at once")}))))
    with Run.read(tmp_path / "run") as run:
        later = figures(summarise(run))
    assert {n: b.held_out for n, b in later.items()} == {n: b.held_out for n, b in at_once.items()}


def test_one_by_name_and_nothing_twice(config_file: Path, thickets: Command, tmp_path: Path) -> None:
    assert thickets("run", config_file).code == 0
    assert thickets("baseline", tmp_path / "run", "random_members").code == 0
    with Run.read(tmp_path / "run") as run:
        assert run.ledgers() == ["random_members"]
    # Nothing is missing, so no model is needed.
    assert thickets("baseline", tmp_path / "run", "random_members", "--model", "/no/such/model").code == 0
    missing = thickets("baseline", tmp_path / "run", "self_consistency", "--model", "/no/such/model")
    assert missing.code == 2
    assert "/no/such/model" in missing.err


def test_listed_with_a_line_each(thickets: Command) -> None:
    listed = thickets("baseline", "--list")
    assert listed.code == 0
    assert all(name in listed.out for name in known_baselines())


def test_engines_that_were_given_back_start_again(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from thickets.baselines.kinds.best_prompt import BestPrompt

    undisturbed = figures(execute(parse(merge(settings, WITH | {"out": settings["out"] + "-undisturbed"}))))
    asked = BestPrompt.evaluate

    def after_a_break(self: BestPrompt, setting: Any) -> None:
        first = setting.pool
        setting.release()
        assert setting.pool is not first
        asked(self, setting)

    monkeypatch.setattr(BestPrompt, "evaluate", after_a_break)
    summary = execute(parse(merge(settings, WITH)))
    assert summary.base_verified
    assert {n: b.held_out for n, b in figures(summary).items()} == {n: b.held_out for n, b in undisturbed.items()}


def test_what_a_run_shows(settings: dict[str, Any], thickets: Command) -> None:
    config = parse(settings)
    execute(config)
    bare = thickets("show", config.directory)
    assert "Not run: best prompt, 3 random members, self-consistency@3." in bare.out
    assert "Not run: best prompt, 3 random members, self-consistency@3." in _words(config.directory / "report.html")
    assert thickets("baseline", config.directory, "self_consistency").code == 0
    shown = thickets("show", config.directory)
    assert "Not run: best prompt, 3 random members." in shown.out
    assert shown.out.count("self-consistency@3") >= 3  # in the first sentence, and on both splits
    assert "Not run: best prompt, 3 random members." in _words(config.directory / "report.html")


@pytest.mark.parametrize("named", ["default", "none", "random_members"])
def test_baselines_are_named_on_the_command_line(named: str, config_file: Path, thickets: Command) -> None:
    ended = thickets("run", config_file, "--baselines", named)
    assert ended.code == 0
    told = {
        "default": None,
        "none": "Not run: best prompt, 3 random members, self-consistency@3.",
        "random_members": "Not run: best prompt, self-consistency@3.",
    }[named]
    for words in (" ".join(ended.out.split()), _words(config_file.parent / "run" / "report.html")):
        assert told in words if told else "Not run" not in words


def _words(page: Path) -> str:
    import re

    return " ".join(re.sub(r"<[^>]*>", " ", page.read_text()).split())
