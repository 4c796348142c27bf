"""GRPO beside real runs of two-layer models: what it learns from, what comes out, and when it is refused."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.conftest import build_tokenizer
from thickets.baselines.base import Baseline, make_baseline
from thickets.baselines.running import chosen
from thickets.baselines.trained import check_trainable
from thickets.baselines.training.budget import Budget, budget
from thickets.baselines.training.checkpoints import mark, newest
from thickets.baselines.training.course import Course, Step, mean_reward, totals
from thickets.baselines.training.rewards import Rewards
from thickets.config import RunConfig, ScoringConfig, TaskConfig, merge, parse
from thickets.engines.hf import HuggingFaceEngine
from thickets.errors import ConfigError, EngineError, ModelError, RunError
from thickets.randopt import add_baselines, execute
from thickets.searching import Progress, make_scorer
from thickets.store import Run
from thickets.tasks import make_task

Command = Callable[..., Any]

# As in the conftest, but every vowel counts a little, and every answer that is judged is written down.
REWARD = """
import json, os


def letters(completions, letter, prompts):
    vowels = [sum(c in "aeiou" for c in text) / 6 for text in completions]
    given = [min(1.0, text.count(w) / 2 + v) for text, w, v in zip(completions, letter, vowels, strict=True)]
    with open(os.path.join(os.path.dirname(__file__), "judged.jsonl"), "a") as log:
        for row in zip(prompts, letter, completions, given):
            print(json.dumps(row), file=log)
    return given


def first_vowel(completion):
    return next((c for c in completion if c in "aeiou"), None)
"""
# Large steps, so that a few of them show in the weights and in the rewards.
QUICK = {"samples": 64, "questions": 4, "group": 4, "learning_rate": 1e-2, "save_every": 1}


def with_grpo(settings: dict[str, Any], **changes: Any) -> RunConfig:
    return parse(merge(settings, {"baselines": {"grpo": QUICK | changes}}))


def record(directory: Path) -> dict[str, Any]:
    with Run.read(directory) as run:
        return dict(run.meta("grpo"))


class Said(Progress):
    """Keeps what was said and shown."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.phases: list[tuple[str, int, int]] = []
        self.scores: list[float] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def begin(self, phase: str, total: int, done: int, base: Any) -> None:
        self.phases.append((phase, total, done))

    def trial(self, trial: Any) -> None:
        self.scores.append(trial.score)


def test_it_learns_from_the_tasks_own_reward_and_is_evaluated(settings: dict[str, Any], letters: Path) -> None:
    (letters / "my.py").write_text(REWARD)
    config = with_grpo(settings, samples=384, questions=8, group=4)
    execute(config)
    (letters / "judged.jsonl").unlink()
    said = Said()
    summary = add_baselines(config, ["grpo"], said)

    judged = [json.loads(line) for line in (letters / "judged.jsonl").read_text().splitlines()]
    training, evaluation = judged[:384], judged[384:]
    with Run.read(config.directory) as run:
        baseline, meta = make_baseline("grpo"), run.meta("grpo")
        selection, test = run.examples("selection"), run.examples("test")
        base = run.meta("identity")["model"]
        (trial,) = run.ledger("grpo").trials("test")
        answers = baseline.answers(run, "test")
        spent, details = baseline.spent(run), baseline.details(run)
    # The questions of the search and no others, and each with the answer of its own row.
    assert {p for p, *_ in training} == {e.columns["question"] for e in selection}
    assert {(p, w) for p, w, *_ in training} == {(e.columns["question"], e.columns["letter"]) for e in selection}
    # What the trainer was told is what the reward said.
    first = sum(g for *_, g in training[:32]) / 32
    assert details["mean reward in the first tenth of steps"] == pytest.approx(first)
    assert said.scores[0] == pytest.approx(first)
    assert said.phases[0] == ("grpo, training", 12, 0)
    assert details["answers learnt from"] == 384
    assert details["answers of the search"] == 160
    # It learns: with as many answers at a learning rate of 0 the two would differ by chance alone.
    assert details["mean reward in the last tenth of steps"] > first + 0.08
    # Other weights, and those are the ones that were evaluated.
    assert meta["fingerprint"] not in (base, None)
    assert [t for *_, t, _ in evaluation[-20:]] == [o.text for o in trial.outcomes]
    assert [o.text for o in trial.outcomes[:4]] == by_transformers(
        config.directory / "baselines/grpo/model", [e.columns["question"] for e in test[:4]], 12
    )
    assert answers is not None
    assert [a.key for a in answers] == [o.judgement.key for o in trial.outcomes]
    assert spent.models == 2
    assert spent.passes == 1
    assert spent.new_tokens > 384 * 6
    assert spent.training_seconds > 0
    # Its checkpoints are not needed any more.
    assert sorted(p.name for p in (config.directory / "baselines/grpo").iterdir()) == ["model"]
    assert {b.name for b in summary.baselines if b.held_out} >= {"grpo"}


