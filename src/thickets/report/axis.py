"""Where a value stands on a bar that is drawn in HTML, as a CSS percentage. Knows nothing of what the value means."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from thickets.analysis.statistics import Interval


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high` with its ticks, in the unit of the values."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """Distance from the left end, as `12.34%`; what lies outside stands at the end."""
        share = (value - self.low) / (self.high - self.low)
        return f"{min(max(share, 0.0), 1.0) * 100:.2f}%"

    def width(self, interval: Interval) -> str:
        """Width of an interval, cut at the ends."""
        low, high = (min(max(v, self.low), self.high) for v in (interval.low, interval.high))
        return f"{(high - low) / (self.high - self.low) * 100:.2f}%"


def axis_over(
    intervals: Iterable[Interval], least: float, bounds: tuple[float, float], *others: float, steps: int = 5
) -> Axis:
    """A scale that holds the intervals and `others`, at least `least` wide, within `bounds`, ending on ticks.

    It has about `steps` of them: as many as there is room for their numbers.
    """
    from matplotlib.ticker import MaxNLocator

    given = [v for i in intervals for v in (i.low, i.high, i.value)]
    values = [v for v in (*given, *others) if math.isfinite(v)] or list(bounds)
    low, high = min(values), max(values)
    spare = max(0.0, least - (high - low)) / 2
    low, high = low - spare, high + spare
    ticks = [float(t) for t in MaxNLocator(nbins=steps, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    inside = [t for t in ticks if bounds[0] - 1e-9 <= t <= bounds[1] + 1e-9]
    return Axis(max(min(ticks), bounds[0]), min(max(ticks), bounds[1]), tuple(round(t, 6) + 0.0 for t in inside))
