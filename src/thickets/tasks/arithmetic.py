"""The exact value of a line of arithmetic that a model wrote. Knows nothing of puzzles, answers or tags.

The text is hostile until shown otherwise: it is never evaluated by Python, only parsed to a tree whose nodes are
read here, and every size that could cost time (text, depth, count and magnitude of numbers) has a bound.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

# Far above what a puzzle needs; the slowest text within them takes about a millisecond.
MAX_CHARACTERS = 400
MAX_NUMBERS = 50
MAX_DEPTH = 60
MAX_LITERAL = 10**15
MAX_MAGNITUDE = 10**60

_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-"})
# Only these characters reach the parser, so names, attributes, strings and Unicode digits never do.
_ALPHABET = re.compile(r"[0-9+\-*/()\s]*", re.ASCII)
_CLAIM = re.compile(r"\s*-?[0-9]+(?:\.[0-9]+)?\s*", re.ASCII)
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """An expression's exact value, and the numbers that stand in it from left to right."""

    value: Fraction
    numbers: tuple[int, ...]


def evaluate(text: str) -> Arithmetic | None:
    """The value of `text`, or None where it is not plain arithmetic within the bounds above.

    Takes whole numbers, `+ - * /` (and `× ÷ −`), a minus or plus before a term, parentheses, and a closing
    `= 24`, which is dropped without being believed. Never raises.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    left, equals, claim = text.translate(_SIGNS).partition("=")
    if equals and not _CLAIM.fullmatch(claim):
        return None
    if not _ALPHABET.fullmatch(left):
        return None
    numbers: list[int] = []
    try:
        tree = ast.parse(" ".join(left.split()), mode="eval")
        value = _value(tree.body, 0, numbers)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        # MemoryError is how CPython's parser says that brackets nest too deep.
        return None
    return Arithmetic(value, tuple(numbers))


def _value(node: ast.expr, depth: int, numbers: list[int]) -> Fraction:
    """The value of `node`; its literals are added to `numbers`. Raises `ValueError` out of bounds."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(node, ast.Constant):
        return _literal(node.value, numbers)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand, depth + 1, numbers)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left = _value(node.left, depth + 1, numbers)
        right = _value(node.right, depth + 1, numbers)
        return _bounded(_OPERATORS[type(node.op)](left, right))
    raise ValueError("not arithmetic")


def _literal(value: object, numbers: list[int]) -> Fraction:
    if not isinstance(value, int) or value > MAX_LITERAL or len(numbers) >= MAX_NUMBERS:
        raise ValueError("not a number within bounds")
    numbers.append(value)
    return Fraction(value)


def _bounded(value: Fraction) -> Fraction:
    if abs(value.numerator) > MAX_MAGNITUDE or value.denominator > MAX_MAGNITUDE:
        raise ValueError("too large")
    return value
