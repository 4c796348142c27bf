"""The search around a pipeline: the same in any order of events, resumable, honest about what it cannot use."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import thickets
from tests.diffusion.conftest import PIPES, stable_diffusion
from thickets.analysis.statistics import student_mean
from thickets.config.diffusion import ImageSearchConfig
from thickets.diffusion import PipelineEnsemble, Watching, search_pipeline
from thickets.diffusion.denoiser import Denoiser
from thickets.diffusion.painting import Painter, shots
from thickets.diffusion.search import make_plan
from thickets.errors import (
    CandidateFailed,
    ConfigError,
    DataError,
    EngineError,
    EnsembleError,
    ModelError,
    RewardUnavailable,
    RunError,
    TaskError,
)
from thickets.weights import canonical_tensors, fingerprint

PROMPTS = ["a cat", "a dog"]
FAST: dict[str, Any] = {"population": 6, "sigmas": [0.05, 0.2], "top_k": 3, "images_per_prompt": 1, "batch": 2} | PIPES[
    "unet"
][1]


def redness(images: Any, prompts: Any) -> list[float]:
    """As the built-in, by hand."""
    means = [np.asarray(image, dtype=float).mean((0, 1)) / 255 for image in images]
    return [float(r - (g + b) / 2) for r, g, b in means]


def figures(found: Any) -> Any:
    made = found.as_json()
    return {name: made[name] for name in ("base", "candidates", "members", "test", "density")}


def test_scores_are_those_of_the_candidates_placed_by_hand(pipe: Any, kind: str, settings: dict[str, Any]) -> None:
    module = getattr(pipe, kind)
    before = fingerprint(canonical_tensors(module))
    found = thickets.search_pipeline(pipe, "redness", PROMPTS, **settings)
    assert fingerprint(canonical_tensors(module)) == before
    assert "forward" not in vars(module)
    config = ImageSearchConfig.model_validate(settings)
    painter = Painter(pipe, config.call(), config.batch)
    wanted = make_plan(config, PROMPTS, None).selection
    for number in (0, 5):
        found.denoiser.base.place(found.candidates[number])
        by_hand = redness(painter.paint(wanted), PROMPTS)
        assert found.trials[number].rewards == pytest.approx(by_hand, abs=1e-12)
    found.denoiser.base.place(None)
    assert found.base.rewards == pytest.approx(redness(painter.paint(wanted), PROMPTS), abs=1e-12)
    scores = [trial.score for trial in found.trials]
    assert len(set(scores)) == 6
    assert [scores[i] for i in found.members] == sorted(scores, reverse=True)[:3]


def test_equal_settings_give_equal_searches_and_more_candidates_leave_the_first_alone(
    pipe: Any, settings: dict[str, Any]
) -> None:
    one = search_pipeline(pipe, "redness", PROMPTS, **settings)
    two = search_pipeline(pipe, redness, PROMPTS, **settings | {"hold": True})
    assert figures(one) == figures(two)
    more = search_pipeline(pipe, "redness", PROMPTS, **settings | {"population": 8, "test_images_per_prompt": 0})
    assert more.test is None
    assert [t.rewards for t in more.trials[:6]] == [t.rewards for t in one.trials]


def test_the_test_compares_what_it_says_on_images_that_selection_never_saw(tmp_path: Path) -> None:
    pipe = stable_diffusion()
    found = search_pipeline(
        pipe, "redness", PROMPTS, test_prompts=["a hat", "an egg", "ice"], out=tmp_path / "s", **FAST
    )
    test = found.test
    assert test is not None
    assert test.over == "prompts"
    assert [s.prompt for s in test.shots] == ["a hat"] * 4 + ["an egg"] * 4 + ["ice"] * 4
    selection = make_plan(found.settings, PROMPTS, None).selection
    assert not {s.seed for s in selection} & {s.seed for s in test.shots}
    for model, figure in test.figures.items():
        files = sorted((tmp_path / "s" / "images" / model).iterdir())
        assert redness([Image.open(f) for f in files], None) == pytest.approx(list(figure.rewards), abs=1e-12)
    # Three prompts are three things held out, however many images there are of each.
    gains = np.subtract(test.figures["ensemble"].rewards, test.figures["base"].rewards).reshape(3, 4).mean(1)
    assert test.figures["ensemble"].gain == student_mean(gains.tolist())
    chosen = np.subtract(test.figures["ensemble"].rewards, test.figures["random"].rewards)
    assert test.chosen == student_mean(chosen.reshape(3, 4).mean(1).tolist())
    painter = Painter(pipe, found.settings.call(), 2)
    with found.ensemble().applied():
        drawn = painter.draw(test.shots[:2])
    assert redness(drawn, None) == pytest.approx(list(test.figures["ensemble"].rewards[:2]), abs=1e-12)
    best = found.ensemble(members=1)
    with best.member(1):
        assert redness(painter.draw(test.shots[:2]), None) == pytest.approx(
            list(test.figures["best"].rewards[:2]), abs=1e-12
        )


def test_latents_are_those_of_a_generator_on_the_cpu(pipe: Any, settings: dict[str, Any]) -> None:
    """A shot is what the pipeline draws by itself with `torch.Generator("cpu").manual_seed(seed)`."""
    config = ImageSearchConfig.model_validate(settings)
    shot = shots(["a cat"], 1, 7, 1)[0]
    mine = Painter(pipe, config.call(), 4).draw([shot])[0]
    generator = torch.Generator("cpu").manual_seed(shot.seed)
    plain = pipe(prompt="a cat", generator=generator, output_type="np", **config.call()).images[0]
    assert np.array_equal(np.asarray(mine), (plain * 255).round().astype(np.uint8))


def test_negative_prompts_and_further_arguments_reach_the_pipeline() -> None:
    pipe = stable_diffusion()
    base = {"num_inference_steps": 3, "height": 16, "width": 16, "guidance_scale": 4.0}
    wanted = shots(PROMPTS, 1, 0, 0)

    def drawn(**arguments: Any) -> Any:
        return [np.asarray(i) for i in Painter(pipe, base | arguments, 2).paint(wanted)]

    plain = drawn()
    assert not np.array_equal(drawn(negative_prompt="green"), plain)
    assert not np.array_equal(drawn(guidance_rescale=0.7), plain)
    with pytest.raises(ConfigError, match="no argument 'guidence'; did you mean 'guidance_scale'"):
        drawn(guidence=1.0)
    with pytest.raises(EngineError, match=r"cannot draw with these settings: .*divisible by 8"):
        drawn(height=17)


class _Stop(Watching):
    """Ctrl-C after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.phases: list[str] = []

    def begin(self, phase: str, total: int, unit: str) -> None:
        self.phases.append(phase)

    def step(self, count: int, score: float | None = None) -> None:
        self.after -= 1
        if self.after == 0:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.phases.append("end")


