"""From an entry about second attempts to what the executor goes by."""

from __future__ import annotations

from prefrontal.config.schema_resilience import HedgeEntry
from prefrontal.contracts.resilience import Hedge


def hedge_of(entry: HedgeEntry | None) -> Hedge | None:
    """Return the same for the executor; None: no second attempts."""
    if entry is None:
        return None
    return Hedge(after_ms=entry.after_ms, quantile=entry.quantile, max_share=entry.max_share, to=entry.to)
