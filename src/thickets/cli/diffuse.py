"""`thickets diffuse`: RandOpt around a text-to-image pipeline. Decides nothing; shows progress and prints figures."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from thickets.diffusion.loading import load_pipeline, quiet_diffusers, read_prompts
from thickets.diffusion.rewards import make_judge
from thickets.diffusion.search import Watching, search_pipeline

if TYPE_CHECKING:
    from thickets.config.diffusion import DiffuseConfig
    from thickets.diffusion import FoundImages

# A plain line at most this often, in seconds.
_EVERY = 10.0


def diffuse(config: DiffuseConfig) -> None:
    """Read the prompts, load the pipeline, search, and print what came out."""
    prompts = read_prompts(config.prompts, "the selection prompts")
    test_prompts = None if config.test_prompts is None else read_prompts(config.test_prompts, "the test prompts")
    # Before the pipeline, which takes longer to load: a reward that is not there is found at once.
    judge = make_judge(config.reward)
    quiet_diffusers()
    try:
        found = search_pipeline(
            load_pipeline(config.model, config.device),
            judge,
            prompts,
            test_prompts=test_prompts,
            out=config.directory,
            model=config.model.model_dump(mode="json"),
            watching=_watching(config.progress),
            **dict(config.search),
        )
    except KeyboardInterrupt:
        print(
            f"\nthickets: stopped. Every finished candidate is kept in {config.directory}; the same command goes on.",
            file=sys.stderr,
        )
        raise
    print_found(found, config.directory)


def print_found(found: FoundImages, directory: Path) -> None:
    """The test's figures and verdict, and where the files are."""
    console = Console(width=None if Console().is_terminal else 120)
    if found.test is not None:
        table = Table(title="Mean reward on the test images, with 95 % intervals", title_justify="left")
        for column in ("", "reward", "over the base"):
            table.add_column(column)
        for name, figure in found.test.figures.items():
            reward, gain = figure.reward, figure.gain
            over = "" if name == "base" or gain is None else f"{gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
            table.add_row(name, f"{reward.value:.4f} ({reward.low:.4f} to {reward.high:.4f})", over)
        console.print(table)
        sentences = [found.test.sentence(), *found.test.failed()]
        if (chosen := found.test.chosen) is not None:
            over = f"{chosen.value:+.4f} ({chosen.low:+.4f} to {chosen.high:+.4f})"
            sentences.append(f"Over as many random members it gains {over}.")
        for sentence in sentences:
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print("No test was asked for, so nothing can be said of whether it helped.", highlight=False)
    for name in ("report.html", "grid.png", "ensemble.json"):
        if (directory / name).exists():
            console.print(str(directory / name), markup=False, highlight=False, soft_wrap=True)


class _Lines(Watching):
    """One line at a time, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.done, self.total, self.phase, self.unit = 0, 0, "", ""
        self.best: float | None = None
        self._last = 0.0

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def begin(self, phase: str, total: int, unit: str) -> None:
        self.phase, self.total, self.unit, self.done, self.best = phase, total, unit, 0, None
        self.say(f"{phase}: {total} {unit}s")

    def step(self, count: int, score: float | None = None) -> None:
        self.done += count
        if score is not None and score == score:
            self.best = score if self.best is None else max(self.best, score)
        now = time.monotonic()
        if now - self._last >= _EVERY or self.done == self.total:
            self._last = now
            self.say(f"{self.phase}: {self.done}/{self.total} {self.unit}s{self.facts()}")

    def facts(self) -> str:
        """The best mean reward so far, where there is one."""
        return "" if self.best is None else f", best {self.best:.4f}"


class _Live(_Lines):
    """A bar that is redrawn in place."""

    def begin(self, phase: str, total: int, unit: str) -> None:
        self.phase, self.total, self.unit, self.done, self.best = phase, total, unit, 0, None
        self._bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", style="cyan"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._bars.add_task(f"{phase} ({unit}s)", total=total, facts="")
        self._bars.start()

    def step(self, count: int, score: float | None = None) -> None:
        if score is not None and score == score:
            self.best = score if self.best is None else max(self.best, score)
        self._bars.update(self._task, advance=count, facts=self.facts().removeprefix(", "))

    def end(self) -> None:
        self._bars.stop()


def _watching(how: str) -> Watching:
    if how == "off":
        return Watching()
    console = Console(stderr=True)
    return _Live(console) if how == "auto" and sys.stderr.isatty() else _Lines(console)
