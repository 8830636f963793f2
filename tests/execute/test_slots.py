"""Places at a model: never more than the limit, first come first served, none lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.errors import InvariantBroken, LimitExceeded
from prefrontal.execute.slots import Slots


async def settle() -> None:
    """Let every ready task run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_queue_is_served_in_order() -> None:
    """Each release hands the place to the one who has waited longest."""
    slots, served = Slots("m", limit=1, queue=5), []

    async def work(name: int) -> None:
        await slots.take(retry_after_s=1.0)
        served.append(name)

    tasks = [asyncio.create_task(work(name)) for name in range(4)]
    await settle()
    for expected in range(1, 5):
        assert served == list(range(expected))
        slots.release()
        await settle()
    await asyncio.gather(*tasks)
    assert (slots.held, slots.waiting) == (0, 0)


async def test_beyond_the_queue_a_caller_is_told_when_to_come_back() -> None:
    """The error names the model, the bounds and the wait."""
    slots = Slots("m", limit=1, queue=1)
    await slots.take(retry_after_s=1.0)
    waiting = asyncio.create_task(slots.take(retry_after_s=1.0))
    await settle()
    with pytest.raises(LimitExceeded, match="'m' is busy: 1 requests run and 1 wait") as caught:
        await slots.take(retry_after_s=4.0)
    assert caught.value.retry_after_s == 4.0
    bounds = {"dimension": "concurrency", "limit": 1, "queue": 1, "scope": "m"}
    assert caught.value.details == {**bounds, "shed": "full", "priority": "normal"}
    slots.release()
    await waiting


async def test_nobody_overtakes_the_queue() -> None:
    """A place that comes free belongs to who waits, also if somebody asks in the same moment."""
    slots = Slots("m", limit=1, queue=5)
    await slots.take(retry_after_s=1.0)
    waiting = asyncio.create_task(slots.take(retry_after_s=1.0))
    await settle()
    slots.release()
    assert not slots.try_take()
    await waiting


async def test_a_place_handed_to_somebody_who_leaves_is_passed_on() -> None:
    """Release and cancellation in the same moment, in both orders, with another one waiting."""
    for release_first in (True, False):
        slots = Slots("m", limit=1, queue=5)
        await slots.take(retry_after_s=1.0)
        leaving = asyncio.create_task(slots.take(retry_after_s=1.0))
        staying = asyncio.create_task(slots.take(retry_after_s=1.0))
        await settle()
        if release_first:
            slots.release()
            leaving.cancel()
        else:
            leaving.cancel()
            slots.release()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        async with asyncio.timeout(1):
            await staying
        assert (slots.held, slots.waiting) == (1, 0)


async def test_new_bounds_wake_who_fits_now_and_evict_nobody() -> None:
    """A larger limit serves the queue at once, a smaller one waits until enough have gone."""
    slots = Slots("m", limit=1, queue=5)
    tasks = [asyncio.create_task(slots.take(retry_after_s=1.0)) for _ in range(3)]
    await settle()
    assert (slots.held, slots.waiting) == (1, 2)
    slots.resize(limit=3, queue=5)
    await asyncio.gather(*tasks)
    slots.resize(limit=1, queue=0)
    assert slots.held == 3
    slots.release()
    assert not slots.try_take()
    slots.release()
    slots.release()
    assert slots.try_take()


async def test_giving_back_twice_is_a_bug_of_ours() -> None:
    """It would let more in than the limit."""
    slots = Slots("m", limit=1, queue=0)
    assert slots.try_take()
    slots.release()
    with pytest.raises(InvariantBroken):
        slots.release()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 6))
def test_under_any_order_of_takes_cancels_and_releases_the_limit_holds_and_no_place_is_lost(
    seed: int, limit: int, queue: int
) -> None:
    """Random tasks take, work, are cancelled and limits change; in the end every place is free and a newcomer gets one."""

    async def run() -> None:
        chance, slots = random.Random(seed), Slots("m", limit=limit, queue=queue)
        working = most = 0
        largest = limit

        async def work() -> None:
            nonlocal working, most
            await slots.take(retry_after_s=1.0)
            working += 1
            most = max(most, working)
            assert working <= max(slots.limit, largest)
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                working -= 1
                slots.release()

        tasks: list[asyncio.Task[None]] = []
        for _ in range(60):
            action = chance.random()
            if action < 0.55:
                tasks.append(asyncio.create_task(work()))
            elif action < 0.8 and tasks:
                chance.choice(tasks).cancel()
            elif action < 0.85:
                new = chance.randint(1, 3)
                largest = max(largest, new)
                slots.resize(limit=new, queue=queue)
            else:
                await asyncio.sleep(0)
            assert slots.held <= largest
            assert slots.waiting <= queue
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert all(r is None or isinstance(r, LimitExceeded | asyncio.CancelledError) for r in results), results
        assert (slots.held, slots.waiting, working) == (0, 0, 0)
        assert slots.try_take()

    asyncio.run(run())
