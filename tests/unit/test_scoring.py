"""Judging in processes of their own: what hangs, dies, leaks, prints or stops the run is told apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from thickets.config import ScoringConfig, TaskConfig
from thickets.errors import CandidateFailed, ConfigError, RewardUnavailable, TaskError
from thickets.pool import Done, Work
from thickets.randopt import _advise
from thickets.searching import Progress, make_scorer, scoring
from thickets.searching.judging import judge
from thickets.searching.scoring import InProcess, OwnProcesses, Scored, Scorer
from thickets.tasks import Pools, Task, make_task
from thickets.types import Example, Generation, Judgement, Sampling

REWARD = """
import os, sys, time
from thickets.errors import RewardUnavailable

kept = []


def fn(completions):
    text = completions[0]
    if text == "hang":
        time.sleep(600)
    if text.startswith("slow"):
        time.sleep(0.9)
    if text.startswith("die"):
        time.sleep(0.3)
        os._exit(1)
    if text == "print":
        print("said by a reward")
        print("complained by a reward", file=sys.stderr)
        os.system("echo said by its child")
    if text == "leak":
        kept.append(b"x" * (64 << 20))
    if text == "down":
        raise RewardUnavailable("the endpoint is down")
    if text == "raise":
        raise ValueError("no")
    return [os.getpid()]
"""


def _done(text: str, failure: str | None = None) -> Done:
    work = Work("selection", None, None, ["?"], Sampling(8))
    return Done(work, [Generation(text, 1, 1, "eos")], failure, 0.0, 0.0)


def _task(folder: Path) -> Task:
    (folder / "data.jsonl").write_text(json.dumps({"question": "?"}))
    (folder / "mine.py").write_text(REWARD)
    return make_task(TaskConfig(data=str(folder / "data.jsonl"), reward=(f"{folder / 'mine.py'}:fn",)))


Start = Callable[..., OwnProcesses]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts scoring processes for the reward above; they are stopped at the end."""
    started: list[OwnProcesses] = []

    def begin(workers: int = 1, timeout: float = 120.0) -> OwnProcesses:
        task = _task(tmp_path)
        splits = {"selection": task.pools().train}
        started.append(OwnProcesses(task, splits, workers, timeout, tmp_path / "scoring.log"))
        return started[-1]

    yield begin
    for scorer in started:
        scorer.close()


def _judged(scorer: Scorer, *texts: str) -> dict[str, Scored]:
    for text in texts:
        scorer.submit(_done(text))
    found: dict[str, Scored] = {}
    while scorer.pending:
        found |= {scored.done.generations[0].text: scored for scored in scorer.finished(None)}
    return found


def _process(scorer: Scorer, text: str = "x") -> int:
    """The process that judges now."""
    return int(_judged(scorer, text)[text].judgements[0].reward)


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _gone(pid: int) -> bool:
    """Whether the process ends within a minute."""
    for _ in range(600):
        if not _alive(pid):
            return True
        time.sleep(0.1)
    return False


def test_what_hangs_fails_and_its_neighbours_do_not(start: Start) -> None:
    found = _judged(start(workers=2, timeout=5), "a", "hang", "b", "c", "d")
    assert found["hang"].failure == "its answers took longer than scoring.timeout = 5 seconds to judge"
    assert [found[text].failure for text in "abcd"] == [None] * 4


def test_waiting_for_others_does_not_count_as_judging(start: Start) -> None:
    found = _judged(start(timeout=4), *(f"slow {n}" for n in range(6)))
    assert [scored.failure for scored in found.values()] == [None] * 6


def test_what_ends_the_process_fails_after_three_times_and_innocents_do_not(start: Start) -> None:
    texts = ["slow a", "die 1", "slow b", "die 2", "c", "d"]
    found = _judged(start(workers=2), *texts)
    reason = "judging its answers ended the process 3 times (out of memory, or a crash)"
    assert {text: found[text].failure for text in texts} == {
        text: reason if text.startswith("die") else None for text in texts
    }


def test_where_the_task_limits_each_answer_there_is_time_for_all_of_them(tmp_path: Path) -> None:
    task = _task(tmp_path)
    task.seconds_each = 2.5
    done = replace(_done("x"), generations=[Generation("x", 1, 1, "eos")] * 200)
    for timeout, seconds in ((None, 300 + 500), (7.0, 7)):
        scorer: Any = make_scorer(ScoringConfig(workers=1, timeout=timeout), task, {"selection": []}, 1, tmp_path / "l")
        assert scorer._patience(done) == seconds


