"""PPO beside real runs: the files for verl, the judge behind its reward, and reading its model back. No verl here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml

from tests.conftest import build_model, build_tokenizer
from thickets.baselines.base import make_baseline
from thickets.baselines.verl.judging import Judge, cut
from thickets.config import RunConfig, merge, parse
from thickets.engines.prompts import Renderer
from thickets.errors import ConfigError, EngineError, ModelError, RunError
from thickets.pool.local import LocalPool
from thickets.randopt import add_baselines, execute
from thickets.store import Run

Command = Callable[..., Any]
# As in the conftest, but it prints, breaks and ends its process when asked to.
REWARD = """
import os, time


def letters(completions, letter, **columns):
    print("said by a reward")
    if "die" in completions:
        os._exit(1)
    if "hang" in completions:
        time.sleep(600)
    if "raise" in completions:
        raise ValueError("no")
    return [min(1.0, text.count(wanted) / 2) for text, wanted in zip(completions, letter, strict=True)]


def first_vowel(completion):
    return next((c for c in completion if c in "aeiou"), None)
"""


@pytest.fixture
def config(settings: dict[str, Any], letters: Path) -> RunConfig:
    """A finished run whose answers end at a full stop, and PPO with few questions a step."""
    (letters / "my.py").write_text(REWARD)
    config = parse(
        merge(settings, {"generation": {"stop": ["."]}, "baselines": {"ppo": {"questions": 6, "learning_rate": 1e-5}}})
    )
    execute(config)
    return config


def folder_of(config: RunConfig) -> Path:
    return config.directory / "baselines" / "ppo"


def test_the_questions_of_the_search_as_verl_reads_them(config: RunConfig, thickets: Command) -> None:
    add_baselines(config, ["ppo"])
    folder = folder_of(config)
    with Run.read(config.directory) as run:
        splits = {split: run.examples(split) for split in ("selection", "validation", "test")}
        assert run.ledgers() == []
    renderer = Renderer(build_tokenizer(), config, None)
    written = yaml.safe_load((folder / "ppo.yaml").read_text())
    template = written["actor_rollout_ref"]["model"]["custom_chat_template"]
    for split in ("selection", "validation"):
        rows = pyarrow.parquet.read_table(folder / f"{split}.parquet").to_pylist()
        assert len(rows) == len(splits[split])
        for index, (row, example) in enumerate(zip(rows, splits[split], strict=True)):
            assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
            assert row["reward_model"]["style"] == "rule"
            assert (row["extra_info"]["split"], row["extra_info"]["index"]) == (split, index)
            ids = renderer.tokenizer.apply_chat_template(
                row["prompt"], chat_template=template, add_generation_prompt=True, return_dict=False
            )
            assert ids == renderer.tokens(example.prompt)
    # The test is nobody's to train on.
    everything = "".join(p.read_bytes().decode(errors="ignore") for p in folder.iterdir())
    assert not [e for e in splits["test"] if e.columns["question"] in everything]


def test_the_budget_is_the_searchs_and_steps_are_whole(config: RunConfig) -> None:
    add_baselines(config, ["ppo"])
    written = yaml.safe_load((folder_of(config) / "ppo.yaml").read_text())
    # 160 answers of the search, 6 a step, so many rounds that two steps a round make them.
    assert written["trainer"]["total_training_steps"] == 26
    assert written["trainer"]["total_epochs"] == 13
    assert written["data"]["train_batch_size"] == written["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] == 6
    assert written["actor_rollout_ref"]["actor"]["ppo_micro_batch_size_per_gpu"] == 3
    assert written["actor_rollout_ref"]["actor"]["optim"]["lr"] == 1e-5
    assert written["data"]["max_response_length"] == 12


def test_of_several_tasks_the_budget_is_what_the_search_asked_of_all(settings: dict[str, Any], letters: Path) -> None:
    both = {"custom": settings["task"], "countdown": {"size": 60}}
    config = parse(
        {k: v for k, v in settings.items() if k != "task"}
        | {"task": {"name": "custom,countdown", "each": both}, "search": {"population": 3, "sigmas": [0.01]}}
    )
    execute(config)
    asked = sum(t.examples for t in scores(config) if t.candidate is not None)
    assert asked == 3 * 32
    add_baselines(config, ["ppo"])
    written = yaml.safe_load((folder_of(config) / "ppo.yaml").read_text())
    # 64 questions a step by default, of which there are 32.
    assert written["data"]["train_batch_size"] * written["trainer"]["total_training_steps"] == asked


def scores(config: RunConfig) -> list[Any]:
    with Run.read(config.directory) as run:
        return run.scores("selection")


ASK = """
import json, sys, importlib.util
spec = importlib.util.spec_from_file_location("reward", sys.argv[1])
reward = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reward)
for split, index, text in json.loads(sys.argv[2]):
    extra = {"split": split, "index": index, "label": ""}
    try:
        print(json.dumps(reward.compute_score("thickets/custom", text, "", extra)))
    except RuntimeError as error:
        print(json.dumps({"stopped": str(error)}))
