"""`thickets compare`: several runs in one figure and one table, and what cannot be compared is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended
from thickets.analysis.comparison import ComparedRun, Comparison, SigmaDensity, compare
from thickets.analysis.density import density
from thickets.analysis.statistics import Interval, share
from thickets.analysis.summary import summarise
from thickets.config import merge, parse
from thickets.errors import RunError
from thickets.randopt import execute
from thickets.report.comparison import as_csv, as_html, as_json, render, size_of, tables
from thickets.store import Run

Command = Callable[..., Ended]


@pytest.fixture
def two(settings: dict[str, Any], save_model: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """Finished runs of a small and a smaller model, the small one first."""
    small = parse(merge(settings, {"out": str(tmp_path / "small")}))
    wide = save_model("Llama", 3, hidden_size=64)
    large = parse(merge(settings, {"out": str(tmp_path / "large"), "model": {"name": str(wide)}}))
    execute(large)
    execute(small)
    return large.directory, small.directory


def test_runs_stand_in_the_order_of_their_models_with_their_own_figures(
    two: tuple[Path, Path], thickets: Command, tmp_path: Path
) -> None:
    found = compare(two)
    assert [r.name for r in found.runs] == ["small", "large"]
    assert found.one_task
    assert not found.notes
    for run in found.runs:
        with Run.read(tmp_path / run.name) as opened:
            summary, figures = summarise(opened), density(opened)
        assert figures is not None
        assert summary.test is not None
        assert run.parameters == summary.engine["parameters"]
        assert [(d.sigma, d.density) for d in run.densities[:-1]] == [(s.sigma, s.density) for s in summary.sigmas]
        assert run.densities[-1].density == summary.density
        assert run.densities[-1].by_chance == figures.curves[-1].by_chance[figures.zero]
        assert (run.base, run.ensemble, run.gain) == (summary.test.base, summary.test.ensemble, summary.test.gain)
        assert [c.name for c in run.controls] == [b.name for b in summary.baselines if b.on("test")]
    printed = thickets("compare", *two)
    assert printed.code == 0, printed.err
    assert printed.out.index(found.runs[0].model) < printed.out.index(found.runs[1].model)
    for ending, begins in ((".html", "<!doctype"), (".svg", "<svg"), (".csv", "run,model"), (".json", "{")):
        file = tmp_path / f"all{ending}"
        ended = thickets("compare", *two, "--out", file)
        assert ended.out == f"{file}\n"
        assert file.read_text().startswith(begins)
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert [(r["run"], r["sigma"]) for r in rows] == [
        (name, s) for name in ("small", "large") for s in ("0.01", "0.03", "all")
    ]
    assert float(rows[2]["density"]) == pytest.approx(found.runs[0].densities[-1].density.value)
    loaded = json.loads((tmp_path / "all.json").read_text())
    assert [r["parameters"] for r in loaded["runs"]] == [r.parameters for r in found.runs]


def test_what_cannot_be_compared_is_said(two: tuple[Path, Path], settings: dict[str, Any], thickets: Command) -> None:
    large, small = two
    for arguments, said in (
        ([], "two runs at least"),
        ([small], "two runs at least"),
        ([small, small], "same model and task"),
        ([small, small.parent], "is not a run"),
        ([small, large, "--out", small / "x.png"], "must end in .html, .svg, .csv or .json"),
        ([small, large, "--out", small / "no" / "x.csv"], "cannot write"),
    ):
        ended = thickets("compare", *arguments)
        assert ended.code == 2, arguments
        assert said in ended.err
        assert "Traceback" not in ended.err
    begun = parse(settings)
    Run.begin(begun).close()
    assert "has not finished" in thickets("compare", small, begun.directory).err
    with pytest.raises(RunError, match="leave all but one"):
        compare([small, large, small])


def made(name: str, parameters: int | None, task: str = "gsm8k") -> ComparedRun:
    densities = (
        SigmaDensity(0.001, 30, share(12, 30), share(12, 30), 0.52),
        SigmaDensity(0.002, 30, share(6, 30), share(6, 30), 0.5),
        SigmaDensity(None, 60, share(18, 60), share(18, 60), 0.51),
    )
    return ComparedRun(
        name, f"{name}<b>", name, parameters, task, "gaussian/1", "absolute", 60, 200, 0, 5, densities, *[None] * 3, ()
    )


def test_other_tasks_and_unknown_sizes_are_allowed_with_a_note() -> None:
    runs = (made("a", 500_000_000), made("b", 1_540_000_000, "countdown"), made("c", None))
    notes = ("The runs differ in their tasks (gsm8k; countdown), which moves the figures too.",)
    found = Comparison(runs, notes)
    assert not found.one_task
    figure = render(found)
    assert figure.svg.count("<svg") == 2
    assert "c&lt;b&gt;" in figure.svg.split('aria-label="')[1].split('"')[0]
    page = as_html(found)
    assert notes[0] in page
    assert "<b>" not in page.split("<body>")[1].replace("<bdi", "")
    assert [size_of(r) for r in runs] == ["500M", "1.54B", "–"]
    density_rows, result_rows = (sheet.rows for sheet in tables(found))
    assert len(density_rows) == 9
    assert result_rows[0][1:4] == ["–", "– @5", "–"]
    rows = list(csv.DictReader(as_csv(found).splitlines()))
    assert len(rows) == 9
    assert rows[0]["base"] == rows[-1]["parameters"] == ""


def test_runs_of_unknown_size_only_leave_an_empty_chart() -> None:
    figure = render(Comparison((made("a", None), replace(made("b", None), densities=())), ()))
    assert figure.svg.count("<svg") == 2


def test_where_the_luck_of_the_base_cannot_be_told_its_bounds_are_left_out() -> None:
    run = made("a", 500_000_000)
    wide = Interval(0.3, nan, nan)
    found = Comparison((replace(run, densities=tuple(replace(d, with_luck=wide) for d in run.densities)),) * 2, ())
    assert render(found).svg.count("<svg") == 2
    assert [row[5] for row in tables(found)[0].rows] == ["– to –"] * 6
    rows = list(csv.DictReader(as_csv(found).splitlines()))
    assert {(row["low_with_luck"], row["high_with_luck"]) for row in rows} == {("", "")}


def test_the_notes_say_in_what_the_runs_differ(two: tuple[Path, Path], settings: dict[str, Any]) -> None:
    changed = {"search": {"noise": "rademacher/1"}, "ensemble": {"top_k": 2}}
    other = parse(merge(settings, changed) | {"task": {"name": "countdown", "size": 60}})
    execute(other)
    notes = " ".join(compare([two[0], other.directory]).notes)
    assert "tasks (countdown; custom)" in notes or "tasks (custom; countdown)" in notes
    assert "noise schemes" in notes
    assert "numbers of members" in notes
    assert "scale rules" not in notes


def test_what_is_no_number_is_null_in_json() -> None:
    run = made("a", 500_000_000)
    densities = tuple(replace(d, with_luck=Interval(0.3, nan, nan)) for d in run.densities)
    whole = json.loads(as_json(Comparison((replace(run, densities=densities),) * 2, ())), parse_constant=pytest.fail)
    assert whole["runs"][0]["densities"][0]["with_luck"] == {"value": 0.3, "low": None, "high": None}


def test_a_run_without_densities_has_no_row_of_them() -> None:
    run = made("a", 500_000_000)
    assert tables(Comparison((replace(run, densities=()), run), ()))[0].rows == tables(Comparison((run,), ()))[0].rows
