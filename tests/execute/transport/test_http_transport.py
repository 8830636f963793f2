"""The transport against a real socket: what arrives, when, and what is left behind."""

import asyncio
import socket
import time

import psutil
import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.wire import WireRequest
from prefrontal.errors import (
    EgressDenied,
    ProviderCut,
    ProviderMisbehaved,
    ProviderUnreachable,
    ShuttingDown,
)
from prefrontal.execute.transport import Timeouts
from prefrontal.execute.transport.http import HttpTransport
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

FAST = Timeouts(connect_s=2, first_byte_s=2, between_s=2)
CLOSE_BUDGET_S = 0.1


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


def open_files() -> int:
    return psutil.Process().num_fds()


@pytest.fixture
async def up():
    async with MockUpstream() as upstream:
        yield upstream


@pytest.fixture
async def transport():
    http = HttpTransport(clock=SystemClock())
    yield http
    await http.aclose()


async def test_send_returns_status_lower_case_headers_and_the_body_for_every_status(up, transport):
    """A 429 is an answer like any other, with its headers."""
    up.fail(Fault(kind="status", status=429, headers={"Retry-After": "7"}, body=b"slow down"))
    refused = await transport.send(chat(up), FAST)
    assert (refused.status, refused.headers["retry-after"], refused.body) == (429, "7", b"slow down")
    good = await transport.send(chat(up, "ping pong"), FAST)
    assert good.status == 200
    assert b"ping pong" in good.body


async def test_the_request_arrives_as_it_was_given_and_asks_for_plain_bytes(up, transport):
    """Headers and body are not rewritten; nothing of the client library shows."""
    request = WireRequest(url=up.base_url + "/chat/completions?api-version=1%2F2", headers=(("x-own", "a"),), body=b'{"k":1}')
    await transport.send(request, FAST)
    seen = up.requests[0]
    assert (seen.method, seen.body, seen.headers["x-own"], seen.query) == ("POST", b'{"k":1}', "a", {"api-version": "1/2"})
    assert seen.headers["accept-encoding"] == "identity"
    assert seen.headers["user-agent"] == "prefrontal"
    assert "cookie" not in seen.headers


async def test_connections_are_reused(up, transport):
    """Ten calls in a row need one connection."""
    for _ in range(10):
        await transport.send(chat(up), FAST)
    assert up.connections == 1


async def test_a_stream_arrives_piece_by_piece(up, transport):
    """No reading ahead: the first token is there long before the last is sent."""
    up.answers = lambda request: Answer(text="one two three four five", pace_s=0.03)
    begun = time.perf_counter()
    stream = await transport.open(chat(up, stream=True), FAST)
    times = []
    while await stream.read():
        times.append(time.perf_counter() - begun)
    await stream.aclose()
    assert times[0] < 0.03
    assert len(times) >= 5
    assert times[-1] > 0.1


async def test_a_stream_read_to_its_end_gives_its_connection_back(up, transport):
    """After the end the connection serves the next request."""
    for _ in range(3):
        stream = await transport.open(chat(up, stream=True), FAST)
        assert (await read_all(stream)).endswith(b"data: [DONE]\n\n")
        assert await stream.read() == b""
        await stream.aclose()
        await stream.aclose()
    assert up.connections == 1
    assert transport.running(up.base_url) == 0


async def test_redirects_and_cookies_are_not_followed(transport):
    """A 302 is handed to the caller, and a cookie is not sent back."""
    async with MockUpstream(
        faults=[Fault(kind="status", status=302, headers={"location": "/v1/models", "set-cookie": "a=b"})]
    ) as up:
        answer = await transport.send(chat(up), FAST)
        assert answer.status == 302
        assert answer.headers["location"] == "/v1/models"
        await transport.send(chat(up), FAST)
        assert len(up.requests) == 2
        assert "cookie" not in up.requests[1].headers


async def test_proxies_of_the_environment_are_ignored_unless_asked_for(up, monkeypatch):
    """A proxy in the environment that nobody asked for must not see a request."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    plain, trusting = HttpTransport(clock=SystemClock()), HttpTransport(clock=SystemClock(), trust_env=True)
    assert (await plain.send(chat(up), FAST)).status == 200
    with pytest.raises(ProviderUnreachable):
        await trusting.send(chat(up), FAST)
    await plain.aclose()
    await trusting.aclose()


async def test_a_configured_proxy_carries_the_request(up):
    """With `proxy` set, the proxy gets the whole URL of the upstream."""
    async with MockUpstream() as proxy:
        through = HttpTransport(clock=SystemClock(), proxy=proxy.root_url)
        await through.send(chat(up), FAST)
        await through.aclose()
        assert up.requests == []
        assert proxy.requests[0].headers["host"] == up.root_url.removeprefix("http://")


@pytest.mark.parametrize("stream", [False, True])
async def test_cancelling_before_the_head_closes_the_upstream_within_100_ms(up, transport, stream):
    """The engine must stop thinking for a caller who left, also while nothing has been answered yet."""
    up.fail(Fault(kind="slow_headers", delay_s=5))
    call = transport.open if stream else transport.send
    task = asyncio.create_task(call(chat(up, stream=stream), FAST))
    await up.arrived()
    left = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(up.requests[0].over(), 1)
    assert up.requests[0].closed_early
    assert up.requests[0].closed_early_s - left < CLOSE_BUDGET_S
    assert transport.running(up.base_url) == 0


@pytest.mark.parametrize("how", ["cancel", "aclose"])
async def test_leaving_a_stream_closes_the_upstream_within_100_ms(up, transport, how):
    """Cancelling a read and closing the stream both end the engine's work at once."""
    up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=5))
    stream = await transport.open(chat(up, "one two three", stream=True), FAST)
    while b"one" not in await stream.read():
        pass
    left = time.monotonic()
    if how == "cancel":
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0.01)
        left = time.monotonic()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        await stream.aclose()
    await asyncio.wait_for(up.requests[0].over(), 1)
    assert up.requests[0].closed_early_s - left < CLOSE_BUDGET_S
    assert transport.running(up.base_url) == 0