assert "thickets" not in sys.modules
"""


def ask(config: RunConfig, asked: list[Any], cwd: Path) -> list[dict[str, Any]]:
    """What the reward file says, in a bare Python and another folder, as in verl's processes."""
    command = [sys.executable, "-S", "-c", ASK, str(folder_of(config).absolute() / "reward.py"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=True, timeout=250)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_reward_is_the_tasks_own_judge(config: RunConfig, tmp_path: Path) -> None:
    config = parse(merge(config.model_dump(mode="json"), {"scoring": {"timeout": 15}}))
    add_baselines(config, ["ppo"])
    with Run.read(config.directory) as run:
        wanted = run.examples("selection")[3].columns["letter"]
        other = run.examples("validation")[2].columns["letter"]
    asked = [
        ("selection", 3, wanted),
        ("selection", 3, wanted * 2),
        # verl's engine goes on behind the stop string; what it says there does not count.
        ("selection", 3, f"{wanted}.{wanted}"),
        ("validation", 2, other * 2),
        ("selection", 3, "raise"),
        ("selection", 3, "die"),
        ("selection", 3, wanted),
        ("selection", 3, "hang"),
        ("selection", 3, wanted * 2),
    ]
    half, whole = {"score": 0.5, "acc": 0.0, "unjudged": 0.0}, {"score": 1.0, "acc": 1.0, "unjudged": 0.0}
    none = {"score": 0.0, "acc": 0.0, "unjudged": 1.0}
    assert ask(config, asked, tmp_path) == [half, whole, half, whole, none, none, half, none, whole]
    log = (folder_of(config) / "judge.log").read_text()
    assert "said by a reward" in log
    assert "ValueError: no" in log


def test_a_judge_that_cannot_start_stops_the_training(config: RunConfig, letters: Path, tmp_path: Path) -> None:
    add_baselines(config, ["ppo"])
    rows = (letters / "data.jsonl").read_text()
    (letters / "data.jsonl").write_text(rows.replace("word 3.", "word three."))
    (answer,) = ask(config, [("selection", 0, "a")], tmp_path)
    assert "the data of the task are not those" in answer["stopped"]
    (letters / "my.py").write_text(REWARD + "# changed\n")
    with pytest.raises(RunError, match=r"my\.py is not what it was"):
        Judge(config.directory)
    (letters / "my.py").write_text(REWARD)
    judge = json.loads((folder_of(config) / "judge.json").read_text())
    # Whoever set no limit does not want the training to hang for ever.
    assert judge["timeout"] == 300
    judge["command"] = ["/no/such/python"]
    (folder_of(config) / "judge.json").write_text(json.dumps(judge))
    (answer,) = ask(config, [("selection", 0, "a")], tmp_path)
    assert "cannot be started" in answer["stopped"]


@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [("a.b.c", (".",), "a."), ("abc", (".",), "abc"), ("a|b.c", (".", "|"), "a|"), ("a.b", (), "a.b")],
)
def test_an_answer_ends_behind_its_first_stop_string(text: str, stops: tuple[str, ...], kept: str) -> None:
    assert cut(text, stops) == kept


def left_by_verl(config: RunConfig, step: int, seed: int = 5) -> Path:
    """A model where verl saves it."""
    folder = folder_of(config) / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"
    build_model("Llama", seed).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def test_the_model_that_verl_leaves_is_evaluated(config: RunConfig, thickets: Command) -> None:
    ended = thickets("baseline", config.directory, "ppo", "--baselines.ppo.questions", 6, "--progress", "plain")
    assert ended.code == 0, ended.err
    assert f"run bash {folder_of(config)}/train.sh; then repeat this command here" in ended.err
    left_by_verl(config, 10)
    with pytest.raises(RunError, match="verl has saved step 10 of 26"):
        add_baselines(config, ["ppo"])
    folder = left_by_verl(config, 26)
    summary = add_baselines(config, ["ppo"])
    assert {b.name for b in summary.baselines if b.held_out} >= {"ppo"}
    with Run.read(config.directory) as run:
        baseline = make_baseline("ppo")
        details, spent = baseline.details(run), baseline.spent(run)
        texts = [o.text for o in run.ledger("ppo").trials("test")[0].outcomes]
        own = [o.text for o in run.trials("test", [None])[0].outcomes]
        answers = baseline.answers(run, "validation")
    assert details["answers learnt from"] == 156
    assert details["evaluated model"] == str(folder)
    assert (spent.models, spent.passes, spent.training_seconds) == (2, 1, None)
    assert answers is not None
    assert len(answers) == 8
    assert texts != own
    # Nothing is evaluated twice, whatever lies there by now.
    shutil.rmtree(folder_of(config))
    add_baselines(config, ["ppo"])


