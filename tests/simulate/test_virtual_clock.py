"""Virtual time: it passes while somebody waits for it, in order, and costs none of ours."""

from __future__ import annotations

import asyncio

import pytest

from prefrontal.simulate.virtual import VirtualClock


async def test_time_jumps_to_who_wakes_next() -> None:
    """Sleepers wake at their moments, in order, and the clock stands where the last one woke."""
    clock = VirtualClock(1000.0)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((name, clock.now()))

    async def all_of_them() -> None:
        await asyncio.gather(sleeper("late", 3600), sleeper("soon", 2), sleeper("now", 0))

    await clock.run(all_of_them())
    assert woken == [("now", 1000.0), ("soon", 1002.0), ("late", 4600.0)]
    assert clock.monotonic() == 3600.0


async def test_a_timeout_fires_in_virtual_time() -> None:
    """What takes longer than its timeout is cancelled at the timeout's moment, and what is faster is not."""
    clock = VirtualClock(0.0)

    async def slow() -> str:
        with pytest.raises(TimeoutError):
            async with clock.timeout(5):
                await clock.sleep(60)
        async with clock.timeout(5):
            await clock.sleep(1)
        return "done"

    assert await clock.run(slow()) == "done"
    assert clock.monotonic() == 6.0


async def test_moving_wakes_the_background_once() -> None:
    """A loop in the background that would have woken a hundred times on the way wakes once."""
    clock = VirtualClock(0.0)
    beats: list[float] = []

    async def heart() -> None:
        while True:
            await clock.sleep(10)
            beats.append(clock.monotonic())

    task = asyncio.create_task(heart())
    await asyncio.sleep(0)
    clock.move_to(1000.0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert beats == [1000.0]
    clock.move_to(500.0)
    assert clock.monotonic() == 1000.0
    task.cancel()


async def test_what_waits_for_a_thread_is_waited_for() -> None:
    """Work that no virtual moment wakes, a thread's, is given real time; the clock does not move."""
    clock = VirtualClock(0.0)
    assert await clock.run(asyncio.to_thread(lambda: 42)) == 42
    assert clock.monotonic() == 0.0


async def test_an_error_comes_through_and_a_cancelled_run_cancels() -> None:
    """What the work raises is raised."""
    clock = VirtualClock(0.0)

    async def failing() -> None:
        await clock.sleep(1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await clock.run(failing())
