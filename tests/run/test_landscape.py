"""`thickets landscape`: the plane is made of the models it names, goes on after a kill, and is drawn."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import thickets.planes as command
from tests.conftest import Ended
from thickets.analysis.landscape import LandscapeFigures, Plane, Spot, blend, landscape_figures
from thickets.analysis.statistics import share
from thickets.config import RunConfig, merge, parse
from thickets.planes import Wanted, landscape, plane_of
from thickets.pool.local import LocalPool
from thickets.randopt import execute
from thickets.report.landscape import render
from thickets.store import Run
from thickets.types import Blend, Perturbation

Command = Callable[..., Ended]
STEPS = (Perturbation(7, 0.01), Perturbation(8, 0.03, -1))


@pytest.fixture
def finished(settings: dict[str, Any]) -> RunConfig:
    """A finished run of three members."""
    config = parse(settings)
    execute(config)
    return config


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_point_is_the_sum_of_both_steps(a: float, b: float) -> None:
    point = blend(STEPS, a, b)
    terms = {None: ()}.get(point) if point is None else point.terms if isinstance(point, Blend) else (point,)
    assert terms is not None
    reached = {t.seed: t.sign * t.sigma for t in terms}
    assert all(t.sigma > 0 for t in terms)
    assert reached.get(7, 0.0) == pytest.approx(0.01 * a)
    assert reached.get(8, 0.0) == pytest.approx(-0.03 * b)
    assert len(terms) == (a != 0) + (b != 0)


def test_the_corners_are_the_base_and_the_members() -> None:
    assert blend(STEPS, 0, 0) is None
    assert blend(STEPS, 1, 0) == STEPS[0]
    assert blend(STEPS, 0, 1) == STEPS[1]


@given(st.integers(2, 30), st.floats(0.01, 100))
def test_the_points_are_even_and_go_from_end_to_end(grid: int, span: float) -> None:
    plane = Plane((1, 2), (4, 5), "selection", grid, span, 8)
    points = list(plane.points())
    assert [number for number, _, _ in points] == list(range(grid**2))
    assert len({(a, b) for _, a, b in points}) == grid**2
    assert plane.coordinates[0] == pytest.approx(-span)
    assert plane.coordinates[-1] == pytest.approx(span)
    assert (0.0 in plane.coordinates) == (grid % 2 == 1)


def test_a_plane_from_command_to_page(finished: RunConfig, thickets: Command) -> None:
    directory = finished.directory
    ended = thickets("landscape", directory, "--grid", 3, "--span", 1, "--progress", "plain")
    assert ended.code == 0, ended.err
    assert "landscape: 9 models, going on after 3" in ended.err
    with Run.read(directory) as run:
        (found,) = landscape_figures(run, plane_of(run, Wanted(grid=3, span=1.0)))
        members = run.meta("members")
        scores = {t.candidate: t.score for t in run.scores("selection")}
        steps = {t.candidate: t.perturbation for t in run.scores("selection")}
        placed = {t.candidate: t.perturbation for t in run.ledger(found.plane.ledger).scores("selection")}
        assert run.recorded("selection") == {None, *range(10)}
    assert found.complete
    assert found.plane.candidates == (members[0], members[1])
    at = {(s.a, s.b): s.score for s in found.spots}
    assert at[0, 0] == found.base.score == scores[None]
    assert at[1, 0] == found.members[0].score == scores[members[0]]
    assert at[0, 1] == found.members[1].score == scores[members[1]]
    assert placed[8] == Blend((steps[members[0]], steps[members[1]]))
    assert set(placed) == {0, 1, 2, 3, 6, 8}
    page, svg, data = (Path(line) for line in ended.out.split())
    assert page.read_text().count("<svg") == 2
    drawing = svg.read_text()
    assert ElementTree.fromstring(drawing).tag == "{http://www.w3.org/2000/svg}svg"
    assert data.stem == svg.stem == page.stem
    assert "var(" not in drawing
    rows = list(csv.DictReader(data.open()))
    assert [(float(r["a"]), float(r["b"])) for r in rows] == [(s.a, s.b) for s in found.spots]

    again = thickets("landscape", directory, "--grid", 3, "--span", 1, "--progress", "plain")
    assert (again.code, again.out) == (0, ended.out)
    assert "loading" not in again.err


def test_points_that_are_the_base_and_members_answer_as_these_did(
    finished: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "shared", lambda run, plane: {})
    monkeypatch.setattr(LocalPool, "notes", ("one engine died",))
    (found,) = landscape(finished, Wanted((3, 1), 3, 1.0, "validation", 5)).figures
    with Run.read(finished.directory) as run:
        known = {t.candidate: t.outcomes[:5] for t in run.trials("validation")}
        ledger = {t.candidate: t.outcomes for t in run.ledger(found.plane.ledger).trials("validation")}
        assert run.meta("notes") == ["one engine died"]
        third, first = (run.meta("members")[rank - 1] for rank in (3, 1))
    at = {(a, b): [o.judgement for o in ledger[n]] for n, a, b in found.plane.points()}
    assert at[0, 0] == [o.judgement for o in known[None]]
    assert at[1, 0] == [o.judgement for o in known[third]]
    assert at[0, 1] == [o.judgement for o in known[first]]
    assert found.questions == 5


def test_a_plane_that_was_killed_goes_on_where_it_was(finished: RunConfig, tmp_path: Path, thickets: Command) -> None:
    arguments = ["--grid", "15", "--questions", "8", "--progress", "plain"]
    process = subprocess.Popen(
        [sys.executable, "-m", "thickets", "landscape", str(finished.directory), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with Run.read(finished.directory) as run:
        plane = plane_of(run, Wanted(grid=15, questions=8))
    done = 0
    deadline = time.monotonic() + 200
    while done < 20 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        with Run.read(finished.directory) as run:
            done = len(run.ledger(plane.ledger).recorded("selection"))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with Run.read(finished.directory) as run:
        (half,) = landscape_figures(run, plane)
    assert 20 <= len(half.spots) < 225
    assert "of 225 points are evaluated" in render([half])[0].caption
    ended = thickets("landscape", finished.directory, *arguments)
    assert f"landscape: 225 models, going on after {len(half.spots)}" in ended.err
    with Run.read(finished.directory) as run:
        (whole,) = landscape_figures(run, plane)
    assert whole.complete
    known = {(s.a, s.b): s for s in whole.spots}
    assert all(known[s.a, s.b] == s for s in half.spots)


def test_of_several_tasks_each_has_its_map_of_the_same_plane(settings: dict[str, Any]) -> None:
    custom = settings.pop("task")
    task = {"name": "custom,countdown", "each": {"custom": custom, "countdown": {"size": 60}}}
    config = parse(settings | {"task": task, "splits": {"selection": 8, "test": 4}})
    execute(config)
    found = landscape(config, Wanted(grid=2, questions=9))
    whole, first, second = found.figures
    assert [f.task for f in found.figures] == [None, "custom", "countdown"]
    assert (whole.questions, first.questions, second.questions) == (9, 5, 4)
    for spot, one, other in zip(whole.spots, first.spots, second.spots, strict=True):
        assert None not in (spot.score, one.score, other.score)
        assert 9 * (spot.score or 0) == pytest.approx(5 * (one.score or 0) + 4 * (other.score or 0))
    assert sum(path.suffix == ".csv" for path in found.files) == 3
    assert len(render(found.figures)) == 3


def spot(a: float, b: float, score: float | None) -> Spot:
    return Spot(a, b, score, None if score is None else share(round(score * 8), 8), None if score else "NaN logits")


def test_a_point_without_a_score_is_left_empty() -> None:
    plane = Plane((1, 2), (4, 5), "validation", 2, 1.0, 8)
    spots = (spot(-1, -1, 0.5), spot(1, -1, None), spot(-1, 1, 0.25))
    figures = LandscapeFigures(plane, None, 8, spot(0, 0, 0.5), (spot(1, 0, 0.75), spot(0, 1, 0.5)), spots)
    (figure,) = render([figures])
    assert "1 points could not be scored" in figure.caption
    assert "3 of 4 points are evaluated" in figure.caption
    assert "other questions" in figure.caption
    assert "Of 2 points 0 are above the base" in figure.alternative
    rows = list(csv.DictReader(figure.data.splitlines()))
    assert [(r["score"], r["failure"]) for r in rows] == [("0.5", ""), ("", "NaN logits"), ("0.25", "")]


BAD = [
    (["--members", "1"], "give the ranks of two members"),
    (["--members", "1,4"], "members of rank 1 to 3"),
    (["--members", "2,2"], "two different members"),
    (["--grid", "1"], "points along each side"),
    (["--span", "0"], "positive number"),
    (["--span", "nan"], "positive number"),
    (["--split", "test"], "take selection or validation"),
    (["--questions", "17"], "has 16"),
    (["--questions", "0"], "has 16"),
    (["--model", "nowhere/at/all", "--grid", "2"], "nowhere/at/all"),
]


def test_what_cannot_be_drawn_is_said_in_a_sentence(finished: RunConfig, thickets: Command) -> None:
    for arguments, said in BAD:
        ended = thickets("landscape", finished.directory, *arguments)
        assert ended.code == 2, arguments
        assert said in ended.err
        assert "Traceback" not in ended.err
    with Run.read(finished.directory) as run:
        assert not [name for name in run.ledgers() if name.startswith("landscape")]


def test_a_run_must_be_finished_and_have_the_split(settings: dict[str, Any], thickets: Command) -> None:
    config = parse(merge(settings, {"splits": {"validation": 0}}))
    Run.begin(config).close()
    assert "has not finished" in thickets("landscape", config.directory).err
    execute(config)
    assert "no validation split" in thickets("landscape", config.directory, "--split", "validation").err
    assert "say which run" in thickets("landscape").err


def test_ctrl_c_says_what_is_kept(finished: RunConfig, thickets: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "landscape", pressed)
    ended = thickets("landscape", finished.directory)
    assert ended.code == 130
    assert f"is kept in {finished.directory}; the same command goes on" in ended.err
