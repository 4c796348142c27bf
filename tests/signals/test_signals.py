"""The 1D experiment: its data, its predictor, and a small combination from end to end."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from thickets.analysis.statistics import Interval, share
from thickets.cli.signals import signals as command
from thickets.cli.signals_landscape import signals_landscape
from thickets.config import SearchConfig, WeightsConfig
from thickets.errors import ConfigError
from thickets.module import ModuleEnsemble
from thickets.searching.strategies.random import perturbations
from thickets.signals.experiment import (
    PUBLISHED,
    Density,
    Experiment,
    Settings,
    check_pair,
    experiment,
    make_base,
    neighbourhood,
)
from thickets.signals.families import CONTEXT, HORIZON, SEEDS, Parameters, draw, families, grid, stream
from thickets.signals.figures import draw_experiment, draw_summary, kind
from thickets.signals.growth import growth
from thickets.signals.predictor import roll_out, untrained
from thickets.signals.record import Record, read_record, record_of, write_record


@pytest.mark.parametrize("family", families())
def test_a_family_gives_the_same_signals_for_the_same_seed(family: str) -> None:
    one, two = (draw(family, 50, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == (50, CONTEXT + HORIZON)
    assert torch.equal(one, two)
    assert torch.isfinite(one).all()


def test_the_grid_starts_where_the_release_starts() -> None:
    assert grid()[0] == -2.5
    assert float(grid()[-1]) == pytest.approx(4.4, abs=1e-5)


def test_a_sinusoid_is_one() -> None:
    signals, x = draw("sinusoid", 20, torch.Generator().manual_seed(0)).double(), grid().double()
    columns = torch.stack([(4 * x).sin(), (4 * x).cos(), torch.ones_like(x)], 1)
    fit = torch.linalg.lstsq(columns, signals.T).solution
    assert float((columns @ fit - signals.T).abs().max()) < 1e-5
    amplitude = fit[:2].norm(dim=0)
    assert 0.8 <= float(amplitude.min()) <= float(amplitude.max()) <= 1.2


def test_a_sawtooth_is_its_four_sines() -> None:
    signals, x = draw("sawtooth", 20, torch.Generator().manual_seed(0)).double(), grid().double()
    columns = torch.stack(
        [f(4 * k * x) for k in (1, 2, 3, 4) for f in (torch.sin, torch.cos)] + [torch.ones_like(x)], 1
    )
    fit = torch.linalg.lstsq(columns, signals.T).solution
    assert float((columns @ fit - signals.T).abs().max()) < 1e-5
    size = torch.stack([fit[2 * k : 2 * k + 2].norm(dim=0) for k in range(4)])
    for k, part in enumerate((1, 0.5, 0.33, 0.25)):
        torch.testing.assert_close(size[k] / size[0], torch.full((20,), part).double(), rtol=1e-4, atol=1e-4)


def test_a_harmonic_has_its_second_sine_without_a_phase() -> None:
    signals, x = draw("harmonic", 20, torch.Generator().manual_seed(0)).double(), grid().double()
    columns = torch.stack([(4 * x).sin(), (4 * x).cos(), (8 * x).sin(), torch.ones_like(x)], 1)
    fit = torch.linalg.lstsq(columns, signals.T).solution
    assert float((columns @ fit - signals.T).abs().max()) < 1e-5
    torch.testing.assert_close(fit[2] / fit[:2].norm(dim=0), torch.full((20,), 0.6).double(), rtol=1e-4, atol=1e-4)


PI, PLAIN = math.pi, ((0.8, 1.2), (-0.5, 0.5))
# By the facts of the release: what is drawn for each signal, in this order, and the signal that it makes.
FORMULAS: dict[str, tuple[tuple[tuple[float, float], ...], Any]] = {
    "line": (((-0.5, 0.5), (-1, 1)), lambda x, s, c: s * x + c),
    "sigmoid": (((-PI, PI), (0.5, 1.5), (-0.5, 0.5)), lambda x, p, a, b: a * (0.1 * x + p).tanh() + b),
    "harmonic": (
        ((0, 2 * PI), *PLAIN),
        lambda x, p, a, b: a * (0.5 * (4 * x + p).sin() + 0.3 * (8 * x).sin()) + b,
    ),
    "sinusoid": (((0, 2 * PI), *PLAIN), lambda x, p, a, b: a * (4 * x + p).sin() + b),
    "square": (
        ((0, 2 * PI), (0.2, 0.4), (4, 6), (-0.5, 0.5)),
        lambda x, p, a, k, b: a * (k * (4 * x + p).sin()).tanh() + b,
    ),
    "sawtooth": (
        ((0, 2 * PI), *PLAIN),
        lambda x, p, a, b: (
            0.5
            * a
            * (
                (4 * x + p).sin()
                - 0.5 * (2 * (4 * x + p)).sin()
                + 0.33 * (3 * (4 * x + p)).sin()
                - 0.25 * (4 * (4 * x + p)).sin()
            )
            + b
        ),
    ),
    "one_line": ((), lambda x: -0.25 * x),
    "one_sinusoid": ((), lambda x: 0.5 * (4 * x).sin()),
    "one_square": ((), lambda x: 0.3 * (5 * (4 * x).sin()).tanh()),
}


@pytest.mark.parametrize("family", families())
def test_a_family_is_its_formula(family: str) -> None:
    signals = draw(family, 200, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    x = (-2.5 + 0.1 * torch.arange(70)).double()

    def replayed(name: str, count: int) -> torch.Tensor:
        bounds, formula = FORMULAS[name]
        drawn = [torch.empty(count, 1).uniform_(*b, generator=generator).double() for b in bounds]
        made: torch.Tensor = formula(x, *drawn)
        return made.expand(count, -1)

    expected = torch.empty(200, 70, dtype=torch.float64)
    if family == "mixed":
        which = torch.randint(6, (200,), generator=generator)
        for number, name in enumerate(list(FORMULAS)[:6]):
            expected[which == number] = replayed(name, int((which == number).sum()))
    else:
        expected = replayed(family, 200)
    torch.testing.assert_close(signals.double(), expected, rtol=0, atol=4e-6)


def test_a_line_is_one() -> None:
    signals = draw("line", 500, torch.Generator().manual_seed(5))
    p = Parameters(500, torch.Generator().manual_seed(5))
    slope, level = p.uniform(-0.5, 0.5), p.uniform(-1, 1)
    torch.testing.assert_close(signals, slope * grid() + level, rtol=0, atol=2e-6)
    # The bounds are reached, so they are these and no narrower ones.
    slopes, levels = (signals[:, -1] - signals[:, 0]) / 6.9, signals[:, 25]
    assert 0.49 < float(slopes.max()) <= 0.5001 and -0.5001 <= float(slopes.min()) < -0.49
    assert 0.98 < float(levels.max()) <= 1.0001 and -1.0001 <= float(levels.min()) < -0.98


def test_a_mixture_has_as_much_of_each_family() -> None:
    signals, x = draw("mixed", 900, torch.Generator().manual_seed(1)).double(), grid().double()

    def left(*waves: torch.Tensor) -> torch.Tensor:
        """The largest residual of each signal after a fit of these waves and a constant."""
        columns = torch.stack([*waves, torch.ones_like(x)], 1)
        return (columns @ torch.linalg.lstsq(columns, signals.T).solution - signals.T).abs().amax(0)

    first = ((4 * x).sin(), (4 * x).cos())
    upper = [f(4 * k * x) for k in (2, 3, 4) for f in (torch.sin, torch.cos)]
    rises = signals.diff()
    is_one = {
        "line": left(x) < 1e-5,
        "sinusoid": left(*first) < 1e-5,
        "harmonic": left(*first, (8 * x).sin()) < 1e-5,
        "sawtooth": left(*first, *upper) < 1e-5,
        "sigmoid": (rises.abs().sum(1) - rises.sum(1).abs()) < 1e-5,
        "square": torch.ones(900, dtype=torch.bool),
    }
    counts, rest = {}, torch.ones(900, dtype=torch.bool)
    for family, here in is_one.items():
        counts[family] = int((rest & here).sum())
        rest &= ~here
    # 150 each, with a standard deviation of 11.
    assert all(105 < count < 195 for count in counts.values()), counts


def test_fixed_signals_are_all_the_same() -> None:
    for family, value in (("one_line", 0.625), ("one_sinusoid", 0.5 * math.sin(-10)), ("one_square", None)):
        signals = draw(family, 3, torch.Generator())
        assert torch.equal(signals[0], signals[2])
        if value is not None:
            assert float(signals[0, 0]) == pytest.approx(value, abs=1e-5)


def test_roll_out_feeds_its_predictions_back() -> None:
    class Sum(torch.nn.Module):
        def forward(self, window: torch.Tensor) -> torch.Tensor:
            return window[:, -2:].sum(1, keepdim=True)

    context = torch.zeros(1, CONTEXT)
    context[0, -1] = 1
    assert roll_out(Sum(), context)[0, :6].tolist() == [1, 2, 3, 5, 8, 13]


def test_the_predictor_is_the_paper_s() -> None:
    model = untrained("kaiming", torch.Generator().manual_seed(0))
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(128, 10), *[(128, 128)] * 3, (1, 128)]
    assert all(not p.any() for p in model.parameters() if p.ndim == 1)


def test_there_are_twenty_combinations() -> None:
    assert len(set(PUBLISHED)) == 20
    for pair in PUBLISHED:
        check_pair(*pair)
    with pytest.raises(ConfigError, match="did you mean 'sinusoid'"):
        check_pair("mixed", "sinusoids")
    with pytest.raises(ConfigError, match="no base 'mixd'"):
        check_pair("mixd", "line")
    with pytest.raises(ConfigError, match="mixed sinusoid"):
        command("mixed")


@pytest.fixture(scope="module")
def small() -> Experiment:
    """A combination with fewer of everything."""
    settings = Settings(population=60, top_k=6, steps=300, selection=48, test=48)
    return experiment("mixed", "sinusoid", settings, lambda sentence: None)


def test_a_small_experiment_from_end_to_end(small: Experiment, tmp_path: Path) -> None:
    errors = {e.name: e.error for e in small.errors}
    assert list(errors) == ["base", "one random candidate", "mean of random", "best single", "ensemble"]
    assert all(e.low <= e.value <= e.high for e in errors.values())
    assert small.gain.value == pytest.approx(errors["base"].value - errors["ensemble"].value, rel=1e-4)
    assert small.random.shape == small.members.shape == (6, 48, HORIZON)
    assert torch.equal(small.members[0], small.predictions["best single"])
    torch.testing.assert_close(small.members.mean(0), small.predictions["ensemble"])
    assert torch.equal(small.random[0], small.predictions["one random candidate"])
    files = draw_experiment(small, tmp_path)
    drawn = files[0].read_text()
    for label in ("truth", "6 random candidates", "6 members", "base", "best single", "ensemble"):
        assert f">{label}<" in drawn, label
    assert [f.name for f in files] == ["mixed-sinusoid.svg", "mixed-sinusoid.png"]
    assert all(f.stat().st_size > 10_000 for f in files)


def test_the_ensemble_has_a_fraction_of_the_base_s_error(small: Experiment) -> None:
    errors = {e.name: e.error.value for e in small.errors}
    assert errors["ensemble"] < errors["mean of random"] < errors["one random candidate"]
    assert errors["base"] / errors["ensemble"] > 2
    assert record_of(small).verdict == "helped"


def test_an_untrained_base_takes_the_larger_step() -> None:
    settings = Settings(population=12, top_k=2, selection=32, test=16)
    assert experiment("xavier", "one_line", settings, lambda sentence: None).sigma == 0.05


def test_the_release_s_sizes_are_the_defaults() -> None:
    told = {name: parameter.default for name, parameter in signature(command).parameters.items()}
    settings = asdict(Settings())
    assert (settings["population"], settings["top_k"], settings["steps"]) == (1000, 10, 1000)
    assert (settings["selection"], settings["test"]) == (1024, 256)
    assert {name: told[name] for name in told if name in settings} == {n: v for n, v in settings.items() if n in told}
    drawn, grown = signature(signals_landscape).parameters, signature(growth).parameters
    for name in ("family", "tasks", "steps", "seed", "points", "candidates"):
        assert drawn[name].default == grown[name].default


def test_all_combinations_go_on_where_they_were(tmp_path: Path, thickets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the command has them, but fewer.
    some = (("xavier", "one_line"), ("mixed", "one_square"), ("mixed", "sinusoid"))
    assert set(some) < set(PUBLISHED)
    monkeypatch.setattr("thickets.signals.experiment.PUBLISHED", some)
    tiny = ("--population", 12, "--top-k", 2, "--steps", 5, "--out", tmp_path)
    records = [tmp_path / f"{'-'.join(pair)}.json" for pair in some]
    alone = thickets("signals", *some[0], *tiny)
    assert alone.code == 0, alone.err
    assert "xavier → one_line" in alone.out
    first = records[0].stat().st_mtime_ns
    ended = thickets("signals", "--all", *tiny)
    assert ended.code == 0, ended.err
    assert "xavier → one_line is done" in ended.err
    assert records[0].stat().st_mtime_ns == first
    for pair, record in zip(some, records, strict=True):
        assert " → ".join(pair) in ended.out
        assert record.with_suffix(".png").stat().st_size > 10_000
    assert "fitted (same signal)" in ended.out
    assert str(tmp_path / "summary.png") in ended.err
    again = thickets("signals", "--all", *tiny)
    assert again.err.count("is done") == 3
    assert again.out == ended.out
    records[1].write_text("{")
    broken = thickets("signals", "--all", *tiny)
    assert broken.code == 2
    assert "delete it to run it again" in broken.err


def test_the_commands_refuse_in_a_sentence(tmp_path: Path, thickets: Any) -> None:
    for arguments, sentence in (
        (("signals", "mixed", "sinusoid", "--sigma", 0), "sigma is 0; give a positive number"),
        (("signals", "mixed", "sinusoid", "--seed", 2**60), "give a whole number from 0 to"),
        (("signals", "mixed", "sinusoid", "--top-k", 2000), "top_k is 2000"),
        (("signals-landscape", "mixd"), "did you mean 'mixed'"),
        (("signals-landscape", "--steps", 5, 3), "that grow"),
    ):
        ended = thickets(*arguments, "--out", tmp_path)
        assert (ended.code, ended.out) == (2, "")
        assert sentence in ended.err
    assert not list(tmp_path.iterdir())


def test_the_landscape_s_command_writes_still_and_film(tmp_path: Path, thickets: Any) -> None:
    tiny = ("--tasks", "square", "line", "--steps", 0, 20, "--candidates", 6, "--points", 3)
    ended = thickets("signals-landscape", "mixed", *tiny, "--out", tmp_path)
    assert ended.code == 0, ended.err
    files = [tmp_path / f"landscape-mixed.{form}" for form in ("svg", "png", "gif")]
    assert ended.out.split() == [str(file) for file in files]
    assert "after 20 steps of pretraining on mixed" in ended.err
    assert "square" in files[0].read_text()
    with Image.open(files[1]) as still, Image.open(files[2]) as film:
        assert still.size[0] > 400
        assert getattr(film, "n_frames", 1) >= 2


def test_the_landscape_grows_with_pretraining(tmp_path: Path) -> None:
    films = growth("mixed", ("sinusoid",), (0, 30), points=3, candidates=8)
    assert [step for step, _ in films] == [0, 30]
    assert films[0][1].through == films[1][1].through
    bases = [land.tasks[0].base for _, land in films]
    assert bases[0] != bases[1]
    assert all(abs(float(land.tasks[0].gains[1, 1])) < 1e-4 for _, land in films)
    with pytest.raises(ConfigError, match="that grow"):
        growth("mixed", steps=(10, 5))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sigma": 0.0}, "sigma is 0; give a positive number"),
        ({"sigma": math.nan}, "sigma is nan"),
        ({"seed": 2**56}, "seed is 72057594037927936; give a whole number from 0 to 72057594037927935"),
        ({"seed": -1}, "seed is -1"),
        ({"top_k": 0}, "top_k is 0; keep at least 1"),
        ({"population": 5, "top_k": 6}, r"at most as many as are tried \(5\)"),
        ({"steps": -1}, "steps is -1; give 0 or more"),
        ({"test": 0}, "test is 0; give 1 or more"),
    ],
)
def test_settings_that_no_run_can_have_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Settings(**changes)


def test_the_largest_seed_has_its_streams() -> None:
    assert not torch.equal(draw("line", 2, stream(SEEDS - 1, 1)), draw("line", 2, stream(SEEDS - 1, 2)))
    with pytest.raises(ConfigError, match="seed is"):
        growth("mixed", ("sinusoid",), (0, 1), seed=SEEDS, points=3, candidates=8)


def test_the_neighbourhood_is_named_by_what_it_is_beside_the_base() -> None:
    def named(base: float, *gains: float) -> str:
        share_of = share(sum(g >= 0 for g in gains), len(gains))
        return kind([Density(0.002, base, share_of, gains), Density(9.0, base, share_of, [base])], 0.002)

    assert named(1e-5, *[-1e-6] * 19, 9e-6) == "a needle (5% as good)"
    assert named(1e-5, -math.inf, 2e-6, 1e-6, 0.0) == "a thicket (75% as good, the best with 20% less error)"
    # The same gains are nothing beside a large error.
    assert named(1.0, -math.inf, 2e-6, 1e-6, 0.0) == "a plateau (75% as good, the best with 0% less error)"
    assert named(2.0, 0.1, 0.1).startswith("a plateau")
    assert named(0.0, 0.0, -1.0).startswith("a plateau")


def test_gains_are_above_0_for_better_candidates() -> None:
    settings = Settings(population=20, top_k=2, steps=60, selection=16, test=16)
    model = make_base("mixed", 0, 60)
    signals = draw("sinusoid", 16, stream(0, 1))
    (around,) = neighbourhood(model, signals, [0.01], settings)
    members = perturbations(SearchConfig(population=20, sigmas=(0.01,), seed=1))
    rolled = ModuleEnsemble(model, members, "gaussian/1", WeightsConfig()).predictions(signals[:, :CONTEXT], roll_out)
    errors = (rolled - signals[:, CONTEXT:]).square().mean((1, 2))
    with torch.no_grad():
        base = float((roll_out(model, signals[:, :CONTEXT]) - signals[:, CONTEXT:]).square().mean())
    assert around.base == pytest.approx(base, rel=1e-4)
    assert list(around.gains) == pytest.approx((base - errors).tolist(), rel=1e-3, abs=1e-5)


def test_a_task_of_one_signal_is_fitted_not_helped() -> None:
    record = Record("mixed", "one_line", Settings(), 0.002, {}, Interval(0.2, 0.1, 0.3), {}, [], [])
    assert record.verdict == "fitted (same signal)"
    assert replace(record, gain=Interval(-0.2, -0.3, -0.1)).verdict == "not fitted (same signal)"
    assert replace(record, task="line").verdict == "helped"
    assert replace(record, task="line", gain=Interval(-0.2, -0.3, -0.1)).verdict == "hurt"
    assert replace(record, task="line", gain=Interval(0.0, -0.3, 0.1)).verdict == "no clear difference"


def test_a_summary_is_drawn_from_records(tmp_path: Path) -> None:
    settings = Settings(population=12, top_k=2, selection=32, test=16)
    record = record_of(experiment("xavier", "one_line", settings, lambda sentence: None))
    write_record(record, tmp_path)
    assert read_record(tmp_path, "xavier", "one_line", settings) == record
    assert read_record(tmp_path, "xavier", "one_square", settings) is None
    # Other settings are another combination.
    assert read_record(tmp_path, "xavier", "one_line", replace(settings, seed=1)) is None
    assert all(f.stat().st_size > 5_000 for f in draw_summary([record, record], tmp_path))
