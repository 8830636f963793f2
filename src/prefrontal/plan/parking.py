"""How long a key or a deployment is left alone after its upstream refused it. Pure.

auth   the key is not accepted            until the configuration is read again
quota  the account behind the key is empty until its reset, else `QUOTA_S`
rate   too many requests in too short a time until retry-after, else `RATE_S`
paced  the upstream's headers say that nothing is left: left alone before it has to refuse
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from prefrontal.errors import PrefrontalError, ProviderAuthFailed, ProviderQuotaExhausted, ProviderRateLimited
from prefrontal.providers.backoff import duration_s

QUOTA_S = 300.0
"""Rest of an empty account whose provider names no reset (assumed: people top accounts up within minutes, not seconds)."""

RATE_S = 5.0
"""Rest after a rate limit without retry-after (assumed)."""

LONGEST_S = 3600.0
"""Longest rest that an upstream's word can cause (assumed): a wrong header must not take a key out for a month."""

FORBIDDEN = 403

Why = Literal["auth", "quota", "rate", "paced"]

WORDS: dict[Why, str] = {
    "auth": "its key is refused",
    "quota": "its account is empty",
    "rate": "its rate limit is reached",
    "paced": "its rate limit is used up",
}


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """why, until which monotonic moment (None: until the configuration is read again), and whether the whole key is meant."""

    why: Why
    until: float | None
    whole_key: bool = False

    def holds(self, now: float) -> bool:
        """Return whether it still rests."""
        return self.until is None or now < self.until

    def back_s(self, now: float) -> float | None:
        """Return seconds until it is back; None: when the configuration is read again."""
        return None if self.until is None else max(0.0, self.until - now)

    def words(self, now: float) -> str:
        """Return the reason for people."""
        back = self.back_s(now)
        return f"{WORDS[self.why]}, back {'after a reload' if back is None else f'in {max(1.0, back):.0f} s'}"


def parked_by(error: PrefrontalError, now: float) -> Parked | None:
    """Return for how long the deployment, or its key everywhere, rests after `error`; None: it does not.

    A key that is refused one model (403) may be good for others, and rate limits are counted by model, so these rest the
    deployment alone.
    """
    asked = None if error.retry_after_s is None else min(error.retry_after_s, LONGEST_S)
    if isinstance(error, ProviderAuthFailed):
        return Parked(why="auth", until=None, whole_key=error.upstream_status != FORBIDDEN)
    if isinstance(error, ProviderQuotaExhausted):
        return Parked(why="quota", until=now + (QUOTA_S if asked is None else asked), whole_key=True)
    if isinstance(error, ProviderRateLimited):
        return Parked(why="rate", until=now + (RATE_S if asked is None else asked))
    return None


def paced_by(headers: Mapping[str, str], prefix: str, now: float) -> Parked | None:
    """Return the rest that a good answer's headers ask for: nothing is left until the reset they name; None: something is.

    prefix: ``x-ratelimit`` (``x-ratelimit-remaining-requests``, resets as durations) or ``anthropic-ratelimit``
    (``anthropic-ratelimit-requests-remaining``; its resets are times of day, so `RATE_S` is taken instead).
    """
    for kind in ("requests", "tokens"):
        name = f"{prefix}-remaining-{kind}" if prefix == "x-ratelimit" else f"{prefix}-{kind}-remaining"
        if headers.get(name) == "0":
            wait = duration_s(headers.get(f"{prefix}-reset-{kind}", ""))
            return Parked(why="paced", until=now + min(RATE_S if wait is None else wait, LONGEST_S))
    return None
