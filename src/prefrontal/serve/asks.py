"""What callers ask for in headers, beside the request itself: how long, and how much it matters."""

from __future__ import annotations

from collections.abc import Mapping

from prefrontal.contracts.resilience import PRIORITIES, Priority
from prefrontal.errors import InvalidRequest

TIMEOUT = b"x-request-timeout-ms"
PRIORITY = b"x-prefrontal-priority"

LONGEST_MS = 86_400_000
"""A day (assumed): a longer limit is a mistake in the unit."""


def timeout_s_of(headers: Mapping[bytes, bytes]) -> float | None:
    """Return how long the caller waits, from arrival, in seconds; None: as long as the configuration says.

    Raises:
        InvalidRequest: not a whole number of milliseconds from 1 to a day.
    """
    value = headers.get(TIMEOUT)
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or not 1 <= int(text) <= LONGEST_MS:
        name = TIMEOUT.decode()
        raise InvalidRequest(
            f"The header '{name}' must be a whole number of milliseconds from 1 to {LONGEST_MS}.", param=name
        )
    return int(text) / 1000.0


def priority_of(headers: Mapping[bytes, bytes]) -> Priority | None:
    """Return how much the request matters; None: the header says nothing. Raises InvalidRequest."""
    value = headers.get(PRIORITY)
    if value is None:
        return None
    text = value.decode("latin-1").strip().lower()
    for level in PRIORITIES:
        if text == level:
            return level
    raise InvalidRequest(
        f"The header '{PRIORITY.decode()}' cannot be '{text[:40]}'.",
        param=PRIORITY.decode(),
        hint=f"It is one of: {', '.join(PRIORITIES)}.",
    )
