"""Waiting in turns: keys, priorities, displacement, and a queue that stands too long."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from prefrontal.config.schema_resilience import Shedding
from prefrontal.config.schema_service import Limits
from prefrontal.contracts.resilience import PRIORITIES, Priority
from prefrontal.errors import LimitExceeded, Overloaded, PrefrontalError, ProviderTimeout
from prefrontal.execute.door import Door
from prefrontal.execute.slots import Slots
from prefrontal.plan.shedding import CALM, Congestion, displaced
from prefrontal.testing.clock import FakeClock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Queue:
    """Slots, and those who wait for them, by name."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.served: list[str] = []
        self.refused: dict[str, PrefrontalError] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def join(self, name: str, who: str = "k", priority: Priority = "normal") -> None:
        async def wait() -> None:
            try:
                await self.slots.take(retry_after_s=1.0, who=who, priority=priority)
            except PrefrontalError as error:
                self.refused[name] = error
                return
            self.served.append(name)

        self.tasks[name] = asyncio.create_task(wait())
        await settle()

    async def drain(self) -> list[str]:
        """Serve one after another until nobody waits; return who was served."""
        while self.slots.held:
            self.slots.release()
            await settle()
        await asyncio.gather(*self.tasks.values())
        return self.served


async def test_keys_take_turns() -> None:
    """One key's ten requests do not stand before another's first."""
    queue = Queue(Slots("m", limit=1, queue=50))
    await queue.join("busy")
    for number in range(4):
        await queue.join(f"a{number}", "a")
    await queue.join("b0", "b")
    await queue.join("c0", "c")
    await queue.join("b1", "b")
    assert await queue.drain() == ["busy", "a0", "b0", "c0", "a1", "b1", "a2", "a3"]


async def test_a_higher_priority_goes_first() -> None:
    """Whatever came before it."""
    queue = Queue(Slots("m", limit=1, queue=50))
    await queue.join("busy")
    for name, priority in (("l", "low"), ("n", "normal"), ("h", "high")):
        await queue.join(name, name, priority)  # type: ignore[arg-type]  # the words are priorities
    assert await queue.drain() == ["busy", "h", "n", "l"]


async def test_shares_of_a_saturated_model_are_equal_whatever_the_keys_send() -> None:
    """A key that keeps fifty waiting and one that keeps five get as much while both wait."""
    queue = Queue(Slots("m", limit=1, queue=100))
    await queue.join("busy")
    for number in range(50):
        await queue.join(f"flood{number}", "flood")
    for number in range(5):
        await queue.join(f"quiet{number}", "quiet")
    served = await queue.drain()
    assert Counter(name.rstrip("0123456789") for name in served[1:11]) == {"flood": 5, "quiet": 5}


async def test_in_a_full_queue_the_flooding_key_makes_room() -> None:
    """Its latest request is refused, and says why; its earlier ones stay."""
    queue = Queue(Slots("m", limit=1, queue=3))
    await queue.join("busy")
    for number in range(3):
        await queue.join(f"flood{number}", "flood")
    await queue.join("quiet0", "quiet")
    assert list(queue.refused) == ["flood2"]
    assert queue.refused["flood2"].details["shed"] == "displaced"
    await queue.join("flood3", "flood")
    assert queue.refused["flood3"].details["shed"] == "full"
    assert await queue.drain() == ["busy", "flood0", "quiet0", "flood1"]


async def test_in_a_full_queue_the_lowest_priority_makes_room() -> None:
    """Also of a key with one request only; nobody makes room for somebody who matters less."""
    queue = Queue(Slots("m", limit=1, queue=2))
    await queue.join("busy")
    await queue.join("l", "a", "low")
    await queue.join("h", "b", "high")
    await queue.join("n", "c", "normal")
    await queue.join("l2", "d", "low")
    assert {name: error.details["shed"] for name, error in queue.refused.items()} == {"l": "displaced", "l2": "full"}
    assert isinstance(queue.refused["l"], LimitExceeded)
    assert await queue.drain() == ["busy", "h", "n"]


def test_displacement_is_a_function_of_who_waits() -> None:
    """Equal keys do not push each other out one by one."""
    assert displaced({"normal": {"a": [1, 2], "b": [1]}}, "b", "normal") is None
    assert displaced({"normal": {"a": [1, 2, 3], "b": [1]}}, "b", "normal") == ("normal", "a")
    assert displaced({"normal": {"a": [1, 2, 3]}, "low": {"c": [1]}}, "b", "normal") == ("low", "c")
    assert displaced({"high": {"a": [1, 2, 3]}}, "b", "normal") is None


