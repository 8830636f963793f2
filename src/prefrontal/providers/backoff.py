"""What an upstream's headers say about trying again. Pure: dates are read against the response's own ``date`` header."""

from __future__ import annotations

import re
from collections.abc import Mapping

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return the upstream's own word in ``x-should-retry``, None when it gave none."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the upstream asks to wait, None when it does not say.

    Reads ``retry-after-ms``, ``retry-after`` (seconds, or a date when there is a ``date`` header to measure it from), and then
    the longest ``x-ratelimit-reset-*`` whose limit is used up.
    """
    millis = _seconds(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000.0
    after = headers.get("retry-after")
    if after is not None:
        seconds = _seconds(after)
        return seconds if seconds is not None else _until(after, headers.get("date"))
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}", "0").strip() in ("0", "")
    ]
    found = [wait for wait in waits if wait is not None]
    return max(found) if found else None


def duration_s(text: str) -> float | None:
    """Return the seconds of a duration such as ``6m0s``, ``120ms`` or ``1.5``; None for anything else."""
    text = text.strip()
    pieces = _DURATION.findall(text)
    if pieces and "".join([number + unit for number, unit in pieces]) == text:
        return sum([float(number) * _UNIT_S[unit] for number, unit in pieces])
    return _seconds(text)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None


def _until(when: str, now: str | None) -> float | None:
    from email.utils import parsedate_to_datetime

    if now is None:
        return None
    try:
        return max(0.0, (parsedate_to_datetime(when) - parsedate_to_datetime(now)).total_seconds())
    except (ValueError, TypeError):
        return None
