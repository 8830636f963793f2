"""The part of the tree that says what several gateways tell each other through Redis or Valkey."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count
from prefrontal.config.schema_resilience import TlsEntry

OnOutage = Literal["local", "open", "closed"]


class Outage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each kind of rate limit does while Redis is away.

    `local` keeps to this gateway's share of the limit, `open` lets everything through, `closed` refuses with 503 what the limit
    applies to.
    """

    requests: Annotated[OnOutage, Meta(description="Limits on requests a window.")] = "local"
    tokens: Annotated[OnOutage, Meta(description="Limits on tokens a window.")] = "local"
    concurrency: Annotated[OnOutage, Meta(description="Limits on requests at once.")] = "local"


class Redis(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis or Valkey, shared by several gateways for rate limits, breakers and sessions; needs the extra `redis`. Read at start.

    Budgets, keys and records stay in the database.
    """

    url: Annotated[
        str | None,
        Meta(
            description="Address, such as `redis://:${REDIS_PASSWORD}@redis.internal:6379/0`; `rediss://` for TLS, `unix://` for "
            "a socket. Left out: each gateway counts for itself."
        ),
    ] = None
    prefix: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_.\-]{1,64}$",
            description="Begins every key: gateways with the same prefix act as one, installations on one server have their own.",
        ),
    ] = "prefrontal"
    timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=5,
            description="Longest a request waits for an answer, s; later Redis counts as away. Assumed: 0.05, a hundred times "
            "what one on the same network takes.",
        ),
    ] = 0.05
    replicas: Annotated[
        Count, Meta(description="Gateways that share this prefix, not counting worker processes: the divisor of `local`.")
    ] = 1
    on_outage: Annotated[Outage, Meta(description="What rate limits do while Redis is away.")] = Outage()
    tls: Annotated[TlsEntry, Meta(description="How the certificate of a `rediss://` address is checked.")] = TlsEntry()
