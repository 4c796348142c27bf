"""Prints a plan as tables or as JSON values. Works nothing out: every figure comes from the plan."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from thickets.plan import Plan
from thickets.plan.given import Range


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values: bytes, seconds, tokens."""
    phases = [asdict(p) | {"evaluations": p.evaluations, "engine_seconds_left": asdict(p.left)} for p in plan.phases]
    return asdict(plan) | {
        "phases": phases,
        "disk": asdict(plan.disk) | {"total": plan.disk.total},
        "engine_seconds": asdict(plan.engine_seconds),
        "hours": asdict(plan.hours(plan.engine_seconds)),
        "wall_seconds": asdict(plan.wall_seconds(plan.engine_seconds)),
        "engine_seconds_left": asdict(plan.left),
        "hours_left": asdict(plan.hours(plan.left)),
        "wall_seconds_left": asdict(plan.wall_seconds(plan.left)),
    }


def print_plan(plan: Plan) -> None:
    """Work, time, memory, and what all of it rests on."""
    console = Console()
    # Folded into 80 characters, the columns came apart.
    console.width = max(console.width, 130)
    say = f"{plan.task} on {plan.model}, in {plan.directory}"
    console.print(say, markup=False, highlight=False, soft_wrap=True)
    _work(console, plan)
    _time(console, plan)
    _places(console, plan)
    _engine(console, plan)
    _trainings(console, plan)
    if plan.measured is not None:
        m = plan.measured
        failed = f", {m.failed} more failed" if m.failed else ""
        console.print(
            f"measured on {counted(m.models, 'candidate')} of {m.source}{failed}: {m.rate:,.0f} tokens a second and "
            f"engine, {m.seconds:.1f} s a candidate, {m.switch_seconds:.2f} s of them placing weights",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for sentence in plan.said:
        console.print(f"- {sentence}", markup=False, highlight=False, soft_wrap=True)


def _work(console: Console, plan: Plan) -> None:
    table, unit = Table(title="work", title_justify="left"), plan.unit.upper()
    columns = (
        "phase",
        "models",
        "done",
        "evaluations",
        "prompt tokens",
        "new tokens (low – mean – high)",
        f"{unit} hours",
    )
    for column in columns:
        table.add_column(column, no_wrap=True, justify="left" if column == "phase" else "right")
    for p in plan.phases:
        hours = plan.hours(p.engine_seconds).mean
        table.add_row(
            p.name,
            f"{p.models:,}",
            f"{p.done:,}",
            f"{p.evaluations:,}",
            short(p.prompt_tokens),
            spread(p.new_tokens, short),
            figure(hours),
        )
    console.print(table)


def _time(console: Console, plan: Plan) -> None:
    unit = plan.unit.upper()
    engines = f"{counted(plan.engines, 'engine')} of {counted(plan.gpus_per_engine, unit)}"
    table = Table(title=f"time at {plan.rate:,.0f} tokens a second and engine", title_justify="left")
    for column in ("", f"{unit} hours (low – mean – high)", f"on the clock, {engines}"):
        table.add_column(column)
    rows = [("the whole run", plan.engine_seconds)] + ([("what is left", plan.left)] if plan.begun else [])
    for name, seconds in rows:
        table.add_row(name, spread(plan.hours(seconds), figure), spread(plan.wall_seconds(seconds), clock))
    console.print(table)


def _places(console: Console, plan: Plan) -> None:
    table = Table(title="disk and driver", title_justify="left", show_header=False)
    table.add_row("run.db", size(plan.disk.total), f"{size(plan.disk.texts)} of it texts of answers")
    table.add_row("driver's memory", size(plan.driver), "without an engine in it")
    console.print(table)


def _engine(console: Console, plan: Plan) -> None:
    e = plan.engine
    gpus = f"its {plan.unit.upper()}" if e.gpus == 1 else f"each of its {e.gpus} GPUs"
    table = Table(title=f"one engine, on {gpus}", title_justify="left", show_header=False)
    about = f"{plan.parameters:,} weights in {plan.dtype}"
    table.add_row("weights", size(e.weights), about)
    table.add_row("base copy", size(e.base_copy), f"{plan.moving / plan.parameters * 100:.1f} % of the weights move")
    if e.host:
        table.add_row("base copy, host", size(e.host), "pinned memory of the machine, blocks rounded up")
    table.add_row("everything else", size(e.overhead), "assumed: activations, CUDA graphs, libraries")
    cache = "not known" if e.cache_per_token is None else f"{size(e.cache_per_token)} a token"
    at = "" if e.cache_per_token is None else f"{size(e.cache_per_token * e.longest)} for {e.longest:,} tokens"
    table.add_row("key-value cache", cache, at)
    table.add_row("memory needed", size(e.minimum), "all of this, the cache for one sequence, at engine.memory")
    if e.steps:
        table.add_row("sum of steps", size(e.steps), "beside that and the base copy, in float32")
    if e.gpu is not None:
        table.add_row(f"in {size(e.gpu)}", *_fits(e.sequences, e.enough, e.minimum <= e.gpu))
    console.print(table)


def _trainings(console: Console, plan: Plan) -> None:
    if not plan.trainings:
        return
    table = Table(title="training", title_justify="left")
    for column in ("", "answers to learn from", "prompt tokens", "new tokens (low – mean – high)", "memory, at least"):
        table.add_column(column, justify="left" if not column else "right")
    for t in plan.trainings:
        memory = f"{size(t.memory)} on {'one GPU' if t.gpus == 1 else f'each of {t.gpus} GPUs'}"
        table.add_row(t.name, f"{t.answers:,}", short(t.prompt_tokens), spread(t.new_tokens, short), memory)
    console.print(table)


def _fits(sequences: int | None, enough: int | None, fits: bool) -> tuple[str, str]:
    if fits:
        count = "room" if sequences is None else f"{sequences:,} sequences"
        return count, "of the longest prompt and answer at once"
    remedy = "no number of GPUs up to 64 is enough" if enough is None else f"--engine.tensor-parallel {enough} fits"
    return "too little", f"{remedy}; --engine.base host takes the copy out of it"


def counted(n: int, noun: str) -> str:
    """`1 engine`, `8 engines`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def spread(value: Range, shown: Any) -> str:
    """The three figures, or one where they look the same."""
    parts = [shown(v) for v in (value.low, value.mean, value.high)]
    return parts[0] if len(set(parts)) == 1 else " – ".join(parts)


def short(number: float) -> str:
    """`153`, `16.1 M`, `1.02 G`."""
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f}"


def figure(number: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}" if number >= 0.01 else f"{number:.1g}"


def clock(seconds: float) -> str:
    """`45 s`, `12 min`, `7.5 h`, `3.2 days`."""
    for unit, scale in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * scale:
            return f"{seconds / scale:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """`56.0 KiB`, `14.2 GiB`."""
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"
