"""Shows a run's progress on a terminal, or as plain lines elsewhere, and what is left when it is stopped.

Knows nothing of how candidates are evaluated.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bars,
)
from rich.text import Text

from thickets.searching import Progress
from thickets.types import Trial, TrialScore

# A plain line at most this often, in seconds, so that a log of 5,000 candidates stays readable.
_EVERY = 10.0


class Tally:
    """Counts of one phase: what the display shows, whichever way it is drawn."""

    def __init__(self, phase: str, total: int, earlier: int, base: Trial | None) -> None:
        self.phase, self.total, self.base = phase, total, base
        self.earlier = earlier
        self.done = self.failed = self.above = self.scored = 0
        self.best: float | None = None
        self.last: float | None = None
        self.tokens = 0
        self.started = time.monotonic()

    def add(self, trial: Trial | TrialScore) -> None:
        self.done += 1
        if self.done > self.earlier:
            self.tokens += trial.prompt_tokens + trial.new_tokens
        if trial.failure is not None:
            self.failed += 1
            return
        self.scored += 1
        self.last = trial.score
        self.best = trial.score if self.best is None else max(self.best, trial.score)
        if self.base is not None:
            self.above += trial.score > self.base.score

    @property
    def elapsed(self) -> float:
        return max(time.monotonic() - self.started, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds to go, once something has been timed."""
        fresh = self.done - self.earlier
        return None if fresh <= 0 else self.elapsed / fresh * (self.total - self.done)

    def facts(self) -> str:
        """Best so far, share above base, rate, tokens per second."""
        parts = []
        if self.base is not None:
            if self.best is not None:
                parts.append(f"best {self.best:.3f} (base {self.base.score:.3f})")
            if self.scored:
                parts.append(f"{self.above / self.scored:.0%} above base")
        elif self.last is not None:
            # Of the member that was just tested, or of the step that was just trained.
            parts.append(f"mean reward {self.last:.3f}")
        if self.failed:
            parts.append(f"{self.failed} failed")
        fresh = self.done - self.earlier
        if fresh > 0:
            parts.append(f"{fresh / self.elapsed * 60:.1f}/min")
            parts.append(f"{self.tokens / self.elapsed:,.0f} tok/s")
        return ", ".join(parts)


def clock(seconds: float | None) -> str:
    """`1:02:03`, `4:05`, or `-:--` where it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class PlainProgress(Progress):
    """One line at a time, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.tally: Tally | None = None
        self._last = 0.0

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def begin(self, phase: str, total: int, done: int, base: Trial | None) -> None:
        self.tally = Tally(phase, total, done, base)
        resumed = f", going on after {done}" if done else ""
        self.say(f"{phase}: {total} models{resumed}")
        if phase != "search":
            # Trials of an earlier process are told again only in the search.
            self.tally.done = done

    def trial(self, trial: Trial | TrialScore) -> None:
        tally = self.tally
        if tally is None:
            return
        tally.add(trial)
        now = time.monotonic()
        if tally.done > tally.earlier and (now - self._last >= _EVERY or tally.done == tally.total):
            self._last = now
            self.say(f"{tally.phase}: {tally.done}/{tally.total}, {clock(tally.left)} left, {tally.facts()}")


class _Facts(ProgressColumn):
    """Reads the tally at every redraw."""

    def __init__(self, owner: LiveProgress) -> None:
        super().__init__()
        self.owner = owner

    def render(self, task: Task) -> Text:
        tally = self.owner.tally
        return Text("" if tally is None else f"{clock(tally.left)} left  {tally.facts()}", style="cyan")


class LiveProgress(PlainProgress):
    """A bar that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars: Bars | None = None

    def begin(self, phase: str, total: int, done: int, base: Trial | None) -> None:
        self.tally = Tally(phase, total, done, base)
        if phase != "search":
            self.tally.done = done
        self._bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Facts(self),
            console=self.console,
        )
        self._task = self._bars.add_task(phase, total=total, completed=self.tally.done)
        self._bars.start()

    def trial(self, trial: Trial | TrialScore) -> None:
        if self.tally is None or self._bars is None:
            return
        self.tally.add(trial)
        self._bars.update(self._task, completed=self.tally.done)

    def end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None


def make_progress(how: Literal["auto", "plain", "off"]) -> Progress:
    """The display that the configuration asks for, on standard error."""
    if how == "off":
        return Progress()
    console = Console(stderr=True)
    return LiveProgress(console) if how == "auto" and sys.stderr.isatty() else PlainProgress(console)


def stopped(directory: Path) -> None:
    """What Ctrl-C leaves."""
    print(
        f"\nthickets: stopped. Every finished trial is kept in {directory}; the same command goes on.",
        file=sys.stderr,
    )


def quiet_libraries() -> None:
    """Keep transformers' own progress bars and advice out of ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
