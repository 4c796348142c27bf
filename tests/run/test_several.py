"""Several tasks at once, through whole runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Ended
from thickets.analysis.discordance import discordance
from thickets.analysis.parts import part_scores, parts
from thickets.config import merge, parse
from thickets.ensemble import Ensemble, read_ensemble
from thickets.errors import ConfigError, DataError, TaskError
from thickets.randopt import execute
from thickets.store import Run
from thickets.tasks import make_task


@pytest.fixture
def both(settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Letters (the custom task) and countdown, whose puzzles make themselves."""
    custom = settings.pop("task")
    return settings | {
        "task": {"name": "custom,countdown", "each": {"custom": custom, "countdown": {"size": 60}}},
        "search": {"population": 12, "sigmas": [0.01, 0.03], "seed": 1},
    }


def test_a_run_of_two_tasks_keeps_the_best_of_each_and_of_both(both: dict[str, Any]) -> None:
    config = parse(both)
    summary = execute(config)
    assert [p.name for p in summary.parts] == ["custom", "countdown"]
    with Run.read(config.directory) as run:
        assert {n: p["selection"] for n, p in parts(run).items()} == {"custom": (0, 16), "countdown": (16, 32)}
        whole = {t.candidate: t for t in run.trials("selection")}
        for name, (first, last) in ((n, p["selection"]) for n, p in parts(run).items()):
            for score in part_scores(run, name):
                mine = whole[score.candidate].outcomes[first:last]
                assert score.examples == 16
                assert score.reward == pytest.approx(sum(o.judgement.reward for o in mine))
        tested = run.recorded("test")
        related = discordance(run)
        best = sorted((t for t in part_scores(run, "custom") if t.candidate is not None), key=lambda t: -t.score)
    assert related is not None
    tables = [[r for _, r in part.correlation] for part in summary.parts]
    assert tables == pytest.approx(np.array(related.correlation), nan_ok=True)
    custom, _ = summary.parts
    assert custom.members[0].score == best[0].score
    assert {m.candidate for p in summary.parts for m in p.members} | {m.candidate for m in summary.members} <= tested
    assert custom.own is not None
    assert custom.own.questions == 20
    assert custom.shared is not None
    # What the vote cost is without those who are only the best at one task.
    costs = {c.phase: c.models for c in summary.randopt}
    assert costs == {"search": 12, "validation": 4, "test": 4}
    assert len(tested) > 4
    # The whole is made of its parts.
    assert summary.test is not None
    assert summary.test.questions == 40
    assert summary.test.base.value == pytest.approx(
        sum(p.own.base.value * p.own.questions for p in summary.parts if p.own) / 40
    )


def test_files_of_each_task_and_the_table_of_candidates(both: dict[str, Any], thickets: Callable[..., Ended]) -> None:
    config = parse(both)
    summary = execute(config)
    own = read_ensemble(config.directory / "ensembles" / "custom.json")
    assert own.task.name == "custom"
    assert [m.candidate for m in own.members] == [m.candidate for m in summary.parts[0].members]
    rows = list(csv.DictReader((config.directory / "candidates.csv").open()))
    assert len(rows) == 13
    assert rows[0]["candidate"] == "base"
    assert float(rows[1]["custom score"]) >= 0
    page = (config.directory / "report.html").read_text()
    assert "Specialists or generalists?" in page
    shown = thickets("show", config.directory)
    assert "each task by itself" in shown.out
    answered = Ensemble.load(config.directory / "ensembles" / "custom.json").generate(["Write a."])
    assert len(answered[0].members) == 3
    with pytest.raises(TaskError, match="ask one of those in the run's folder ensembles/"):
        Ensemble.load(config.directory).generate(["Write a."])


def test_it_goes_on_and_a_changed_part_is_refused(both: dict[str, Any]) -> None:
    execute(parse(both))
    again = execute(parse(both))
    assert again.finished
    from thickets.errors import RunError

    with pytest.raises(RunError, match="other settings"):
        execute(parse(merge(both, {"task": {"each": {"countdown": {"size": 70}}}})))


def test_run_toml_keeps_every_part(both: dict[str, Any]) -> None:
    from thickets.config import read_toml

    config = parse(both)
    execute(config)
    assert parse(read_toml(config.directory / "run.toml")).fixed() == config.fixed()


def test_bad_combinations(both: dict[str, Any]) -> None:
    def task(**changes: Any) -> Any:
        return make_task(parse(merge(both, {"task": changes})).task)

    with pytest.raises(ConfigError, match="each once"):
        task(name="countdown,countdown")
    with pytest.raises(ConfigError, match=r"task\.each\.custom has settings, but the tasks are countdown, gsm8k"):
        task(name="countdown,gsm8k")
    with pytest.raises(ConfigError, match=r"task\.size is set to 70, but task custom,countdown does not read it"):
        task(size=70)
    with pytest.raises(TaskError, match="there is no task 'countdow'"):
        make_task(parse({"model": "x", "task": "gsm8k,countdow"}).task)
    with pytest.raises(DataError, match="task countdown: the splits need"):
        execute(parse(merge(both, {"task": {"each": {"countdown": {"size": 20}}}})))


def test_settings_of_parts_are_plain_data(both: dict[str, Any]) -> None:
    assert json.loads(json.dumps(parse(both).fixed()))["task"]["each"]["countdown"]["size"] == 60
