"""How the worker processes of one gateway ask each other: one line of JSON there and one back, over a socket in a private folder.

Only processes of the same user can reach it. What is asked: a worker's metrics, to read the configuration again, and, of the one
that owns the local engines, their state, a start, a stop, and a lease that lasts as long as its connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

import prefrontal.errors as errors
from prefrontal.clock import Clock
from prefrontal.errors import Overloaded, PrefrontalError

log = logging.getLogger(__name__)

LINE_BYTES = 64 * 1024 * 1024
"""Longest answer (assumed: metrics of a few thousand series are about a megabyte)."""

OWNER = 0
"""The worker that owns the local engines."""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's place: its number from 0, how many there are, its listening socket, where all ask each other.

    folder: where the sockets of the channel lie.
    """

    index: int
    count: int
    fd: int
    folder: str

    def path(self, index: int) -> str:
        """Return where a worker can be asked."""
        return str(Path(self.folder) / f"{index}.sock")

    @property
    def others(self) -> list[int]:
        """The numbers of all other workers."""
        return [index for index in range(self.count) if index != self.index]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, of which model."""

    do: str
    name: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The answer, or the error in its place: its class in `prefrontal.errors`, and what it says."""

    value: Any = None
    error: str | None = None
    message: str = ""
    hint: str | None = None


Handler = Callable[[Ask, "Held"], Awaitable[Any]]


class Held:
    """Lets a handler keep something until whoever asked has gone."""

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone
        self.answer: Callable[[Any], Awaitable[None]] | None = None

    async def until_gone(self, value: Any) -> None:
        """Answer with `value` now and return when the connection has ended."""
        assert self.answer is not None
        await self.answer(value)
        await self._gone.wait()


class Channel:
    """Answers what other workers ask. `handlers`: what to do, by the word it is asked with."""

    def __init__(self, path: str, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to listen, in the place of a dead worker's socket if there is one. Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=LINE_BYTES)

    async def aclose(self) -> None:
        """Stop listening; what is held for others ends with their connections."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.Event()
        held = Held(gone)
        held.answer = lambda value: _write(writer, Said(value=value))
        watching: asyncio.Task[None] | None = None
        try:
            ask = msgspec.json.decode(await reader.readline(), type=Ask)
            watching = asyncio.create_task(_watch(reader, gone))
            found = await self._answer(ask, held)
            if not gone.is_set():
                await _write(writer, found)
        except (OSError, msgspec.DecodeError) as error:
            log.debug("a worker's question was lost: %s", error)
        finally:
            if watching is not None:
                watching.cancel()
            writer.close()

    async def _answer(self, ask: Ask, held: Held) -> Said:
        handler = self._handlers.get(ask.do)
        if handler is None:
            return Said(error="NotFound", message=f"This worker does not know '{ask.do}'.")
        try:
            return Said(value=await handler(ask, held))
        except PrefrontalError as error:
            return Said(error=type(error).__name__, message=error.message, hint=error.hint)


async def ask(post: Post, index: int, question: Ask, *, clock: Clock, timeout_s: float | None) -> Any:
    """Return what another worker answers. Raises Overloaded when it is not there or silent, else the error it answered."""
    try:
        async with clock.timeout(timeout_s), _connected(post, index, question) as reader:
            return _read(await reader.readline(), index)
    except (OSError, TimeoutError) as error:
        raise _away(index) from error


@asynccontextmanager
async def lease(post: Post, name: str) -> AsyncIterator[str]:
    """Yield the address of an engine that the owner keeps from being unloaded inside the block. Raises like `ask`."""
    try:
        async with _connected(post, OWNER, Ask(do="lease", name=name)) as reader:
            yield str(_read(await reader.readline(), OWNER))
    except OSError as error:
        raise _away(OWNER) from error


@asynccontextmanager
async def _connected(post: Post, index: int, question: Ask) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_unix_connection(post.path(index), limit=LINE_BYTES)
    try:
        writer.write(msgspec.json.encode(question) + b"\n")
        await writer.drain()
        yield reader
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _read(line: bytes, index: int) -> Any:
    if not line:
        raise _away(index)
    said = msgspec.json.decode(line, type=Said)
    if said.error is None:
        return said.value
    kind = getattr(errors, said.error, PrefrontalError)
    raise kind(said.message, hint=said.hint)


def _away(index: int) -> PrefrontalError:
    return Overloaded(f"Worker {index} is starting again.", retry_after_s=1.0)


async def _write(writer: asyncio.StreamWriter, said: Said) -> None:
    writer.write(msgspec.json.encode(said) + b"\n")
    await writer.drain()


async def _watch(reader: asyncio.StreamReader, gone: asyncio.Event) -> None:
    with suppress(OSError):
        await reader.read()
    gone.set()
