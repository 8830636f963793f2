"""The injected clock and chance."""

from __future__ import annotations

import asyncio
import time

import pytest

from prefrontal import clock as clocks
from prefrontal.clock import Chance, SystemClock


@pytest.fixture(params=[False, True], ids=["precise", "coarse"])
def coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with loop timers, and with the wheel for every delay."""
    if request.param:
        monkeypatch.setattr(clocks, "COARSE_FROM_S", 0.0)
        monkeypatch.setattr(clocks, "COARSE_S", 0.02)
    return bool(request.param)


@pytest.mark.usefixtures("coarse")
async def test_timeout_fires_after_its_delay_and_raises_timeout_error() -> None:
    """The body is cancelled no sooner than the delay and the block raises TimeoutError."""
    clock = SystemClock()
    before = time.monotonic()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.05):
            await asyncio.sleep(5)
    assert 0.045 <= time.monotonic() - before < 1.0


@pytest.mark.usefixtures("coarse")
async def test_timeout_leaves_a_body_that_ends_in_time_alone() -> None:
    """Nothing is cancelled later by a timeout whose block was left."""
    clock = SystemClock()
    async with clock.timeout(0.03):
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)


@pytest.mark.usefixtures("coarse")
async def test_cancellation_from_outside_is_not_turned_into_a_timeout() -> None:
    """Who cancels the task sees CancelledError."""
    clock = SystemClock()

    async def body() -> None:
        async with clock.timeout(10):
            await asyncio.sleep(10)

    task = asyncio.create_task(body())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.usefixtures("coarse")
async def test_nested_timeouts_blame_the_one_that_fired() -> None:
    """The inner timeout fires; the outer block goes on."""
    clock = SystemClock()
    async with clock.timeout(5):
        with pytest.raises(TimeoutError):
            async with clock.timeout(0.02):
                await asyncio.sleep(1)
        await asyncio.sleep(0)


async def test_no_delay_never_fires() -> None:
    """None means no timeout."""
    async with SystemClock().timeout(None):
        await asyncio.sleep(0.01)


def test_identifiers_sort_by_time_and_do_not_repeat() -> None:
    """Ids of later moments sort after earlier ones."""
    chance = Chance(1)
    ids = [chance.identifier("req_", 1_700_000_000 + step / 1000) for step in range(500)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 500
    assert all(len(i) == 30 for i in ids)


def test_a_seed_repeats_the_sequence() -> None:
    """Equal seeds give equal draws, other seeds other ones."""
    assert [Chance(7).random() for _ in range(3)] == [Chance(7).random() for _ in range(3)]
    assert Chance(7).random() != Chance(8).random()