async def test_who_leaves_the_queue_is_passed_over() -> None:
    """A client that gave up costs nobody a slot."""
    queue = Queue(Slots("m", limit=1, queue=5))
    await queue.join("busy")
    await queue.join("gone", "a")
    await queue.join("next", "b")
    queue.tasks.pop("gone").cancel()
    await settle()
    assert queue.slots.waiting == 1
    assert await queue.drain() == ["busy", "next"]


def test_a_queue_that_never_drains_is_congested_and_a_burst_is_not() -> None:
    """One short wait is enough to call it a burst."""
    state: Congestion = CALM
    for now in range(10):
        state = state.after(3.0, float(now), 1.0)
    assert state.lasts(9.0, 5.0)
    assert not state.lasts(4.0, 5.0)
    assert state.after(0.5, 10.0, 1.0) == CALM


async def test_low_priority_is_refused_once_everybody_has_waited_too_long() -> None:
    """Normal requests go on waiting; when the queue has drained, low ones are let in again."""
    clock = FakeClock()
    slots = Slots("m", limit=1, queue=50, clock=clock)
    slots.shedding = Shedding(target_s=1.0, interval_s=5.0)
    queue = Queue(slots)
    await queue.join("busy")
    await queue.join("n1", "a")
    await queue.join("l1", "b", "low")
    await clock.advance(2.0)
    await queue.join("l2", "c", "low")  # the wait is too long, but not for long enough
    assert not queue.refused
    await clock.advance(6.0)
    await queue.join("l3", "d", "low")
    await queue.join("n2", "d")
    assert queue.refused["l3"].details["shed"] == "congested"
    slots.release()
    await settle()
    slots.release()
    await settle()
    assert queue.served == ["busy", "n1", "n2"]
    slots.release()
    await settle()
    assert queue.refused.keys() == {"l3", "l1", "l2"}, "those that waited too long are refused at their turn"
    await queue.join("l4", "b", "low")
    assert queue.served[-1] == "l4"


async def test_nobody_waits_at_the_door_beyond_the_bound_or_their_own_time() -> None:
    """The first is 503 and worth another try; the second is 504."""
    clock = FakeClock(auto=False)
    door = Door(Limits(concurrency=1, shedding=Shedding(max_wait_s=10.0)), clock)
    assert door.try_enter()
    waiting: list[asyncio.Task[Any]] = [
        asyncio.create_task(door.enter("a", "normal", None)),
        asyncio.create_task(door.enter("b", "normal", clock.monotonic() + 3.0)),
    ]
    await settle()
    await clock.advance(4.0)
    with pytest.raises(ProviderTimeout) as late:
        await waiting[1]
    assert late.value.details["stage"] == "admission"
    await clock.advance(7.0)
    with pytest.raises(Overloaded) as refused:
        await waiting[0]
    assert (refused.value.details["shed"], refused.value.retryable) == ("waited", True)
    assert door.slots.waiting == 0
    with pytest.raises(ProviderTimeout):
        await door.enter("c", "normal", clock.monotonic() - 1.0)


@pytest.mark.parametrize("seed", range(5))
async def test_slots_are_neither_lost_nor_doubled(seed: int) -> None:
    """Over any mixture of keys, priorities, leaving, and resizing."""
    chance = random.Random(seed)
    clock = FakeClock()
    slots = Slots("m", limit=3, queue=8, clock=clock)
    slots.shedding = Shedding(target_s=0.5, interval_s=1.0)
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        await slots.take(retry_after_s=1.0, who=chance.choice("abc"), priority=chance.choice(PRIORITIES))
        inside += 1
        most = max(most, inside - slots.limit)
        try:
            await clock.sleep(chance.random())
        finally:
            inside -= 1
            slots.release()

    tasks = []
    for number in range(150):
        tasks.append(asyncio.create_task(one()))
        if chance.random() < 0.2:
            tasks[chance.randrange(len(tasks))].cancel()
        if number == 70:
            slots.resize(limit=5, queue=4)
        await clock.advance(chance.random() / 5)
    await clock.advance(60.0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert most <= 0
    assert (slots.held, slots.waiting) == (0, 0)
    assert {type(result) for result in results} <= {type(None), LimitExceeded, asyncio.CancelledError}
