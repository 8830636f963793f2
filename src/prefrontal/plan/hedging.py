"""When a second attempt is made beside a slow first one, and how many may be. Pure."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from prefrontal.contracts.resilience import Hedge

LEAST_SAMPLES = 20
"""Fewer measured times say nothing about the slowest twentieth (specified: a p95 needs at least 20)."""

MOST_CREDIT = 10.0
"""Second attempts that may be saved up in quiet times (assumed): an outage must not spend a day's share at once."""


class Credit(msgspec.Struct, frozen=True, kw_only=True):
    """Second attempts that may be made now. Each request that may be hedged earns its share of one."""

    amount: float = 0.0

    def earned(self, share: float) -> Credit:
        """Return the credit after one more request."""
        return Credit(amount=min(MOST_CREDIT, self.amount + share))

    @property
    def enough(self) -> bool:
        """Whether a second attempt may be made; a tolerance keeps twenty twentieths from being less than one."""
        return self.amount >= 1.0 - 1e-9

    def spent(self) -> Credit:
        """Return the credit after a second attempt."""
        return Credit(amount=max(0.0, self.amount - 1.0))


def hedge_after_s(hedge: Hedge, times_ms: Collection[float]) -> float | None:
    """Return seconds to wait for the first attempt; None: too little is known, so there is no second one.

    times_ms: the latest times to the first token (of whole answers: to the end) at the first attempt's deployment.
    """
    if hedge.after_ms is not None:
        return hedge.after_ms / 1000.0
    if len(times_ms) < LEAST_SAMPLES:
        return None
    ordered = sorted(times_ms)
    return ordered[min(len(ordered) - 1, int(hedge.quantile * len(ordered)))] / 1000.0