def test_a_stopped_search_goes_on_and_ends_like_one_never_stopped(tmp_path: Path) -> None:
    pipe = stable_diffusion()
    before = fingerprint(canonical_tensors(pipe.unet))
    undisturbed = search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "undisturbed", **FAST)
    asked = 0

    def counted(images: Any, prompts: Any) -> list[float]:
        nonlocal asked
        asked += len(images)
        return redness(images, prompts)

    for stop in (3, 4, 8, 9):
        watch = _Stop(stop)
        with pytest.raises(KeyboardInterrupt):
            search_pipeline(pipe, counted, PROMPTS, out=tmp_path / "stopped", watching=watch, **FAST)
        assert watch.phases[-1] == "end"
        assert fingerprint(canonical_tensors(pipe.unet)) == before
    stopped = search_pipeline(pipe, counted, PROMPTS, out=tmp_path / "stopped", **FAST)
    assert figures(stopped) == figures(undisturbed)
    # Nothing that was recorded is done again: 7 models on 2 images, 4 on 8.
    assert asked == 7 * 2 + 4 * 8
    for name in ("grid.png", "images/ensemble/0003.png"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    search_pipeline(pipe, counted, PROMPTS, out=tmp_path / "stopped", **FAST)
    assert asked == 7 * 2 + 4 * 8


def test_a_search_does_not_go_on_as_another(tmp_path: Path) -> None:
    pipe, out = stable_diffusion(), tmp_path / "s"
    search_pipeline(pipe, "redness", PROMPTS, out=out, **FAST)
    with pytest.raises(RunError, match=r"started with other settings .*steps: 3 → 4"):
        search_pipeline(pipe, "redness", PROMPTS, out=out, **FAST | {"steps": 4})
    with pytest.raises(RunError, match='reward: "redness" → "blueness"'):
        search_pipeline(pipe, "blueness", PROMPTS, out=out, **FAST)
    with pytest.raises(RunError, match="prompts"):
        search_pipeline(pipe, "redness", ["a cat"], out=out, **FAST)
    with torch.no_grad():
        next(pipe.text_encoder.parameters()).add_(1.0)
    with pytest.raises(RunError, match=r"other settings \(pipeline\)"):
        search_pipeline(pipe, "redness", PROMPTS, out=out, **FAST)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(RunError, match=r"holds thesis\.tex"):
        search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "mine", **FAST)
    (out / "search.db").write_bytes(b"no database" * 500)
    with pytest.raises(RunError, match=r"cannot use .*not a database"):
        search_pipeline(pipe, "redness", PROMPTS, out=out, **FAST)


