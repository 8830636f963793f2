"""A client that leaves ends the work done for it, whoever serves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from prefrontal.serve import server
from prefrontal.serve.protocol import bounded_protocol
from prefrontal.serve.watcher import EXTENSION, Leaving, Watcher
from prefrontal.testing.clock import FakeClock

MOST_S = 0.1
"""How soon the work has to be cancelled (specified)."""


class Slow:
    """An application that reads the body and then works until it is cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.gone: list[bool] = []
        self.extensions: list[object] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        self.extensions.append(scope["extensions"].get(EXTENSION))
        if scope["path"] == "/quick":
            with Watcher(scope, receive):
                body = b"%d" % size
                head = [(b"content-length", b"%d" % len(body))]
                await send({"type": "http.response.start", "status": 200, "headers": head})
                await send({"type": "http.response.body", "body": body})
            return
        watcher = Watcher(scope, receive)
        try:
            with watcher:
                self.started.set()
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.gone.append(watcher.gone)
            self.ended.set()


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Slow, int]]:
    app = Slow()
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=bounded_protocol(65536),
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # the test's signals are the test's
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
        await asyncio.sleep(0.005)
    yield app, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = server.force_exit = True
    await task


def request(path: str, body: bytes = b"x") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)


async def leave(app: Slow, writer: asyncio.StreamWriter) -> float:
    """Close the connection; return how long the work went on."""
    await asyncio.wait_for(app.started.wait(), 2)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    writer.close()
    await asyncio.wait_for(app.ended.wait(), 2)
    return loop.time() - begun


async def test_the_work_is_cancelled_at_once(slow: tuple[Slow, int]) -> None:
    """Closing the connection cancels the task, and the watcher says why."""
    app, port = slow
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/slow"))
    assert await leave(app, writer) < MOST_S
    assert app.gone == [True]
    assert isinstance(app.extensions[0], Leaving)


async def test_a_large_body_does_not_hide_the_end(slow: tuple[Slow, int]) -> None:
    """A body above the server's high-water mark pauses reading; the end of the connection is noticed all the same."""
    app, port = slow
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("/slow", b"x" * 3_000_000))
    await writer.drain()
    assert await leave(app, writer) < MOST_S
    assert app.gone == [True]


async def test_a_kept_connection_is_watched_for_each_request_anew(slow: tuple[Slow, int]) -> None:
    """Requests that ended on the same connection are forgotten; the one under way is cancelled."""
    app, port = slow
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for size in (1, 70_000):
        writer.write(request("/quick", b"x" * size))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(str(size))) == str(size).encode()
    writer.write(request("/slow"))
    assert await leave(app, writer) < MOST_S
    assert app.gone == [True]
    assert app.extensions[0] is app.extensions[2]


async def test_a_client_that_left_before_the_watch_is_noticed() -> None:
    """Entering the block after the end cancels the first wait inside."""
    leaving = Leaving(lambda: None)
    leaving.left()
    watcher = Watcher({"extensions": {EXTENSION: leaving}}, _never)
    with pytest.raises(asyncio.CancelledError), watcher:
        await asyncio.sleep(1)
    assert watcher.gone
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


async def test_after_the_block_nothing_is_cancelled() -> None:
    """A client that leaves after its answer does not disturb what the task does next."""
    leaving = Leaving(lambda: None)
    watcher = Watcher({"extensions": {EXTENSION: leaving}}, _never)
    with watcher:
        pass
    leaving.left()
    await asyncio.sleep(0)
    assert not watcher.gone


async def test_other_servers_are_watched_through_receive() -> None:
    """Without our protocol the disconnect message cancels the work."""
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    watcher = Watcher({"type": "http"}, receive)
    asyncio.get_running_loop().call_later(0.01, left.set)
    with pytest.raises(asyncio.CancelledError), watcher:
        await asyncio.sleep(1)
    assert watcher.gone
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


class Collector:
    """Stands in for the process's garbage collector, which other servers in this process may be tuning too."""

    def __init__(self) -> None:
        self.thresholds: tuple[int, ...] = (700, 10, 10)
        self.frozen = 0

    def get_threshold(self) -> tuple[int, ...]:
        return self.thresholds

    def set_threshold(self, *thresholds: int) -> None:
        self.thresholds = thresholds

    def freeze(self) -> None:
        self.frozen += 1

    def unfreeze(self) -> None:
        self.frozen = 0


async def test_the_collector_is_left_as_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """While serving, what was loaded is frozen (again when it has settled) and collections are rare; then all is as before."""
    collector, clock = Collector(), FakeClock()
    monkeypatch.setattr(server, "gc", collector)
    task = asyncio.create_task(server._spare_the_collector(clock))
    await asyncio.sleep(0)
    assert (collector.thresholds, collector.frozen) == (server.COLLECT_EVERY, 1)
    await clock.advance(server.SETTLED_S + 1)
    assert collector.frozen == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (collector.thresholds, collector.frozen) == ((700, 10, 10), 0)


async def _never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}
