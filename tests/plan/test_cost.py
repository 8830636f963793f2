"""What tokens cost, also at times of day."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.contracts.model import ModelCard, Price, PriceWindow
from prefrontal.plan.cost import cost_usd, rates, window_at

Card = Callable[..., ModelCard]

HOUR = 3600.0
NIGHT = PriceWindow(start_minute=22 * 60, end_minute=6 * 60, input_usd=1.0)
NOON = PriceWindow(start_minute=12 * 60, end_minute=13 * 60, output_usd=9.0)
PRICE = Price(input_usd=4.0, output_usd=8.0, windows=(NIGHT, NOON))


@pytest.mark.parametrize(
    ("hour", "window"),
    [(0, NIGHT), (5.99, NIGHT), (6, None), (11.99, None), (12, NOON), (12.99, NOON), (13, None), (21.99, None), (22, NIGHT)],
)
def test_a_window_holds_from_its_start_to_before_its_end_also_over_midnight(hour: float, window: PriceWindow | None) -> None:
    """Minutes are of the UTC day, whichever day it is."""
    for day in (0, 20_000):
        found = window_at(PRICE, day * 24 * HOUR + hour * HOUR)
        assert found is (PRICE if window is None else window)


def test_what_a_window_leaves_out_costs_the_base_price(card: Card) -> None:
    """A window with only an input price keeps the base output price, and the other way round."""
    model = card("a", price=PRICE)
    assert rates(model, 0.0) == (1.0, 8.0)
    assert rates(model, 12 * HOUR) == (4.0, 9.0)
    assert rates(model, 15 * HOUR) == (4.0, 8.0)


def test_each_operation_has_its_price(card: Card) -> None:
    """Plain input, cache reads, cache writes and output are charged apart."""
    model = card("a", price=Price(input_usd=1.0, output_usd=2.0, cache_read_usd=0.1, cache_write_usd=1.25))
    usage = Usage(
        uncached_input_tokens=1_000_000, cache_read_tokens=1_000_000, cache_write_tokens=1_000_000, output_tokens=1_000_000,
        source="reported",
    )  # fmt: skip
    assert cost_usd(model, usage, 0.0) == pytest.approx(1.0 + 0.1 + 1.25 + 2.0)


def test_cached_input_without_its_own_price_costs_as_plain_input(card: Card) -> None:
    """Never less than the bill may be."""
    model = card("a", price=Price(input_usd=3.0, output_usd=0.0))
    assert cost_usd(model, Usage(cache_read_tokens=1_000_000, source="reported"), 0.0) == pytest.approx(3.0)


def test_unknown_is_not_free(card: Card) -> None:
    """No price, half a price that is needed, and unknown usage have no cost; self-hosted without a price costs nothing."""
    usage = Usage(uncached_input_tokens=10, output_tokens=10, source="estimated")
    assert cost_usd(card("a"), usage, 0.0) is None
    assert cost_usd(card("a", price=Price(input_usd=1.0)), usage, 0.0) is None
    assert cost_usd(card("a", usd=1.0), Usage(), 0.0) is None
    assert cost_usd(card("a", self_hosted=True), usage, 0.0) == 0.0
    assert cost_usd(card("a", price=Price(input_usd=1.0)), Usage(uncached_input_tokens=10, source="reported"), 0.0) == 1e-5
