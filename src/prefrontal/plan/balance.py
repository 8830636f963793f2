"""Which deployment of a model is asked. Pure: a snapshot of the places goes in, a choice with its reasons comes out.

Three policies rank the places that can take a request:

    least_outstanding  fewest requests in progress for its weight
    latency            least expected wait: recent latency times requests in progress, for its weight
    weighted           the place that is furthest behind its share of all requests so far

Equals are told apart by who has served less for its weight, so an idle fleet is asked in turn. There are few deployments of one
model, so the exact best is found by looking at all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

from prefrontal.contracts.resilience import Balance

PEAK_DECAY_S = 10.0
"""How long a slow answer is held against a place (assumed; the same length as the common "peak EWMA" balancers)."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment now. name: of the deployment. served: requests it was given so far. latency_ms: recent, None: unknown.

    resting: why it takes nothing, in words, None: it does. back_s: seconds until it takes requests again (None: not known).
    full: neither a slot nor a place in its queue is free.
    """

    name: str
    weight: float = 1.0
    in_flight: int = 0
    limit: int = 1
    waiting: int = 0
    served: int = 0
    latency_ms: float | None = None
    resting: str | None = None
    back_s: float | None = None
    full: bool = False


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """name: the deployment, None: none can take the request. reason: why, for people. others: the others, each with why not.

    back_s: with no deployment, seconds until the first one takes requests again (None: not known).
    """

    name: str | None
    reason: str
    others: tuple[tuple[str, str], ...] = ()
    back_s: float | None = None


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """A latency that rises at once and sinks slowly. ms at the monotonic moment `at`."""

    ms: float
    at: float


def observed(old: Peak | None, ms: float, now: float) -> Peak:
    """Return the latency after one of `ms`: a slower one counts in full, a faster one the more the longer ago the last is."""
    if old is None or ms >= old.ms:
        return Peak(ms=ms, at=now)
    keep = math.exp(-max(0.0, now - old.at) / PEAK_DECAY_S)
    return Peak(ms=ms + (old.ms - ms) * min(keep, 0.8), at=now)


def choose(
    places: Sequence[Place], policy: Balance, *, tried: frozenset[str] | None = None, prefer: str | None = None
) -> Chosen:
    """Return the deployment to ask: the preferred one where it has room, else the policy's best.

    tried: those that have failed this request. Of places that are all full the best is chosen too: its queue says how full it is.
    prefer: where the conversation's beginning is cached, or None.
    """
    out: list[tuple[str, str]] = []
    open_places: list[Place] = []
    for place in places:
        why = "it has failed this request" if tried and place.name in tried else place.resting
        if why is None:
            open_places.append(place)
        else:
            out.append((place.name, why))
    if not open_places:
        back = [place.back_s for place in places if place.back_s is not None]
        return Chosen(name=None, reason="no deployment can take it", others=tuple(out), back_s=min(back, default=None))
    roomy = [place for place in open_places if not place.full] or open_places
    out += [(place.name, "its queue is full") for place in open_places if place not in roomy]
    for place in roomy:
        if place.name == prefer and place.in_flight < place.limit:
            rest = [(other.name, "the conversation is cached elsewhere") for other in roomy if other is not place]
            return Chosen(name=place.name, reason="the conversation is cached there", others=(*rest, *out))
    best = min(roomy, key=_ranker(roomy, policy))
    rest = [(place.name, _words(place, policy)) for place in roomy if place is not best]
    reason = f"{policy}: {_words(best, policy)}" if len(roomy) > 1 else "the only one that can take it"
    return Chosen(name=best.name, reason=reason, others=(*rest, *out))


def _ranker(places: Sequence[Place], policy: Balance) -> Callable[[Place], tuple[float, float, float]]:
    known = [place.latency_ms for place in places if place.latency_ms is not None]
    usual = sum(known) / len(known) if known else 1.0

    def rank(place: Place) -> tuple[float, float, float]:
        share = place.served / place.weight
        load = (place.in_flight + place.waiting) / place.weight
        if policy == "weighted":
            return (share, load, 0.0)
        if policy == "latency":
            latency_ms = usual if place.latency_ms is None else place.latency_ms
            return (latency_ms * (load + 1.0 / place.weight), load, share)
        return (load, share, 0.0)

    return rank


def _words(place: Place, policy: Balance) -> str:
    busy = f"{place.in_flight} in progress"
    if place.waiting:
        busy += f", {place.waiting} waiting"
    if policy == "weighted":
        return f"{place.served} served at weight {place.weight:g}"
    if policy == "latency":
        return f"{busy}, latency {'unknown' if place.latency_ms is None else f'{place.latency_ms:.0f} ms'}"
    return busy
