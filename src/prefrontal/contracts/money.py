"""Budgets, rate limits and who pays: what the ledger, the planner and the edge tell each other about money.

Money is counted in whole picodollars (10⁻¹² USD): a price with up to six decimals per million tokens is a whole number of them
per token, so sums are exact whatever their order.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage

PICO = 10**12
"""Picodollars in a dollar."""

Scope = Literal["global", "key", "team", "tag", "model", "role"]
Window = Literal["minute", "hour", "day", "week", "month", "total"]
RateWindow = Literal["second", "minute", "hour"]
OnExhaustion = Literal["deny", "degrade"]
UnknownPrice = Literal["deny", "count_zero"]

EACH = "*"
"""A rule `of` this holds for each member of its scope by itself."""


def to_pico(usd: float) -> int:
    """Return an amount in picodollars."""
    return round(usd * PICO)


def to_usd(pico: int) -> float:
    """Return an amount in dollars."""
    return pico / PICO


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent in a window: `limit_pico` picodollars, `limit_tokens` tokens, or both.

    name: how messages call it. of: which member of the scope; ``*`` each by itself. unknown_price: what a call of a model
    without a known price means to `limit_pico`: it is refused, or counts nothing and is marked.
    """

    name: str
    scope: Scope
    of: str = EACH
    window: Window
    limit_pico: int | None = None
    limit_tokens: int | None = None
    on_exhaustion: OnExhaustion = "deny"
    unknown_price: UnknownPrice = "deny"


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How much may happen in any stretch as long as `window`, and how many requests at once. None: no bound."""

    name: str
    scope: Scope
    of: str = EACH
    window: RateWindow = "minute"
    requests: int | None = None
    tokens: int | None = None
    concurrency: int | None = None


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who a request is charged to. `budgets` and `rates` are the key's own, in addition to the configured ones."""

    key_id: str | None = None
    key_name: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()


NOBODY = Payer()


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as the ledger's books know it. `cost_pico` None: the price is unknown.

    state: ``held`` before the call (usage and cost are the estimate), ``settled`` after it. at_s: Unix time of the reservation,
    which decides the window it counts in. expires_s: a held one older than this belongs to nobody any more.
    """

    id: str
    at_s: float
    state: Literal["held", "settled"] = "settled"
    expires_s: float | None = None
    key_id: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
    model: str
    outcome: str = "ok"
    usage: Usage = UNKNOWN_USAGE
    cost_pico: int | None = None


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What budgets leave for one call of one model; None is no bound. `budget` names the tightest.

    unknown_price: False when a budget refuses models whose price nobody knows.
    """

    budget: str
    left_pico: int | None = None
    left_tokens: int | None = None
    unknown_price: bool = True


class Degraded(msgspec.Struct, frozen=True, kw_only=True):
    """A budget made the gateway choose another model than it would have: which budget, instead of which model."""

    budget: str
    instead_of: str
