"""The judge behind verl's reward: answers come in as lines of JSON, the task's judgements go out. Knows no verl.

`python -m thickets.baselines.verl.judging RUN` reads `{"split": …, "index": …, "text": …}` until its input ends.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thickets.errors import CandidateFailed, RunError, ThicketsError
from thickets.provenance import check_code
from thickets.searching.judging import judge
from thickets.store import Run
from thickets.tasks import Task, make_task
from thickets.tasks.splits import split_task
from thickets.types import Example


def cut(text: str, stops: Sequence[str]) -> str:
    """The text up to its first stop string, which stays: verl's engine goes on behind it, ours does not."""
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


class Judge:
    """The task of a run, its questions, and the stop strings of its answers. Raises `ThicketsError`."""

    def __init__(self, directory: Path) -> None:
        with Run.read(directory) as run:
            config, identity = run.config, run.meta("identity")
            self._task: Task = make_task(config.task)
            check_code(run, self._task)
        splits = split_task(self._task, config)
        if identity is None or splits.digest != identity["data"]:
            raise RunError(f"the data of the task are not those that {directory} was started with; restore them")
        self._examples: Mapping[str, Sequence[Example]] = {
            "selection": splits.selection,
            "validation": splits.validation,
        }
        self._stops = self._task.stop if config.generation.stop is None else config.generation.stop

    def answer(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The judgement of one answer, or what stops the training."""
        example = self._examples[asked["split"]][asked["index"]]
        try:
            (judgement,) = judge(self._task, [example], [cut(asked["text"], self._stops)])
        except CandidateFailed as error:
            print(f"{example.label}: {error}", file=sys.stderr, flush=True)
            return {"reward": 0.0, "correct": False, "failed": True}
        except ThicketsError as error:
            return {"stop": str(error)}
        return {"reward": float(judgement.reward), "correct": judgement.correct, "failed": False}


def main(directory: str) -> None:
    """Serve until the input ends. What rewards print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    try:
        served = Judge(Path(directory))
    except ThicketsError as error:
        print(json.dumps({"stop": str(error)}), file=answers)
        return
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        print(json.dumps(served.answer(json.loads(line))), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
