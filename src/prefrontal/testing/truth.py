"""An upstream that keeps books: what it was asked, what it produced and what it said it cost, attempt by attempt.

For checking a gateway's ledger against the truth. It speaks chat completions, whole and streamed, over plain HTTP/1.1, and is
cheap enough for thousands of streams at once. What is to happen is in the last user message's first line, as JSON::

    {"n": 17, "tokens": 12, "fate": "cut", "after": 5}

| fate | what happens |
|---|---|
| ok | the answer, with its usage at the end |
| no_usage | the answer, without usage |
| zero_usage | the answer, with a usage of zero tokens |
| beside | streamed: the usage comes beside the finish reason, in a chunk with choices |
| cut | the connection breaks after `after` tokens (whole answers: in the middle of the body) |
| error | an error event after `after` tokens |
| late | the head comes at once, the first token after `after` hundredths of a second |
| again | the first attempt is refused with 500, the second is answered |
| busy | the first attempt is refused with 429 and a wait of ten milliseconds, the second is answered |
| drop | the first attempt's connection closes before the head, the second is answered |
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec

from prefrontal.clock import Clock, SystemClock

CHARS_PER_TOKEN = 4
PIECE = "abc "
"""A token: what most vocabularies' tokens of English come to."""

REFUSED_FIRST = {"again": b"500 Internal Server Error", "busy": b"429 Too Many Requests"}


class Truth(msgspec.Struct, kw_only=True):
    """One attempt as the upstream knows it. produced: tokens written. told: the usage it has sent, None when it sent none.

    refused: nothing was produced, and nothing is owed. left: the connection ended on the other side before the answer did.
    """

    id: str
    n: int
    fate: str
    stream: bool
    input_tokens: int
    produced: int = 0
    told: tuple[int, int] | None = None
    refused: bool = False
    left: bool = False


class TruthUpstream:
    """The server; an async context manager. `pace_s`: between two tokens of a stream. `books` has every attempt, in order."""

    def __init__(self, *, pace_s: float = 0.01, clock: Clock | None = None) -> None:
        self.books: list[Truth] = []
        self.running = 0
        self.most_running = 0
        self.base_url = ""
        self._pace_s = pace_s
        self._clock = clock or SystemClock()
        self._asked: dict[int, int] = {}
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> TruthUpstream:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=4096)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()  # who reads from it then ends by itself
        while self._open:
            await self._clock.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection may bring another."""
        body = await _body(reader)
        wish: dict[str, Any] = msgspec.json.decode(body["messages"][-1]["content"].split("\n", 1)[0])
        number, fate = int(wish["n"]), str(wish["fate"])
        turn = self._asked[number] = self._asked.get(number, 0) + 1
        written = sum(len(message["content"]) for message in body["messages"])
        truth = Truth(
            id=f"up-{number}-{turn}",
            n=number,
            fate=fate,
            stream=bool(body.get("stream")),
            input_tokens=written // CHARS_PER_TOKEN + 4 * len(body["messages"]),
        )
        self.books.append(truth)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if turn == 1 and fate in ("again", "busy", "drop"):
                truth.refused = True
                return _refuse(writer, truth)
            return await _Answer(truth, wish, reader, writer, self._clock, self._pace_s).given()
        finally:
            self.running -= 1


class _Answer:
    """One answer on its way out."""

    def __init__(
        self,
        truth: Truth,
        wish: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        clock: Clock,
        pace_s: float,
    ) -> None:
        self._truth = truth
        self._tokens = int(wish["tokens"])
        self._after = int(wish.get("after", 0))
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._pace_s = pace_s

    async def given(self) -> bool:
        """Write the answer; return whether the connection goes on."""
        try:
            return await (self._streamed() if self._truth.stream else self._whole())
        except ConnectionError:
            self._truth.left = True
            raise

    @property
    def _usage(self) -> tuple[int, int] | None:
        if self._truth.fate == "no_usage":
            return None
        return (0, 0) if self._truth.fate == "zero_usage" else (self._truth.input_tokens, self._tokens)

    async def _whole(self) -> bool:
        truth = self._truth
        await self._clock.sleep(self._pace_s * self._tokens)
        self._look()
        truth.produced = self._tokens
        message = {"role": "assistant", "content": PIECE * self._tokens}
        answer: dict[str, Any] = {"id": truth.id, "object": "chat.completion", "created": 1, "model": "true"}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        if self._usage is not None:
            answer["usage"] = _usage(self._usage)
        data = msgspec.json.encode(answer)
        head = _head(truth, b"application/json") + b"content-length: %d\r\n\r\n" % len(data)
        if truth.fate == "cut":
            self._writer.write(head + data[: len(data) // 2])
            await self._writer.drain()
            return False
        truth.told = self._usage
        self._writer.write(head + data)
        await self._writer.drain()
        return True

    async def _streamed(self) -> bool:
        truth, writer = self._truth, self._writer
        writer.write(_head(truth, b"text/event-stream") + b"transfer-encoding: chunked\r\n\r\n")
        writer.write(_event(truth, {"role": "assistant"}))
        if truth.fate == "late":
            await self._pause(self._after / 100.0)
        for done in range(self._tokens):
            if truth.fate in ("cut", "error") and done >= self._after:
                break
            await self._pause(self._pace_s)
            truth.produced += 1
            writer.write(_event(truth, {"content": PIECE}))
        if truth.fate == "cut":
            await writer.drain()
            return False
        if truth.fate == "error":
            writer.write(_framed(b'data: {"error":{"message":"it broke","type":"server_error","code":500}}\n\n') + b"0\r\n\r\n")
            await writer.drain()
            return True
        self._look()
        usage = self._usage
        beside = usage if truth.fate == "beside" else None
        writer.write(_event(truth, {}, finish="stop", usage=beside))
        if usage is not None and beside is None:
            writer.write(_event(truth, None, usage=usage))
        truth.told = usage
        writer.write(_framed(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._look()

    def _look(self) -> None:
        """Raise when the other side has gone."""
        if self._reader.at_eof() or self._writer.transport.is_closing():
            raise ConnectionResetError


def _refuse(writer: asyncio.StreamWriter, truth: Truth) -> bool:
    if truth.fate == "drop":
        return False
    body = b'{"error":{"message":"not now","type":"server_error","code":"busy"}}'
    head = b"HTTP/1.1 %b\r\nx-request-id: %b\r\n" % (REFUSED_FIRST[truth.fate], truth.id.encode())
    head += b"content-type: application/json\r\nretry-after-ms: 10\r\ncontent-length: %d\r\n\r\n" % len(body)
    writer.write(head + body)
    return True


async def _body(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body: dict[str, Any] = msgspec.json.decode(await reader.readexactly(length))
    return body


def _head(truth: Truth, kind: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nx-request-id: %b\r\ncontent-type: %b\r\n" % (truth.id.encode(), kind)


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(counts: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}


def _event(
    truth: Truth, delta: dict[str, Any] | None, *, finish: str | None = None, usage: tuple[int, int] | None = None
) -> bytes:
    chunk: dict[str, Any] = {"id": truth.id, "object": "chat.completion.chunk", "created": 1, "model": "true"}
    chunk["choices"] = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    if usage is not None:
        chunk["usage"] = _usage(usage)
    return _framed(b"data: %b\n\n" % msgspec.json.encode(chunk))