def test_what_is_printed_goes_to_the_log(start: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert _judged(start(), "print")["print"].failure is None
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    log = (tmp_path / "scoring.log").read_text()
    assert all(said in log for said in ("said by a reward\n", "complained by a reward\n", "said by its child\n"))


def test_what_is_printed_in_this_process_does_not_reach_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = _task(tmp_path)
    scorer = make_scorer(ScoringConfig(workers=0), task, {"selection": task.pools().train}, 1, tmp_path / "scoring.log")
    print("before")
    assert _judged(scorer, "print")["print"].failure is None
    print("after", flush=True)
    os.system("echo its own child")
    assert capfd.readouterr().out == "before\nafter\nits own child\n"
    log = (tmp_path / "scoring.log").read_text()
    assert sorted(log.splitlines()) == ["said by a reward", "said by its child"]


def test_a_reward_that_raises_fails_the_candidate_alone(start: Start) -> None:
    scorer = start()
    found = _judged(scorer, "raise", "x")
    assert str(found["raise"].failure).endswith("mine.py:fn raised ValueError: no")
    assert found["x"].failure is None
    scorer.submit(_done("x", failure="the logits are NaN"))
    assert [scored.failure for scored in scorer.finished(None)] == ["the logits are NaN"]


def test_a_reward_that_is_unavailable_stops_the_run_after_all_that_was_judged(start: Start) -> None:
    scorer = start()
    for text in ("a", "down", "b"):
        scorer.submit(_done(text))
    found: list[str] = []
    with pytest.raises(RewardUnavailable, match=r"^the endpoint is down$"):
        while True:
            found += [scored.done.generations[0].text for scored in scorer.finished(None)]
    assert "down" not in found
    assert "a" in found


def test_in_this_process_it_stops_the_run_too(tmp_path: Path) -> None:
    task = _task(tmp_path)
    scorer = InProcess(task, {"selection": task.pools().train}, tmp_path / "scoring.log")
    with pytest.raises(RewardUnavailable):
        scorer.submit(_done("down"))
    assert _judged(scorer, "x")["x"].failure is None


def test_waiting_for_rewards_is_held_against_the_work_of_this_process(tmp_path: Path) -> None:
    class Said(Progress):
        sentences: ClassVar[list[str]] = []

        def say(self, sentence: str) -> None:
            self.sentences.append(sentence)

    task = _task(tmp_path)
    scorer = InProcess(task, {"selection": task.pools().train}, tmp_path / "log")
    scorer.submit(replace(_done("x"), seconds=100.0))
    scorer.held_up = 40.0
    _advise(scorer, Said())
    assert len(Said.sentences) == 1
    assert "held the engine up for 40 s while it worked for 100 s" in Said.sentences[0]
    scorer.submit(replace(_done("x"), seconds=200.0))
    _advise(scorer, Said())
    assert len(Said.sentences) == 1


def test_a_process_that_grows_is_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_MOST_GROWTH", 32 << 20)
    scorer = start()
    first = _process(scorer)
    assert _process(scorer) == first
    assert _process(scorer, "leak") == first
    assert _process(scorer) != first
    assert _gone(first)


def test_a_process_that_is_killed_while_idle_is_replaced(start: Start) -> None:
    scorer = start()
    first = _process(scorer)
    os.kill(first, signal.SIGKILL)
    assert _process(scorer) != first


def test_a_task_that_breaks_after_it_was_made_stops_the_run(start: Start, tmp_path: Path) -> None:
    scorer = start()
    (tmp_path / "mine.py").write_text("raise ValueError('edited')")
    with pytest.raises(TaskError, match=r"mine.py cannot be imported: it raised ValueError: edited"):
        _judged(scorer, "x")


def test_ctrl_c_is_the_drivers_and_leaves_no_process(start: Start) -> None:
    scorer = start()
    process = _process(scorer)
    os.kill(process, signal.SIGINT)
    assert _process(scorer) == process
    scorer.submit(_done("hang"))
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        scorer.finished(None)
    scorer.close()
    assert _gone(process)


def test_a_driver_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    _task(tmp_path)
    script = f"""
        from pathlib import Path
        from thickets.config import TaskConfig
        from thickets.searching.scoring import OwnProcesses
        from thickets.tasks import make_task
        from tests.unit.test_scoring import _done, _process

        folder = Path({str(tmp_path)!r})
        task = make_task(TaskConfig(data=str(folder / "data.jsonl"), reward=(f"{{folder / 'mine.py'}}:fn",)))
        scorer = OwnProcesses(task, {{"selection": task.pools().train}}, 1, 600, folder / "scoring.log")
        print(_process(scorer), flush=True)
        scorer.submit(_done("hang"))
        scorer.finished(None)
    """
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    )
    assert driver.stdout is not None
    process = int(driver.stdout.readline())
    assert _alive(process)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    assert _gone(process)


