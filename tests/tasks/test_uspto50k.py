"""USPTO-50K: maps out of the SMILES, classes out of answers, and all rows of the real files."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.published import PUBLISHED

from thickets.config import SplitsConfig, TaskConfig
from thickets.errors import DataError
from thickets.tasks import make_task
from thickets.tasks.splits import divided, make_splits
from thickets.tasks.uspto50k import CLASSES, found_class, without_maps
from thickets.types import prompt_text

_REAL = PUBLISHED / "uspto50k"


@pytest.mark.parametrize(
    ("mapped", "bare"),
    [
        ("[CH3:1]", "[CH3]"),
        ("[cH:10]1[cH:2]c1", "[cH]1[cH]c1"),
        ("[NH2+:3]", "[NH2+]"),
        ("[O-:20]", "[O-]"),
        ("[C@@H:10](F)Cl", "[C@@H](F)Cl"),
        ("[13CH3:7]", "[13CH3]"),
        ("[nH]1", "[nH]1"),
        ("[Br:28].C=C", "[Br].C=C"),
        ("C1CC:1", "C1CC:1"),
        ("c:1:c", "c:1:c"),
        ("[CH3:1", "[CH3:1"),
        ("[:1]", "[]"),
        ("", ""),
    ],
)
def test_only_the_map_numbers_go(mapped: str, bare: str) -> None:
    assert without_maps(mapped) == bare
    assert without_maps(bare) == bare


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ("<answer>10</answer>", "10"),
        ("<answer>Class 7.</answer>", "7"),
        ("<answer>2, so 2</answer>", "2"),
        ("<answer>1 or 2</answer>", None),
        (r"\boxed{6}", "6"),
        ("2 not 9", "9"),
        ("class 8.", "8"),
        ("100", None),
        ("0", None),
        ("1.5", None),
        ("1,000", None),
        ("-3", None),
        ("v2", None),
        ("", None),
    ],
)
def test_the_class_is_found(completion: str, number: str | None) -> None:
    assert found_class(completion) == number


@given(st.text(alphabet="0123456789.,-<answer>/[]:"))
def test_finding_and_cleaning_never_raise(text: str) -> None:
    found = found_class(text)
    assert found is None or 1 <= int(found) <= 10
    without_maps(text)


@pytest.mark.parametrize("piece", ["[", "[CH3:1]", "]", "1", "1,", "<answer>", ":", "[C:", "9 "])
def test_a_megabyte_takes_less_than_a_second(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    found_class(text)
    without_maps(text[:20_000])
    assert time.process_time() - started < 1


def _write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_rows_that_are_no_reaction_are_counted(tmp_path: Path) -> None:
    lines = ["5,a,[CH3:1]O>>[CH3:1]Cl", "11,b,C>>O", "5,c,CO", "x,d,C>>N", "<RX_3>,e,C>>N", "5,f,>>"]
    data = _write(tmp_path / "a.csv", "class,id,rxn_smiles", *lines)
    pools = make_task(TaskConfig(name="uspto50k", data=data)).pools()
    assert [e.columns for e in pools.train] == [
        {"reaction": "[CH3]O>>[CH3]Cl", "class": "5"},
        {"reaction": "C>>N", "class": "3"},
    ]
    assert pools.notes == (
        f"2 rows left out with a class that is not a number from 1 to 10 ({data}:3, {data}:5).",
        f"2 rows left out without a reaction SMILES (reactants, two >, products) ({data}:4, {data}:7).",
    )


def test_a_file_of_another_kind_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a.csv:2 has no column 'class'; its columns are a, b"):
        make_task(TaskConfig(name="uspto50k", data=_write(tmp_path / "a.csv", "a,b", "1,2"))).pools()
    with pytest.raises(DataError, match=r"b.csv:2 has no column 'rxn_smiles' or"):
        make_task(TaskConfig(name="uspto50k", data=_write(tmp_path / "b.csv", "class,b", "1,2"))).pools()


@pytest.mark.skipif(not _REAL.is_dir(), reason="the benchmark's files are not here")
def test_every_real_row_renders() -> None:
    files = [str(_REAL / f"retroxpert_{name}.csv") for name in ("valid", "test")]
    task = make_task(TaskConfig(name="uspto50k", data=files[0], test_data=files[1]))
    pools = task.pools()
    assert pools.test is not None
    assert (len(pools.train), len(pools.test), pools.notes) == (5001, 5007, ())
    for example in (*pools.train, *pools.test):
        reaction = example.columns["reaction"]
        assert not re.search(r":\d+\]", reaction)
        assert reaction in example.prompt[0].content  # type: ignore[union-attr]
        assert task.judge(example, f"<answer>{example.columns['class']}</answer>").correct
    assert {e.columns["class"] for e in pools.train} == {str(n) for n in range(1, 11)}
    with pytest.raises(DataError, match="the same question stands twice"):
        make_splits(pools, SplitsConfig(selection=5001))
    split = divided(task, SplitsConfig())
    assert split.notes[-1] == "6 rows left out whose question stands in the test data too."


def test_the_prompt_names_the_classes() -> None:
    text = prompt_text(make_task(TaskConfig(name="uspto50k", data="unread.csv")).question("[CH4:1]>>C").prompt)
    assert "[CH4]>>C" in text
    assert all(name in text for name in CLASSES)
