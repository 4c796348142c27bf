"""The built-in rewards: one contract over all, and for each what is right, what votes and what data it refuses."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.config import TaskConfig
from thickets.errors import ConfigError, DataError, ThicketsError
from thickets.tasks import make_task
from thickets.tasks.rewards import Reward, find_reward, reward_names, reward_options, reward_summaries
from thickets.types import Example, Judgement

_SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
# What a reward needs beyond its name, and a column that is not its own default's `answer`.
_FIELDS: dict[str, dict[str, Any]] = {
    "regex": {"pattern": r"is (\w+)", "reference": "answer"},
    "judge": {"judge": {"url": "http://127.0.0.1:9/v1", "model": "m"}},
}
_COLUMNS: dict[str, dict[str, Any]] = {
    "numeric": {"answer": 18},
    "choice": {"answer": "B"},
    "json_schema": {"schema": _SCHEMA},
    "math": {"answer": r"\frac{1}{2}"},
    "code_tests": {"tests": ["assert f(2) == 4"]},
}
# Those that ask others have tests of their own for judging.
_ASKS = {"judge", "code_tests"} | (set() if importlib.util.find_spec("thickets.tasks.math_judge") else {"math"})
_JUDGING = [name for name in reward_names() if name not in _ASKS]


def _reward(name: str, **fields: Any) -> Reward:
    found = find_reward(name)
    assert found is not None
    return found(TaskConfig(data="d.jsonl", reward=name, **{**_FIELDS.get(name, {}), **fields}))  # type: ignore[arg-type]


def _example(name: str, **columns: Any) -> Example:
    return Example("row", "?", columns or _COLUMNS.get(name, {"answer": "Paris"}))


def _judged(reward: Reward, text: str, **columns: Any) -> tuple[bool, str | None]:
    example = _example(reward.name, **columns)
    judged = reward.judge(example, text)
    assert judged is not None
    assert judged.key == reward.key(Example("question", "?", {k: v for k, v in columns.items() if k == "c"}), text)
    return judged.correct, judged.key


def test_the_built_in_rewards_are_found() -> None:
    assert reward_names() == sorted(reward_names())
    assert {"choice", "contains", "exact", "json_schema", "judge", "math", "numeric", "regex"} <= set(reward_names())
    assert list(reward_summaries()) == reward_names()
    assert reward_options() <= set(TaskConfig.model_fields)


@pytest.mark.parametrize("name", [*_JUDGING, "judge"])
def test_a_reward_describes_itself_and_reads_its_reference(name: str) -> None:
    reward = _reward(name)
    assert "\n" not in reward.summary
    assert 20 < len(reward.summary) < 100
    reward.check("row", _COLUMNS.get(name, {"answer": "Paris"}))
    for column in reward.columns:
        with pytest.raises(DataError, match=rf"^row has no column '{column}'"):
            reward.check("row", {"other": 1})
        with pytest.raises(DataError, match=rf"^row has no .* in column '{column}', but null"):
            reward.check("row", {column: None})


@pytest.mark.parametrize("name", _JUDGING)
def test_a_right_answer_is_right_and_an_empty_one_is_not(name: str) -> None:
    reward, example = _reward(name), _example(name)
    text = reward.right_answer(example)
    assert text is None or reward.judge(example, text).correct  # type: ignore[union-attr]
    assert reward.judge(example, "") == Judgement(0.0, False, None)


@pytest.mark.parametrize("name", _JUDGING)
@given(text=st.text() | st.sampled_from(["(B)", "#### 18", "<answer>Paris</answer>", '{"n": 1}', "it is Paris"]))
def test_no_text_makes_a_reward_raise_and_keys_need_no_reference(name: str, text: str) -> None:
    reward = _reward(name)
    judged = reward.judge(_example(name), text)
    assert judged is not None
    assert 0 <= judged.reward <= 1
    assert judged.key is not None or not judged.correct
    assert reward.key(Example("question", "?"), text) == judged.key


@pytest.mark.parametrize("name", _JUDGING)
@pytest.mark.parametrize(
    "text",
    ["[" * 10**6, "(" * 10**6, "answer is " * 10**5, "```json\n" * 10**5, "9" * 10**6, "score " * 10**5, " " * 10**6],
    ids=lambda text: text[:6],
)
def test_a_megabyte_of_anything_is_judged_in_good_time(name: str, text: str) -> None:
    start = time.process_time()
    assert not _reward(name).judge(_example(name), text).correct  # type: ignore[union-attr]
    # A bound on the order of growth: what is quadratic takes hours.
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("name", "reference", "text", "right", "key"),
    [
        ("exact", "Paris", "**paris**.", True, "paris"),
        ("exact", "Paris", "It is <answer> Paris </answer>!", True, "paris"),
        ("exact", "Paris", "It is Paris", False, "it is paris"),
        ("exact", ["Paris", "Lutetia"], "lutetia", True, "lutetia"),
        ("exact", 0.5, "1/2", True, "1/2"),
        ("exact", "0.50", "0.5", True, "1/2"),
        ("numeric", 18, "so that makes 18 dollars", True, "18"),
        ("numeric", "#### 1,800", r"\boxed{1800}", True, "1800"),
        ("numeric", 18, "#### 18 and not 19", True, "18"),
        ("numeric", 18, "<answer>18</answer> or 19", True, "18"),
        ("numeric", 18, "<think>18</think> 19", False, "19"),
        ("numeric", 18, "<think>18", False, None),
        ("numeric", 18, "eighteen", False, None),
        ("numeric", 1e-05, "0.00001", True, "1/100000"),
        ("numeric", -3, "it is -3", True, "-3"),
        ("contains", "Paris", "I think it is Paris, France.", True, "i think it is paris, france"),
        ("contains", "Paris", "a parisian", False, "a parisian"),
        ("contains", "7", "17", False, "17"),
        ("contains", "7", "seven (7)", True, "seven (7)"),
        ("contains", ["no", "never"], "I know", False, "i know"),
        ("contains", ["no", "never"], "Never again", True, "never again"),
        ("contains", "Paris", "Paris <answer>Rome</answer>", False, "rome"),
        ("contains", "C++", "I like C++!", True, "i like c++"),
        ("regex", "paris", "it is Rome; it is Paris.", True, "paris"),
        ("regex", "paris", "Paris", False, None),
        ("choice", "B", "B", True, "B"),
        ("choice", "(b)", "The answer is (B).", True, "B"),
        ("choice", 1, "**B**", True, "B"),
        ("choice", "B", "b) Paris", True, "B"),
        ("choice", "B", "I'd say (A) at first.\nAnswer: B", True, "B"),
        ("choice", "B", "The answer is **B**.", True, "B"),
        ("choice", "B", r"$\boxed{\text{B}}$", True, "B"),
        ("choice", "B", "<answer>B. Paris</answer>", True, "B"),
        ("choice", "A", "A dog is an animal", False, None),
        ("choice", "A", "The answer is a dog", False, None),
        ("choice", "B", "Both (A) and (B)", False, None),
        ("choice", "B", "It must be (B), as Paris lies in France", True, "B"),
        ("choice", "B", "<think>B", False, None),
    ],
)
def test_what_is_right_and_what_votes(name: str, reference: Any, text: str, right: bool, key: str | None) -> None:
    reward = _reward(name)
    reward.check("row", {"answer": reference})
    assert _judged(reward, text, answer=reference) == (right, key)


@pytest.mark.parametrize("value", ["eighteen", "1.8e1", True, [18], float("nan"), float("inf"), "1/0"])
def test_a_reference_that_is_no_number(value: Any) -> None:
    with pytest.raises(DataError, match=r"^row has no number in column 'answer', but "):
        _reward("numeric").check("row", {"answer": value})


def test_numbers_within_a_tolerance() -> None:
    reward = _reward("numeric", tolerance=0.1)
    found = [reward.judge(_example("numeric", answer=2), text) for text in ("2.1", "1.9", "2.11", "1.89")]
    assert [judged.correct for judged in found if judged] == [True, True, False, False]
    assert [judged.key for judged in found if judged] == ["21/10", "19/10", "211/100", "189/100"]


def test_choices_by_their_words() -> None:
    reward = _reward("choice", choices="c")
    choices = ["Rome", "Paris", "an A380"]
    assert reward.columns == ("answer", "c")
    for reference in ("B", 1, "Paris"):
        reward.check("row", {"answer": reference, "c": choices})
        assert _judged(reward, "paris.", answer=reference, c=choices) == (True, "B")
        assert _judged(reward, "Rome", answer=reference, c=choices) == (False, "A")
        assert _judged(reward, "(D)", answer=reference, c=choices) == (False, None)
    assert _judged(reward, "b", answer=1, c={"label": ["A", "B"], "text": ["Rome", "Paris"]}) == (True, "B")
    for reference in ("D", 3, "Madrid", True):
        with pytest.raises(DataError, match=r"row has no letter, number from 0 or choice in column .*; its choices"):
            reward.check("row", {"answer": reference, "c": choices})


@pytest.mark.parametrize(
    ("text", "reward", "key"),
    [
        ('{"n": 1}', 1.0, '{"n":1}'),
        ('Here:\n```json\n{"n":\n 1}\n```\nDone.', 1.0, '{"n":1}'),
        ('<answer>{"m": "é", "n": 1}</answer>', 1.0, '{"m":"é","n":1}'),
        ('{"n": "1"}', 0.1, '{"n":"1"}'),
        ("[]", 0.1, "[]"),
        ('{"n": NaN}', 0.0, None),
        ('{"n": 1} {"n": 2}', 0.0, None),
        ('"\\ud800"', 0.0, None),
        ("n = 1", 0.0, None),
    ],
)
def test_json_that_fits_a_schema(text: str, reward: float, key: str | None) -> None:
    for schema in (_SCHEMA, json.dumps(_SCHEMA)):
        assert _reward("json_schema").judge(Example("row", "?", {"schema": schema}), text) == Judgement(
            reward, reward == 1.0, key
        )


def test_a_schema_for_all_rows(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(_SCHEMA))
    (tmp_path / "data.jsonl").write_text('{"question": "A number?"}')
    task = make_task(
        TaskConfig(data=str(tmp_path / "data.jsonl"), reward="json_schema", schema_file=str(file))  # type: ignore[arg-type]
    )
    assert [j.reward for j in task.judge_all(task.pools().train * 2, ['{"n": 1}', "{}"])] == [1.0, 0.1]  # type: ignore[operator]
    assert list(task.code()) == [str(file)]


@pytest.mark.parametrize(
    ("content", "fields", "sentence"),
    [
        ("{", {}, "schema.json is no JSON Schema: Expecting property name"),
        ('{"type": "integre"}', {}, "schema.json is no JSON Schema: 'integre' is not valid"),
        ("3", {}, "schema.json is no JSON Schema: it is int, not an object"),
        (None, {}, "schema.json cannot be read"),
        ("{}", {"reference": "schema"}, "task.schema_file and task.reference both name a schema"),
    ],
)
def test_a_schema_file_that_cannot_be_used(
    tmp_path: Path, content: str | None, fields: dict[str, Any], sentence: str
) -> None:
    file = tmp_path / "schema.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        _reward("json_schema", schema_file=str(file), **fields)
    assert sentence in str(caught.value)


def test_a_row_without_a_schema_and_a_schema_from_elsewhere() -> None:
    reward = _reward("json_schema")
    with pytest.raises(DataError, match="row has no JSON Schema in column 'schema': 'integre' is not valid"):
        reward.check("row", {"schema": {"type": "integre"}})
    far = {"$ref": "http://127.0.0.1:9/other.json"}
    with pytest.raises(ConfigError, match=r"refers to 'http://127.0.0.1:9/other.json', which is not in it"):
        reward.judge(Example("row", "?", {"schema": far}), "{}")


def test_patterns_and_their_groups() -> None:
    def found(pattern: str, text: str, **fields: Any) -> tuple[bool, str | None]:
        reward = _reward("regex", pattern=pattern, reference=None, **fields)
        judged = reward.judge(Example("row", "?"), text)
        assert judged is not None
        return judged.correct, judged.key

    assert found(r"\d+ (?P<answer>\w+)", "3 apples, 4 PEARS") == (True, "pears")
    assert found(r"x(y)?", "x") == (False, None)
    assert found(r"[A-Z]{3}", "abc DEF") == (True, "def")
    assert found(r"[A-Z]{3}", "abc") == (False, None)


def test_your_answer_function_is_what_built_in_rewards_judge(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("def last(completion): return completion.split()[-1] if completion else None\n")
    answer = f"{tmp_path / 'my.py'}:last"
    for name, reference, text in (("exact", "c", "a b c"), ("numeric", 3, "1 2 3"), ("contains", "c", "a b c")):
        reward = _reward(name, answer=answer)
        assert _judged(reward, text, answer=reference) == (True, text[-1])
        assert _judged(reward, "3 c x", answer=reference) == (False, "x")
        assert reward.files() == [tmp_path / "my.py"]


def test_rewards_read_the_column_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text('{"question": "2?", "solution": "2"}')
    data = str(tmp_path / "data.jsonl")
    task = make_task(TaskConfig(data=data, reward="numeric", reference="solution"))  # type: ignore[arg-type]
    example = task.pools().train[0]
    assert task.judge(example, "2.0").correct
    assert task.right_answer(example) == "2"
    with pytest.raises(ThicketsError, match="has no column 'answer' to compare with; its columns are question, soluti"):
        make_task(TaskConfig(data=data, reward="numeric")).pools()  # type: ignore[arg-type]


def test_values_in_any_spelling() -> None:
    reward = _reward("math")
    texts = (r"\boxed{0.5}", "#### 1/2", r"so \boxed{\dfrac{1}{2}}", r"\boxed{\frac13}", "0.5", "")
    found = [reward.judge(_example("math"), text) for text in texts]
    assert [judged.correct for judged in found if judged] == [True, True, True, False, False, False]
    assert len({judged.key for judged in found[:3] if judged}) == 1
    assert found[4] == Judgement(0.0, False, None)


def test_programs_are_run_and_what_they_do_votes(tmp_path: Path) -> None:
    tests = ["assert f(2) == 4", "assert f(3) == 9"]
    (tmp_path / "data.jsonl").write_text(json.dumps({"question": "Square?", "tests": tests}))
    task = make_task(TaskConfig(data=str(tmp_path / "data.jsonl"), reward="code_tests"))  # type: ignore[arg-type]
    examples = task.pools().train
    texts = (
        "```python\ndef f(x):\n    return x * x\n```",
        "<answer>def f(x): return x ** 2</answer>",
        "def f(x): return 4",
        "def f(x): raise SystemExit",
        "no code",
        "",
    )
    judged = task.judge_all(list(examples) * len(texts), list(texts))
    assert [(j.reward, j.correct) for j in judged] == [(1, True), (1, True), (0.5, False), *[(0, False)] * 3]
    assert judged[0].key == judged[1].key != judged[2].key
    assert judged[-1].key is None
    (tmp_path / "data.jsonl").write_text(json.dumps({"question": "Square?", "tests": "import os"}))
    with pytest.raises(DataError, match=r"data.jsonl:1 has a test that cannot be used: 'import os', since it is not"):
        task.pools()


def test_an_ensemble_votes_as_its_run_did_without_what_only_judges(tmp_path: Path) -> None:
    from thickets.tasks.rewards import without_judging

    shared = {"name": "custom", "data": "x.jsonl", "answer": None}
    numeric = without_judging(TaskConfig(**shared, reward=("numeric", "my.py:gone"), tolerance=0.5))
    assert numeric.reward == ("numeric",)
    assert numeric.tolerance == 0.5
    own = without_judging(TaskConfig(**shared, reward=("my.py:gone", "regex"), pattern="(a)", reward_weights=(1, 2)))
    assert (own.reward, own.pattern, own.reward_weights) == ((), TaskConfig().pattern, ())
    built_in = without_judging(TaskConfig(name="gsm8k"))
    assert make_task(built_in).key(Example("q", "?"), "#### 7") == "7"
