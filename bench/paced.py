"""A server whose streams come at the pace of a model: 50 events, one each 5 ms. ``python -m bench.paced PORT``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

EVENTS = 50
GAP_S = 0.005


def chunk(delta: dict[str, Any], **more: Any) -> bytes:
    """Return one event as vendors write it."""
    body = {
        "id": "chatcmpl-mock",
        "object": "chat.completion.chunk",
        "created": 1763600000,
        "model": "mock",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
        **more,
    }
    return b"data: %b\n\n" % json.dumps(body).encode()


TOKEN = chunk({"content": "token "})
OPENING = chunk({"role": "assistant", "content": ""})
FINISH = (
    chunk({}, choices=[{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}])
    + chunk({}, choices=[], usage={"prompt_tokens": 214, "completion_tokens": EVENTS, "total_tokens": 214 + EVENTS})
    + b"data: [DONE]\n\n"
)
WHOLE = OPENING + TOKEN * (EVENTS - 1) + FINISH
"""The same stream in one piece."""

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-request-id: req-mock\r\ntransfer-encoding: chunked\r\n\r\n"
)


def framed(data: bytes) -> bytes:
    """Return `data` as one chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """Answers each request with a stream; all streams of the server are fed by one timer."""

    def __init__(self, ticker: Ticker) -> None:
        self._ticker = ticker
        self._read = b""
        self._step = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._ticker.active.discard(self)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head):
            self._read, self._step = b"", 0
            self.transport.write(HEAD + framed(OPENING))
            self._ticker.add(self)

    def tick(self) -> bool:
        """Write the next event; return whether that was the last."""
        self._step += 1
        if self._step < EVENTS:
            self.transport.write(framed(TOKEN))
            return False
        self.transport.write(framed(FINISH) + b"0\r\n\r\n")
        return True


class Ticker:
    """One timer for all streams, running only while there are any."""

    def __init__(self) -> None:
        self.active: set[Connection] = set()
        self._running = False

    def add(self, connection: Connection) -> None:
        self.active.add(connection)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_later(GAP_S, self._tick)

    def _tick(self) -> None:
        self._running = bool(self.active)
        if self._running:
            asyncio.get_running_loop().call_later(GAP_S, self._tick)
        for connection in tuple(self.active):
            if connection.tick():
                self.active.discard(connection)


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":", 1)[1])
    return 0


async def serve(port: int) -> None:
    ticker = Ticker()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(ticker), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1])))
