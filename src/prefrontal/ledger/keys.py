"""Virtual keys: what is stored of one, and how one is found again. Only the hash of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec

from prefrontal.contracts.access import Grant
from prefrontal.contracts.money import Budget, Payer, Rate, to_usd
from prefrontal.contracts.resilience import Priority

PREFIX = "sk-pf-"
"""What every virtual key begins with, so that people and scanners for leaked secrets know it."""

SHOWN_LAST = 4
"""Characters of a secret that may be shown to tell keys apart (of 43, the other 39 hold 234 bits)."""


class VirtualKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key as stored. Times are Unix seconds. `hash` is the SHA-256 of the secret in hex; `shown` is safe to print.

    models, tools: the only ones that exist for it; None: all. engrams: those it may search; "*" stands for all.
    """

    id: str
    name: str
    hash: str
    shown: str
    created_s: float
    team: str | None = None
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    tools: tuple[str, ...] | None = None
    engrams: tuple[str, ...] = ()
    channel: str | None = None
    store_content: bool = True
    data_class: str | None = None
    priority: Priority = "normal"
    cache: bool | None = None
    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()
    expires_s: float | None = None
    revoked_s: float | None = None

    def refusal(self, now_s: float) -> str | None:
        """Return why the key is refused at Unix time `now_s`, or None."""
        if self.revoked_s is not None:
            return "The API key was revoked."
        if self.expires_s is not None and now_s >= self.expires_s:
            return "The API key has expired."
        return None

    def grant(self) -> Grant:
        """Return what the key opens."""
        payer = Payer(key_id=self.id, key_name=self.name, team=self.team, tags=self.tags, budgets=self.budgets, rates=self.rates)
        return Grant(
            payer=payer,
            models=None if self.models is None else frozenset(self.models),
            tools=None if self.tools is None else frozenset(self.tools),
            engrams=frozenset(self.engrams),
            channel=self.channel,
            store_content=self.store_content,
            data_class=self.data_class,
            priority=self.priority,
            cache=self.cache,
        )

    def public(self) -> dict[str, Any]:
        """Return the key for people: everything but the hash, amounts in USD."""
        shown: dict[str, Any] = msgspec.to_builtins(self)
        del shown["hash"]
        shown["budgets"] = [
            {
                "window": budget.window,
                "usd": None if budget.limit_pico is None else to_usd(budget.limit_pico),
                "tokens": budget.limit_tokens,
                "on_exhaustion": budget.on_exhaustion,
                "unknown_price": budget.unknown_price,
            }
            for budget in self.budgets
        ]
        bounds = ("window", "requests", "tokens", "concurrency")
        shown["rates"] = [{name: getattr(rate, name) for name in bounds} for rate in self.rates]
        return shown

    def is_secret(self, digest: bytes) -> bool:
        """Return whether `digest` is of this key's secret, in constant time."""
        return hmac.compare_digest(bytes.fromhex(self.hash), digest)


def digest_of(secret: str) -> bytes:
    """Return what is stored of a secret. A secret of 256 random bits needs no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def shown_of(secret: str) -> str:
    """Return how a secret is shown after it was shown once."""
    return f"{PREFIX}…{secret[-SHOWN_LAST:]}"
