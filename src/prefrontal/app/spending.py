"""What models found only by their key have cost today, by the records of all processes."""

from __future__ import annotations

from prefrontal.config.registry import Registry
from prefrontal.execute.meter import SECONDS_PER_DAY
from prefrontal.ledger.store import Ledger


async def spent_today(ledger: Ledger, registry: Registry, now_s: float) -> float:
    """Return what models found by their key have cost since midnight UTC, in USD. Raises StoreError."""
    midnight_s = now_s // SECONDS_PER_DAY * SECONDS_PER_DAY
    metered = frozenset(c.id for c in registry.cards.values() if c.origin == "discovered" and not c.self_hosted)
    return await ledger.spend_usd(midnight_s, metered) if metered else 0.0
