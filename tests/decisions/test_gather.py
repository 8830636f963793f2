"""Questions that come at the same time go together, and nobody waits longer for others than the window."""

from __future__ import annotations

import asyncio

import pytest

from prefrontal.decisions.gather import Gatherer
from prefrontal.errors import ProviderMisbehaved, ProviderTimeout
from prefrontal.testing.clock import FakeClock


class Engine:
    """Doubles numbers; `sent` holds what came in one body and when."""

    def __init__(self, clock: FakeClock, takes_s: float = 0.0) -> None:
        self.clock = clock
        self.takes_s = takes_s
        self.sent: list[tuple[float, list[int]]] = []
        self.error: Exception | None = None

    async def __call__(self, questions):
        self.sent.append((self.clock.monotonic(), list(questions)))
        if self.takes_s:
            await self.clock.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return [2 * one for one in questions]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def asking(gatherer, engine, questions, key="k", *, window_s=0.01, most=4, left_s=None):
    return asyncio.create_task(gatherer.ask(key, questions, engine, most=most, window_s=window_s, left_s=left_s))


async def test_one_body_for_all_that_come_within_the_window(clock):
    """Each gets its own answers, and the one that came last waited least."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    first = asking(gatherer, engine, [1])
    await clock.advance(0.008)
    second = asking(gatherer, engine, [2, 3])
    await clock.advance(0.002)
    assert engine.sent == [(0.01, [1, 2, 3])]
    assert (await first) == ([2], False)
    assert (await second) == ([4, 6], True)


async def test_nobody_waits_longer_than_the_window(clock):
    """Callers a millisecond apart: none is sent more than the window after it came."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    tasks, came = [], {}
    for number in range(50):
        came[number] = clock.monotonic()
        tasks.append(asking(gatherer, engine, [number], most=100))
        await clock.advance(0.001)
    await clock.advance(0.01)
    await asyncio.gather(*tasks)
    assert len(engine.sent) <= 6
    assert max(when - came[number] for when, body in engine.sent for number in body) <= 0.01 + 1e-9


async def test_a_full_body_goes_at_once(clock):
    """The window is the longest wait, not the usual one."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    tasks = [asking(gatherer, engine, [number], window_s=10.0) for number in range(4)]
    await clock.advance(0.0)
    assert engine.sent == [(0.0, [0, 1, 2, 3])]
    await asyncio.gather(*tasks)


async def test_more_than_one_body_holds_makes_a_second(clock):
    """A question that does not fit leads the next body."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    tasks = [asking(gatherer, engine, [number, number], window_s=0.01, most=5) for number in range(3)]
    await clock.advance(0.02)
    assert [len(body) for _, body in engine.sent] == [4, 2]
    assert [answers for answers, _ in await asyncio.gather(*tasks)] == [[0, 0], [2, 2], [4, 4]]


async def test_without_a_window_only_those_that_are_there_go_together(clock):
    """And nothing is waited for."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    tasks = [asking(gatherer, engine, [number], window_s=0.0) for number in range(3)]
    await asyncio.gather(*tasks)
    assert engine.sent == [(0.0, [0, 1, 2])]
    assert clock.slept == []


async def test_other_states_do_not_go_together(clock):
    """The key holds state, engine and payer."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    await asyncio.gather(asking(gatherer, engine, [1], "a", window_s=0.0), asking(gatherer, engine, [2], "b", window_s=0.0))
    assert sorted(body for _, body in engine.sent) == [[1], [2]]


async def test_who_has_little_time_waits_for_nobody(clock):
    """Less than twice the window is left."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    await asking(gatherer, engine, [1], window_s=1.0, left_s=1.5)
    assert engine.sent == [(0.0, [1])]


async def test_an_error_is_everybody_s(clock):
    """One body, one failure."""
    gatherer, engine = Gatherer(clock), Engine(clock)
    engine.error = ProviderMisbehaved("nonsense")
    found = await asyncio.gather(*[asking(gatherer, engine, [n], window_s=0.0) for n in range(2)], return_exceptions=True)
    assert [type(one) for one in found] == [ProviderMisbehaved] * 2
    assert len(engine.sent) == 1


async def test_a_leader_that_is_given_up_leaves_the_others_to_ask(clock):
    """Cancelling one caller, or its time running out, costs the others nothing but their own call."""
    gatherer, engine = Gatherer(clock), Engine(clock, takes_s=1.0)
    leader, other = asking(gatherer, engine, [1]), asking(gatherer, engine, [2])
    await clock.advance(0.01)
    leader.cancel()
    await clock.advance(1.0)
    assert (await other) == ([4], False)
    assert [body for _, body in engine.sent] == [[1, 2], [2]]
    engine.error = ProviderTimeout("late")
    leader, other = asking(gatherer, engine, [1]), asking(gatherer, engine, [2])
    await clock.advance(1.01)
    engine.error = None
    await clock.advance(1.0)
    assert (await other) == ([4], False)
    with pytest.raises(ProviderTimeout):
        await leader
