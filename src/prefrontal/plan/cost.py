"""Money: what tokens cost at a time of day. Pure."""

from __future__ import annotations

from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard, Price, PriceWindow

MINUTES_PER_DAY = 1440
MILLION = 1_000_000


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


def rates(card: ModelCard, now_s: float) -> tuple[float | None, float | None]:
    """Return USD per million tokens of plain input and of output at `now_s`; None is unknown.

    What the window leaves out is the base price. A self-hosted model without any price is free.
    """
    base = card.price
    now = window_at(base, now_s) if base.windows else base
    plain = base.input_usd if now.input_usd is None else now.input_usd
    output = base.output_usd if now.output_usd is None else now.output_usd
    if plain is None and output is None and card.self_hosted:
        return 0.0, 0.0
    return plain, output


def cost_usd(card: ModelCard, usage: Usage, now_s: float) -> float | None:
    """Return what `usage` costs on `card` at `now_s`; None when a price it needs, or the usage itself, is unknown.

    Cached input without a price of its own is charged as plain input: never less than the bill may be.
    """
    if usage.source == "unknown":
        return None
    plain, output = rates(card, now_s)
    if plain is None and output is None:
        return None
    counted = [(usage.uncached_input_tokens, plain), (usage.output_tokens, output)]
    if usage.cache_read_tokens or usage.cache_write_tokens:
        base, now = card.price, window_at(card.price, now_s)
        read = _first(now.cache_read_usd, base.cache_read_usd, plain)
        write = _first(now.cache_write_usd, base.cache_write_usd, plain)
        counted += [(usage.cache_read_tokens, read), (usage.cache_write_tokens, write)]
    total = 0.0
    for tokens, per_million in counted:
        if tokens:
            if per_million is None:
                return None
            total += tokens * per_million / MILLION
    return total


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
