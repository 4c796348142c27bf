"""Prompt templates: plain names in braces and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.errors import ConfigError, DataError
from thickets.tasks.templates import parse_template


def test_names_are_filled_and_doubled_braces_are_braces() -> None:
    template = parse_template("{{{a}}} {b c} {a}")
    assert template.columns == ("a", "b c")
    assert template.fill({"a": "{b c}", "b c": [1, "é"], "d": 0}, "row") == '{{b c}} [1, "é"] {b c}'


@pytest.mark.parametrize("template", ["{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{}", "{a:{b}}", "{ }"])
def test_only_plain_names_are_taken(template: str) -> None:
    with pytest.raises(ConfigError, match=r"only plain column names can stand in braces; write \{\{ and \}\}"):
        parse_template(template)


@pytest.mark.parametrize("template", ["{a", "a}", '{"a": {b}}', "{a}}"])
def test_stray_braces_are_explained(template: str) -> None:
    with pytest.raises(ConfigError, match=r"write \{\{ and \}\} for braces that are meant as braces"):
        parse_template(template)


def test_a_template_without_a_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.prompt names no column, so every example would be the same"):
        parse_template("What?")
    with pytest.raises(ConfigError, match=r"put \{text\} into it"):
        parse_template("What?", ("text",))


def test_a_name_that_the_task_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task.prompt names \{txt\}, but this task has only \{text\}; did you mean"):
        parse_template("{txt}", ("text",))


def test_a_null_names_its_row() -> None:
    with pytest.raises(DataError, match=r"a.jsonl:3 has no value in column 'a', which the prompt needs"):
        parse_template("{a}").fill({"a": None}, "a.jsonl:3")


@given(st.text())
def test_any_text_is_a_template_or_a_config_error(text: str) -> None:
    try:
        parsed = parse_template(text)
    except ConfigError:
        return
    filled = parsed.fill(dict.fromkeys(parsed.columns, "x"), "row")
    # Braces are only ever taken away: names become "x", and doubled braces single ones.
    assert len(filled) <= len(text)


@given(st.text(), st.text())
def test_text_around_a_name_stays(before: str, value: str) -> None:
    escaped = before.replace("{", "{{").replace("}", "}}")
    assert parse_template(escaped + "{x}").fill({"x": value}, "row") == before + value
