"""Puzzles of reasoning-gym: the same for the same seed, and no scorer that evaluates what a model wrote."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.config import TaskConfig
from thickets.errors import TaskError
from thickets.tasks import make_task
from thickets.tasks.checked import is_algebra, is_literal
from thickets.tasks.reasoning_gym import REFUSED, SCORERS, found_text
from thickets.tasks.reasoning_gym_process import packed, unpacked
from thickets.types import Example

pytest.importorskip("reasoning_gym")


def _task(name: str, **fields: Any) -> Any:
    return make_task(TaskConfig(name=f"reasoning_gym:{name}", **{"size": 4, **fields}))


def _right(example: Example) -> str:
    return f"<answer>{example.columns['entry']['answer']}</answer>"


def test_puzzles_are_made_and_their_answers_are_right() -> None:
    task = _task("letter_counting", size=20)
    pools = task.pools()
    assert len(pools.train) == 20
    assert pools.test is None
    for example in pools.train:
        judged = task.judge(example, f"I count. {_right(example)}")
        assert (judged.reward, judged.correct) == (1.0, True)
        assert judged.key == example.columns["entry"]["answer"]
        assert not task.judge(example, "<answer>-1</answer>").correct
        assert "<answer>" in example.prompt[0].content


def test_puzzles_depend_on_the_seed() -> None:
    first = [e.columns for e in _task("letter_counting").pools().train]
    assert first == [e.columns for e in _task("letter_counting").pools().train]
    assert first != [e.columns for e in _task("letter_counting", seed=1).pools().train]


# Each of these was seen to depend on how Python hashes, or on a global generator.
@pytest.mark.parametrize("name", ["word_ladder", "ransom_note", "list_functions"])
def test_puzzles_are_the_same_in_another_process(name: str) -> None:
    code = (
        "from thickets.config import TaskConfig; from thickets.tasks import make_task; import json;"
        f"t = make_task(TaskConfig(name='reasoning_gym:{name}', size=4));"
        "print(json.dumps([e.columns['question'] for e in t.pools().train]))"
    )
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": paths},
    )
    assert json.loads(done.stdout) == [e.columns["question"] for e in _task(name).pools().train]


@pytest.mark.parametrize("name", ["arc_agi", "rearc"])
def test_tuples_survive(name: str) -> None:
    task = _task(name, size=2)
    train = task.pools().train
    assert len(train) == 2
    for example in train:
        json.dumps(dict(example.columns))
        assert task.judge(example, _right(example)).correct


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.lists(inner).map(tuple)))
def test_packing_keeps_tuples(value: Any) -> None:
    assert unpacked(json.loads(json.dumps(packed(value)))) == value


def test_partial_credit_is_correct_only_from_the_threshold_on() -> None:
    example = _task("letter_counting").pools().train[0]
    text = f"<answer>{example.columns['entry']['answer']} letters</answer>"
    judged = _task("letter_counting").judge(example, text)
    assert 0 < judged.reward < 1
    assert not judged.correct
    assert _task("letter_counting", correct_at=0.01).judge(example, text).correct


def test_the_task_can_be_sent_to_another_process() -> None:
    task = _task("letter_counting")
    example = task.pools().train[0]
    judged = task.judge(example, _right(example))
    assert pickle.loads(pickle.dumps(task)).judge(example, _right(example)) == judged
    assert task.own_process


_CODE = ["__import__('os').getpid()", "exit()", "[exit()]", "().__class__.__mro__", "(lambda: 1)()", "9**9**9**9"]


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_scorers_that_would_evaluate_never_see_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = _task(name, size=2)
    examples = task.pools().train
    for example in examples:
        assert task.judge(example, _right(example)).reward == 1.0, example.columns["entry"]["answer"]
    seen: list[Any] = []

    def recorded(source: Any, *rest: Any) -> Any:
        seen.append(source)
        raise ValueError("not here")

    monkeypatch.setattr(builtins, "eval", recorded)
    for code in _CODE:
        judged = task.judge(examples[0], f"<answer>{code}</answer>")
        assert not judged.correct
        assert judged.reward <= 0.01
    assert seen == []


def test_our_countdown_stands_in() -> None:
    entry = {"question": "?", "answer": "?", "metadata": {"numbers": [3, 5, 7], "target": 36}}
    example = Example("row", "?", {"entry": entry})
    rewards = {"3*(5+7)": 1.0, "3 × (5 + 7) = 36": 1.0, "36": 0.05, "3*5+7": 0.05, "x": 0.01}
    task = _task("countdown")
    for answer, reward in rewards.items():
        assert task.judge(example, f"<answer>{answer}</answer>").reward == reward


# Calls in a module of the library that would run text as code.
_RUNS = {"eval", "exec", "parse_expr", "sympify", "literal_eval", "S", "compile", "loads_pickle"}
# These run their own puzzles' text, never an answer's; each was read.
_OWN_TEXT = {"basic_arithmetic", "bitwise_arithmetic", "gsm_symbolic", "number_sorting", "propositional_logic", "bf"}


def test_no_other_scorer_of_the_installed_library_runs_text() -> None:
    from reasoning_gym.factory import DATASETS

    found = set()
    for name, (dataset, _) in DATASETS.items():
        module = importlib.import_module(dataset.__module__)
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                # `re.compile` and the compiler of bf's own programs compile no Python.
                if called in _RUNS and not (called == "compile" and isinstance(node.func, ast.Attribute)):
                    found.add(name)
    assert found - _OWN_TEXT == set(SCORERS) | (set(REFUSED) - {"composite"})


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_used_is_refused_with_its_reason(name: str) -> None:
    with pytest.raises(TaskError, match=f"the data set {name} of reasoning-gym cannot be used: "):
        _task(name)


@pytest.mark.parametrize(("name", "hint"), [("letter_count", "did you mean letter_counting"), ("../x", "it has 1")])
def test_an_unknown_data_set_is_one_sentence(name: str, hint: str) -> None:
    with pytest.raises(TaskError, match=f"reasoning-gym has no data set '.*'; {hint}"):
        _task(name)


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<answer> a  \n b </answer>", "a\n b"),
        (r"<think><answer>no</answer></think>\boxed{yes}", "yes"),
        ("plain\n", "plain"),
        ("<answer></answer>", None),
        ("x" * 10_001, None),
        ("", None),
    ],
)
def test_the_answer_is_found_as_it_was_written(completion: str, answer: str | None) -> None:
    assert found_text(completion) == answer


@pytest.mark.parametrize("text", ["[1, 2]", "['a']", "[[0, 1], [1, 0]]", "()", "(1, 'b')"])
def test_literals(text: str) -> None:
    assert is_literal(text)


@pytest.mark.parametrize(
    "text", ["1", "[a]", "[f()]", "[*x]", "[x for x in y]", "[1+1]", "[-1]", "{1: 2}", "[" * 9000, ""]
)
def test_no_literals(text: str) -> None:
    assert not is_literal(text)


@pytest.mark.parametrize("text", ["x**2 + C", "-3*x**4/2 + exp(-x)*sin(2*x) + C", "sqrt(x)", "x**(1/2)", "pi*y", "2.5"])
def test_algebra(text: str) -> None:
    assert is_algebra(text)


_CALLS = ["f(x)", "x.y", "exec(x)", "x(1)", "__x__", "x if x else y", "'a'", "x=1", "[1]", "x^2", "xy", ""]
_LARGE = ["9**9**9", "((x**99)**99)**99", "x**1000", "1e99", "(" * 2000, "1" * 999]


@pytest.mark.parametrize("text", _CALLS + _LARGE)
def test_no_algebra(text: str) -> None:
    assert not is_algebra(text)