def test_a_folder_that_is_named_is_evaluated_and_has_to_be_a_trained_copy(
    config: RunConfig, save_model: Callable[..., Path], llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(folder: Path) -> RunConfig:
        return changed(config, result=str(folder))

    add_baselines(config, ["ppo"])
    with pytest.raises(ConfigError, match=r"is no folder with \*.safetensors"):
        add_baselines(named(config.directory), ["ppo"])
    with pytest.raises(ModelError, match="is the base itself"):
        add_baselines(named(llama), ["ppo"])
    with pytest.raises(ModelError, match="weights and the base"):
        add_baselines(named(save_model("Llama", 3, num_hidden_layers=1)), ["ppo"])
    monkeypatch.setattr(LocalPool, "notes", ("one engine died",))
    add_baselines(named(save_model("Llama", 3)), ["ppo"])
    with Run.read(config.directory) as run:
        # What happened to its engines is told as what happened to the run's own.
        assert run.meta("notes") == ["one engine died"]
        details = make_baseline("ppo").details(run)
        # It may have been trained by anybody.
        assert [details[x] for x in ("answers learnt from", "steps", "learning rate")] == ["not known"] * 3
        assert run.ledger("ppo").recorded("test") == {0}


def test_one_model_answers_all_held_out_questions(
    config: RunConfig, save_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(folder: Path) -> RunConfig:
        return changed(config, result=str(folder))

    first, other = save_model("Llama", 3), save_model("Llama", 4)
    # As if it were killed between the two splits.
    with monkeypatch.context() as patched:
        patched.setattr("thickets.baselines.trained.HELD_OUT", ("validation",))
        add_baselines(named(first), ["ppo"])
    with pytest.raises(ModelError, match=r"is not the one that ppo of .* put part of the questions to"):
        add_baselines(named(other), ["ppo"])
    with Run.read(config.directory) as run:
        assert run.ledger("ppo").recorded("test") == set()
        assert run.meta("ppo")["result"] == str(first)
    # What was begun with is gone on with, named or not.
    add_baselines(config, ["ppo"])
    with Run.read(config.directory) as run:
        assert run.ledger("ppo").recorded("test") == {0}


def changed(config: RunConfig, **settings: Any) -> RunConfig:
    return parse(merge(config.model_dump(mode="json"), {"baselines": {"ppo": settings}}))


def test_what_verl_may_be_learning_from_stays_as_it_is(config: RunConfig) -> None:
    add_baselines(config, ["ppo"])
    folder = folder_of(config)
    written = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    add_baselines(config, ["ppo"])
    for settings, said in (
        ({"kl": 0.0}, "kl: 0.001 → 0.0"),
        # With these a step has other questions, and there are more of them.
        ({"gpus": 4}, "gpus: 1 → 4"),
        ({"at_once": 1}, "at_once: 4 → 1"),
    ):
        with pytest.raises(
            RunError, match=rf"verl was given other settings in .*ppo \({said}\); .* remove that folder"
        ):
            add_baselines(changed(config, **settings), ["ppo"])
    # Nor when verl has come to its end: what it left was trained with the old ones.
    left_by_verl(config, 26)
    with pytest.raises(RunError, match="verl was given other settings"):
        add_baselines(changed(config, learning_rate=1e-4), ["ppo"])
    assert written.items() <= {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}.items()
    shutil.rmtree(folder)
    add_baselines(changed(config, kl=0.0), ["ppo"])
    assert not yaml.safe_load((folder / "ppo.yaml").read_text())["algorithm"]["use_kl_in_reward"]
    # Removed with the settings as they are, they are written again.
    shutil.rmtree(folder)
    add_baselines(changed(config, kl=0.0), ["ppo"])
    assert (folder / "train.sh").exists()


def test_a_revision_and_tokens_that_verl_would_not_make_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    from types import SimpleNamespace

    from thickets.baselines.verl.files import _check_prompts, _template
    from thickets.types import Example

    config = parse(merge(settings, {"model": {"revision": "main"}}))
    execute(config)
    with pytest.raises(ConfigError, match=r"verl takes no model\.revision"):
        add_baselines(config, ["ppo"])
    # Plain text gets a token in front of it, and a template that gives the text alone has to write it.
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<|bos|>"})
    opening = tokenizer.bos_token_id
    renderer = Renderer(tokenizer, config, None)
    renderer.tokens = lambda prompt: [opening, *tokenizer(prompt).input_ids]  # type: ignore[method-assign, assignment]
    files = SimpleNamespace(learnt={"selection": [Example("one", "a"), Example("two", "bcd")]})
    assert _template(renderer, "a").startswith("{{ bos_token }}")
    assert _check_prompts(files, renderer) == 4  # type: ignore[arg-type]
    renderer.tokens = lambda prompt: [*tokenizer(prompt).input_ids, opening]  # type: ignore[method-assign, assignment]
    with pytest.raises(EngineError, match="verl would give the model other tokens for one"):
        _check_prompts(files, renderer)  # type: ignore[arg-type]
