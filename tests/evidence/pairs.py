"""Hand-written pairs of a base's and an ensemble's answer, and what a reader would call the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pair:
    """`kind` is what became of the question: "formatted", "new" or "lost"."""

    kind: str
    base: str
    ensemble: str


@dataclass(frozen=True)
class Group:
    """Pairs of one task about one question."""

    task: str
    columns: dict[str, Any]
    pairs: tuple[Pair, ...]
    config: dict[str, Any] | None = None
    # What others answered to other questions: of few possible answers all are known.
    vocabulary: tuple[str, ...] = ()


GSM8K = Group(
    "gsm8k",
    {"question": "16 eggs, 3 eaten, 4 baked, 2 dollars each?", "answer": "18"},
    (
        # A base model that goes on with the next question: the last number is another one.
        Pair("formatted", "She sells 9 eggs. The answer is 18.\n\nQuestion: Tom has 5 apples and 7 pears.", "#### 18"),
        Pair("formatted", "9 * 2 = 18\n#### $18\n\nQuestion: And in a month?\n#### 540", "So #### 18"),
        Pair("formatted", "Therefore, she makes $18 every day.\n\nQ: A robe takes 2 bolts. A: 3", "#### 18"),
        Pair("formatted", "**Answer:**\n18 dollars\n\nThis took 3 steps, explained in 12 lines.", "#### 18"),
        Pair("formatted", "Final answer: 18.00 (9 eggs at 2)", "\\boxed{18}"),
        Pair("formatted", "18\n\nThat is 9 eggs at 2 dollars.", "#### 18"),
        Pair("formatted", "The answer is 18.\nQuestion 2", "#### 18"),
        # A reader would say that it is in the form alone; but a total may be one on the way.
        Pair("new", "The total is 18 dollars per day. Checked 2 times, page 7", "#### 18"),
        Pair("new", "16 - 3 = 13, and 13 * 2 = 26. The answer is 26.", "#### 18"),
        # The right number in a calculation that goes on to something else.
        Pair("new", "First 9 * 2 = 18. Then she buys 4 more, 18 + 8 = 26.\n#### 26", "#### 18"),
        # The right number on the way, in places where an answer may be given, and another one in the end.
        Pair("new", "The answer is 18. Wait, I forgot the bonus.\n#### 20", "#### 18"),
        Pair("new", "The answer is 18. Wait, I forgot the bonus. So she has 20.", "#### 18"),
        Pair("new", "The total is 18 so far. Then she buys 8 more.\n#### 26", "#### 18"),
        Pair("new", "Thus she has 18 eggs. She sells half, so 9.\n#### 9", "#### 18"),
        Pair("new", "Thus she has 18 eggs. She sells half, so 9.", "#### 18"),
        Pair("new", "The result is 18; adding 8 gives 26.\n#### 26", "#### 18"),
        Pair("new", "Therefore Tom has 18 left. The answer is 26.", "#### 18"),
        Pair("new", "\\boxed{18} for one day, so #### 36", "#### 18"),
        Pair("new", "18 is how many there were before.\nThe answer is 14.", "#### 18"),
        Pair("new", "The answer is not 18, it is 20.", "#### 18"),
        Pair("new", "answer: 1, answer: 2, answer: 5\nanswer: 18\nanswer: 9", "#### 18"),
        Pair("new", "The answer is 180.", "#### 18"),
        Pair("new", "The answer is 1.8", "#### 18"),
        Pair("new", "I cannot do that.", "#### 18"),
        Pair("new", "", "#### 18"),
        Pair("lost", "#### 18", "#### 20"),
        Pair("lost", "#### 18", "The answer is 18.\n#### 20"),
        Pair("lost", "The answer is 18", "no idea"),
    ),
)
COUNTDOWN = Group(
    "countdown",
    {"numbers": [3, 5, 7], "target": 36},
    (
        Pair("formatted", "<think>(5 + 7) * 3 = 36, good</think>", "<answer>(5 + 7) * 3</answer>"),
        Pair("formatted", "The expression is 3 × (5 + 7) = 36.", "<answer>(5 + 7) * 3</answer>"),
        Pair("formatted", "<answer>(5 + 7) * 3 gives 36</answer>", "<answer>3*(7+5)</answer>"),
        Pair("formatted", "We have it (namely, (5 + 7) * 3).", "<answer>3*(7+5)</answer>"),
        Pair("formatted", "$$(5 + 7) \\times 3 = 36$$", "<answer>3*(7+5)</answer>"),
        # The target stands in the question; naming it is no answer.
        Pair("new", "We need to reach 36. The answer is 36.", "<answer>(5 + 7) * 3</answer>"),
        Pair("new", "<answer>36</answer>", "<answer>(5 + 7) * 3</answer>"),
        Pair("new", "<answer>3 * 5 * 7</answer>", "<answer>(5 + 7) * 3</answer>"),
        # Other numbers than those given.
        Pair("new", "6 * 6 = 36", "<answer>(5 + 7) * 3</answer>"),
        Pair("new", "3 * 12 = 36", "<answer>(5 + 7) * 3</answer>"),
        Pair("new", "<think>(5 + 7) * 3</think>".replace("7", "8"), "<answer>(5 + 7) * 3</answer>"),
        Pair("lost", "<answer>(5 + 7) * 3</answer>", "(5 + 7) * 3"),
    ),
)
MATH = Group(
    "math500",
    {"problem": "?", "answer": "\\frac{3}{2}"},
    (
        Pair("formatted", "Thus the slope is $\\frac{3}{2}$.", "\\boxed{\\frac32}"),
        Pair("formatted", "The answer is 3/2", "\\boxed{1.5}"),
        Pair("formatted", "So we get\n$$x = \\frac{3}{2}$$", "#### 3/2"),
        Pair("formatted", "The answer is 1.5, as the \\boxed{} shows.", "\\boxed{\\frac{3}{2}}"),
        Pair("new", "Thus the slope is $\\frac{2}{3}$.", "\\boxed{\\frac32}"),
        Pair("new", "With $a = \\frac{3}{2}$ we find $b = 4$, and the answer is $4$.", "\\boxed{\\frac32}"),
        Pair("new", "\\boxed{\\frac{3}{4}}", "\\boxed{\\frac32}"),
        Pair("new", "So the result is $\\frac{3}{2}$. Then doubled: \\boxed{3}", "\\boxed{\\frac32}"),
        Pair("new", "Hence the ratio is $\\frac{3}{2}$. Squared, $\\frac{9}{4}$.", "\\boxed{\\frac32}"),
        Pair("lost", "\\boxed{\\frac32}", "The answer is 3/2"),
    ),
)
FORMULA = Group(
    "math500",
    {"problem": "?", "answer": "2\\sqrt{3}"},
    (
        Pair("formatted", "The answer is $2\\sqrt{3}$.", "\\boxed{2\\sqrt3}"),
        Pair("formatted", "Hence the length is \\(\\sqrt{12}\\).", "\\boxed{2\\sqrt{3}}"),
        Pair("new", "The answer is $3\\sqrt{2}$.", "\\boxed{2\\sqrt3}"),
    ),
)
CHOICE = Group(
    "custom",
    {"question": "Capital of France?", "options": ["Rome", "Paris", "Oslo", "Bern"], "answer": "B"},
    (
        Pair("formatted", "The answer is: Paris!\nIt is lovely in spring.", "(B)"),
        # A reader would say that it went on to another question; two letters are too little to be sure.
        Pair("new", "Answer: B\n\nCapital of Italy?\nAnswer: A", "(B)"),
        Pair("formatted", "Let me think. Hence the answer must be Paris.", "B"),
        Pair("formatted", "Answer = Paris\n\nHope this helps", "B"),
        Pair("new", "The answer is C", "(B)"),
        Pair("new", "Options (A), (B), (C) and (D) are all cities.", "(B)"),
        Pair("new", "The answer is Paris or Rome, thus option A", "B"),
        Pair("new", "The answer is A dog in Oslo", "B"),
        Pair("new", "Paris is in France, and so are others; I would go to Oslo.", "B"),
        Pair("lost", "(B)", "The answer is Paris, not Rome; (C)"),
    ),
    {"reward": ["choice"]},
)
LABELS = Group(
    "sentiment",
    {"text": "A fine film.", "label": "positive"},
    (
        Pair("formatted", "The words positive and negative both come up.\nSentiment: Positive", "positive"),
        Pair("formatted", "It has a negative word.\n\n**Label:** positive\n\nThat is all.", "Positive."),
        Pair("new", "negative", "positive"),
        Pair("new", "It is not positive, so negative", "positive"),
        Pair("new", "Positive or negative?", "positive"),
        Pair("new", "The sentiment is positive, the sentiment is negative", "positive"),
        Pair("new", "Good.", "positive"),
        Pair("lost", "positive", "both positive and negative"),
    ),
    vocabulary=("negative",),
)
CODE = Group(
    "mbpp",
    {"text": "Add.", "tests": ["assert add(2, 3) == 5"], "setup": "", "own": ["add"]},
    (
        Pair(
            "formatted",
            "```python\ndef add(a, b):\n    # the sum\n    return a + b\n```",
            "<answer>def add(a, b):\n    return a+b</answer>",
        ),
        Pair("formatted", "def add(a, b):\n\n    return (a + b)\n", "<answer>def add(a, b):\n    return a+b</answer>"),
        Pair("new", "```python\ndef add(a, b):\n    return a - b\n```", "<answer>def add(a, b): return a+b</answer>"),
        # Right, but nobody has run it.
        Pair("new", "```python\ndef add(x, y):\n    return x + y\n```", "<answer>def add(a, b): return a+b</answer>"),
        Pair("new", "I would add a and b.", "<answer>def add(a, b): return a+b</answer>"),
        Pair("lost", "<answer>def add(a, b): return a+b</answer>", "<answer>def add(a, b): return a</answer>"),
    ),
)
ORDER = Group(
    "rocstories",
    {"sentences": ["a", "b", "c", "d", "e"], "order": "CAEBD"},
    (
        Pair("formatted", "Not A, B, C, D, E.\nThe order is caebd.\nD comes last, A, B", "C, A, E, B, D"),
        Pair("new", "The order is A, B, C, D, E", "C, A, E, B, D"),
        Pair("lost", "C, A, E, B, D", "A, B, C, D, E"),
    ),
)
GROUPS = (GSM8K, COUNTDOWN, MATH, FORMULA, CHOICE, LABELS, CODE, ORDER)
