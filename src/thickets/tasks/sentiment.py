"""Sentiment: is a movie review positive or negative? Knows nothing of models or search.

The data are JSONL (or CSV, Parquet) with columns `text` and `label`, the label `positive` or `negative`; or the folder
of the sentence polarity data (Pang and Lee, 2005, "Seeing stars: exploiting class relationships for sentiment
categorization with respect to rating scales"), one review a line, positive in `*.pos` and negative in `*.neg`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from thickets.config import TaskConfig
from thickets.errors import ConfigError
from thickets.tasks.base import Pools, Task
from thickets.tasks.rows import Row, read_rows, read_train_and_test
from thickets.tasks.templates import parse_template
from thickets.tasks.usable import UnusableRow, text_in, usable_pools
from thickets.types import Example, Judgement

_COLUMNS = ("text", "label")
_ENDINGS = {".pos": "positive", ".neg": "negative"}
_PROMPT = "Review: {text}\nIs the sentiment of this review positive or negative? Answer with one word."
_LABEL = re.compile(r"\b(positive|negative)\b", re.ASCII | re.IGNORECASE)


class Sentiment(Task):
    """One word as the answer; an answer with both words, or neither, abstains."""

    name: ClassVar[str] = "sentiment"
    summary: ClassVar[str] = "Is a movie review positive or negative? (your file with columns text and label)"
    uses: ClassVar[frozenset[str]] = frozenset({"data", "data_split", "test_data", "test_split", "prompt"})
    max_new_tokens: ClassVar[int] = 8

    def __init__(self, config: TaskConfig) -> None:
        super().__init__(config)
        if config.data is None:
            raise ConfigError("task sentiment needs a file with columns text and label; give --task.data FILE")
        self._template = parse_template(config.prompt or _PROMPT, ("text",))

    def pools(self) -> Pools:
        """The reviews of the file. Raises `DataError` where a column is missing or no row can be used."""
        train, test = _rows(self.config)
        return usable_pools(train, test, self._read)

    def judge(self, example: Example, completion: str) -> Judgement:
        """Right if exactly one of the two words stands in the completion, and it is the label."""
        found = {match[0].lower() for match in _LABEL.finditer(completion)}
        key = found.pop() if len(found) == 1 else None
        correct = key is not None and key == example.columns.get("label")
        return Judgement(float(correct), correct, key)

    def right_answer(self, example: Example) -> str | None:
        """The label."""
        return example.columns.get("label")

    def question(self, text: str) -> Example:
        """A review as typed."""
        return self._example("question", text, None)

    def _read(self, row: Row) -> Example:
        text, label = text_in(row, "text"), str(row.columns["label"]).strip().lower()
        if label not in ("positive", "negative"):
            raise UnusableRow("with a label that is not positive or negative")
        return self._example(row.label, text, label)

    def _example(self, label: str, text: str, answer: str | None) -> Example:
        text = text.strip()
        columns = {"text": text} if answer is None else {"text": text, "label": answer}
        return Example(label, self.prompt(self._template.fill({"text": text}, label)), columns, text)


def _rows(config: TaskConfig) -> tuple[list[Row], list[Row] | None]:
    train = _lines(config.data)
    if train is None:
        return read_train_and_test(config, _COLUMNS)
    if config.test_data is None:
        return train, None
    return train, _lines(config.test_data) or read_rows(config.test_data, config.test_split or "test", columns=_COLUMNS)


def _lines(folder: str | None) -> list[Row] | None:
    """The rows of a folder of reviews whose files' endings are the labels; None for all else."""
    if folder is None:
        return None
    path = Path(folder).expanduser()
    files = sorted(file for file in path.iterdir() if file.suffix in _ENDINGS) if path.is_dir() else []
    return [
        # As they were published; in Latin-1 every byte is a character.
        Row(f"{file}:{number}", {"text": line.decode("latin-1"), "label": _ENDINGS[file.suffix]})
        for file in files
        for number, line in enumerate(file.read_bytes().splitlines(), 1)
    ] or None
