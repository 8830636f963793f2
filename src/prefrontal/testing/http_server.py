"""A small HTTP/1.1 server whose connections can misbehave on request. The mock upstream is built on it.

It keeps connections alive, tells when a client leaves early, and lets a handler cut a connection in the middle of an
answer: what a well-behaved server library makes hard.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

import httptools
import msgspec

from prefrontal.clock import Clock

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


@dataclass(eq=False)
class Recorded:
    """One request as the upstream saw it. Times are the clock's monotonic seconds.

    `json` is the parsed body, or None where it is not JSON. `chunks_sent` counts the pieces of the body written so far.
    `closed_early_s` is set when the client closed the connection before the answer was complete.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    received_s: float
    json: Any = None
    status: int | None = None
    chunks_sent: int = 0
    finished_s: float | None = None
    closed_early_s: float | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def closed_early(self) -> bool:
        """Whether the client left before the answer was complete."""
        return self.closed_early_s is not None

    async def over(self) -> None:
        """Wait until the answer is complete, cut, or abandoned by the client."""
        await self._over.wait()


class Reply:
    """The answer to one request, written piece by piece."""

    def __init__(self, connection: _Connection, recorded: Recorded) -> None:
        self._connection = connection
        self._recorded = recorded
        self._chunked = False

    def start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        """Write the head. Without `length` the body is chunked."""
        self._chunked = length is None
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
        self._recorded.status = status
        self._connection.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def write(self, data: bytes) -> None:
        """Write a piece of the body; it leaves in a segment of its own. Nothing is written for b""."""
        if not data:
            return
        self._recorded.chunks_sent += 1
        self._connection.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """End the body."""
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")

    def whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Write a complete answer."""
        self.start(status, headers, len(body))
        self.write(body)
        self.end()

    def raw(self, data: bytes) -> None:
        """Write bytes as they are, outside any framing."""
        self._connection.write(data)

    def cut(self, *, reset: bool = False) -> None:
        """End the connection now: with a FIN, or with an RST when `reset`."""
        self._connection.cut(reset=reset)


Handler = Callable[[Recorded, Reply], Awaitable[None]]


class _Connection(asyncio.Protocol):
    """One client connection: requests are answered one after another."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._waiting: list[Recorded] = []
        self._current: Recorded | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.cut(reset=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.connections.discard(self)
        unanswered = self._waiting if self._current is None else [self._current, *self._waiting]
        for recorded in unanswered:
            if recorded.finished_s is None:
                recorded.closed_early_s = self._server.clock.monotonic()
            recorded._over.set()
        if self._task is not None:
            self._task.cancel()

    # httptools calls these

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        parts = urlsplit(self._url.decode("latin-1"))
        body = b"".join(self._body)
        try:
            parsed = msgspec.json.decode(body) if body else None
        except msgspec.DecodeError:
            parsed = None
        recorded = Recorded(
            method=self._parser.get_method().decode("latin-1"),
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=self._headers,
            body=body,
            received_s=self._server.clock.monotonic(),
            json=parsed,
        )
        self._waiting.append(recorded)
        self._server.note(recorded)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    # for Reply

    def write(self, data: bytes) -> None:
        """Write bytes if the client is still there."""
        if self._transport is not None:
            self._transport.write(data)

    def cut(self, *, reset: bool) -> None:
        """End the connection, which is not the client's doing."""
        if self._current is not None and self._current.finished_s is None:
            self._current.finished_s = self._server.clock.monotonic()
        if self._transport is None:
            return
        if reset:
            peer = self._transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    def stop(self) -> None:
        """Close for good, without waiting for what is being written."""
        if self._transport is not None:
            self._transport.abort()

    async def _answer(self, recorded: Recorded) -> None:
        reply = Reply(self, recorded)
        try:
            await self._server.handler(recorded, reply)
        except Exception as error:  # noqa: BLE001 - a script of the test is wrong: say so instead of hanging
            if recorded.status is None:
                reply.whole(500, {"content-type": "text/plain"}, f"The mock failed: {error!r}".encode())
            reply.cut()

    async def _serve(self) -> None:
        try:
            while self._waiting and self._transport is not None:
                self._current = self._waiting.pop(0)
                try:
                    await self._answer(self._current)
                    if self._current.finished_s is None:
                        self._current.finished_s = self._server.clock.monotonic()
                finally:
                    self._current._over.set()
                    self._current = None
        finally:
            self._task = None


class HttpServer:
    """Listens on 127.0.0.1 and hands each request to `handler`; `requests` holds all of them in order of arrival."""

    def __init__(self, handler: Handler, *, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self.clock = clock
        self.requests: list[Recorded] = []
        self.connections: set[_Connection] = set()
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._awaited: list[asyncio.Future[None]] = []

    async def start(self, port: int = 0) -> None:
        """Listen on `port`, 0 for any free one; `port` then holds the number."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    def note(self, recorded: Recorded) -> None:
        """Record a request and wake whoever waits for it."""
        self.requests.append(recorded)
        waiting, self._awaited = self._awaited, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def arrived(self, count: int) -> None:
        """Wait until `count` requests have arrived since the start."""
        while len(self.requests) < count:
            future = asyncio.get_running_loop().create_future()
            self._awaited.append(future)
            await future

    async def stop(self) -> None:
        """Stop listening and abort every connection."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.stop()
        await self.clock.sleep(0)  # lets the loop run connection_lost
