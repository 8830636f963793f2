"""Money: what tokens cost at a time of day. Pure."""

from __future__ import annotations

from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard, Price, PriceWindow

MINUTES_PER_DAY = 1440


def window_at(price: Price, now_s: float) -> Price | PriceWindow:
    """Return the window that covers Unix time `now_s` (UTC), or the price itself; the first match wins."""
    if not price.windows:
        return price
    minute = int(now_s // 60) % MINUTES_PER_DAY
    for window in price.windows:
        if window.start_minute <= window.end_minute:
            inside = window.start_minute <= minute < window.end_minute
        else:
            inside = minute >= window.start_minute or minute < window.end_minute
        if inside:
            return window
    return price


def cost_usd(card: ModelCard, usage: Usage, now_s: float) -> float | None:
    """Return what `usage` costs, or None when a price it needs is unknown.

    A self-hosted model without a price costs 0. Cached input without a price of its own is charged as plain input: never less
    than the bill may be. Unknown usage has no cost.
    """
    if usage.source == "unknown":
        return None
    base = card.price
    price = window_at(base, now_s)
    if price.input_usd is None and price.output_usd is None and base.input_usd is None and base.output_usd is None:
        return 0.0 if card.self_hosted else None
    plain = price.input_usd if price.input_usd is not None else base.input_usd
    output = price.output_usd if price.output_usd is not None else base.output_usd
    read = _first(price.cache_read_usd, base.cache_read_usd, plain)
    write = _first(price.cache_write_usd, base.cache_write_usd, plain)
    total = 0.0
    for tokens, per_million in (
        (usage.uncached_input_tokens, plain),
        (usage.cache_read_tokens, read),
        (usage.cache_write_tokens, write),
        (usage.output_tokens, output),
    ):
        if tokens:
            if per_million is None:
                return None
            total += tokens * per_million / 1_000_000
    return total


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
