"""Where a request stands with its rate limits, as callers are told in headers. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from prefrontal.contracts.money import Rate
from prefrontal.ledger.rates import Meter, Sliding

Dimension = Literal["requests", "tokens"]


class RateStanding(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of limit. remaining: what is left now; reset_s: seconds until all of it is there again, if nothing else happens.

    Both None: several gateways count together, and asking them all would cost more than the answer is worth.
    """

    dimension: Dimension
    limit: int
    remaining: int | None = None
    reset_s: float | None = None


def standings(rates: Iterable[tuple[Rate, Meter | None]], now: float) -> tuple[RateStanding, ...]:
    """Return the tightest limit of requests and of tokens: the one of which the least share is left at monotonic time `now`."""
    found: dict[str, tuple[float, RateStanding]] = {}
    for rate, meter in rates:
        kinds: tuple[tuple[Dimension, int | None, Sliding | None], ...] = (
            ("requests", rate.requests, None if meter is None else meter.requests),
            ("tokens", rate.tokens, None if meter is None else meter.tokens),
        )
        for dimension, limit, sliding in kinds:
            if limit is None:
                continue
            one = _standing(dimension, limit, sliding, now)
            share = limit if one.remaining is None else one.remaining / limit
            if dimension not in found or share < found[dimension][0]:
                found[dimension] = (share, one)
    return tuple([one for _, one in found.values()])


def _standing(dimension: Dimension, limit: int, sliding: Sliding | None, now: float) -> RateStanding:
    if sliding is None:
        return RateStanding(dimension=dimension, limit=limit)
    used = sliding.total(now)
    reset_s = sliding.wait_s(now, limit, limit) if used else 0.0
    return RateStanding(dimension=dimension, limit=limit, remaining=max(0, limit - used), reset_s=reset_s or 0.0)