def by_transformers(folder: Path, questions: list[str], new_tokens: int) -> list[str]:
    """Greedy answers without any of our own code."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = []
    for question in questions:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            out = model.generate(**ids, max_new_tokens=new_tokens, do_sample=False)
        texts.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


def test_nothing_is_repeated_and_other_settings_are_refused(settings: dict[str, Any]) -> None:
    config = with_grpo(settings)
    execute(config)
    add_baselines(config, ["grpo"])
    before = record(config.directory)
    said = Said()
    add_baselines(config, ["grpo"], said)
    assert said.phases == []
    assert record(config.directory) == before
    with pytest.raises(RunError, match=r"begun with other settings.*learning_rate"):
        add_baselines(with_grpo(settings, learning_rate=0.5), ["grpo"])


def test_killed_between_training_and_record_nothing_is_trained_again(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(steps: Any) -> None:
        raise KeyboardInterrupt

    config = with_grpo(settings)
    execute(config)
    with monkeypatch.context() as patched:
        patched.setattr("thickets.baselines.training.course.totals", killed)
        with pytest.raises(KeyboardInterrupt):
            add_baselines(config, ["grpo"])
    trained = (config.directory / "baselines/grpo/model/model.safetensors").read_bytes()
    said = Said()
    add_baselines(config, ["grpo"], said)
    assert said.phases[0] == ("grpo, training", 4, 4)
    assert (config.directory / "baselines/grpo/model/model.safetensors").read_bytes() == trained
    assert record(config.directory)["training"]["samples"] == 64


def test_adapters_are_merged_into_a_model_like_any_other(settings: dict[str, Any]) -> None:
    config = with_grpo(settings, lora=4)
    execute(config)
    add_baselines(config, ["grpo"])
    folder = config.directory / "baselines/grpo/model"
    assert not list(folder.glob("adapter*"))
    with Run.read(config.directory) as run:
        assert run.meta("grpo")["fingerprint"] != run.meta("identity")["model"]
        assert make_baseline("grpo").details(run)["weights trained"] == "LoRA adapters of rank 4"
        (trial,) = run.ledger("grpo").trials("test")
        questions = [e.columns["question"] for e in run.examples("test")[:2]]
    assert [o.text for o in trial.outcomes[:2]] == by_transformers(folder, questions, 12)


def test_a_run_can_have_it_in_one_go(settings: dict[str, Any]) -> None:
    """The engines stop for the training, and the base has been checked by then."""
    config = parse(merge(settings, {"baselines": {"names": ["grpo", "random_members"], "grpo": QUICK}}))
    summary = execute(config)
    assert {b.name for b in summary.baselines if b.held_out} >= {"grpo", "random_members"}
    with Run.read(config.directory) as run:
        assert run.meta("base_verified")


def test_killed_at_a_checkpoint_it_ends_as_if_it_had_not_been(settings: dict[str, Any], tmp_path: Path) -> None:
    undisturbed = with_grpo(settings | {"out": str(tmp_path / "undisturbed")}, samples=192)
    killed = with_grpo(settings | {"out": str(tmp_path / "killed"), "progress": "plain"}, samples=192)
    for config in (undisturbed, killed):
        execute(config)
    add_baselines(undisturbed, ["grpo"])
    log = tmp_path / "log"
    flags = [f"--baselines.grpo.{k.replace('_', '-')}={v}" for k, v in killed.baselines.grpo.model_dump().items() if v]
    command = [sys.executable, "-m", "thickets", "baseline", str(killed.directory), "grpo", *flags]
    checkpoints = killed.directory / "baselines/grpo/checkpoints"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    deadline = time.monotonic() + 200
    # In the second round through the questions, of three.
    while process.poll() is None and not any(_number(p) > 4 for p in checkpoints.glob("checkpoint-*")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the training ended before it could be killed"
    # What a person saw of it, and nothing of the libraries'.
    shown = log.read_text().splitlines()
    assert "grpo, training: 12 models" in shown
    assert any(re.match(r"grpo, training: \d+/12, \d+:\d\d left, mean reward 0\.\d{3}, ", line) for line in shown)
    assert all(line.startswith(("loading", "grpo")) for line in shown), shown
    said = Said()
    add_baselines(killed, ["grpo"], said)
    assert said.phases[0][1] == 12
    assert 4 <= said.phases[0][2] < 12

    one, other = record(undisturbed.directory), record(killed.directory)
    assert one["fingerprint"] == other["fingerprint"]
    timeless = [{k: v for k, v in r["training"].items() if k != "seconds"} for r in (one, other)]
    assert timeless[0] == timeless[1]


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def test_what_stands_in_its_way_is_said_before_anything_is_trained(
    settings: dict[str, Any], llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    shutil.copytree(llama, tmp_path / "base")
    settings = merge(settings, {"model": {"name": str(tmp_path / "base")}})
    settings = merge(settings, {"engine": {"name": "hf"}})
    config = with_grpo(settings)
    execute(config)
    with monkeypatch.context() as patched:
        patched.setattr(HuggingFaceEngine, "missing", classmethod(lambda cls: "it is gone"))
        with pytest.raises(EngineError, match="'hf', which is to evaluate the trained model, cannot run here: it is"):
            add_baselines(config, ["grpo"])
    with pytest.raises(ConfigError, match=r"3 answers .* to 16 questions, with 4 to each .* make no step"):
        add_baselines(with_grpo(settings, samples=3), ["grpo"])
    described = json.loads((tmp_path / "base/config.json").read_text())
    for change, sentence in (
        ({"quantization_config": {"quant_method": "fp8"}}, "grpo trains weights, and .* has them quantised"),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, "takes images; leave it out"),
    ):
        (tmp_path / "base/config.json").write_text(json.dumps(described | change))
        with pytest.raises(ConfigError, match=sentence):
            add_baselines(config, ["grpo"])
    (tmp_path / "base/config.json").unlink()
    with pytest.raises(ModelError, match="grpo needs the base model where it was"):
        add_baselines(config, ["grpo"])
    assert not (config.directory / "baselines").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trl" else object())
    with pytest.raises(ConfigError, match=r"trl not installed; pip install 'thickets\[train\]'"):
        chosen(["grpo"], config, make_task(config.task))


def test_other_weights_than_the_runs_and_other_ones_than_were_trained_are_refused(
    settings: dict[str, Any], save_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thickets.baselines.kinds import grpo

    config = with_grpo(settings)
    execute(config)
    other = save_model("Llama", 7)
    with pytest.raises(ModelError, match="are not those that the run was started with"):
        add_baselines(config, ["grpo"], model=str(other))
    # Killed between training and evaluation, and then somebody lays another model there.
    monkeypatch.setattr(grpo, "evaluate_folder", lambda *args: None)
    add_baselines(config, ["grpo"])
    monkeypatch.undo()
    folder = config.directory / "baselines/grpo/model"
    kept = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="are not those that were trained"):
        add_baselines(config, ["grpo"])
    (folder / "model.safetensors").write_bytes(kept)
    # Nothing is evaluated yet, so the settings may still be mended: then it is trained again, and says so.
    said = Said()
    add_baselines(with_grpo(settings, seed=3), ["grpo"], said)
    assert "grpo: the settings changed, so the training begins anew" in said.sentences
    assert record(config.directory)["settings"]["seed"] == 3


def test_what_is_trained_again_does_not_answer_the_rest(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    config = with_grpo(settings, samples=16)
    execute(config)
    # Killed between the two splits, and then the model is removed.
    with monkeypatch.context() as patched:
        patched.setattr("thickets.baselines.trained.HELD_OUT", ("validation",))
        add_baselines(config, ["grpo"])
    before = record(config.directory)
    shutil.rmtree(config.directory / "baselines/grpo")
    # As where the same training comes out otherwise, on a GPU: here it would be the same model to the last bit.
    with Run.begin(config) as run:
        run.set_meta("evaluated:grpo", "sha256:another")
    with pytest.raises(ModelError, match=r"is not the one that grpo of .* put part of the questions to"):
        add_baselines(config, ["grpo"])
    assert record(config.directory) == before
    with Run.read(config.directory) as run:
        assert run.ledger("grpo").recorded("test") == set()


def test_images_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    from thickets.types import Image, Message

    task = make_task(parse(settings).task)
    picture = (Message("user", "what?", (Image("0" * 64, "cat.png"),)),)

    class Pictures(type(task)):  # type: ignore[misc]
        def pools(self) -> Any:
            pools = super().pools()
            return replace(pools, train=[replace(e, prompt=picture, identity=e.label) for e in pools.train])

    class Setting:
        config = parse(settings)
        splits: ClassVar[dict[str, Any]] = {"selection": Pictures(task.config).pools().train}

    with pytest.raises(ConfigError, match="the questions of this run have images"):
        check_trainable("grpo", Setting())  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
def test_answers_that_cannot_be_judged_have_no_reward(tmp_path: Path, workers: int) -> None:
    code = """def fn(completions, n):
    if "bad" in completions:
        raise ValueError("no")
    return [float(len(c) == w) for c, w in zip(completions, n)]
