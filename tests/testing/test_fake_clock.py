"""The clock that tests move by hand."""

from __future__ import annotations

import asyncio

import pytest

from prefrontal.clock import Clock
from prefrontal.testing.clock import START_S, FakeClock


async def test_time_stands_still_until_it_is_moved() -> None:
    """Neither reading the clock nor running the loop moves time; advancing moves both readings alike."""
    clock: Clock = FakeClock()
    before = clock.now(), clock.monotonic()
    await clock.sleep(0)
    assert (clock.now(), clock.monotonic()) == before == (START_S, 0.0)
    assert isinstance(clock, FakeClock)
    await clock.advance(2.5)
    assert (clock.now(), clock.monotonic()) == (START_S + 2.5, 2.5)


async def test_sleepers_wake_in_the_order_of_their_moments() -> None:
    """Whoever asked for less wakes first, at exactly the moment asked for, whatever the order of asking."""
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(name, delay)) for name, delay in (("c", 3.0), ("a", 1.0), ("b", 1.0), ("d", 9.0))]
    await clock.advance(5.0)
    assert woken == [("a", 1.0), ("b", 1.0), ("c", 3.0)]
    assert clock.waiting == 1
    await clock.advance(4.0)
    assert woken[-1] == ("d", 9.0)
    await asyncio.gather(*tasks)
    assert clock.slept == [3.0, 1.0, 1.0, 9.0]


async def test_a_sleeper_that_sleeps_again_wakes_twice_in_one_advance() -> None:
    """What a woken task does next happens at its moment, inside the same advance."""
    clock = FakeClock()
    moments: list[float] = []

    async def ticker() -> None:
        while True:
            await clock.sleep(1.0)
            moments.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(3.5)
    task.cancel()
    assert moments == [1.0, 2.0, 3.0]


async def test_timeout_cancels_its_body_and_raises() -> None:
    """A body that is not done at its moment is cancelled, and the caller sees TimeoutError."""
    clock = FakeClock()
    seen: list[str] = []

    async def work() -> None:
        try:
            async with clock.timeout(2.0):
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    seen.append("cancelled")
                    raise
        except TimeoutError:
            seen.append(f"timeout at {clock.monotonic():g}")

    task = asyncio.create_task(work())
    await clock.advance(1.9)
    assert seen == []
    await clock.advance(1.0)
    await task
    assert seen == ["cancelled", "timeout at 2"]


@pytest.mark.parametrize("limit", [None, 5.0])
async def test_timeout_leaves_a_body_alone_that_ends_in_time(limit: float | None) -> None:
    """Nothing fires for a body that is done, also not later."""
    clock = FakeClock()

    async def work() -> str:
        async with clock.timeout(limit):
            await clock.sleep(1.0)
        await clock.sleep(10.0)
        return "done"

    task = asyncio.create_task(work())
    await clock.advance(11.0)
    assert await task == "done"


async def test_the_nearer_of_two_nested_timeouts_fires() -> None:
    """Only the timeout that is due raises; the one around it goes on."""
    clock = FakeClock()

    async def work() -> str:
        async with clock.timeout(5.0):
            try:
                async with clock.timeout(1.0):
                    await clock.sleep(60.0)
            except TimeoutError:
                return f"inner at {clock.monotonic():g}"
        return "never"

    task = asyncio.create_task(work())
    await clock.advance(20.0)
    assert await task == "inner at 1"


async def test_cancelling_from_outside_is_not_a_timeout() -> None:
    """A cancellation by somebody else passes through as it is."""
    clock = FakeClock()

    async def work() -> None:
        async with clock.timeout(5.0):
            await clock.sleep(60.0)

    task = asyncio.create_task(work())
    await clock.sleepers(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.waiting == 0


async def test_auto_jumps_to_the_next_sleeper_when_nothing_else_is_to_do() -> None:
    """Code that only sleeps runs to its end at once, and sees the time it asked for."""
    clock = FakeClock(auto=True)
    order: list[str] = []

    async def work(name: str, delay_s: float) -> float:
        await clock.sleep(delay_s)
        order.append(name)
        await clock.sleep(delay_s)
        return clock.monotonic()

    ended = await asyncio.gather(work("slow", 3600.0), work("quick", 1.0))
    assert ended == [7200.0, 2.0]
    assert order == ["quick", "slow"]


async def test_auto_does_not_jump_for_timeouts_alone() -> None:
    """A timeout around real work does not fire because the loop is idle, but does when a sleeper takes time past it."""
    clock = FakeClock(auto=True)
    work: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.02, work.set_result, "real")
    async with clock.timeout(1.0):
        assert await work == "real"
    assert clock.monotonic() == 0.0
    with pytest.raises(TimeoutError):
        async with clock.timeout(1.0):
            await clock.sleep(2.0)
    assert clock.monotonic() == 1.0


async def test_the_wall_clock_may_jump_and_monotonic_time_does_not() -> None:
    """Setting the wall clock back wakes nobody and changes no duration."""
    clock = FakeClock()
    clock.jump_wall(-3600.0)
    assert (clock.now(), clock.monotonic()) == (START_S - 3600.0, 0.0)
    with pytest.raises(ValueError):
        await clock.advance(-1.0)
