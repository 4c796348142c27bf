"""`thickets plan`: by hand without a run, and against what real runs took."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import build_model
from tests.quantised import quantise
from tests.vision import build_vision_model, picture, save_vision_model
from thickets.analysis.summary import summarise
from thickets.config import merge, parse
from thickets.errors import ConfigError, DataError, EngineError, ModelError, RunError, WeightsError
from thickets.plan import Given, Plan, make_plan
from thickets.plan.given import Range
from thickets.plan.shape import read_shape
from thickets.randopt import execute
from thickets.searching import Progress
from thickets.store import Run
from thickets.types import Trial, TrialScore

Command = Callable[..., Any]
# The tiny Llama: 261 tokens x 32; two layers of q, o (32 x 32), k, v (32 x 16), three of 32 x 64, two norms; a norm.
WEIGHTS = 261 * 32 + 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 32


class Stop(Progress):
    """Ends a run after so many candidates, as Ctrl-C does."""

    def __init__(self, after: int) -> None:
        self.left = after

    def trial(self, trial: Trial | TrialScore) -> None:
        self.left -= 1
        if self.left <= 0:
            raise KeyboardInterrupt


def planned(settings: dict[str, Any], **given: Any) -> Plan:
    return make_plan(parse(settings), Given(**given))


def run_in_part(settings: dict[str, Any], candidates: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        execute(parse(settings), Stop(candidates))


def test_work_and_time_by_hand(settings: dict[str, Any]) -> None:
    plan = planned(settings, rate=100.0, answer_share=(0.5,), prompt_tokens=100.0)
    # 16 selection questions, 10 candidates; base and 3 members on 8 and 20.
    assert [(p.name, p.models, p.evaluations) for p in plan.phases] == [
        ("base on selection", 1, 16),
        ("search", 10, 160),
        ("validation", 4, 32),
        ("test", 4, 80),
    ]
    assert [p.prompt_tokens for p in plan.phases] == [1600, 16_000, 3200, 8000]
    # Half of 12 new tokens each.
    assert [p.new_tokens for p in plan.phases] == [Range(6 * n, 6 * n, 6 * n) for n in (16, 160, 32, 80)]
    # 5e9 weights a second are placed, 19 times in all.
    seconds = 288 * 106 / 100 + 19 * WEIGHTS / 5e9
    assert plan.engine_seconds.mean == pytest.approx(seconds, rel=1e-9)
    assert plan.hours(plan.engine_seconds).mean == pytest.approx(seconds / 3600)
    assert plan.left == plan.engine_seconds
    assert not plan.begun


def test_more_engines_shorten_the_clock_and_more_gpus_cost(settings: dict[str, Any]) -> None:
    one = planned(settings, rate=100.0)
    engines = {"engine": {"count": 4, "tensor_parallel": 2, "device": "cuda"}}
    many = planned(merge(settings, engines), rate=100.0)
    assert many.hours(many.engine_seconds).mean == pytest.approx(2 * one.hours(one.engine_seconds).mean, rel=1e-4)
    assert many.wall_seconds(many.engine_seconds).mean == pytest.approx(one.engine_seconds.mean / 4, rel=1e-4)


def test_answers_range_from_low_to_high(settings: dict[str, Any]) -> None:
    search = planned(settings, answer_share=(0.25, 0.5, 1.0)).phases[1]
    assert search.new_tokens == Range(160 * 3, 160 * 6, 160 * 12)
    assert search.engine_seconds.low < search.engine_seconds.mean < search.engine_seconds.high
    usual = planned(settings)
    assert usual.phases[1].new_tokens.high == 160 * 12  # nothing is longer than the longest answer
    assert any(s.startswith("new tokens: 10, 30 and 100 % of the longest answer of 12, assumed") for s in usual.said)


def test_memory_of_the_model_from_its_configuration_alone(settings: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "no weights"
    build_model("Llama").config.save_pretrained(folder)
    settings = merge(settings, {"model": {"name": str(folder)}, "weights": {"include": ["*.mlp.*"]}})
    plan = planned(settings, gpu_memory=80.0)
    moving = 2 * 3 * 32 * 64
    assert (plan.parameters, plan.moving) == (WEIGHTS, moving)
    assert (plan.engine.weights, plan.engine.base_copy) == (4 * WEIGHTS, 4 * moving)
    # Two layers, key and value, two heads of eight, float32.
    assert plan.engine.cache_per_token == 2 * 2 * 2 * 8 * 4
    assert any("assumed, 4 characters each (no tokenizer" in s for s in plan.said)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Qwen3", "Mistral"])
def test_the_shape_is_that_of_the_loaded_model(
    kind: str, save_model: Callable[..., Path], settings: dict[str, Any]
) -> None:
    folder = save_model(kind, tie_word_embeddings=kind == "Qwen3")
    shape = read_shape(parse(merge(settings, {"model": {"name": str(folder)}})))
    model = build_model(kind, tie_word_embeddings=kind == "Qwen3")
    assert shape.parameters == shape.moving == sum(p.numel() for p in model.parameters())


def test_prompts_with_pictures_are_measured_and_the_shape_is_that_of_the_whole_model(
    settings: dict[str, Any], letters: Path, tmp_path: Path
) -> None:
    folder = save_vision_model(tmp_path / "vision")
    rows = [json.loads(line) for line in (letters / "data.jsonl").read_text().splitlines()]
    plain = planned(merge(settings, {"model": {"name": str(folder)}}))
    # 64 by 64 pixels in patches of 4, merged two by two, are 64 places; two more open and close the picture.
    (letters / "one.png").write_bytes(picture(0, 64, 64))
    (letters / "data.jsonl").write_text("\n".join(json.dumps({**row, "photo": "one.png"}) for row in rows))
    pictured = planned(merge(settings, {"model": {"name": str(folder)}, "task": {"image": "photo"}}))
    assert [p.prompt_tokens for p in pictured.phases] == [p.prompt_tokens + 66 * p.evaluations for p in plain.phases]
    model = build_vision_model()
    tower = sum(p.numel() for n, p in model.named_parameters() if ".visual." in n)
    assert pictured.parameters == sum(p.numel() for p in model.parameters())
    assert pictured.moving == pictured.parameters - tower


def test_what_a_whole_run_took_is_what_was_planned(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = merge(settings, {"search": {"population": 30}})
    before = planned(settings)
    run_in_part(settings, 12)
    part = planned(settings)
    summary = execute(parse(settings))
    after = planned(settings)
    took = {c.phase: c for c in summary.costs}
    for plan in (before, part, after):
        assert {p.name: p.prompt_tokens for p in plan.phases} == {n: c.prompt_tokens for n, c in took.items()}
    # Twelve candidates tell how long answers are; before, only that none is longer than the longest.
    assert part.phases[1].new_tokens.mean == pytest.approx(took["search"].new_tokens, rel=0.1)
    assert before.phases[1].new_tokens.high >= took["search"].new_tokens
    assert part.measured is not None
    assert after.measured is not None
    assert (part.measured.models, after.measured.models) == (12, 30)
    # The rate is that of the trials themselves, so that a finished run's own plan says what it took.
    assert after.phases[1].engine_seconds.mean == pytest.approx(took["search"].seconds, rel=1e-6)
    assert part.left.mean == pytest.approx(
        part.phases[1].engine_seconds.mean * 18 / 30 + sum(p.engine_seconds.mean for p in part.phases[2:])
    )
    assert (before.begun, part.begun, after.begun) == (False, True, True)
    assert after.left == Range(0, 0, 0)
    real = (tmp_path / "run" / "run.db").stat().st_size
    for plan in (before, part, after):
        assert plan.disk.total == pytest.approx(real, rel=0.2)


def test_disk_with_all_texts_kept(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = merge(
        settings, {"search": {"population": 60}, "generation": {"max_new_tokens": 40}, "keep_texts": "all"}
    )
    run_in_part(settings, 3)
    plan = planned(settings)
    execute(parse(settings))
    assert plan.disk.texts > 0.2 * plan.disk.total
    assert plan.disk.total == pytest.approx((tmp_path / "run" / "run.db").stat().st_size, rel=0.2)


def test_failed_candidates_cost_time_and_leave_no_tokens(settings: dict[str, Any]) -> None:
    execute(parse(merge(settings, {"search": {"sigmas": [0.01, 1e18]}, "ensemble": {"top_k": 1}})))
    with Run.read(Path(settings["out"])) as run:
        summary = summarise(run)
    plan = planned(merge(settings, {"search": {"sigmas": [0.01, 1e18]}, "ensemble": {"top_k": 1}}))
    assert plan.measured is not None
    assert plan.measured.failed > 0
    search = next(c for c in summary.costs if c.phase == "search")
    assert plan.measured.failed_share == search.failed / 10
    assert plan.phases[1].prompt_tokens == pytest.approx(search.prompt_tokens)
    assert plan.phases[1].engine_seconds.mean == pytest.approx(search.seconds)


def test_figures_of_another_run(settings: dict[str, Any], tmp_path: Path) -> None:
    run_in_part(settings, 2)
    settings = merge(settings, {"out": str(tmp_path / "other"), "generation": {"max_new_tokens": 20}})
    plan = planned(settings, source=tmp_path / "run")
    assert plan.measured is not None
    assert (plan.rate, plan.switch_seconds) == (plan.measured.rate, plan.measured.switch_seconds)
    assert plan.unit == "cpu"
    assert any("run is another run (generation.max_new_tokens: 12 → 20)" in s for s in plan.said)
    assert not plan.begun
    # What a person says wins over what was measured.
    assert planned(settings, source=tmp_path / "run", rate=7.0).rate == 7.0


def test_a_run_with_other_settings_is_not_this_one(settings: dict[str, Any]) -> None:
    run_in_part(settings, 2)
    plan = planned(merge(settings, {"search": {"population": 11}}))
    assert (plan.measured, plan.begun) == (None, False)
    assert any("holds a run with other settings (search.population: 10 → 11)" in s for s in plan.said)


def test_a_run_of_the_papers_size(settings: dict[str, Any]) -> None:
    paper = {
        "model": "somewhere/7b",
        "task": {"name": "countdown", "size": 1200},
        "splits": {"selection": 200, "test": 1000},
        "search": {"population": 5000},
        "generation": {"max_new_tokens": 1024},
        "ensemble": {"top_k": 50},
        "baselines": "none",
        "engine": {"count": 8},
        "out": settings["out"],
    }
    plan = planned(paper, parameters=7.6e9, rate=10_000.0, answer_share=(0.3,), prompt_tokens=150.0, gpu_memory=80.0)
    assert [p.evaluations for p in plan.phases] == [200, 1_000_000, 51_000]
    tokens = 1_051_200 * (150 + 0.3 * 1024)
    seconds = tokens / 10_000 + 5052 * 7.6e9 / 5e9
    assert plan.engine_seconds.mean == pytest.approx(seconds)
    assert plan.wall_seconds(plan.engine_seconds).mean == pytest.approx(seconds / 8)
    assert plan.engine.weights == plan.engine.base_copy == 15.2e9
    assert plan.engine.sequences is None  # the number of weights says nothing of the cache
    # A million outcomes of 35 bytes; the texts of base and members on top.
    assert 35e6 < plan.disk.outcomes < 40e6
    assert 51_200 * 1229 < plan.disk.texts < 4 * 51_200 * 1229
    assert plan.driver < 2**30


def test_data_that_are_not_at_hand_are_assumed_and_said(settings: dict[str, Any]) -> None:
    plan = planned(merge(settings, {"task": {"data": "nowhere.jsonl"}, "splits": {"test": 40}}))
    assert plan.phases[1].prompt_tokens == 160 * 200
    assert any("200 a question, assumed; the data are not at hand" in s and "nowhere.jsonl" in s for s in plan.said)
    assert plan.phases[3].evaluations == 4 * 40


@pytest.mark.parametrize(
    ("change", "given", "error", "message"),
    [
        (
            {"model": {"name": "nowhere/at-all"}},
            {},
            ModelError,
            r"'nowhere/at-all' cannot be found out: .*--parameters",
        ),
        ({"splits": {"selection": 100}}, {}, DataError, "the splits need 128 examples"),
        ({"generation": {"max_new_tokens": 4000}}, {}, EngineError, "over the model's limit of 2048"),
        ({}, {"rate": -1.0}, ConfigError, "--rate must be a positive number, not -1"),
        ({}, {"gpu_memory": float("nan")}, ConfigError, "--gpu-memory must be a positive number, not nan"),
        ({}, {"answer_share": (0.5, 0.2, 1.0)}, ConfigError, "in rising order"),
        ({}, {"answer_share": (1.5,)}, ConfigError, "above 0 and up to 1"),
        ({}, {"source": Path("nowhere")}, RunError, r"nowhere is not a run: it has no run\.db"),
    ],
)
def test_what_cannot_be_planned(
    change: dict[str, Any], given: dict[str, Any], error: type[Exception], message: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        planned(merge(settings, change), **given)


def test_a_run_without_a_trial_measures_nothing(settings: dict[str, Any], tmp_path: Path) -> None:
    with Run.begin(parse(settings)):
        pass
    with pytest.raises(RunError, match="has no scored trial yet"):
        planned(settings, source=tmp_path / "run")
    assert planned(settings).measured is None


def test_the_command_prints_tables_and_json(config_file: Path, thickets: Command, settings: dict[str, Any]) -> None:
    ended = thickets("plan", config_file, "--rate", 50, "--gpu-memory", 16, "--search.population", 20)
    assert ended.code == 0, ended.err
    assert "time at 50 tokens a second and engine" in ended.out
    assert "GPU hours" in ended.out
    assert "every prompt was tokenized" in ended.out
    assert not Path(settings["out"]).exists()  # planning writes nothing
    assert "training" not in ended.out
    ended = thickets("plan", config_file, "--baselines", "es,ppo")
    assert "sum of steps" in ended.out
    assert [line.split()[3] for line in ended.out.splitlines() if line.startswith("│ ppo ")] == ["160"]
    ended = thickets("plan", config_file, "--json", "--answer-share", 0.1, 0.5, 1, "--search.population", 20)
    found = json.loads(ended.out)
    assert [p["evaluations"] for p in found["phases"]] == [16, 320, 32, 80]
    assert found["phases"][1]["new_tokens"] == pytest.approx({"low": 384, "mean": 1920, "high": 3840})
    assert found["parameters"] == WEIGHTS
    assert found["hours"]["mean"] * 3600 == pytest.approx(found["engine_seconds"]["mean"])


def test_the_command_goes_on_from_what_was_measured(
    config_file: Path, thickets: Command, settings: dict[str, Any]
) -> None:
    run_in_part(settings, 4)
    ended = thickets("plan", config_file)
    assert ended.code == 0, ended.err
    assert f"measured on 4 candidates of {settings['out']}: " in ended.out
    assert "what is left" in ended.out
    assert "CPU hours" in ended.out
    assert "assumed, 1e" not in ended.out


def test_the_command_says_what_is_wrong_in_a_sentence(config_file: Path, thickets: Command) -> None:
    ended = thickets("plan", config_file, "--rate", 0)
    assert (ended.code, ended.err) == (2, "thickets: --rate must be a positive number, not 0\n")
    ended = thickets("plan", config_file, "--model", "/nowhere/at-all")
    assert ended.code == 2
    assert "say it with --parameters" in ended.err
    assert ended.err.count("\n") == 1


def test_a_quantised_model_is_planned_where_engine_and_scope_leave_it_out(
    settings: dict[str, Any], llama: Path, tmp_path: Path
) -> None:
    folder = quantise(llama, tmp_path / "eight")
    settings = merge(settings, {"model": {"name": str(folder)}})
    with pytest.raises(ModelError, match=r"is quantised, .* --engine vllm with a scope"):
        planned(merge(settings, {"engine": {"name": "hf"}}))
    settings = merge(settings, {"engine": {"name": "vllm"}})
    with pytest.raises(WeightsError, match=r"down_proj.weight is quantised and cannot take a step"):
        planned(settings)
    settings = merge(settings, {"weights": {"exclude": ["*_proj.*"]}})
    plan = planned(settings)
    # A byte for each weight of the linear layers, and four for the scale of each of their rows.
    linear = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    packed = linear + 2 * 4 * (3 * 32 + 2 * 16 + 2 * 64)
    assert (plan.parameters, plan.moving) == (WEIGHTS, WEIGHTS - linear)
    assert plan.engine.base_copy == 4 * (WEIGHTS - linear)
    assert plan.engine.weights == 4 * (WEIGHTS - linear) + packed
    assert any(f"{linear:,} of its weights are quantised" in s and f"{packed:,} bytes" in s for s in plan.said)
    # With its configuration alone the memory is an upper bound, and said to be one.
    (folder / "model.safetensors").unlink()
    plan = planned(settings)
    assert (plan.parameters, plan.moving, plan.engine.weights) == (WEIGHTS, WEIGHTS - linear, 4 * WEIGHTS)
    assert any("memory is estimated as if it were not, which is too much" in s for s in plan.said)


def test_what_trainings_learn_from_is_planned_and_that_their_time_is_not_is_said(settings: dict[str, Any]) -> None:
    pytest.importorskip("trl", reason="TRL is in the extra `train`")
    given: dict[str, Any] = {"rate": 100.0, "prompt_tokens": 100.0, "answer_share": (0.5,)}
    bare = planned(settings, **given)
    assert bare.trainings == ()
    settings = merge(settings, {"baselines": {"names": ["grpo", "ppo"]}})
    plan = planned(settings, **given)
    grpo, ppo = plan.trainings
    # Of the 160 answers of the search, two steps of 64, and ten of 16.
    assert (grpo.answers, ppo.answers) == (128, 160)
    assert (grpo.prompt_tokens, grpo.new_tokens) == (12_800, Range(768, 768, 768))
    assert (grpo.memory, ppo.memory) == (16 * WEIGHTS, 32 * WEIGHTS)
    assert [s.split(":")[0] for s in plan.said if "no run has measured it" in s] == ["grpo", "ppo"]
    assert plan.phases[: len(bare.phases)] == bare.phases
    assert [p.name for p in plan.phases[len(bare.phases) :]] == [
        f"{name}, {split}" for name in ("grpo", "ppo") for split in ("validation", "test")
    ]
    other = {"baselines": {"grpo": {"lora": 4, "samples": 64}, "ppo": {"gpus": 2}}}
    grpo, ppo = planned(merge(settings, other), **given).trainings
    assert (grpo.answers, grpo.memory) == (64, 4 * WEIGHTS)
    assert (ppo.answers, ppo.memory, ppo.gpus) == (160, 16 * WEIGHTS, 2)
    # A model that was trained elsewhere is only evaluated.
    assert [t.name for t in planned(merge(settings, {"baselines": {"ppo": {"result": "x"}}})).trainings] == ["grpo"]
    with pytest.raises(ConfigError, match="make no step"):
        planned(merge(settings, {"baselines": {"grpo": {"samples": 7}}}))


def test_a_training_that_is_done_is_not_planned_again(settings: dict[str, Any]) -> None:
    pytest.importorskip("trl", reason="TRL is in the extra `train`")
    settings = merge(settings, {"baselines": {"names": ["grpo"]}})
    assert len(planned(settings).trainings) == 1
    with Run.begin(parse(settings)) as run:
        run.ledger("grpo").record(Trial("test", 0, None, (), "NaN", 1.0, 0.1), keep_texts=False)
    assert planned(settings).trainings == ()


def test_the_sum_of_the_steps_of_es_is_part_of_the_memory(settings: dict[str, Any]) -> None:
    climbing = merge(settings, {"baselines": {"names": ["es"]}, "weights": {"include": ["*.mlp.*"]}})
    moving = 2 * 3 * 32 * 64
    assert planned(settings).engine.steps == 0
    assert planned(climbing).engine.steps == 4 * moving
    assert planned(merge(climbing, {"engine": {"tensor_parallel": 2}})).engine.steps == 2 * moving
    host = planned(merge(climbing, {"engine": {"tensor_parallel": 2, "base": "host"}}))
    assert host.engine.steps == 4 * moving
    # 7.6e9 weights in four bytes are 28.3 GiB, 0.354 of 80.
    large = merge(climbing, {"weights": {"include": ["*"]}})
    for gpu, said in ((None, "lower that to leave room"), (80.0, "lower that to 0.64 to leave room"), (400.0, None)):
        plan = planned(large, parameters=7.6e9, gpu_memory=gpu)
        found = [s for s in plan.said if s.startswith("sum of steps: 28.3 GiB of each GPU")]
        assert [said in s for s in found if said] == ([True] if said else [])
        assert len(found) == (said is not None)


def test_the_controls_cost_is_planned_and_done_when_they_are(settings: dict[str, Any]) -> None:
    from thickets.baselines.base import known_baselines

    bare = planned(settings, rate=100.0)
    settings = merge(settings, {"baselines": {"names": ["default"]}})
    before = planned(settings, rate=100.0)
    controls = {p.name: (p.models, p.evaluations) for p in before.phases[4:]}
    assert controls == {
        # Three prompts besides the task's own; 16, 8 and 20 questions; three members.
        "best prompt, selection": (3, 48),
        "best prompt, validation": (1, 8),
        "best prompt, test": (1, 20),
        "random members, validation": (3, 24),
        "random members, test": (3, 60),
        "self consistency, validation": (3, 24),
        "self consistency, test": (3, 60),
    }
    assert before.engine_seconds.mean > bare.engine_seconds.mean
    assert before.phases[:4] == bare.phases
    execute(parse(settings))
    after = planned(settings)
    assert after.left == Range(0, 0, 0)
    assert after.disk.total == pytest.approx((Path(settings["out"]) / "run.db").stat().st_size, rel=0.25)
    took = {c.phase: c.models for c in summary_of(settings).costs}
    evaluated = [n for n, b in known_baselines().items() if b.default and n.replace("_", " ") in took]
    assert {"self_consistency", "random_members"} <= {*evaluated}
    for name, baseline in known_baselines().items():
        if name in evaluated:
            assert took[name.replace("_", " ")] <= sum(baseline().planned(parse(settings)).values())


def summary_of(settings: dict[str, Any]) -> Any:
    with Run.read(Path(settings["out"])) as run:
        return summarise(run)