class Lengths(Task):
    """A task of the user's own, as an object."""

    name = "lengths"
    summary = "How long an answer is, as an example of a task of one's own."

    def pools(self) -> Pools:
        return Pools([Example("row", "?")])

    def judge(self, example: Example, completion: str) -> Judgement:
        if completion == "nan":
            return Judgement(float("nan"), False, None)
        if completion == "raise":
            raise KeyError(completion)
        return Judgement(float(len(completion)), True, completion)


def test_a_task_given_as_an_object_travels_where_it_can(tmp_path: Path) -> None:
    task = Lengths(TaskConfig(name="lengths"))
    splits = {"selection": task.pools().train}
    scorer = make_scorer(ScoringConfig(workers=1), task, splits, 1, tmp_path / "scoring.log")
    assert isinstance(scorer, OwnProcesses)
    found = _judged(scorer, "abc")
    scorer.close()
    assert found["abc"].judgements[0].reward == 3


def test_a_task_that_cannot_travel_is_judged_here(tmp_path: Path) -> None:
    task = Lengths(TaskConfig(name="lengths"))
    task.lock = threading.Lock()  # type: ignore[attr-defined]
    task.own_process = True
    splits = {"selection": task.pools().train}
    scorer = make_scorer(ScoringConfig(), task, splits, 8, tmp_path / "scoring.log")
    assert isinstance(scorer, InProcess)
    assert _judged(scorer, "abc")["abc"].judgements[0].reward == 3
    with pytest.raises(ConfigError, match=r"the task 'lengths' cannot be sent to another process; leave out --scoring"):
        make_scorer(ScoringConfig(workers=1), task, splits, 1, tmp_path / "scoring.log")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nan", "the reward of row is nan, which is not a number"),
        ("raise", "task 'lengths' raised KeyError: 'raise'"),
    ],
)
def test_what_a_task_does_wrong_fails_the_candidate(text: str, sentence: str) -> None:
    task = Lengths(TaskConfig(name="lengths"))
    with pytest.raises(CandidateFailed) as caught:
        judge(task, task.pools().train, [text])
    assert str(caught.value) == sentence


def test_quick_tasks_are_judged_here_and_slow_ones_beside(tmp_path: Path) -> None:
    own = _task(tmp_path)
    log = tmp_path / "scoring.log"
    assert isinstance(make_scorer(ScoringConfig(), own, {}, 1, log), OwnProcesses)
    assert isinstance(make_scorer(ScoringConfig(workers=0), own, {}, 1, log), InProcess)
    built_in = make_task(TaskConfig(name="countdown"))
    assert isinstance(make_scorer(ScoringConfig(), built_in, {}, 1, log), InProcess)
    assert isinstance(make_scorer(ScoringConfig(), built_in, {}, 2, log), OwnProcesses)


@pytest.mark.parametrize("workers", [0, 1])
def test_answers_to_some_questions_are_judged_by_those(tmp_path: Path, workers: int) -> None:
    rows = [{"question": f"{n}?", "answer": str(n)} for n in range(4)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = make_task(TaskConfig(data=str(tmp_path / "data.jsonl"), prompt="{question}"))
    splits = {"selection": task.pools().train}
    scorer = make_scorer(ScoringConfig(workers=workers), task, splits, 1, tmp_path / "scoring.log")
    texts = ["2", "3", "0", "2"]
    work = Work("selection", None, None, (), Sampling(1), positions=[2, 2, 0, 3])
    try:
        scorer.submit(Done(work, [Generation(t, 1, 1, "eos") for t in texts], None, 0.0, 0.0))
        (scored,) = scorer.finished(None)
    finally:
        scorer.close()
    assert [j.correct for j in scored.judgements] == [True, False, True, False]
