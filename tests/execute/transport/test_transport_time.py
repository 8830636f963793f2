"""Every limit runs on the injected clock: with a clock that never fires, nothing times out; with one that does, all do."""

from contextlib import asynccontextmanager

import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.transport import Timeouts
from prefrontal.execute.transport.http import HttpTransport
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream


class CountingClock(SystemClock):
    """Scales every limit: 0 fires at once, None never; and remembers what it was asked for."""

    def __init__(self, scale: float | None) -> None:
        self.scale = scale
        self.asked: list[float | None] = []

    def timeout(self, delay_s):
        self.asked.append(delay_s)
        return super().timeout(None if self.scale is None or delay_s is None else delay_s * self.scale)


@pytest.fixture
def request_for():
    return lambda up: WireRequest(url=up.base_url + "/chat/completions", body=b'{"model":"m","messages":[]}')


@asynccontextmanager
async def serving(scale):
    clock = CountingClock(scale)
    transport = HttpTransport(clock=clock)
    async with MockUpstream() as up:
        yield clock, transport, up
        await transport.aclose()


async def test_a_clock_that_never_fires_waits_out_every_limit(request_for):
    """Limits far below the delay do nothing while the clock stands still."""
    async with serving(None) as (clock, transport, up):
        up.fail(Fault(kind="slow_headers", delay_s=0.05), Fault(kind="slow_between", delay_s=0.05))
        tiny = Timeouts(connect_s=0.001, first_byte_s=0.001, between_s=0.001)
        assert (await transport.send(request_for(up), tiny)).status == 200
        assert (await transport.send(request_for(up), tiny)).status == 200
        assert 0.001 in clock.asked


async def test_a_fast_clock_brings_an_hour_forward(request_for):
    """An hour's limit is over in 36 ms when a second lasts 10 microseconds."""
    async with serving(0.00001) as (_, transport, up):
        up.fail(Fault(kind="slow_headers", delay_s=5))
        hours = Timeouts(connect_s=200_000, first_byte_s=3600)
        with pytest.raises(ProviderTimeout) as caught:
            await transport.send(request_for(up), hours)
        assert caught.value.details == {"stage": "first_byte", "limit_s": 3600}
