"""Baselines that cannot be: unknown, unsuited, too late, with other settings; and a `kill -9` in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.run.test_command import change
from thickets.analysis.summary import Summary, summarise
from thickets.baselines import running
from thickets.baselines.base import Setting
from thickets.baselines.kinds.random_members import RandomMembers
from thickets.baselines.kinds.self_consistency import SelfConsistency
from thickets.config import RunConfig, merge, parse, read_toml
from thickets.ensemble import read_ensemble
from thickets.errors import ConfigError, EngineError, RunError
from thickets.randopt import add_baselines, execute
from thickets.store import Run

Command = Callable[..., Any]


def with_baselines(settings: dict[str, Any], *names: str, **more: Any) -> dict[str, Any]:
    return merge(settings, {"baselines": {"names": list(names), **more}})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("self_consistancy", "did you mean 'self_consistency'?"),
        ("none,best_prompt", "are none and some at once"),
        ("best_of_n", "baseline best_of_n cannot be used: the reward of task custom is not known to do without"),
    ],
)
def test_bad_names_are_one_sentence_before_anything_starts(
    names: str, said: str, config_file: Path, thickets: Command, tmp_path: Path
) -> None:
    ended = thickets("run", config_file, "--baselines", names)
    assert ended.code == 2
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Just say it.", "names no column"),
        ("{prompt} {colour}", "names {colour}, which"),
        ("The answer is {letter}. {prompt}", "it may be the answer"),
        ("{prompt", "cannot be read"),
        ("", "cannot be empty"),
    ],
)
def test_templates_that_cannot_be_are_found_before_the_search(
    template: str, said: str, config_file: Path, thickets: Command, tmp_path: Path
) -> None:
    change(config_file, baselines={"names": ["best_prompt"], "templates": [template]})
    # Letters that no question of this data shows.
    data = tmp_path / "data.jsonl"
    data.write_text(data.read_text().replace('"letter": "', '"letter": "§'))
    ended = thickets("run", config_file)
    assert ended.code == 2
    assert said in ended.err
    if (tmp_path / "run").exists():
        with Run.read(tmp_path / "run") as run:
            assert run.recorded("selection") == set()


def test_templates_of_ones_own_are_tried(settings: dict[str, Any]) -> None:
    templates = ["Please, {prompt}", "{question}, now"]
    summary = execute(parse(with_baselines(settings, "best_prompt", templates=templates)))
    figures = next(b for b in summary.baselines if b.name == "best_prompt")
    assert figures.title == "best of 6 prompts"
    assert set(figures.details["score on selection"]) >= {"template 1", "template 2"}
    assert figures.details["templates"] == templates


def test_a_prompt_that_the_model_cannot_take_is_left_out_and_named(
    settings: dict[str, Any], save_model: Callable[..., Path]
) -> None:
    import json

    folder = save_model("Llama", 3)
    path = folder / "chat_template.jinja"
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    if path.exists():
        path.write_text(refusal + path.read_text())
    else:
        tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
        tokenizer["chat_template"] = refusal + tokenizer["chat_template"]
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = parse(with_baselines(merge(settings, {"model": {"name": str(folder)}}), "best_prompt"))
    summary = execute(config)
    figures = next(b for b in summary.baselines if b.name == "best_prompt")
    assert list(figures.details["left out"]) == ["system line"]
    assert "no system turns" in figures.details["left out"]["system line"]
    assert figures.title == "best of 3 prompts"
    assert figures.on("test") is not None


def test_what_is_left_out_is_of_the_templates_that_are_tried(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    def templates(*texts: str) -> RunConfig:
        return parse(with_baselines(settings, "best_prompt", templates=list(texts)))

    long = "{prompt}" + " again" * 2000
    execute(parse(settings))
    with monkeypatch.context() as patched:
        patched.setattr(Setting, "evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            add_baselines(templates(long, "Now: {prompt}"), ["best_prompt"])
    summary = add_baselines(templates("Now: {prompt}", long), ["best_prompt"])
    details = next(b for b in summary.baselines if b.name == "best_prompt").details
    assert list(details["left out"]) == ["template 2"]
    assert "template 1" in details["score on selection"]


def test_an_unfinished_run_takes_none(config_file: Path, thickets: Command, tmp_path: Path) -> None:
    settings = parse(read_toml(config_file))
    with Run.begin(settings):
        pass
    ended = thickets("baseline", tmp_path / "run")
    assert ended.code == 2
    assert "has not finished; repeat its `thickets run` command" in ended.err
    for arguments, said in (
        (["baseline", tmp_path / "nowhere"], "is not a run"),
        (["baseline"], "say which run"),
        (["baseline", tmp_path / "run", "--baselines", "es"], "--baselines"),
    ):
        ended = thickets(*arguments)
        assert ended.code == 2
        assert said in ended.err


def test_other_settings_are_refused_once_there_are_trials(config_file: Path, thickets: Command, tmp_path: Path) -> None:
    assert thickets("run", config_file, "--baselines", "self_consistency").code == 0
    refused = thickets("baseline", tmp_path / "run", "self_consistency", "--baselines.temperature", 1.2)
    assert refused.code == 2
    assert "self_consistency of" in refused.err
    assert "temperature: 0.7 → 1.2" in refused.err
    # Of other baselines the temperature is no matter, and without any a run is as it was.
    assert thickets("baseline", tmp_path / "run", "random_members", "--baselines.temperature", 1.2).code == 0
    assert thickets("run", config_file, "--baselines.temperature", 1.2).code == 0
    again = thickets("run", config_file, "--baselines", "self_consistency", "--baselines.temperature", 1.2)
    assert again.code == 2
    assert "temperature: 0.7 → 1.2" in again.err


def test_other_weights_are_refused_and_a_moved_model_is_found(
    config_file: Path, thickets: Command, llama: Path, save_model: Callable[..., Path], tmp_path: Path
) -> None:
    import shutil

    assert thickets("run", config_file).code == 0
    refused = thickets("baseline", tmp_path / "run", "self_consistency", "--model", save_model("Llama", 5))
    assert refused.code == 2
    assert "the weights of the base model are not those" in refused.err
    moved = tmp_path / "elsewhere"
    shutil.copytree(llama, moved)
    found = thickets("baseline", tmp_path / "run", "self_consistency", "--model", moved)
    assert found.code == 0, found.err


def test_rewards_that_changed_are_refused_whatever_is_added(settings: dict[str, Any], letters: Path) -> None:
    """Baselines that train outside the run's engines, and those that need nothing more, are no exception."""
    config = parse(settings)
    execute(config)
    reward = (letters / "my.py").read_text()
    (letters / "my.py").write_text(reward.replace("/ 2", "/ 3"))
    for names in (["ppo"], ["best_single"]):
        with pytest.raises(RunError, match=r"my\.py is not what it was when"):
            add_baselines(config, names)
    with pytest.raises(RunError, match=r"my\.py is not what it was when"):
        execute(config)
    assert not (config.directory / "baselines").exists()
    (letters / "my.py").write_text(reward)
    assert execute(config).finished


