"""Long waits are ended by one look at all of them, twice a second."""

from __future__ import annotations

import asyncio

import pytest

from prefrontal.clock import COARSE_S, SystemClock
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.transport import Timeouts
from prefrontal.execute.transport.http import HttpTransport
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

SPEED = 20.0
BODY = b'{"model":"m","messages":[{"role":"user","content":"one two three four five"}],"stream":true}'


class FastClock(SystemClock):
    """A clock that goes `SPEED` times too fast, its timers too; counts the timers."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = 0

    def monotonic(self):
        return super().monotonic() * SPEED

    async def sleep(self, delay_s):
        await super().sleep(delay_s / SPEED)

    def timeout(self, delay_s):
        self.timers += 1
        return super().timeout(None if delay_s is None else delay_s / SPEED)


def chat(up: MockUpstream) -> WireRequest:
    return WireRequest(url=up.base_url + "/chat/completions", body=BODY)


async def drain(stream) -> int:
    """Read to the end; return how many reads that took."""
    reads = 0
    while await stream.read():
        reads += 1
    return reads


@pytest.fixture
async def up():
    async with MockUpstream() as mock:
        yield mock


@pytest.fixture
async def fast():
    transport = HttpTransport(clock=FastClock())
    yield transport
    await transport.aclose()


async def test_a_long_wait_ends_with_its_stage(up, fast):
    """A pause longer than a long limit is a timeout between tokens, the upstream is closed, and the slot is free."""
    up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=5))
    stream = await fast.open(chat(up), Timeouts(between_s=6))
    assert await stream.read()
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ProviderTimeout) as caught:
        await drain(stream)
    assert caught.value.details == {"stage": "between", "limit_s": 6}
    assert 6 / SPEED <= asyncio.get_running_loop().time() - begun + 0.01 < (6 + 2 * COARSE_S) / SPEED + 0.5
    await asyncio.wait_for(up.requests[-1].over(), 1)
    assert up.requests[-1].closed_early
    assert fast.running(up.base_url) == 0


async def test_the_nearest_limit_ends_the_wait(up, fast):
    """With a total below the pause that is allowed between tokens, the total is what is named."""
    up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=5))
    stream = await fast.open(chat(up), Timeouts(between_s=100, total_s=8))
    with pytest.raises(ProviderTimeout) as caught:
        await drain(stream)
    assert caught.value.details == {"stage": "total", "limit_s": 8}


async def test_each_token_is_waited_for_anew(up, fast):
    """Pauses that add up to more than the limit do not end the stream, and set no timers."""
    up.fail(Fault(kind="slow_between", delay_s=4 / SPEED))
    stream = await fast.open(chat(up), Timeouts(between_s=6))
    before = fast._clock.timers
    assert await drain(stream) > 2
    assert fast._clock.timers == before


async def test_a_reader_that_takes_its_time_is_not_ended(up, fast):
    """Only waiting counts: bytes that lie ready are not late because nobody fetched them."""
    stream = await fast.open(chat(up), Timeouts(between_s=5))
    assert await stream.read()
    await asyncio.sleep(7 / SPEED)
    assert await drain(stream)


async def test_nobody_looks_when_nothing_is_open(up, fast):
    """The task that looks ends soon after the last stream, and comes again with the next."""
    for _ in range(2):
        stream = await fast.open(chat(up), Timeouts(between_s=50))
        await drain(stream)
        await stream.aclose()
        await asyncio.sleep(3 * COARSE_S / SPEED)
        assert fast._patience._task is None or fast._patience._task.done()
