"""Mathematical answers: found, cleaned, one canonical form, compared by math-verify, and never for long."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.published import PUBLISHED

from thickets.config import SplitsConfig, TaskConfig
from thickets.errors import DataError
from thickets.tasks import make_task, math_judge, math_process
from thickets.tasks.math_judge import judge_answer, math_equal, math_key
from thickets.tasks.mathematics import cleaned, divide, found_answer
from thickets.tasks.splits import make_splits
from thickets.types import prompt_text

_REAL = PUBLISHED / "olympiadbench" / "test.jsonl"


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        ("#### 3", "3"),
        ("#### 3\nI hope this helps.", "3"),
        (r"\boxed{1}" "\n#### 3", "3"),
        ("#### 3\n" r"\boxed{1}", "1"),
        (r"#### \boxed{4}", "4"),
        ("#### Step 2\nall\n#### Step 3\nmore\n" r"\boxed{5}", "5"),
        (r"\boxed{5}" "\n#### Why this is right\nBecause.", "5"),
        ("#### Step 2\nno box", "Step 2"),
        ("### 3", None),
        ("####", None),
        ("3", None),
        ("", None),
    ],
)
def test_the_marked_answer_is_found(completion: str, answer: str | None) -> None:
    assert found_answer(completion) == answer


_SAME = [
    (r"\frac12", r"\frac{1}{2}", r"\dfrac{1}{2}", "0.5", ".50", "1/2", "$1/2$", r"\(\tfrac{2}{4}\)", "x=1/2", "½"),
    (r"-\frac{3}{4}", r"\frac{-3}{4}", "-0.75", "−0.75"),
    (r"\{1,2\}", "1, 2", "2,1", "1 and 2", r"2 \text{ and } 1", "x=1, x=2", r"x \in \{1, 2\}", r"\left\{2, 1\right\}"),
    ("(1,2)", "( 1 , 2 )", r"\left(1,2\right)", "(1;2)", "(x,y)=(1,2)", r"\langle 1, 2 \rangle"),
    ("[0,1)", r"\left[0, 1\right)", r"x\in[0,1)"),
    (r"(-\infty,0)\cup\{1\}", r"\{1\} \cup (-\infty, 0)", r"(-∞, 0) ∪ {1}"),
    ("2n+2", "2(n+1)", "2 + 2n", r"2 \cdot n + 2", "2*n+2"),
    (r"\frac{1}{2n+2}", r"\frac{1}{2(n+1)}", r"\frac{\frac{1}{2}}{n+1}"),
    (r"\frac{1}{\sqrt 2}", r"\frac{\sqrt{2}}{2}", r"\sqrt{\frac{1}{2}}", r"\sqrt2/2"),
    (r"2\pm\sqrt3", r"2-\sqrt3, 2+\sqrt3", "2 ± √3"),
    ("x<3", "3>x", "x - 3 < 0"),
    ("x^2+y^2=1", "1 = y^2 + x^2", "-x^2-y^2=-1"),
    ("10,000", "10000", r"10{,}000", r"10,\!000", "10000.0", r"\$10,000", "10,000."),
    (r"\text{Evelyn}", "Evelyn", "evelyn", r"\mathrm{Evelyn}", "**Evelyn**"),
    ("(C)", r"\text{(C)}", r"\text{C}", "C"),
    ("5", r"5\text{ cm}", r"5\text{ cm}^2", "5 cm", r"5^\circ", r"5\%", r"\angle ABC = 5"),
    ("2^{10}", "1024", "32^2"),
]


@pytest.mark.parametrize("spellings", _SAME, ids=lambda s: s[0])
def test_spellings_of_one_value_are_one_vote(spellings: tuple[str, ...]) -> None:
    assert {math_key(text): text for text in spellings} == {math_key(spellings[0]): spellings[-1]}
    assert all(math_equal(spellings[0], text) for text in spellings)


def test_different_values_are_different_votes() -> None:
    keys = [math_key(spellings[0]) for spellings in _SAME]
    assert len(set(keys)) == len(_SAME)
    for text in ("(2,1)", "[1,2]", "(1,2,3)", r"\{1,2,3\}", "1,3", "6m", "6", "x=1, y=2", "x=2, y=1", "52_8", "52"):
        assert math_key(text) not in keys
        keys.append(math_key(text))


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        (r"\sin^2 x+\cos^2 x", "1", True),
        (r"\log_2 8", "3", True),
        (r"\frac{\log 2}{\log 2-\log 3}", r"\frac{\ln 2}{\ln 2 - \ln 3}", True),
        (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2", True),
        (r"\frac13", "0.333333", True),
        (r"\frac13", "0.333", False),
        ("10^{-7}", "0", False),
        ("(1,2),(3,4)", "(3,4),(1,2)", True),
        ("(1,2),(3,4)", "(2,1),(3,4)", False),
        (r"\sin 1, 2", r"2, \cos(\frac{\pi}{2} - 1)", True),
        ("x+1", "x+2", False),
        (r"\text{east}", r"\text{west}", False),
        ("2516_8", "2516", False),
    ],
)
def test_what_no_canonical_form_shows_math_verify_decides(reference: str, answer: str, same: bool) -> None:
    assert math_equal(reference, answer) is same


def test_a_tolerance_is_for_numbers() -> None:
    assert math_equal("18.8", "18.75", 0.1)
    assert not math_equal("18.8", "18.75")
    assert math_equal(r"\sqrt2", "1.4", 0.1)
    assert not math_equal("x", "x+0.01", 0.1)


def test_per_cent_may_be_given_as_a_share() -> None:
    for text, correct in (("62.5", True), (r"62.5\%", True), ("0.625", True), ("6.25", False)):
        assert judge_answer(r"62.5\%", rf"\boxed{{{text}}}").correct is correct
    assert not judge_answer("62.5", r"\boxed{0.625}").correct


# Each would keep algebra busy for longer than anybody waits, or fill the memory, or break a parser.
_HOSTILE = [
    "9**9**9**9**9",
    "9^{9^{9^{9}}}",
    "(10!)!",
    r"\binom{10^{9}}{10^{8}}",
    "(x+1)^{100000}",
    "2^{10^{10}}",
    r"\frac{" * 3000 + "1",
    r"\frac{1}{" * 200 + "1" + "}" * 200,
    "(" * 700,
    "x^" * 300 + "2",
    r"\sqrt" * 150 + "2",
    "1e999999999",
    "\\" * 700,
    "{" * 300 + "}" * 300,
    "\0",
    "٣",
    "__import__('os')._exit(1)",
    r"\text{__import__('os')._exit(1)}",
    "exit()",
    "x.__class__",
    r"\operatorname{eval}(1)",
]


@pytest.mark.parametrize("text", _HOSTILE, ids=lambda t: t[:20].encode("ascii", "replace").decode())
def test_hostile_answers_are_wrong_and_end(text: str) -> None:
    judged = judge_answer("2", "\\boxed{" + text + "}" + f"\n#### {text}")
    assert not judged.correct
    assert judge_answer("2", r"\boxed{2}").correct
    assert judge_answer("2", "\\boxed{" + text + "}" + f"\n#### {text}") == judged


_MARKS = (r"\frac", r"\boxed{", "####", "{", "}", "(", ")", "[", ",", "=", r"\cup", r"\pm", "^", "$")
_PIECES = (*_MARKS, "1", "x", " ", "\n")


def test_a_megabyte_takes_less_than_a_second() -> None:
    for piece in (*_PIECES, "1,", r"\text{a}", "\\", "**", "#### a\n", r"\boxed{1}", "1,234"):
        text = piece * (1_000_000 // len(piece))
        started = time.process_time()
        judge_answer("2", text)
        assert time.process_time() - started < 1, piece
        started = time.process_time()
        judge_answer("2", f"\\boxed{{{text}}}")
        assert time.process_time() - started < 1, piece


@given(st.text() | st.lists(st.sampled_from(_PIECES), max_size=20).map("".join))
def test_an_answer_is_marked_and_divided_into_values_and_words(text: str) -> None:
    found = found_answer(text)
    assert found is None or (found in text and ("####" in text or r"\boxed" in text))
    whole, refused = None, ""
    try:
        whole = divide(cleaned(text))
    except ValueError as error:
        refused = str(error)
    if whole is None:
        assert refused.endswith("for an answer")
        return
    parts = [whole]
    for part in parts:
        parts += part.parts
        # Either values of a kind, which have none of the text themselves, or text that is divided no further.
        assert not (part.text and part.parts)
        assert bool(part.brackets) == (part.kind == "group")
        assert part.parts == () or part.kind in ("list", "union", "group")


@settings(max_examples=60)
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map("".join), st.sampled_from(["1", "x+1", "(1,2)", "1,x"]))
def test_keys_are_stable_and_decide_the_verdict(text: str, reference: str) -> None:
    key = math_key(text)
    assert math_key(text) == key
    if key is not None and key == math_key(reference):
        assert math_equal(reference, text)


def test_nothing_is_evaluated_in_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    math_process._warm()
    monkeypatch.setattr("builtins.eval", math_process._refused)
    monkeypatch.setattr(math_process, "limited", lambda seconds: None)
    math_process.read.cache_clear()
    try:
        for text in (
            r"\frac{1}{2}+x",
            "0.125",
            r"\sqrt{8}",
            "x^2=3",
            "(1, 2.5)",
            "10,000y",
            r"\begin{pmatrix} 1.5 \end{pmatrix}",
        ):
            # A text in quotes is one that could not be read.
            assert '"' not in math_process.read(text).key, text
    finally:
        math_process.read.cache_clear()


def test_other_threads_can_judge() -> None:
    found: list[bool] = []

    def work(number: int) -> None:
        found.append(math_equal(rf"\sqrt{{{number}}}", rf"\frac{{{number}}}{{\sqrt{{{number}}}}}"))
        found.append(math_equal("2", "7^{7^{7^{7}}}") is False)

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 8


def test_a_process_that_was_killed_is_replaced() -> None:
    assert math_key("x+1+x") == "2*x + 1"
    running = math_judge._process._running
    assert running is not None
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert math_key("y+2+y") == "2*y + 2"


def test_the_process_ends_when_its_pipe_is_closed() -> None:
    judge = math_judge._Process()
    assert judge.ask("key", "z+z") == "2*z"
    running = judge._running
    assert running is not None
    assert running.stdin is not None
    running.stdin.close()
    assert running.wait(timeout=30) == 0
    for pipe in (running.stdout, running.stderr):
        assert pipe is not None
        pipe.close()


def _write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


_MATH = {
    "problem": "P?",
    "solution": r"So \boxed{4}.",
    "answer": "4",
    "subject": "Algebra",
    "level": 1,
    "unique_id": "a",
}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_math500_in_its_published_layout(tmp_path: Path, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / f"test.{kind}"
    if kind == "jsonl":
        _write(path, _MATH)
    else:
        pq.write_table(pa.Table.from_pylist([_MATH]), path)
    pools = make_task(TaskConfig(name="math500", data=str(path))).pools()
    assert pools.train[0].columns == {"problem": "P?", "answer": "4"}
    assert "P?" in prompt_text(pools.train[0].prompt)
    assert r"\\boxed" in prompt_text(pools.train[0].prompt)
    assert pools.notes == ()


def test_math_without_answers_is_read_from_its_solutions(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.jsonl", {"problem": "P?", "solution": r"\boxed{\frac12}"})
    assert make_task(TaskConfig(name="math500", data=data)).pools().train[0].columns["answer"] == r"\frac12"


def test_rows_that_cannot_be_asked_are_counted(tmp_path: Path) -> None:
    rows = [_MATH, {**_MATH, "problem": " "}, {**_MATH, "problem": "Q", "answer": ""}, {**_MATH, "problem": None}]
    data = _write(tmp_path / "a.jsonl", *rows)
    pools = make_task(TaskConfig(name="math500", data=data)).pools()
    assert len(pools.train) == 1
    assert pools.notes == (
        f"2 rows left out without text in column 'problem' ({data}:2, {data}:4).",
        f"1 row left out without an answer ({data}:3).",
    )
    with pytest.raises(DataError, match=r"no row can be used: 1 row without an answer \(.*b.jsonl:1\)"):
        make_task(TaskConfig(name="math500", data=_write(tmp_path / "b.jsonl", {**_MATH, "answer": None}))).pools()


@pytest.mark.parametrize("name", ["math500", "olympiadbench"])
def test_a_file_of_another_benchmark_is_one_sentence(tmp_path: Path, name: str) -> None:
    data = _write(tmp_path / "a.jsonl", {"question": "Q?", "answer": "#### 1"})
    with pytest.raises(DataError, match=r"a.jsonl:1 has no column '.*'; its columns are question, answer"):
        make_task(TaskConfig(name=name, data=data)).pools()


def test_duplicates_are_named(tmp_path: Path) -> None:
    data = _write(tmp_path / "a.jsonl", _MATH, _MATH, {**_MATH, "problem": "Q"})
    pools = make_task(TaskConfig(name="math500", data=data)).pools()
    with pytest.raises(DataError, match="the same question stands twice"):
        make_splits(pools, SplitsConfig(selection=1))
    assert make_splits(pools, SplitsConfig(selection=1), "drop").notes == (
        "1 row left out whose question stands earlier in the data.",
    )


def test_olympiadbench_in_its_published_layout(tmp_path: Path) -> None:
    base = {"id": 1, "question": "Q1", "final_answer": ["$69$,$84$"], "context": None, "error": None, "image_1": None}
    rows = [
        base,
        {**base, "question": "Q2", "context": "Let $x$ be 1.", "final_answer": ["18.8"], "error": "1e-1"},
        {**base, "question": "Q3 <image_1>", "image_1": "aGk="},
        {**base, "question": "Q4", "final_answer": None},
    ]
    data = _write(tmp_path / "a.jsonl", *rows)
    pools = make_task(TaskConfig(name="olympiadbench", data=data)).pools()
    assert [example.columns for example in pools.train] == [
        {"question": "Q1", "answer": "69,84"},
        {"question": "Let $x$ be 1.\n\nQ2", "answer": "18.8", "tolerance": 0.1},
    ]
    assert pools.notes == (
        f"1 row left out with images ({data}:3).",
        f"1 row left out without a final answer (a proof is asked for) ({data}:4).",
    )


@pytest.mark.skipif(not _REAL.is_file(), reason="the benchmark's file is not here")
def test_every_real_row_renders_and_its_answer_is_right() -> None:
    task = make_task(TaskConfig(name="olympiadbench", data=str(_REAL)))
    pools = task.pools()
    assert (len(pools.train), pools.notes) == (675, ())
    for example in pools.train:
        assert example.columns["question"][:30] in example.prompt[0].content  # type: ignore[union-attr]
        answer = example.columns["answer"]
        judged = task.judge(example, f"So it is \\boxed{{{answer}}}.")
        assert judged.correct, example.label
        assert not task.judge(example, f"\\boxed{{({answer}) + 1}}").correct, example.label
        assert task.judge(example, f"#### ${answer}$.").key == judged.key, example.label