def test_a_candidate_that_fails_votes_for_nothing(settings: dict[str, Any]) -> None:
    settings = merge(settings, {"search": {"sigmas": [0.01, 1e38], "population": 12}})
    config = parse(with_baselines(settings, "random_members"))
    summary = execute(config)
    with Run.read(config.directory) as run:
        failed = {t.candidate for t in run.scores("selection") if t.failure}
        picked = next(b for b in summary.baselines if b.name == "random_members").details["candidates"]
        assert failed & set(picked)
        assert all(t.failure for t in run.ledger("random_members").scores("test") if t.candidate in failed)
    figures = next(b for b in summary.baselines if b.name == "random_members")
    assert len(figures.on("test").answers) == 20


def test_a_picked_candidate_that_was_never_tried_is_named(settings: dict[str, Any]) -> None:
    from thickets.baselines.kinds.random_members import picked

    config = parse(settings)
    execute(config)
    lost = picked(config)[0]
    import sqlite3

    with sqlite3.connect(config.directory / "run.db") as database:
        database.execute("DELETE FROM trials WHERE split = 'selection' AND candidate = ?", (lost,))
    with pytest.raises(RunError, match=f"candidate {lost} is to be picked at random, but"):
        add_baselines(config, ["random_members"])


def test_more_members_than_candidates_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"larger than search\.population"):
        parse(merge(settings, {"ensemble": {"top_k": 11}}))


