"""Format or reasoning: the rule decides as a reader would, on pairs whose right and wrong the real tasks judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.evidence.pairs import GROUPS, Group, Pair
from tests.evidence.recorded import Answer, make_run, right, wrong
from thickets.analysis.changes import Kind, changes
from thickets.config import TaskConfig
from thickets.tasks import Right, Task, make_task, task_class, task_names
from thickets.types import Example, SplitName

CASES = [pytest.param(g, p, id=f"{g.task}-{i}-{p.kind}") for g in GROUPS for i, p in enumerate(g.pairs)]


def _task(group: Group, folder: Path) -> Task:
    """The real task; its data are not read."""
    settings = dict(group.config or {})
    if "data" in task_class(group.task).uses and group.task in ("custom", "sentiment", "rocstories"):
        (folder / "data.jsonl").write_text(json.dumps(group.columns))
        settings["data"] = str(folder / "data.jsonl")
    return make_task(TaskConfig(name=group.task, **settings))


@pytest.mark.parametrize(("group", "pair"), CASES)
def test_pairs_are_decided_as_a_reader_would(group: Group, pair: Pair, tmp_path: Path) -> None:
    example = Example("q", "?", group.columns)
    judged = _task(group, tmp_path).judge_all([example] * 2, [pair.base, pair.ensemble])
    # The pair is about a question on which they differ, or it tests nothing.
    assert [j.correct for j in judged] == [pair.kind == "lost", pair.kind != "lost"]
    base, member = (
        (j.reward, j.correct, j.key, text) for j, text in zip(judged, (pair.base, pair.ensemble), strict=True)
    )
    others = [wrong(key) for key in group.vocabulary]
    splits: dict[SplitName, dict[int | None, list[Answer]]] = {
        "selection": {None: [right()], 0: [right()]},
        "test": {None: [base, *others], 0: [member, *others]},
    }
    run = make_run(tmp_path / "run", splits, [0], group.task, group.columns)
    with run:
        found = changes(run)
    assert found is not None
    assert [d.kind for d in found.differences] == [pair.kind]
    assert found.members == (found.ensemble,)
    assert found.differences[0].base_key == judged[0].key


def test_there_are_many_pairs_of_many_tasks_and_of_every_kind() -> None:
    # The documentation says so.
    assert sum(len(g.pairs) for g in GROUPS) > 60
    assert len({g.task for g in GROUPS}) >= 6
    for group in GROUPS:
        assert {"new", "formatted"} <= {p.kind for p in group.pairs} <= set(get_args(Kind))


def test_a_run_is_taken_apart(tmp_path: Path) -> None:
    said = "The answer is 1.\nQuestion 2"
    test: dict[int | None, list[Answer]] = {
        None: [wrong("2", said), wrong("2", "the answer is 2"), right("1", "1"), right("1", "1"), wrong(None, said)],
        4: [right("1", "1"), right("1", "1"), wrong("7", "7"), right("1", "1"), right("1", "1")],
        2: [right("1", "1"), wrong(None, ""), wrong("7", "7"), wrong("7", "7"), wrong(None, "")],
        3: [wrong("8", "8"), right("1", "1"), right("1", "1"), right("1", "1"), wrong(None, "")],
    }
    selection: dict[int | None, list[Answer]] = {
        None: [right(), right(), right()],
        4: [right(), right(), right()],
        2: [right(), right(), wrong()],
        3: [right(), wrong(), wrong()],
    }
    with make_run(tmp_path / "run", {"selection": selection, "test": test}, [4, 2, 3]) as run:
        found = changes(run)
        assert changes(run, "validation") is None
    assert found is not None
    e = found.ensemble
    assert (e.formatted, e.new, e.lost, e.questions, e.gain) == (2, 1, 1, 5, pytest.approx(0.4))
    assert [(d.position, d.kind, d.base_key, d.key) for d in found.differences] == [
        (0, "formatted", "2", "1"),
        (1, "new", "2", "1"),
        (2, "lost", "1", "7"),
        (4, "formatted", None, "1"),
    ]
    assert found.candidates == (4, 2, 3)
    assert [(t.formatted, t.new, t.lost) for t in found.members] == [(2, 1, 1), (1, 0, 2), (0, 1, 0)]
    assert found.form.value == pytest.approx(2 / 3)


def test_the_members_are_those_that_the_run_kept(tmp_path: Path) -> None:
    answers: dict[int | None, list[Answer]] = {None: [wrong()], 0: [right()], 1: [wrong()]}
    with make_run(tmp_path / "run", {"selection": answers, "test": answers}, [1]) as run:
        found = changes(run)
    assert found is not None
    assert (found.candidates, found.differences) == ((1,), ())


def test_what_is_right_in_another_task_of_the_run_is_no_rival(tmp_path: Path) -> None:
    test: dict[int | None, list[Answer]] = {
        None: [wrong("x", "The answer is red."), wrong(None, "6*4 = 24")],
        0: [right("red", "red"), right("24", "<answer>6*4</answer>")],
    }
    selection: dict[int | None, list[Answer]] = {None: [right(), right()], 0: [right(), right()]}
    columns = {"numbers": [4, 6], "target": 24}
    with make_run(tmp_path / "run", {"selection": selection, "test": test}, [0], "gsm8k,countdown", columns) as run:
        run.set_meta("parts", {"countdown": {"test": [1, 2]}, "gsm8k": {"test": [0, 1]}})
        found = changes(run)
    assert found is not None
    assert [d.kind for d in found.differences] == ["formatted", "formatted"]


def test_without_its_text_nothing_is_known_of_form(tmp_path: Path) -> None:
    splits = {"selection": {None: [right()], 0: [right()]}, "test": {None: [wrong("2")], 0: [right("1")]}}
    with make_run(tmp_path / "run", splits, [0]) as run:  # type: ignore[arg-type]
        found = changes(run)
    assert found is not None and found.differences[0].kind == "new"


@given(
    st.text(max_size=200),
    st.sampled_from(["18", "1/2", "B", "positive", "", "\\sqrt{2}"]),
    # Tasks of formulas may ask another process.
    st.sampled_from([name for name in sorted(task_names()) if not name.startswith(("math", "olympiad"))]),
)
@hypothesis_settings(max_examples=150)
def test_no_text_breaks_the_rule(text: str, key: str, name: str) -> None:
    known = Right(
        frozenset({key}), ("<answer>x</answer>",), frozenset({"2", "negative"}), {"numbers": [1, 2], "target": 3}
    )
    assert isinstance(task_class(name).holds(text, known), bool)


@given(st.integers(-10_000, 10_000), st.integers(-10_000, 10_000))
def test_an_announced_number_is_held_and_no_other(said: int, wanted: int) -> None:
    text = f"I add and add.\nThe answer is **{said:,}**.\n\nNow for something else, page three."
    assert Task.holds(text, Right(frozenset({str(wanted)}))) == (said == wanted)


@pytest.mark.parametrize(
    "text", ["answer " * 50_000, "####" * 50_000, "(1+" * 50_000, "therefore " * 50_000, "\\boxed{" * 30_000]
)
@pytest.mark.parametrize("name", ["gsm8k", "countdown", "sentiment", "mbpp"])
def test_long_texts_are_read_soon(text: str, name: str) -> None:
    known = Right(frozenset({"18"}), (), frozenset(), {"numbers": [1, 2], "target": 3})
    assert task_class(name).holds(text, known) is False
