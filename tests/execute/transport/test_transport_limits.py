"""Limits: waiting, connections and size."""

import asyncio
import socket

import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import ProviderMisbehaved, ProviderOverloaded, ProviderTimeout
from prefrontal.execute.transport import Timeouts
from prefrontal.execute.transport.http import HttpTransport
from prefrontal.execute.transport.slots import Slots
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

FAST = Timeouts(connect_s=2, first_byte_s=2, between_s=2)


def chat(up: MockUpstream, text: str = "hello", *, stream: bool = False, path: str = "/chat/completions") -> WireRequest:
    streaming = "true" if stream else "false"
    body = f'{{"model":"m","stream":{streaming},"messages":[{{"role":"user","content":"{text}"}}]}}'
    return WireRequest(url=up.base_url + path, headers=(("content-type", "application/json"),), body=body.encode())


async def read_all(stream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


async def exchange(transport, request, timeouts, *, stream: bool) -> bytes:
    if stream:
        return await read_all(await transport.open(request, timeouts))
    return (await transport.send(request, timeouts)).body


@pytest.fixture
async def up():
    async with MockUpstream() as upstream:
        yield upstream


@pytest.fixture
async def transport():
    http = HttpTransport(clock=SystemClock())
    yield http
    await http.aclose()


async def test_a_body_beyond_the_bound_is_refused(up):
    """An answer without end must not fill the memory."""
    small = HttpTransport(clock=SystemClock(), max_body_bytes=100_000)
    up.fail(Fault(kind="huge_line", size=1_000_000))
    with pytest.raises(ProviderMisbehaved, match="larger than 100000 bytes"):
        await small.send(chat(up), FAST)
    assert small.running(up.base_url) == 0
    await small.aclose()


async def test_connections_to_one_origin_are_capped_and_the_wait_is_bounded(up):
    """The third of two waits, gets its turn when one ends, and gives up after the connect limit."""
    capped = HttpTransport(clock=SystemClock(), max_connections=2)
    up.fail(Fault(kind="slow_headers", delay_s=0.15, times=3))
    patient = Timeouts(connect_s=2)
    answers = [asyncio.create_task(capped.send(chat(up), patient)) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert len(up.requests) == 2
    with pytest.raises(ProviderOverloaded, match="All 2 connections"):
        await capped.send(chat(up), Timeouts(connect_s=0.02))
    assert [answer.status for answer in await asyncio.gather(*answers)] == [200, 200, 200]
    assert up.connections == 2
    await capped.aclose()


async def test_timeouts_name_their_stage(up, transport):
    """First byte, between and total are told apart, for whole answers and for streams."""
    cases = [
        (Fault(kind="slow_headers"), Timeouts(first_byte_s=0.05), False, "first_byte"),
        (Fault(kind="slow_headers"), Timeouts(total_s=0.05), False, "total"),
        (Fault(kind="slow_between"), Timeouts(between_s=0.05), False, "between"),
        (Fault(kind="slow_between"), Timeouts(total_s=0.05), False, "total"),
        (Fault(kind="slow_between", after_chunks=1), Timeouts(between_s=0.05), True, "between"),
        (Fault(kind="slow_between", after_chunks=1), Timeouts(total_s=0.1), True, "total"),
    ]
    for fault, timeouts, stream, stage in cases:
        up.fail(fault)
        with pytest.raises(ProviderTimeout) as caught:
            await exchange(transport, chat(up, "one two", stream=stream), timeouts, stream=stream)
        assert caught.value.details["stage"] == stage, (fault.kind, stream)
        await asyncio.wait_for(up.requests[-1].over(), 1)
        assert up.requests[-1].closed_early
    assert transport.running(up.base_url) == 0


async def test_for_a_stream_the_first_byte_is_one_of_the_body(transport):
    """A head that comes at once does not stop the clock of the first byte."""

    async def head_only(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(head_only, "127.0.0.1", 0)
    request = WireRequest(method="GET", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    stream = await transport.open(request, Timeouts(first_byte_s=0.05, between_s=5))
    with pytest.raises(ProviderTimeout) as caught:
        await stream.read()
    assert caught.value.details["stage"] == "first_byte"
    server.close()


async def test_a_connection_that_does_not_come_about_times_out_as_connect(transport):
    """A listening socket that never finishes TLS is cut off by the connect limit."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(ProviderTimeout) as caught:
            await transport.send(WireRequest(url=url), Timeouts(connect_s=0.05))
    assert caught.value.details["stage"] == "connect"


async def test_a_waiter_that_gives_up_does_not_lose_a_slot(up):
    """Cancelled and timed-out waiters leave the line; whoever is behind them is served, and the count returns to zero."""
    capped = HttpTransport(clock=SystemClock(), max_connections=1)
    up.fail(Fault(kind="slow_headers", delay_s=0.1))
    first = asyncio.create_task(capped.send(chat(up), FAST))
    await up.arrived()
    leaving = asyncio.create_task(capped.send(chat(up), FAST))
    behind = asyncio.create_task(capped.send(chat(up), FAST))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(ProviderOverloaded):
        await capped.send(chat(up), Timeouts(connect_s=0.01))
    assert [(await first).status, (await behind).status] == [200, 200]
    assert leaving.cancelled()
    assert len(up.requests) == 2
    assert capped.running(up.base_url) == 0
    await capped.aclose()


async def test_a_slot_handed_to_a_caller_who_is_leaving_goes_to_the_next():
    """The turn may come in the very moment of the cancellation."""
    slots = Slots(1, SystemClock())
    await slots.take("a", 1)
    leaving, behind = (asyncio.create_task(slots.take("a", 1)) for _ in range(2))
    await asyncio.sleep(0)
    slots.give("a")
    leaving.cancel()
    await asyncio.wait_for(behind, 1)
    assert leaving.cancelled()
    assert slots.running("a") == 1
    slots.give("a")
    assert slots.running("a") == 0