def test_a_baseline_that_fails_leaves_a_finished_run(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(self: SelfConsistency, setting: Setting) -> None:
        raise EngineError("the GPU ran out of memory")

    config = parse(with_baselines(settings, "random_members", "self_consistency"))
    with monkeypatch.context() as patched:
        patched.setattr(SelfConsistency, "evaluate", fails)
        with pytest.raises(EngineError, match="ran out of memory"):
            execute(config)
    assert len(read_ensemble(config.directory).members) == 3
    assert (config.directory / "report.html").exists()
    with Run.read(config.directory) as run:
        before = run.meta("finished")
        assert before
        assert run.meta("base_verified")
    # What is done is not begun again, and what is not is looked at once.
    settled: list[str] = []
    monkeypatch.setattr(RandomMembers, "evaluate", lambda *_: pytest.fail("it had answered everything"))
    monkeypatch.setattr(running, "settle", lambda baseline, *_: settled.append(baseline.name))
    summary = execute(config)
    assert settled == ["random_members", "self_consistency"]
    assert {b.name for b in summary.baselines if b.held_out} >= {"self_consistency", "random_members"}
    assert summary.finished == before


def test_killed_in_the_middle_nothing_is_lost_or_repeated(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = merge(settings, {"search": {"population": 6}, "ensemble": {"top_k": 6}, "progress": "plain"})
    undisturbed = parse({**settings, "out": str(tmp_path / "undisturbed")})
    execute(undisturbed)
    names = ["best_prompt", "random_members", "self_consistency"]
    expected = add_baselines(undisturbed, names)
    killed = parse({**settings, "out": str(tmp_path / "killed")})
    execute(killed)
    (tmp_path / "killed.toml").write_text(tomli_w.dumps(settings))
    command = [sys.executable, "-m", "thickets", "baseline", str(killed.directory), *names]
    moments = [
        lambda: _count(killed.directory, "best_prompt", "selection") >= 1,
        lambda: _count(killed.directory, "self_consistency", "validation") >= 2,
        lambda: _count(killed.directory, "self_consistency", "test") >= 3,
    ]
    finished: dict[tuple[str, str, int], str] = {}
    for reached in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while process.poll() is None and not reached() and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        assert reached()
        now = _moments(killed.directory)
        # What was recorded before is there, as it was.
        assert finished.items() <= now.items()
        finished = now
    subprocess.run(command, check=True, capture_output=True)
    assert finished.items() <= _moments(killed.directory).items()
    with Run.read(killed.directory) as run:
        assert _lasting(summarise(run)) == _lasting(expected)


def _lasting(summary: Summary) -> list[Any]:
    return [(b.name, b.held_out, b.details, b.spent and b.spent.new_tokens) for b in summary.baselines]


def _count(directory: Path, name: str, split: Any) -> int:
    with Run.read(directory) as run:
        return len(run.ledger(name).recorded(split))


def _moments(directory: Path) -> dict[tuple[str, str, int], str]:
    """When each trial of a baseline was recorded."""
    import sqlite3

    with sqlite3.connect(directory / "run.db") as database:
        names = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE name LIKE 'trials:%'")]
        return {
            (name, split, candidate): at
            for name in names
            for split, candidate, at in database.execute(f'SELECT split, candidate, finished FROM "{name}"')
        }
