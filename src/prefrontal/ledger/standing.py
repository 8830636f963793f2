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
    requests: RateStanding | None = None
    tokens: RateStanding | None = None
    for rate, meter in rates:
        if rate.requests is not None:
            one = _standing("requests", rate.requests, None if meter is None else meter.requests, now)
            requests = one if requests is None or _share(one) < _share(requests) else requests
        if rate.tokens is not None:
            one = _standing("tokens", rate.tokens, None if meter is None else meter.tokens, now)
            tokens = one if tokens is None or _share(one) < _share(tokens) else tokens
    return tuple([one for one in (requests, tokens) if one is not None])


def _share(one: RateStanding) -> float:
    return one.limit if one.remaining is None else one.remaining / one.limit


def _standing(dimension: Dimension, limit: int, sliding: Sliding | None, now: float) -> RateStanding:
    if sliding is None:
        return RateStanding(dimension=dimension, limit=limit)
    remaining = max(0, limit - sliding.total(now))
    return RateStanding(dimension=dimension, limit=limit, remaining=remaining, reset_s=sliding.empty_in_s(now))
