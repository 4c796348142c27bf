"""Numbers as a person reads them: shares, points, p-values, durations, dates. Knows nothing of pages or of runs."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from thickets.analysis.statistics import Interval

# What stands where there is no number; never "nan".
NONE = "–"
# A space that is narrow and at which no line ends.
THIN = "\u202f"
# Not by strftime: that follows the locale of whoever makes the report.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def percent(value: float | None) -> str:
    """A share (0 to 1) with one decimal: `45.0 %`."""
    return NONE if value is None or _missing(value) else f"{_signed(value * 100, '.1f')}{THIN}%"


def points(value: float | None) -> str:
    """A difference of shares as percentage points, with its sign: `+21.0`."""
    return NONE if value is None or _missing(value) else _signed(value * 100, "+.1f")


def with_interval(found: Interval | None) -> str:
    """A share with its interval: `45.0 % (40.2 to 49.9)`."""
    return NONE if found is None else f"{percent(found.value)} ({bounds(found)})"


def bounds(found: Interval | None) -> str:
    """The interval of a share alone: `40.2 to 49.9`."""
    return NONE if found is None else " to ".join(percent(v).removesuffix(f"{THIN}%") for v in (found.low, found.high))


def points_with_interval(found: Interval | None) -> str:
    """A difference of shares with its interval, in points: `+21.0 (+16.2 to +25.9)`."""
    return NONE if found is None else f"{points(found.value)} ({points(found.low)} to {points(found.high)})"


def decimal(value: float | None) -> str:
    """A mean reward: three decimals."""
    return NONE if value is None or _missing(value) else _signed(value, ".3f")


def signed(value: float | None) -> str:
    """A difference of mean rewards: three decimals and its sign."""
    return NONE if value is None or _missing(value) else _signed(value, "+.3f")


def _signed(value: float, form: str) -> str:
    """With a true minus sign, and none of either kind on a zero."""
    text = format(value, form)
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands."""
    return NONE if value is None or _missing(value) else f"{value:,.0f}".replace(",", THIN)


def p_value(value: float | None) -> str:
    """`= 0.031` or `< 0.001`, to stand after the letter p."""
    if value is None or _missing(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def duration(seconds: float | None) -> str:
    """`12.3 s`, `4 min 05 s` or `2 h 07 min`."""
    if seconds is None or _missing(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60:02d}{THIN}s"
    return f"{count(whole // 3600)}{THIN}h {whole % 3600 // 60:02d}{THIN}min"


def sigma(value: float) -> str:
    """A step size in its shortest form: `0.002`, `5e-05`."""
    return f"{value:g}"


def moment(value: str | None) -> str:
    """A recorded ISO time as `12 November 2026, 14:03 UTC`; as it stands where it is none."""
    if not value:
        return NONE
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return value
    if found.tzinfo is not None:
        found = found.astimezone(UTC)
    zone = " UTC" if found.tzinfo is not None else ""
    return f"{found.day} {_MONTHS[found.month - 1]} {found.year}, {found:%H:%M}{zone}"


def typeset(sentence: str) -> str:
    """With the minus signs and thin spaces of the rest of the page."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", sentence).replace(" %", f"{THIN}%")


def capped(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, or `None` where that has no meaning."""
    return part / whole if whole > 0 else None