def test_the_whole_pipeline_is_read_only_for_a_search_that_can_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify, asked = Denoiser.identity, []

    def counted(denoiser: Denoiser) -> str:
        asked.append(denoiser.name)
        return identify(denoiser)

    monkeypatch.setattr(Denoiser, "identity", counted)
    pipe, small = stable_diffusion(), FAST | {"population": 1, "top_k": 1, "test_images_per_prompt": 0}
    search_pipeline(pipe, "redness", PROMPTS, **small)
    assert asked == []
    search_pipeline(pipe, "redness", PROMPTS, out=tmp_path / "s", **small)
    assert asked == ["unet"]


def test_the_ensembles_file_is_small_and_draws_the_same(
    pipe: Any, kind: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    found = search_pipeline(pipe, "redness", PROMPTS, **settings | {"negative_prompt": "blue"})
    found.save(tmp_path / "ensemble.json")
    assert (tmp_path / "ensemble.json").stat().st_size < 4000
    assert "seed" in (tmp_path / "ensemble.json").read_text()

    def drawn(ensemble: PipelineEnsemble, prompt: Any) -> Any:
        return ensemble(prompt, generator=torch.Generator("cpu").manual_seed(3), output_type="np").images

    again = PIPES[kind][0]()
    loaded = PipelineEnsemble.load(tmp_path / "ensemble.json", again, hold=True)
    assert loaded.members == found.ensemble().members
    assert np.array_equal(drawn(loaded, "ice"), drawn(found.ensemble(), "ice"))
    assert drawn(loaded, ["ice", "fire"]).shape[0] == 2
    first = PipelineEnsemble.load(tmp_path / "ensemble.json", again, members=1)
    assert not np.array_equal(drawn(first, "ice"), drawn(loaded, "ice"))
    with pytest.raises(EnsembleError, match="there is no member 4; there are members 1 to 3"), loaded.member(4):
        pass
    with pytest.raises(EnsembleError, match="around a pipeline of yours"):
        PipelineEnsemble.load(tmp_path / "ensemble.json")
    with torch.no_grad():
        next(getattr(again, kind).parameters()).add_(1e-3)
    with pytest.raises(EnsembleError, match="is not the one that"):
        PipelineEnsemble.load(tmp_path / "ensemble.json", again)
    (tmp_path / "other.json").write_text('{"format": "thickets-ensemble/1"}')
    with pytest.raises(EnsembleError, match="not a thickets-images/1 file"):
        PipelineEnsemble.load(tmp_path / "other.json", again)
    with pytest.raises(EnsembleError, match="there is no"):
        PipelineEnsemble.load(tmp_path / "none.json", again)


@pytest.mark.parametrize(
    ("reward", "sentence"),
    [
        (lambda images, prompts: [1.0], "gave 1 numbers for 2 images"),
        (lambda images, prompts: 1.0, "gave a float for 2 images"),
        (lambda images, prompts: "ab", "gave a str for 2 images"),
        (lambda images, prompts: [1.0, math.nan], "gave nan for image 2"),
        (lambda images, prompts: ["1", "2"], "gave '1' for image 1"),
        (lambda images, prompts: 1 / 0, "raised ZeroDivisionError"),
        (lambda images: [1.0, 2.0], "raised TypeError"),
    ],
)
def test_a_reward_that_breaks_its_contract_ends_the_search_at_the_base(
    reward: Any, sentence: str, tmp_path: Path
) -> None:
    pipe = stable_diffusion()
    with pytest.raises(CandidateFailed, match=f"the base itself cannot be scored: .*{sentence}"):
        search_pipeline(pipe, reward, PROMPTS, out=tmp_path / "s", **FAST)
    # The directory is as good as new once the reward is mended.
    assert search_pipeline(pipe, redness, PROMPTS, out=tmp_path / "s", **FAST).failed == 0


def test_a_failed_candidate_is_recorded_and_never_kept() -> None:
    pipe, calls = stable_diffusion(), 0

    def moody(images: Any, prompts: Any) -> list[float]:
        nonlocal calls
        calls += 1
        # The second candidate would be the best by far.
        return [math.inf] * len(images) if calls == 3 else redness(images, prompts)

    found = search_pipeline(pipe, moody, PROMPTS, **FAST | {"test_images_per_prompt": 0})
    assert found.failed == 1
    assert "not a finite number" in (found.trials[1].failure or "")
    assert 1 not in found.members
    assert json.dumps(found.as_json(), allow_nan=False)
    with pytest.raises(RunError, match="only 5 candidates of 6 could be scored, fewer than top_k = 6"):
        calls = 0
        search_pipeline(pipe, moody, PROMPTS, **FAST | {"top_k": 6})

    def down(images: Any, prompts: Any) -> list[float]:
        raise RewardUnavailable("the judge is down")

    with pytest.raises(RewardUnavailable, match="judge is down"):
        search_pipeline(pipe, down, PROMPTS, **FAST)


def test_a_step_that_breaks_the_images_is_a_failed_candidate() -> None:
    pipe = stable_diffusion()
    found = search_pipeline(
        pipe, "redness", PROMPTS, **FAST | {"sigmas": [0.05, 1e30], "top_k": 1, "test_images_per_prompt": 0}
    )
    broken = [t for p, t in zip(found.candidates, found.trials, strict=True) if p.sigma == 1e30]
    assert broken
    assert all("NaN or infinite" in (t.failure or "") for t in broken)


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"prompts": []}, DataError, "the selection prompts are none at all"),
        ({"prompts": ["a", " "]}, DataError, "one of the selection prompts is empty"),
        ({"prompts": ["a", "b", "a"]}, DataError, "hold 'a' twice"),
        ({"prompts": "a cat"}, DataError, "must be a list"),
        ({"test_prompts": ["a dog", "ice"]}, DataError, "test prompt 'a dog' is also a selection prompt"),
        ({"test_prompts": ["ice"]}, DataError, "one of the test prompts is too few"),
        ({"prompts": ["a"], "test_images_per_prompt": 1}, DataError, "one of the test images"),
        ({"top_k": 7}, ConfigError, r"top_k \(7\) is larger than population \(6\)"),
        ({"sigmas": [0.0]}, ConfigError, "sigma must be a positive number"),
        ({"sigmas": [1e39]}, thickets.ThicketsError, "beyond what float32 holds"),
        ({"popluation": 3}, ConfigError, "there is no field popluation"),
        ({"arguments": {"generator": None}}, ConfigError, "generator is what the search itself gives"),
        ({"arguments": {"num_inference_steps": 3}}, ConfigError, "give steps in its place"),
        ({"reward": "rednes"}, TaskError, "no image reward 'rednes'; did you mean 'redness'"),
        ({"reward": "redness:3"}, TaskError, "redness takes no option"),
        ({"reward": "colour:orange"}, TaskError, "needs a colour such as"),
        ({"reward": "colour"}, TaskError, "needs a colour such as"),
        ({"reward": "nowhere.py:f"}, TaskError, r"there is no file nowhere\.py"),
        ({"reward": "clip:/nowhere"}, TaskError, "cannot load the model '/nowhere'"),
        ({"reward": 3}, TaskError, "not a int"),
        ({"noise": "gauss"}, thickets.ThicketsError, "no noise scheme"),
        ({"denoiser": "nothing"}, ModelError, "no module 'nothing'"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_drawn(
    changes: dict[str, Any], error: type, sentence: str
) -> None:
    pipe = stable_diffusion()
    given = {"reward": "redness", "prompts": PROMPTS} | FAST | changes
    with pytest.raises(error, match=sentence) as raised:
        search_pipeline(pipe, given.pop("reward"), given.pop("prompts"), **given)
    assert "\n" not in str(raised.value)


def test_a_pipeline_that_draws_no_images_of_prompts_is_refused() -> None:
    from diffusers import DDIMPipeline

    pipe = stable_diffusion()
    with pytest.raises(ModelError, match="give a text-to-image pipeline"):
        search_pipeline(DDIMPipeline(pipe.unet, pipe.scheduler), "redness", PROMPTS)


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny pipeline."""
    folder = tmp_path_factory.mktemp("pipeline") / "tiny"
    stable_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture
def command(saved: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Arguments of a small search, some of them changed: `command(reward="x")`."""
    (tmp_path / "prompts.txt").write_text("a cat\n\n  a dog \n")
    usual = {
        "model": saved,
        "prompts": tmp_path / "prompts.txt",
        "reward": "redness",
        "population": 6,
        "sigmas": "0.05,0.2",
        "top_k": 3,
        "steps": 3,
        "height": 16,
        "width": 16,
        "progress": "plain",
        "out": tmp_path / "out",
    }

    def made(**changes: Any) -> list[str]:
        given = {name: str(value) for name, value in (usual | changes).items() if value is not None}
        return ["diffuse", *(part for n, v in given.items() for part in (f"--{n.replace('_', '-')}", v))]

    return made


def test_the_command_writes_all_it_names(command: Callable[..., list[str]], thickets: Any, tmp_path: Path) -> None:
    done = thickets(*command())
    assert done.code == 0, done.err
    out = tmp_path / "out"
    assert "search: 6/6 candidates, best" in done.err
    report = json.loads((out / "report.json").read_text())
    assert report["test"]["sentence"] in done.out
    assert report["settings"]["population"] == 6
    page = (out / "report.html").read_text()
    assert "RandOpt" in page and "data:image/png;base64," in page and "http" not in page.replace("http-equiv", "")
    assert Image.open(out / "grid.png").size[0] > 600
    # The file alone finds its pipeline again.
    ensemble = PipelineEnsemble.load(out)
    assert len(ensemble.members) == 3
    assert ensemble("a cat", output_type="np").images.shape == (1, 16, 16, 3)
    again = thickets(*command())
    assert again.out == done.out
    assert "goes on" not in again.err


def test_the_command_says_what_is_wrong(command: Callable[..., list[str]], thickets: Any, tmp_path: Path) -> None:
    def said(**changes: Any) -> str:
        done = thickets(*command(**changes))
        assert done.code == 2
        assert done.err.count("\n") == 1, done.err
        return str(done.err)

    assert "there is no file /nowhere.txt with the selection prompts" in said(prompts="/nowhere.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "empty.txt is to hold the test prompts" in said(test_prompts=tmp_path / "empty.txt")
    assert "no image reward 'x'" in said(reward="x")
    assert "pipeline '/nowhere' is neither a local folder nor" in said(model="/nowhere")
    assert "does not load" in said(model=tmp_path)
    assert "model is missing; give --model" in said(model=None)


def test_a_file_of_settings_is_as_good_as_flags(
    command: Callable[..., list[str]], thickets: Any, tmp_path: Path, saved: Path
) -> None:
    lines = [
        f'model = "{saved}"',
        'reward = "redness"',
        "population = 4",
        "top_k = 2",
        "steps = 3",
        "height = 16",
        "width = 16",
        "test_images_per_prompt = 0",
        f'prompts = "{tmp_path / "prompts.txt"}"',
        "[arguments]",
        "guidance_rescale = 0.5",
        "[weights]",
        'include = ["up_blocks.*"]',
    ]
    (tmp_path / "red.toml").write_text("\n".join(lines))
    command()  # writes the prompts
    done = thickets("diffuse", tmp_path / "red.toml", "--population", 3, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "No test was asked for" in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["candidates"]) == 3
    assert report["settings"]["arguments"] == {"guidance_rescale": 0.5}
    assert report["settings"]["weights"]["include"] == ["up_blocks.*"]
    assert not (tmp_path / "out" / "grid.png").exists()
    assert "No test was asked for" in (tmp_path / "out" / "report.html").read_text()


def test_without_diffusers_the_command_says_what_to_install(
    command: Callable[..., list[str]], thickets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.setitem(sys.modules, "diffusers.utils", None)
    done = thickets(*command())
    assert done.code == 2
    assert 'pip install "thickets[diffusion]"' in done.err


def test_a_reward_of_a_file_is_used_and_a_changed_one_refused(
    command: Callable[..., list[str]], thickets: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    body = "return [-sum(i.convert('L').histogram()[128:]) for i in images]"
    mine.write_text(f"def dark(images, prompts):\n    {body}\n")
    changed = command(reward=f"{mine}:dark")
    assert thickets(*changed).code == 0
    assert -256 <= json.loads((tmp_path / "out" / "report.json").read_text())["base"] <= 0
    mine.write_text(mine.read_text().replace("128", "100"))
    assert "started with other settings (reward:" in thickets(*changed).err


def test_killed_at_any_moment_the_command_goes_on(
    command: Callable[..., list[str]], thickets: Any, tmp_path: Path
) -> None:
    assert thickets(*command()).code == 0
    wanted = json.loads((tmp_path / "out" / "report.json").read_text())
    other = command(out=tmp_path / "killed")
    database = tmp_path / "killed" / "search.db"

    def rows() -> int:
        if not database.exists():
            return 0
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
                return sum(db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("trials", "tests"))
        except sqlite3.Error:
            return 0

    most = 0
    for wait in (3, 12):
        process = subprocess.Popen(
            [sys.executable, "-m", "thickets", *other], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and rows() < wait and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert rows() >= max(most, wait)
        most = rows()
    assert most < 7 + 4 * 8, "the search ended before the last kill"
    assert thickets(*other).code == 0
    assert json.loads((tmp_path / "killed" / "report.json").read_text()) == wanted
