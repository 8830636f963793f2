"""What each model costs and who says so: the price list, for HTTP and the command line."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.config.registry import Registry
from prefrontal.contracts.model import ModelCard, Origin, PriceWindow
from prefrontal.errors import UnknownModel
from prefrontal.plan.cost import MINUTES_PER_DAY, rates, window_at

PriceSource = Literal["config", "catalogue", "self_hosted", "unknown"]


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """Prices at a time of day, UTC ``HH:MM``; `start` later than `end` is over midnight. What is null is the base price."""

    start: str
    end: str
    input_usd: float | None = None
    output_usd: float | None = None
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs, USD per million tokens; null is unknown, which is not 0.

    source: the configuration, the catalogue that ships with Prefrontal (then `date` says as of when), `self_hosted` (no money
    changes hands), or `unknown`. deployment: a price of its own place. now_*: what plain input and output cost at this moment.
    """

    model: str
    deployment: str | None
    source: PriceSource
    date: str | None
    input_usd: float | None
    output_usd: float | None
    cache_read_usd: float | None
    cache_write_usd: float | None
    now_input_usd: float | None
    now_output_usd: float | None
    in_window: bool
    windows: tuple[Hours, ...] = ()


def price_list(registry: Registry, now_s: float, model: str | None = None) -> list[PriceLine]:
    """Return the prices of all enabled models, or of one; of each deployment where they differ. Raises UnknownModel."""
    if model is not None and not any(card.id == model for card in registry.enabled):
        raise UnknownModel(f"There is no model '{model}' here.", param="model")
    lines: list[PriceLine] = []
    for card in registry.enabled:
        if model not in (None, card.id):
            continue
        places = card.deployments if any(place.price != card.price for place in card.deployments) else (card,)
        lines += [_line(place, now_s) for place in places]
    return lines


def _line(card: ModelCard, now_s: float) -> PriceLine:
    price = card.price
    plain, output = rates(card, now_s)
    return PriceLine(
        model=card.id,
        deployment=card.deployment,
        source=_source(card, price.origin, unknown=plain is None and output is None),
        date=price.date if price.origin == "facts" else None,
        input_usd=price.input_usd,
        output_usd=price.output_usd,
        cache_read_usd=price.cache_read_usd,
        cache_write_usd=price.cache_write_usd,
        now_input_usd=plain,
        now_output_usd=output,
        in_window=window_at(price, now_s) is not price,
        windows=tuple([_hours(window) for window in price.windows]),
    )


def _source(card: ModelCard, origin: Origin, *, unknown: bool) -> PriceSource:
    if unknown:
        return "unknown"
    if origin == "facts":
        return "catalogue"
    return "self_hosted" if card.self_hosted and origin == "assumed" else "config"


def _hours(window: PriceWindow) -> Hours:
    amounts = {name: getattr(window, name) for name in ("input_usd", "output_usd", "cache_read_usd", "cache_write_usd")}
    return Hours(start=_clock(window.start_minute), end=_clock(window.end_minute), **amounts)


def _clock(minute: int) -> str:
    return "24:00" if minute == MINUTES_PER_DAY else f"{minute // 60:02d}:{minute % 60:02d}"
