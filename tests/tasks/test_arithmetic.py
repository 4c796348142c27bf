"""The bounded evaluator: exact on arithmetic, None and quick on all else."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.arithmetic import MAX_DEPTH, MAX_NUMBERS, evaluate


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("1 + 2 * 3", 7, (1, 2, 3)),
        ("(1+2)*3", 9, (1, 2, 3)),
        ("7/2/2", Fraction(7, 4), (7, 2, 2)),
        ("-3 - -4", 1, (3, 4)),
        ("+5", 5, (5,)),
        ("3 × (4 − 1) ÷ 3", 3, (3, 4, 1, 3)),
        ("6 * 4 = 24", 24, (6, 4)),
        ("6 * 4 = -24.50", 24, (6, 4)),
        ("  1\n+\t2 ", 3, (1, 2)),
        ("(" * 40 + "1" + ")" * 40, 1, (1,)),
        ("0", 0, (0,)),
    ],
)
def test_values(text: str, value: Fraction | int, numbers: tuple[int, ...]) -> None:
    found = evaluate(text)
    assert found is not None
    assert (found.value, found.numbers) == (value, numbers)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "()",
        "1 +",
        "1 2",
        "3 (4)",
        "(1, 2)",
        "1 // 2",
        "2 ** 3",
        "99**98**97",
        "1 / 0",
        "1 / (2 - 2)",
        "1.5 + 1",
        "1e9",
        "0x10",
        "1_000",
        "007",
        "x + 1",
        "abs(1)",
        "'a' * 3",
        "[1]",
        "1 if 2 else 3",
        "1 == 1",
        "1 = 2 = 3",
        "36 = 6 * 6",
        "6 * 6 = x",
        "٣ + 4",
        "\uff13 + \uff14",
        "² + 1",
        "1\0",
        "__import__('os')",
        "(lambda: 0)()",
        "9" * 20,
        "*".join(["999999999999999"] * 6),
        "+".join(["1"] * (MAX_NUMBERS + 1)),
        "-" * (MAX_DEPTH + 1) + "1",
        "-" * 399 + "1",
        "(" * 400,
        "1 + 1" + " " * 400,
    ],
)
def test_refused(text: str) -> None:
    assert evaluate(text) is None


@pytest.mark.parametrize("piece", ["[", "(", "-", "1+", "9", "(1)", "\0", "٣", "**9", "=", "é"])
def test_a_megabyte_is_refused_at_once(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    assert evaluate(text) is None
    assert time.process_time() - started < 1


@given(st.text())
def test_never_raises(text: str) -> None:
    evaluate(text)


@given(st.text(alphabet="0123456789+-*/() =.×÷−\n", max_size=400))
def test_never_raises_on_what_looks_like_arithmetic(text: str) -> None:
    evaluate(text)


_terms = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


def _by_hand(text: str) -> tuple[Fraction, int]:
    """The value of a fully bracketed expression and where it ends: a second opinion without a parser."""
    if text[0] != "(":
        digits = len(text) - len(text.lstrip("0123456789"))
        return Fraction(text[:digits]), digits
    left, at = _by_hand(text[1:])
    sign = text[at + 2]
    right, length = _by_hand(text[at + 4 :])
    value = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
    }[sign]()
    return value, at + 4 + length + 1


@given(_terms)
def test_agrees_with_a_second_evaluator(text: str) -> None:
    try:
        expected: Fraction | None = _by_hand(text)[0]
    except ZeroDivisionError:
        expected = None
    found = evaluate(text)
    assert (found.value if found else None) == expected
