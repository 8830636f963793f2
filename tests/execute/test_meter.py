"""The daily spend of models found only by their key."""

from __future__ import annotations

from prefrontal.execute.meter import SECONDS_PER_DAY, SpendMeter

NOON = 20_000.5 * SECONDS_PER_DAY
DAY = float(SECONDS_PER_DAY)


def test_the_limit_is_reached_and_gone_the_next_day() -> None:
    """Costs add up until midnight UTC."""
    meter = SpendMeter(1.0)
    meter.add(0.6, NOON)
    assert not meter.exhausted(NOON)
    meter.add(0.4, NOON + 1)
    assert meter.exhausted(NOON + DAY / 2 - 1)
    assert not meter.exhausted(NOON + DAY / 2)
    assert meter.spent_usd(NOON + DAY / 2) == 0.0


def test_a_limit_of_nothing_is_always_reached() -> None:
    """0 means: not without a file that names them."""
    assert SpendMeter(0.0).exhausted(NOON)


def test_what_was_spent_before_the_start_counts_and_is_not_forgotten() -> None:
    """A seed that comes late does not lower what was added since."""
    meter = SpendMeter(1.0)
    meter.seed(0.9, NOON)
    meter.add(0.2, NOON)
    assert meter.exhausted(NOON)
    meter.seed(0.3, NOON)
    assert meter.exhausted(NOON)


def test_a_request_that_began_yesterday_counts_today_and_erases_nothing() -> None:
    """Settled after midnight with its start before it, it must not reset the new day."""
    meter = SpendMeter(1.0)
    meter.add(0.9, NOON)
    meter.add(0.2, NOON - DAY)
    assert meter.exhausted(NOON)


def test_a_clock_set_right_does_not_block_for_ever() -> None:
    """More than a day back is a correction of the clock, not a late request."""
    meter = SpendMeter(1.0)
    meter.add(5.0, NOON + 400 * DAY)
    assert not meter.exhausted(NOON)


def test_a_changed_limit_holds_at_once() -> None:
    """A reload may raise it."""
    meter = SpendMeter(1.0)
    meter.add(1.5, NOON)
    meter.limit_usd = 2.0
    assert not meter.exhausted(NOON)
