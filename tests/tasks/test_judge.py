"""A language model as judge, against a real server that is busy, broken, slow, talks nonsense, or is good."""

from __future__ import annotations

import json
import multiprocessing
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from thickets.config import TaskConfig, parse
from thickets.errors import CandidateFailed, ConfigError, RewardUnavailable, TaskError, ThicketsError
from thickets.tasks import Task, endpoint, make_task
from thickets.tasks.rewards.judge import found_score

# What to answer to a completion: status, what the model says (or the whole body), more headers.
Answer = tuple[int, str | bytes, dict[str, str]]


class Server:
    """An OpenAI-compatible endpoint. `script` says what a completion is answered with, by how often it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.keys: set[str | None] = set()
        self.requests: list[dict[str, Any]] = []
        self.script: Callable[[str, int], Answer] = lambda text, time: (200, "Fair enough.\nScore: 7", {})
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    outer.at_once += 1
                    outer.most_at_once = max(outer.most_at_once, outer.at_once)
                try:
                    self._answer(*outer.answer(self.path, self.headers.get("Authorization"), request))
                finally:
                    with outer._lock:
                        outer.at_once -= 1

            def _answer(self, status: int, said: str | bytes, headers: dict[str, str]) -> None:
                message = {"choices": [{"message": {"content": said}}], "usage": {"total_tokens": 100}}
                body = said if isinstance(said, bytes) else json.dumps(message).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, key: str | None, request: dict[str, Any]) -> Answer:
        assert path == "/v1/chat/completions"
        found = re.search(r"<answer>\n(.*)\n</answer>", request["messages"][0]["content"], re.DOTALL)
        text = found[1] if found else ""
        with self._lock:
            self.keys.add(key)
            self.requests.append(request)
            self.asked[text] += 1
            time = self.asked[text]
        return self.script(text, time)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    running = Server()
    yield running
    running.close()


def _config(folder: Path, server: Server, **fields: Any) -> TaskConfig:
    (folder / "data.jsonl").write_text('{"question": "Why?", "known": "Because."}')
    given = {"url": server.url, "model": "judge-1", "cache": str(folder / "judge.db"), **fields.pop("judge", {})}
    return TaskConfig(data=str(folder / "data.jsonl"), reward="judge", judge=given, **fields)  # type: ignore[arg-type]


def _task(folder: Path, server: Server, **fields: Any) -> Task:
    return make_task(_config(folder, server, **fields))


def _rewards(task: Task, *texts: str) -> list[float]:
    example = task.pools().train[0]
    return [j.reward for j in task.judge_all([example] * len(texts), list(texts))]


def test_the_judges_score_is_the_reward_and_equal_answers_cost_one_call(tmp_path: Path, server: Server) -> None:
    server.script = lambda text, time: (200, f"So so.\n**Score: {len(text)}/10**", {})
    task = _task(tmp_path, server, correct_at=0.3, reference="known")
    example = task.pools().train[0]
    judged = task.judge_all([example] * 4, ["a", "abc", "a", "abc"])
    assert [(j.reward, j.correct, j.key) for j in judged] == [(0.1, False, "a"), (0.3, True, "abc")] * 2
    assert server.asked == {"a": 1, "abc": 1}
    assert server.keys == {None}
    asked = server.requests[0]
    assert (asked["model"], asked["temperature"]) == ("judge-1", 0.0)
    assert "Why?" in asked["messages"][0]["content"]
    assert "a right answer:\n<reference>\nBecause." in asked["messages"][0]["content"]
    # Another run asks for no more than is new.
    assert _rewards(_task(tmp_path, server, reference="known"), "a", "ab") == [0.1, 0.2]
    assert server.asked == {"a": 1, "abc": 1, "ab": 1}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_endpoint_is_asked_again(tmp_path: Path, server: Server, status: int) -> None:
    server.script = lambda text, time: (status, b"busy", {}) if time < 3 else (200, "Score: 5", {})
    assert _rewards(_task(tmp_path, server), "x", "y") == [0.5, 0.5]
    assert server.asked == {"x": 3, "y": 3}


def test_retry_after_is_respected(tmp_path: Path, server: Server) -> None:
    server.script = lambda text, time: (429, b"", {"Retry-After": "1"}) if time < 2 else (200, "5", {})
    start = time.monotonic()
    assert _rewards(_task(tmp_path, server), "x") == [0.5]
    assert time.monotonic() - start >= 1
    server.script = lambda text, time: (429, b"", {"Retry-After": "86400"})
    with pytest.raises(RewardUnavailable, match=r"asks to be left alone for 86400 seconds; go on later"):
        _rewards(_task(tmp_path, server), "y")
    assert server.asked["y"] == 1


def test_a_slow_endpoint_is_asked_again_and_then_stops_the_run(tmp_path: Path, server: Server) -> None:
    def slow(text: str, count: int) -> Answer:
        time.sleep(2.0 if text == "never" or count < 2 else 0.0)
        return 200, "Score: 5", {}

    server.script = slow
    task = _task(tmp_path, server, judge={"timeout": 1.0, "retries": 1})
    assert _rewards(task, "x") == [0.5]
    with pytest.raises(RewardUnavailable, match=r"cannot be used, asked 2 times: ReadTimeout"):
        _rewards(task, "never")


def test_an_endpoint_that_is_down_stops_the_run_and_what_was_judged_is_kept(tmp_path: Path, server: Server) -> None:
    server.script = lambda text, time: (200, "Score: 5", {}) if text == "x" else (500, b"out of order", {})
    task = _task(tmp_path, server, judge={"retries": 2})
    with pytest.raises(RewardUnavailable) as caught:
        _rewards(task, "x", *(f"down {n}" for n in range(50)))
    assert str(caught.value) == (
        f"the judge's endpoint {server.url} cannot be used, asked 3 times: status 500 (out of order); nothing is lost, "
        "go on with the same command when it is back"
    )
    assert max(server.asked.values()) == 3
    server.script = lambda text, time: (200, "Score: 6", {})
    assert _rewards(task, "x", "down 1") == [0.5, 0.6]


def test_a_port_where_nothing_listens_stops_the_run(tmp_path: Path, server: Server) -> None:
    task = _task(tmp_path, server, judge={"retries": 1})
    server.close()
    with pytest.raises(RewardUnavailable, match=r"cannot be used, asked 2 times: ConnectError"):
        _rewards(task, "x")


def test_nonsense_is_asked_again_and_then_fails_the_candidate(tmp_path: Path, server: Server) -> None:
    server.script = lambda text, time: (200, "I like it!" if time < 3 or text == "never" else "Score: 5", {})
    task = _task(tmp_path, server, judge={"retries": 2})
    assert _rewards(task, "x") == [0.5]
    with pytest.raises(CandidateFailed) as caught:
        _rewards(task, "never")
    assert str(caught.value) == ("the judge gave an answer no score from 0 to 10, asked 3 times; it said 'I like it!'")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"\xff"])
def test_what_is_no_chat_completion_stops_the_run(tmp_path: Path, server: Server, body: bytes) -> None:
    server.script = lambda text, time: (200, body, {})
    with pytest.raises(RewardUnavailable, match="asked 2 times: it answered, but not with a chat completion"):
        _rewards(_task(tmp_path, server, judge={"retries": 1}), "x")


@pytest.mark.parametrize(
    ("status", "fault", "sentence"),
    [
        (401, RewardUnavailable, r"refuses: status 401 \(bad key …\); mend task.judge \(url, model, key_env\)"),
        (404, RewardUnavailable, r"refuses: status 404"),
        (400, CandidateFailed, r"^the judge's endpoint refused to judge an answer: status 400"),
        (413, CandidateFailed, r"refused to judge an answer: status 413"),
    ],
)
def test_a_refusal_is_not_repeated_and_never_tells_the_key(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    fault: type[ThicketsError],
    sentence: str,
) -> None:
    monkeypatch.setenv("THE_JUDGES_KEY", "secret-123")
    server.script = lambda text, time: (status, b"bad key secret-123", {})
    task = _task(tmp_path, server, judge={"key_env": "THE_JUDGES_KEY"})
    with pytest.raises(fault, match=sentence) as caught:
        _rewards(task, "x")
    assert "secret-123" not in str(caught.value)
    assert server.asked == {"x": 1}
    assert server.keys == {"Bearer secret-123"}


def test_a_budget_of_calls_stops_the_run_and_can_be_raised(tmp_path: Path, server: Server) -> None:
    task = _task(tmp_path, server, judge={"max_calls": 3})
    assert _rewards(task, "a", "b", "a") == [0.7] * 3
    with pytest.raises(RewardUnavailable) as caught:
        _rewards(task, "c", "d", "e")
    assert str(caught.value) == (
        "the judge's budget is spent: 3 calls are counted for this task and judge, and task.judge.max_calls = 3; "
        "nothing is lost, raise it and go on with the same command"
    )
    assert server.asked.total() == 3
    assert _rewards(_task(tmp_path, server, judge={"max_calls": 5}), "a", "b", "c", "d", "e") == [0.7] * 5
    assert server.asked.total() == 5


def test_a_budget_of_tokens_and_calls_that_came_to_nothing(tmp_path: Path, server: Server) -> None:
    server.script = lambda text, time: (500, b"", {}) if time < 3 else (200, "5", {})
    task = _task(tmp_path, server, judge={"max_calls": 2, "max_tokens": 200, "concurrency": 1})
    assert _rewards(task, "a", "b") == [0.5, 0.5]
    for more in ({"max_calls": 2}, {"max_tokens": 200}):
        with pytest.raises(RewardUnavailable, match=r"(2 calls|200 tokens) are counted"):
            _rewards(_task(tmp_path, server, judge=more), "c")


def test_a_changed_budget_is_no_other_run() -> None:
    def fixed(**judge: Any) -> str:
        task = {"name": "custom", "reward": "judge", "judge": {"url": "u", "model": "m", **judge}}
        return json.dumps(parse({"model": "m", "task": task}).fixed())

    assert fixed() == fixed(max_calls=3, cache="x", url="v", key_env="KEY", retries=0, timeout=1, concurrency=1)
    assert len({fixed(), fixed(model="n"), fixed(prompt="{completion}"), fixed(scale=5)}) == 4


def test_concurrency_holds_over_threads_of_several_tasks(tmp_path: Path, server: Server) -> None:
    def slowly(text: str, count: int) -> Answer:
        time.sleep(0.05)
        return 200, "Score: 5", {}

    server.script = slowly
    tasks = [_task(tmp_path, server, judge={"concurrency": 2}) for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda n: _rewards(tasks[n], *(f"{n} {i}" for i in range(4))), range(3)))
    assert found == [[0.5] * 4] * 3
    assert 1 <= server.most_at_once <= 2


def _elsewhere(config: TaskConfig, texts: list[str]) -> None:
    task = make_task(config)
    example = task.pools().train[0]
    try:
        task.judge_all([example] * len(texts), texts)
    except RewardUnavailable:
        raise SystemExit(3) from None


def test_cache_and_budget_hold_over_processes(tmp_path: Path, server: Server) -> None:
    def slowly(text: str, count: int) -> Answer:
        time.sleep(0.1)
        return 200, "Score: 5", {}

    server.script = slowly
    texts = [f"answer {n}" for n in range(6)]
    context = multiprocessing.get_context("spawn")

    def codes(config: TaskConfig, *each: list[str]) -> list[int | None]:
        processes = [context.Process(target=_elsewhere, args=(config, given)) for given in each]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return [process.exitcode for process in processes]

    assert codes(_config(tmp_path, server), texts, texts[::-1]) == [0, 0]
    assert server.asked == dict.fromkeys(texts, 1)
    limited = _config(tmp_path, server, judge={"max_calls": 9})
    assert codes(limited, ["b", "c", "d"], ["e", "f", "g"]).count(3) >= 1
    assert server.asked.total() == 9


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"judge": {"url": None}}, "the reward judge needs the address of an endpoint such as"),
        ({"judge": {"model": None}}, "the reward judge needs the name of a model; give --task.judge.model"),
        ({"judge": {"prompt": "{question}"}}, "task.judge.prompt lacks {completion}"),
        ({"judge": {"prompt": "{completion.x}"}}, "task.judge.prompt has the field {completion.x}"),
        ({"judge": {"prompt": "{completion} {none}"}}, "task.judge.prompt names {none}, but the data have only quest"),
        ({"judge": {"key_env": "NO_SUCH_KEY"}}, "task.judge.key_env names NO_SUCH_KEY, but that environment variab"),
        ({"reference": "none"}, "task.judge.prompt names {none}, but the data have only question, known"),
        ({"judge": {"cache": "/proc/none/judge.db"}}, "the judge's cache /proc/none/judge.db cannot be used"),
    ],
)
def test_settings_that_cannot_work(tmp_path: Path, server: Server, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ThicketsError) as caught:
        _task(tmp_path, server, **fields).pools()
    assert sentence in str(caught.value)
    assert isinstance(caught.value, TaskError | ConfigError)


def test_the_key_itself_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse({"model": "m", "task": {"judge": {"key_env": "sk-123"}}})
    assert "task.judge.key_env: give the name of an environment variable, not the key itself" in str(caught.value)
    assert "sk-123" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 7", 7),
        ("score: 2, no, it is better.\n\n**Score:** 8.5/10", 8.5),
        ('{"reason": "x", "score": 3}', 3),
        ("10", 10),
        (" 4 / 10 ", 4),
        ("Score: 11", None),
        ("Score: -1", None),
        ("a score of sorts", None),
        ("7 things are wrong", None),
        ("", None),
        ("score " * 100_000, None),
    ],
)
def test_scores_are_found_in_words(text: str, score: float | None) -> None:
    assert found_score(text, 10) == score