"""
    (tmp_path / "mine.py").write_text(code)
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps({"question": f"{n}?", "n": n}) for n in range(3)))
    config = TaskConfig(
        data=str(tmp_path / "data.jsonl"), prompt="{question}", reward=(f"{tmp_path / 'mine.py'}:fn",)
    )  # fmt: skip
    task = make_task(config)
    scorer = make_scorer(ScoringConfig(workers=workers), task, {"selection": task.pools().train}, 1, tmp_path / "log")
    course = Course(1, Progress(), "test")
    course.begin()
    try:
        rewards = Rewards(scorer, 2, course)(
            prompts=["2", "2", "0", "0", "1", "1"], text=["xx", "x", "bad", "", "x", "xx"]
        )
    finally:
        scorer.close()
    assert rewards == [1.0, 0.0, None, None, 1.0, 0.0]
    course.generated(6, 60, 12)
    course.close()
    assert totals(course.steps)["not judged"] == 2
    assert mean_reward(course.steps) == 0.5


def test_a_step_asks_the_engines_own_tokens_and_stops_where_it_stops(settings: dict[str, Any], llama: Path) -> None:
    from types import SimpleNamespace

    from transformers import AutoModelForCausalLM

    from thickets.baselines.training.rollouts import Rollouts
    from thickets.types import Message, Sampling

    model = AutoModelForCausalLM.from_pretrained(llama)
    engine = HuggingFaceEngine(model, build_tokenizer(), parse(settings))
    prompts = [(Message("user", text),) for text in ("one", "another", "Say a word.")]
    whole = [g.text for g in engine.generate(prompts, Sampling(12))]
    stop = (whole[2][3:5],)
    wanted = engine.generate(prompts, Sampling(12, stop=stop))
    # So little temperature that the likeliest token is all but sure.
    sampling = Sampling(12, temperature=1e-4, stop=stop)
    course = Course(1, Progress(), "test")
    course.begin()
    rollouts = Rollouts(engine.renderer, model.generation_config, prompts, sampling, None, course)
    accelerator = SimpleNamespace(unwrap_model=lambda wrapped: wrapped)
    trainer = SimpleNamespace(accelerator=accelerator, model_wrapped=model, state=SimpleNamespace(global_step=0))
    given = rollouts(["2", "0", "2"], trainer)
    assert given["text"] == [wanted[2].text, wanted[0].text, wanted[2].text]
    assert given["text"][0].endswith(stop[0])
    assert given["prompt_ids"][1] == engine.renderer.tokens(prompts[0])
    assert [len(ids) for ids in given["completion_ids"]] == [wanted[i].new_tokens for i in (2, 0, 2)]
    assert model.training
    # With temperature, one question's answers differ, and are the same again at the same step alone.
    warm = Rollouts(engine.renderer, model.generation_config, prompts, Sampling(12, 1.0), None, course)
    once, again = warm(["2", "2"], trainer), warm(["2", "2"], trainer)
    assert once["text"][0] != once["text"][1]
    assert once == again
    trainer.state.global_step = 1
    assert warm(["2", "2"], trainer) != once


def test_a_budget_is_never_overdrawn_and_a_small_one_makes_smaller_steps() -> None:
    assert budget(160, 8, 8, 16) == Budget(2, 8, 8)
    assert budget(200 * 200, 8, 8, 200).samples == 40_000
    assert budget(20, 8, 8, 16) == Budget(1, 2, 8)
    assert budget(1000, 8, 8, 3) == Budget(41, 3, 8)
    assert budget(100, 10, 1, 100, multiple=4) == Budget(12, 8, 1)
    assert Budget(1, 3, 8).at_once(7) == 6
    assert Budget(1, 1, 7).at_once(3) == 1
    with pytest.raises(ConfigError, match="make no step of 4 questions"):
        budget(100, 3, 1, 100, multiple=4)


def test_only_whole_checkpoints_are_gone_on_from(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    for number in (2, 10, 12):
        (tmp_path / f"checkpoint-{number}").mkdir()
    mark(tmp_path / "checkpoint-2", [])
    step = {"answers": 1, "judged": 1, "reward": 0.5, "correct": 0, "prompt_tokens": 3, "new_tokens": 4, "seconds": 1.0}
    mark(tmp_path / "checkpoint-10", [step])
    found = newest(tmp_path)
    assert found is not None
    assert (found.folder.name, Step(**found.steps[0]).reward) == ("checkpoint-10", 0.5)
    # The torn one would stand in the way when the training comes to that step again.
    assert not (tmp_path / "checkpoint-12").exists()


def test_listing_the_baselines_imports_nothing_heavy() -> None:
    heavy = ("trl", "peft", "torch", "transformers", "datasets", "pyarrow")
    code = (
        "import sys; from thickets.baselines.base import baseline_names; baseline_names(); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert issubclass(type(make_baseline("grpo")), Baseline)