async def test_cancelling_in_the_middle_of_a_body_closes_the_upstream(up, transport):
    """`send` gives up mid-body, too."""
    up.fail(Fault(kind="slow_between", delay_s=5))
    task = asyncio.create_task(transport.send(chat(up), FAST))
    await up.arrived()
    await asyncio.sleep(0.05)
    assert up.requests[0].chunks_sent == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(up.requests[0].over(), 1)
    assert up.requests[0].closed_early


async def test_a_refused_connection_is_unreachable_and_names_the_origin_only(transport):
    """The message holds host and port, but not the path, whose query may hold a key."""
    async with MockUpstream() as up:
        pass
    with pytest.raises(ProviderUnreachable) as caught:
        await transport.send(WireRequest(url=up.base_url + "/x?key=secret"), FAST)
    assert up.root_url in caught.value.message
    assert "secret" not in caught.value.text
    assert caught.value.details["reason"] == "connect"
    assert isinstance(caught.value.__cause__, OSError)


async def test_an_unknown_host_is_unreachable_by_name_resolution(transport):
    """A name that cannot exist (RFC 2606) is told from a closed port."""
    with pytest.raises(ProviderUnreachable) as caught:
        await transport.send(WireRequest(url="http://nowhere.invalid/v1"), FAST)
    assert caught.value.details["reason"] == "dns"


@pytest.mark.parametrize(("scheme", "key"), [("ftp", "good"), ("http", "line\nbreak"), ("http", "snow\u2603\n")])
async def test_a_request_that_cannot_be_sent_says_where_to_look(up, transport, scheme, key):
    """A wrong scheme and a line break in a key are mistakes of the settings, not of the network."""
    request = WireRequest(url=up.root_url.replace("http", scheme) + "/x", headers=(("authorization", key),))
    with pytest.raises(ProviderUnreachable) as caught:
        await transport.send(request, FAST)
    assert caught.value.details["reason"] == "request"
    assert "API key" in caught.value.text
    assert key not in caught.value.text
    assert up.requests == []


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_that_ends_early_is_a_cut(up, transport, stream, reset):
    """FIN or RST, in a body with a length or in chunks: the answer is known to be incomplete."""
    up.fail(Fault(kind="cut_after", after_chunks=1, reset=reset))
    with pytest.raises(ProviderCut) as caught:
        await exchange(transport, chat(up, "one two", stream=stream), FAST, stream=stream)
    assert caught.value.details["answering"] is True
    assert caught.value.__cause__ is not None
    assert transport.running(up.base_url) == 0


async def test_a_connection_dropped_before_the_head_is_a_cut_without_an_answer(up, transport):
    """Nothing of an answer was seen, which matters to whoever retries."""
    up.fail(Fault(kind="drop"))
    with pytest.raises(ProviderCut) as caught:
        await transport.send(chat(up), FAST)
    assert caught.value.details["answering"] is False


async def test_a_refused_connection_is_told_in_plain_words(transport):
    """Neither the number of the error nor the address a second time: that is the client library's way to speak."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ProviderUnreachable) as refused:
        await transport.send(WireRequest(url=f"http://127.0.0.1:{port}/"), FAST)
    assert refused.value.message == f"No connection to http://127.0.0.1:{port}: Connection refused."


async def test_what_is_not_http_is_misbehaviour(transport):
    """Another protocol on the port is told from a broken connection."""

    async def greet(reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ProviderMisbehaved):
        await transport.send(WireRequest(url=f"http://127.0.0.1:{port}/"), FAST)
    server.close()


async def test_the_egress_hook_forbids_before_anything_is_sent(up):
    """The hook sees the URL, and its refusal reaches the caller as it is."""

    def deny(url: str) -> None:
        raise EgressDenied(f"{url} is not allowed")

    guarded = HttpTransport(clock=SystemClock(), allow=deny)
    with pytest.raises(EgressDenied, match="chat/completions"):
        await guarded.open(chat(up), FAST)
    assert up.requests == []
    await guarded.aclose()


async def test_closing_ends_running_streams_and_refuses_new_calls(up):
    """After `aclose` no connection is left and no call succeeds."""
    http = HttpTransport(clock=SystemClock())
    up.fail(Fault(kind="slow_first_token", delay_s=5))
    stream = await http.open(chat(up, stream=True), FAST)
    await stream.read()
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0.01)
    await http.aclose()
    with pytest.raises(ProviderCut):
        await reading
    with pytest.raises(ShuttingDown):
        await http.send(chat(up), FAST)
    await asyncio.wait_for(up.requests[0].over(), 1)
    assert up.connections == 0


async def test_sockets_send_small_writes_at_once(up, transport):
    """TCP_NODELAY is on: five requests over one connection do not meet the 40 ms of a delayed acknowledgement."""
    await transport.send(chat(up), FAST)
    begun = time.perf_counter()
    for _ in range(5):
        await transport.send(chat(up, "x" * 3000), FAST)
    assert time.perf_counter() - begun < 0.1


async def test_many_streams_leave_no_descriptor_behind(up, transport):
    """Half read to the end, half abandoned: the number of open files returns to where it was."""
    await transport.send(chat(up), FAST)
    before = open_files()
    for number in range(200):
        stream = await transport.open(chat(up, "a b c", stream=True), FAST)
        if number % 2:
            await read_all(stream)
        await stream.aclose()
    await asyncio.sleep(0.05)
    assert open_files() <= before + 2
