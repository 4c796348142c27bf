"""`thickets signals`: the 1D experiment on the command line. Decides nothing; prints what was found and draws it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from thickets.errors import ConfigError

if TYPE_CHECKING:
    from thickets.analysis.statistics import Interval
    from thickets.signals.experiment import Settings
    from thickets.signals.record import Record


def signals(
    base: Annotated[str | None, Parameter(help="xavier, kaiming, orthogonal, mixed, line, sinusoid or square.")] = None,
    task: Annotated[str | None, Parameter(help="What to post-train and test on: sinusoid, one_line, ...")] = None,
    *,
    every: Annotated[bool, Parameter(name="--all", negative="", help="All 20 published combinations.")] = False,
    population: Annotated[int, Parameter(help="How many candidates are tried (N).")] = 1000,
    top_k: Annotated[int, Parameter(help="How many are kept and averaged (K).")] = 10,
    sigma: Annotated[float | None, Parameter(help="Step; by default 0.002, and 0.05 around an untrained base.")] = None,
    seed: Annotated[int, Parameter(help="Seed of the base, the data and the search.")] = 0,
    steps: Annotated[int, Parameter(help="Steps of pretraining.")] = 1000,
    screen: Annotated[bool, Parameter(help="Drop clearly worse candidates early; the same best ones, sooner.")] = True,
    out: Annotated[Path, Parameter(help="Where the pictures and figures go.")] = Path("runs/signals"),
) -> None:
    """Run the 1D experiment of the paper's release: pretrain a small predictor, search around it, test, and draw."""
    from thickets.signals.experiment import PUBLISHED, Settings
    from thickets.signals.figures import draw_summary

    pairs = _pairs(base, task, every, PUBLISHED)
    settings = Settings(population=population, top_k=top_k, sigma=sigma, seed=seed, steps=steps, screen=screen)
    console = Console(stderr=True)

    def say(sentence: str) -> None:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    done = [_one(pair, settings, out, say) for pair in pairs]
    if len(done) > 1:
        say(str(draw_summary(done, out)[-1]))
    _print(done)


def _one(pair: tuple[str, str], settings: Settings, out: Path, say: Callable[[str], None]) -> Record:
    """Do a combination and write all of it down, its record last; or read the record of one that is done."""
    from thickets.signals.experiment import experiment
    from thickets.signals.figures import draw_experiment
    from thickets.signals.record import read_record, record_of, write_record

    known = read_record(out, *pair, settings)
    if known is not None:
        say(f"{known.base} → {known.task} is done; delete its .json in {out} to run it again")
        return known
    started = time.monotonic()
    result = experiment(*pair, settings, say)
    files = draw_experiment(result, out)
    record = record_of(result)
    write_record(record, out)
    say(f"{files[-1]} after {time.monotonic() - started:.0f} s")
    return record


def _pairs(
    base: str | None, task: str | None, every: bool, published: tuple[tuple[str, str], ...]
) -> list[tuple[str, str]]:
    if every and base is None and task is None:
        return list(published)
    if every or base is None or task is None:
        known = ", ".join(f"{b} {t}" for b, t in published)
        raise ConfigError(f"give a base and a task, or --all for every combination; the combinations are: {known}")
    from thickets.signals.experiment import check_pair

    check_pair(base, task)
    return [(base, task)]


def _print(done: list[Record]) -> None:
    """Errors with intervals, and in words whether the search helped."""
    table = Table(title="Mean squared error on test signals, with 95 % intervals", title_justify="left")
    table.add_column("combination", no_wrap=True)
    names = ("base", "mean of random", "best single", "ensemble")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("RandOpt")
    for result in done:
        errors = result.errors
        cells = [_cell(errors[n]) for n in names]
        table.add_row(f"{result.base} → {result.task}", *cells, result.verdict)
    Console(width=None if Console().is_terminal else 140).print(table)


def _cell(error: Interval) -> str:
    # All signals of a fixed family are the same one: there is nothing to have an interval over.
    if math.isclose(error.low, error.high, rel_tol=1e-6):
        return f"{error.value:.3g}"
    return f"{error.value:.3g} ({error.low:.3g} to {error.high:.3g})"
