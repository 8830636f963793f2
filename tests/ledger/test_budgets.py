"""Windows, the arithmetic of budgets, and sliding sums: pure functions against values counted by hand."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.contracts.money import Allowance, Budget, Window
from prefrontal.ledger.budgets import allowance, fits, shortfall
from prefrontal.ledger.rates import SLOTS, Sliding
from prefrontal.ledger.windows import window_end, window_start


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        ("minute", "2024-02-29T23:59:00", "2024-03-01T00:00:00"),
        ("hour", "2024-02-29T23:00:00", "2024-03-01T00:00:00"),
        ("day", "2024-02-29T00:00:00", "2024-03-01T00:00:00"),
        ("week", "2024-02-26T00:00:00", "2024-03-04T00:00:00"),
        ("month", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
    ],
)
def test_windows_are_those_of_the_calendar(window: Window, start: str, end: str) -> None:
    """A leap day's last second lies in the windows a calendar shows; a week begins on Monday."""
    now = at("2024-02-29T23:59:59")
    assert window_start(window, now) == at(start)
    assert window_end(window, at(start)) == at(end)


def test_a_december_ends_in_january_and_a_total_never() -> None:
    """The month after December is in the next year; ``total`` has one window."""
    assert window_end("month", at("2024-12-01T00:00:00")) == at("2025-01-01T00:00:00")
    assert (window_start("total", at("2024-12-01T00:00:00")), window_end("total", 0.0)) == (0.0, None)


@given(now=st.floats(0, 4e9), window=st.sampled_from(["minute", "hour", "day", "week", "month"]))
def test_every_moment_lies_in_its_window(now: float, window: Window) -> None:
    """A window holds the moment it was asked for, and its end begins the next one."""
    start = window_start(window, now)
    end = window_end(window, start)
    assert end is not None
    assert start <= now < end
    assert window_start(window, end) == end


def budget(**fields: Any) -> Budget:
    return Budget(**{"name": "b", "scope": "global", "window": "day", **fields})


@pytest.mark.parametrize(
    ("fields", "used", "call", "expected"),
    [
        ({"limit_pico": 100}, (60, 0), (40, 9), None),
        ({"limit_pico": 100}, (60, 0), (41, 9), "budget_usd"),
        ({"limit_pico": 100}, (500, 0), (0, 9), None),  # what is free always fits
        ({"limit_pico": 100}, (0, 0), (None, 9), "unknown_price"),
        ({"limit_pico": 100, "unknown_price": "count_zero"}, (0, 0), (None, 9), None),
        ({"limit_tokens": 10}, (0, 4), (None, 6), None),
        ({"limit_tokens": 10}, (0, 4), (0, 7), "budget_tokens"),
        ({"limit_tokens": 10, "limit_pico": 100}, (0, 0), (101, 1), "budget_usd"),
    ],
)
def test_a_call_fits_exactly_up_to_the_limit(
    fields: dict[str, Any], used: tuple[int, int], call: tuple[int | None, int], expected: str | None
) -> None:
    """The last picodollar and the last token may be used, the next may not; an unknown price follows the budget's policy."""
    assert shortfall(budget(**fields), *used, pico=call[0], tokens=call[1]) == expected


def test_the_tightest_budget_is_what_is_left() -> None:
    """Of several budgets the smallest remainder holds in each unit, and one that refuses unknown prices refuses them for all."""
    found = allowance(
        [
            (budget(name="wide", limit_pico=1000, unknown_price="count_zero"), 100, 0),
            (budget(name="tight", limit_pico=500, limit_tokens=50), 450, 10),
        ]
    )
    assert found == Allowance(budget="tight", left_pico=50, left_tokens=40, unknown_price=False)
    assert allowance([]) is None
    assert fits(found, pico=50, tokens=40)
    assert not fits(found, pico=51, tokens=1)
    assert not fits(found, pico=0, tokens=41)
    assert not fits(found, pico=None, tokens=1)


@given(events=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=60))
def test_a_sliding_sum_never_forgets_early_and_forgets_within_a_slot(events: list[tuple[float, int]]) -> None:
    """At each moment the sum is at least that of the last window, and at most that of a window and two slots."""
    sliding, seen, now = Sliding(60.0), deque[tuple[float, int]](), 0.0
    for delay, amount in events:
        now += delay
        sliding.add(now, amount)
        seen.append((now, amount))
        total = sliding.total(now)
        assert total >= sum(a for t, a in seen if t > now - 60.0)
        assert total <= sum(a for t, a in seen if t >= now - 60.0 - 2 * 60.0 / SLOTS)
    assert len(sliding._slots) <= SLOTS + 1


def test_a_sliding_sum_tells_when_there_is_room() -> None:
    """After the wait it names the amount fits; what is above the limit never does."""
    sliding = Sliding(60.0)
    for now in (0.0, 10.0, 20.0):
        sliding.add(now, 3)
    assert sliding.wait_s(20.0, 1, 10) == 0.0
    wait = sliding.wait_s(20.0, 4, 10)
    assert wait is not None
    assert sliding.total(20.0 + wait - 1.1) + 4 > 10
    assert sliding.total(20.0 + wait) + 4 <= 10
    assert sliding.wait_s(20.0, 11, 10) is None


def test_an_amended_slot_counts_as_it_is_now() -> None:
    """A correction changes the sum until the slot is forgotten, and nothing after that."""
    sliding = Sliding(60.0)
    slot = sliding.add(0.0, 100)
    sliding.amend(slot, -90)
    assert [sliding.total(now) for now in (0.0, 59.0, 62.0)] == [10, 10, 0]
    sliding.amend(slot, 5)
    assert sliding.total(62.0) == 0
