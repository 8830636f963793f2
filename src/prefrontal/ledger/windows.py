"""When a budget's window began and when the next begins. Calendar windows, UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from prefrontal.contracts.money import Window

_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}

MONDAY_S = 345_600
"""The first Monday of Unix time, in seconds: 1970-01-01 was a Thursday."""


def window_start(window: Window, now_s: float) -> float:
    """Return the Unix time at which the window that holds `now_s` began; 0 for ``total``."""
    if window == "total":
        return 0.0
    if window == "month":
        now = datetime.fromtimestamp(now_s, UTC)
        return datetime(now.year, now.month, 1, tzinfo=UTC).timestamp()
    length = _SECONDS[window]
    shift = MONDAY_S if window == "week" else 0
    return float((int(now_s) - shift) // length * length + shift)


def window_end(window: Window, start_s: float) -> float | None:
    """Return the Unix time at which the window after the one that began at `start_s` begins; None: never."""
    if window == "total":
        return None
    if window == "month":
        start = datetime.fromtimestamp(start_s, UTC)
        year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
        return datetime(year, month, 1, tzinfo=UTC).timestamp()
    return start_s + _SECONDS[window]
