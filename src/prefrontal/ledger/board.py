"""Rate limits, whoever keeps the counters: this process, SQLite, Postgres or Redis.

A meter is one member of a scope in one kind of window; several limits may share one. It has slots of requests and of tokens
(`rates.SLOTS` of them a window, a slot's number being the time divided by its length) and one lease for each request that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import msgspec

from prefrontal.contracts.money import Rate, RateWindow, Scope

RateDimension = Literal["requests", "tokens", "concurrency"]

MeterKey = tuple[Scope, RateWindow, str]
"""Scope, window and member."""

LEASE_S = 60.0
"""How long a running request of a dead process still counts as running (assumed); a living one renews its leases."""

RENEW_S = 20.0
"""How often leases are renewed (assumed: twice more before they end)."""


class RateLine(msgspec.Struct, frozen=True, kw_only=True):
    """One limit that applies to a call, and what the call adds to its meter.

    requests: 1 to count the request and its running, 0 when only tokens count. tokens: the estimate; 0 when none count.
    Of several lines with one meter the largest of each counts, once.
    """

    rate: Rate
    subject: str
    requests: int = 0
    tokens: int = 0

    @property
    def key(self) -> MeterKey:
        """The meter it counts in."""
        return self.rate.scope, self.rate.window, self.subject


class RateDenial(msgspec.Struct, frozen=True, kw_only=True):
    """The limit that has no room.

    used: what stands in its meter. wait_s: seconds until there is room if nothing else happens; None: there never is, or
    (concurrency) nobody knows.
    """

    line: RateLine
    dimension: RateDimension
    used: int
    limit: int
    wait_s: float | None


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The call was counted, at this time of the board's own clock, in seconds; `amend` finds the slot by it."""

    at_s: float


class RateBoard(Protocol):
    """Counts for everybody who shares it. `amend` and `leave` never wait nor fail: what they say is carried out in order."""

    async def enter(self, lines: Sequence[RateLine], lease_id: str, ttl_s: float) -> Admitted | RateDenial:
        """Count a call in every meter or in none, in one step.

        Each request counted is running until `leave(lease_id)`, or `ttl_s` after it was counted or last renewed. The same
        lease may enter more meters later. Raises StoreError: the board cannot be asked, nothing is counted.
        """
        ...

    def amend(self, lines: Sequence[RateLine], at_s: float, tokens: int) -> None:
        """Count `tokens` in place of each line's own in the slots they were counted in; nothing where that is forgotten."""
        ...

    def leave(self, lease_id: str) -> None:
        """The request no longer runs, in any meter. An unknown lease is nothing."""
        ...

    async def renew(self, ttl_s: float) -> None:
        """Let every lease of this process that has not left hold for `ttl_s` from now. Raises StoreError."""
        ...


def metered(lines: Iterable[RateLine]) -> dict[MeterKey, RateLine]:
    """Return what is to be added to each meter, in the order in which meters are to be locked.

    The rate of each is one of those that share the meter, with `concurrency` set if any of them bounds it.
    """
    found: dict[MeterKey, RateLine] = {}
    for line in lines:
        other = found.get(line.key)
        if other is None:
            found[line.key] = line
            continue
        rate = other.rate if other.rate.concurrency is not None else line.rate
        found[line.key] = RateLine(
            rate=rate, subject=line.subject, requests=max(line.requests, other.requests), tokens=max(line.tokens, other.tokens)
        )
    return dict(sorted(found.items()))


def exceeded(line: RateLine, *, requests: int, tokens: int, running: int) -> tuple[RateDimension, int, int] | None:
    """Return the dimension that has no room for a line, what is used of it and its limit; None when there is room.

    requests, tokens, running: what stands in the line's meter before the call.
    """
    rate = line.rate
    if line.tokens and rate.tokens is not None and tokens + line.tokens > rate.tokens:
        return "tokens", tokens, rate.tokens
    if line.requests and rate.requests is not None and requests + line.requests > rate.requests:
        return "requests", requests, rate.requests
    if line.requests and rate.concurrency is not None and running + line.requests > rate.concurrency:
        return "concurrency", running, rate.concurrency
    return None
