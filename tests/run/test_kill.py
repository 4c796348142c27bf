"""`kill -9` at random moments, then the same command: the end is that of a run never killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from thickets.analysis.summary import Summary, summarise
from thickets.config import RunConfig, merge, parse
from thickets.randopt import execute
from thickets.store import Run
from thickets.types import SplitName

KILLS = 10


def figures(directory: Path) -> dict[str, Any]:
    """All that must not depend on how often the process died."""
    with Run.read(directory) as run:
        summary: Summary = summarise(run)
        trials = {s: [(t.candidate, t.perturbation, t.outcomes) for t in run.trials(s)] for s in ("selection", "test")}  # type: ignore[arg-type]
    return {
        "trials": trials,
        "members": summary.members,
        "test": summary.test,
        "validation": summary.validation,
        "sigmas": summary.sigmas,
        "questions": summary.questions,
        "baselines": [(b.name, b.held_out, b.details, b.reason) for b in summary.baselines],
        "tokens": [(c.phase, c.models, c.prompt_tokens, c.new_tokens) for c in summary.costs],
    }


def twice(settings: dict[str, Any], tmp_path: Path) -> tuple[RunConfig, RunConfig, list[str]]:
    """The same run for two directories: done in one, and as a command to be killed in the other."""
    undisturbed = parse({**settings, "out": str(tmp_path / "undisturbed")})
    execute(undisturbed)
    killed = parse({**settings, "out": str(tmp_path / "killed")})
    file = tmp_path / "killed.toml"
    file.write_text(killed.to_toml())
    return undisturbed, killed, [sys.executable, "-m", "thickets", "run", str(file)]


def test_a_run_killed_ten_times_ends_like_one_never_killed(settings: dict[str, Any], tmp_path: Path) -> None:
    # Large enough that the search lasts longer than the interpreter takes to start.
    settings = merge(settings, {"search": {"population": 150}, "splits": {"selection": 24}, "progress": "plain"})
    undisturbed, killed, command = twice(settings, tmp_path)
    moments = random.Random(0)
    kills, recorded = 0, [0]
    while kills < KILLS:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = recorded[-1]
        # Half of the kills hit while starting or loading, half once new trials are being written.
        wait_for = before + moments.randint(1, 12) if kills % 2 else before
        deadline = time.monotonic() + moments.uniform(0.3, 3.0) + (60 if kills % 2 else 0)
        while (
            process.poll() is None
            and time.monotonic() < deadline
            and (kills % 2 == 0 or _count(killed.directory) < wait_for)
        ):
            time.sleep(moments.uniform(0, 0.02))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
        recorded.append(_count(killed.directory))
        # Nothing recorded is ever lost.
        assert recorded[-1] >= recorded[-2]
    assert kills == KILLS, f"the run ended after {kills} kills: make it longer"
    assert recorded[-1] > 5
    assert recorded[-1] < 151
    subprocess.run(command, check=True, capture_output=True)

    assert figures(killed.directory) == figures(undisturbed.directory)
    mine, other = (parse_ensemble(c.directory) for c in (killed, undisturbed))
    assert mine == other


def parse_ensemble(directory: Path) -> Any:
    from thickets.ensemble import read_ensemble

    return read_ensemble(directory).model_copy(update={"made_by": {}})


def _count(directory: Path, split: SplitName = "selection", ledger: str = "") -> int:
    try:
        with Run.read(directory) as run:
            return len(run.ledger(ledger).recorded(split))
    except Exception:  # noqa: BLE001 - the run may not have begun yet
        return 0


def test_kills_in_the_held_out_phases_and_between_the_last_files(settings: dict[str, Any], tmp_path: Path) -> None:
    settings = merge(settings, {"search": {"population": 6}, "ensemble": {"top_k": 5}, "progress": "plain"})
    settings = merge(settings, {"baselines": {"names": ["best_prompt", "self_consistency"]}})
    undisturbed, killed, command = twice(settings, tmp_path)
    moments = [
        lambda: _count(killed.directory, "validation") >= 2,
        lambda: _count(killed.directory, "test") >= 1,
        lambda: _count(killed.directory, "test") >= 4,
        lambda: (killed.directory / "ensemble.json").exists(),
        lambda: _count(killed.directory, "selection", "best_prompt") >= 2,
        lambda: _count(killed.directory, "test", "self_consistency") >= 3,
    ]
    for reached in moments:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not reached():
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        assert reached()
    subprocess.run(command, check=True, capture_output=True)
    assert figures(killed.directory) == figures(undisturbed.directory)
    assert parse_ensemble(killed.directory) == parse_ensemble(undisturbed.directory)
    assert (killed.directory / "report.html").exists()
