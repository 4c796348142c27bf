"""Other ways to put a question, without knowing what it asks: prompts in, prompts out. Knows no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thickets.errors import ConfigError
from thickets.tasks import Task
from thickets.tasks.several import PartExample
from thickets.tasks.templates import Template, parse_template
from thickets.types import Example, Message, Prompt

_THINK = "Think step by step before you answer.\n\n"
_SYSTEM = "You are careful and precise. You check your answer, and you give it in exactly the form that is asked for."
# Xu et al. (2024), "Re-reading improves reasoning in large language models".
_AGAIN = "\n\nRead it again:\n\n"
# What a template of the user's calls the task's own prompt.
_WHOLE = "prompt"


@dataclass(frozen=True)
class Phrasing:
    """One way to put a question. `template` is the user's own text, where it is one."""

    name: str
    put: Callable[[Example], Prompt]
    template: str | None = None


def phrasings(templates: Sequence[str]) -> list[Phrasing]:
    """The task's own prompt first, then its variants, then the user's templates. Raises `ConfigError`."""
    return [
        Phrasing("as the task asks", lambda example: example.prompt),
        Phrasing("step by step first", lambda example: _reworded(example.prompt, lambda text: _THINK + text)),
        Phrasing("system line", lambda example: _with_system_line(example.prompt)),
        Phrasing("asked twice", lambda example: _reworded(example.prompt, lambda text: text + _AGAIN + text)),
        *(_own(number, text) for number, text in enumerate(templates, 1)),
    ]


def check_columns(phrasing: Phrasing, examples: Sequence[Example], task: Task) -> None:
    """Raise `ConfigError` where a template shows what may be the answer.

    That something stands in the question does not say that it is none: the question may list all answers there are. A
    column can be named where its value stands in the question, the right answer is another text and stays what it is
    with another row's value, and that value would mostly not stand in the question.
    """
    if phrasing.template is None:
        return
    for column in parse_template(phrasing.template, field="baselines.templates").columns:
        if column != _WHOLE:
            _check_shown(column, examples)
            _check_answer(column, examples, task)


def _check_shown(column: str, examples: Sequence[Example]) -> None:
    for example in examples:
        if column not in example.columns:
            has = ", ".join([_WHOLE, *example.columns])
            raise ConfigError(
                f"baselines.templates names {{{column}}}, which {example.label} does not have; it has {has}"
            )
        if _shown(example.columns[column]) not in _asked(example.prompt):
            raise ConfigError(_refusal(column, f"the task does not show that of {example.label}"))


def _check_answer(column: str, examples: Sequence[Example], task: Task) -> None:
    listed = 0
    for example, other in zip(examples, _others(column, examples), strict=True):
        if _answers(column, example, other, task):
            raise ConfigError(_refusal(column, f"the right answer to {example.label} depends on it"))
        listed += other is not None and _shown(other) in _asked(example.prompt)
    if 2 * listed > len(examples):
        raise ConfigError(_refusal(column, "what it holds for other questions stands in the question as well"))


def _others(column: str, examples: Sequence[Example]) -> list[Any]:
    """For each row the value of the next one of the same task that has another; `None` where there is none."""
    found: list[Any] = []
    # By task, the value of the row behind and the next one that differs from it. The first round is for the last rows.
    behind: dict[str, tuple[Any, Any]] = {}
    for example in [*reversed(examples)] * 2:
        value = example.columns[column]
        near, far = behind.get(_part(example), (value, None))
        behind[_part(example)] = (near, far) if value == near else (value, near)
        found.append(behind[_part(example)][1])
    return found[len(examples) :][::-1]


def _answers(column: str, example: Example, other: Any, task: Task) -> bool:
    """Whether the column's value is the right answer, or decides what that is."""
    task = task.parts().get(_part(example), task)
    right = task.right_answer(example)
    if right is not None and right.strip().casefold() == _shown(example.columns[column]).casefold():
        return True
    changed = replace(example, columns={**example.columns, column: other})
    return other is not None and task.right_answer(changed) != right


def _part(example: Example) -> str:
    return example.part if isinstance(example, PartExample) else ""


def _refusal(column: str, reason: str) -> str:
    return (
        f"baselines.templates names {{{column}}}, but {reason}, and it may be the answer; name {{prompt}}, or columns "
        "that only ask"
    )


def _own(number: int, text: str) -> Phrasing:
    template = parse_template(text, field="baselines.templates")
    return Phrasing(f"template {number}", lambda example: _filled(example, template), text)


def _filled(example: Example, template: Template) -> Prompt:
    return _reworded(
        example.prompt, lambda asked: template.fill({**example.columns, _WHOLE: asked}, f"{example.label} of the data")
    )


def _reworded(prompt: Prompt, reword: Callable[[str], str]) -> Prompt:
    """The last turn in other words; its images stay."""
    if isinstance(prompt, str):
        return reword(prompt)
    *earlier, last = prompt
    return (*earlier, replace(last, content=reword(last.content)))


def _with_system_line(prompt: Prompt) -> Prompt:
    if isinstance(prompt, str):
        return f"{_SYSTEM}\n\n{prompt}"
    first, *rest = prompt
    if first.role == "system":
        return (replace(first, content=f"{first.content}\n\n{_SYSTEM}"), *rest)
    return (Message("system", _SYSTEM), *prompt)


def _asked(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(m.content for m in prompt)


def _shown(value: object) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
