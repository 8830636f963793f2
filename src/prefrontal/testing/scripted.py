"""A scripted provider: models that say what a test wants, without sockets, network or real time.

    transport = ScriptedTransport({"capital of France": "Paris"}, clock=clock)
    async with prefrontal.open(scripted_config(["small", "large"]), transport=transport, clock=clock) as pf:
        assert (await pf.chat("What is the capital of France?", model="small")).text == "Paris"
        assert transport.requests[0].json["model"] == "small"

Everything else is the code that serves: requests are rendered to the wire and answers parsed from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderCut, ProviderMisbehaved, ShuttingDown
from prefrontal.execute.transport.base import MAX_BODY_BYTES, SYSTEM_TRUST, Timeouts, TlsOptions
from prefrontal.execute.transport.faults import Stage, origin_of, timed_out
from prefrontal.testing.answers import Script
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded, Reply
from prefrontal.testing.upstream import MockUpstream

SCRIPTED_URL = "http://scripted.invalid/v1"
"""Where the models of `scripted_config` seem to live; the name is reserved and leads nowhere."""


def scripted_config(models: Sequence[str] | Mapping[str, Mapping[str, Any]] = ("scripted",), **settings: Any) -> dict[str, Any]:
    """Return a configuration whose models a `ScriptedTransport` serves, for `prefrontal.open`.

    `models` are names, or names with further fields of a registry entry (``{"large": {"roles": ["coding"]}}``); each may
    override `profile` and `endpoint`. `settings` are further top-level keys, such as ``routing``. Discovery and records are off
    unless given.
    """
    entries = models if isinstance(models, Mapping) else {name: {} for name in models}
    base = {"profile": "openai-compatible", "endpoint": SCRIPTED_URL}
    return {
        "models": {name: {**base, **entry} for name, entry in entries.items()},
        "discovery": {"enabled": False},
        "records": {"enabled": False},
        **settings,
    }


class ScriptedTransport:
    """A `Transport` that answers by itself, in the wire of each request: OpenAI's, Anthropic's, Gemini's or Ollama's.

    `script` says what the models say (see `prefrontal.testing.answers.Script`): a table of words in the last user message, or a
    function of the request; to an `Answer`, its text, or a `Fault`. Without one the last user message comes back. All delays
    (`Answer.delay_s`, `Answer.pace_s`, those of faults) pass on `clock`. Whatever host a request names, it is answered here.

    `requests` holds every request in order, with `model` and messages in `json`.
    """

    def __init__(self, script: Script | None = None, *, clock: Clock, faults: Sequence[Fault] = ()) -> None:
        self.requests: list[Recorded] = []
        self._clock = clock
        self._upstream = MockUpstream(script, clock=clock, faults=faults)
        self._streams: set[_ScriptedStream] = set()
        self._closed = False

    @property
    def script(self) -> Script | None:
        """What the models say; may be replaced between requests."""
        return self._upstream.answers

    @script.setter
    def script(self, script: Script | None) -> None:
        self._upstream.answers = script

    def fail(self, *faults: Fault) -> None:
        """Queue faults for the next requests."""
        self._upstream.fail(*faults)

    def heal(self) -> None:
        """Drop every fault still queued."""
        self._upstream.heal()

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        """Answer at once or after the script's delays; see `Transport.send`."""
        recorded = self._record(request)
        pipe = _Pipe(recorded, request.url)
        stage, limit_s = _tightest(timeouts)
        try:
            async with self._clock.timeout(limit_s):
                await self._upstream.answer(recorded, pipe)
        except TimeoutError as error:
            recorded.closed_early_s = self._clock.monotonic()
            raise timed_out(request.url, stage, limit_s) from error
        recorded.finished_s = self._clock.monotonic()
        body = pipe.whole_body()
        if len(body) > MAX_BODY_BYTES:
            raise ProviderMisbehaved(f"The answer is larger than {MAX_BODY_BYTES} bytes.")
        return WireResponse(status=pipe.status or 0, headers=pipe.headers, body=body)

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> _ScriptedStream:
        """Return once the head of the answer is there; see `Transport.open`."""
        recorded = self._record(request)
        pipe = _Pipe(recorded, request.url)
        writer = asyncio.get_running_loop().create_task(self._write(recorded, pipe), name="scripted answer")
        stream = _ScriptedStream(pipe, writer, timeouts, self._clock, self._streams)
        try:
            await stream.head()
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def aclose(self) -> None:
        """End every stream; later calls fail with `ShuttingDown`."""
        self._closed = True
        for stream in tuple(self._streams):
            await stream.aclose()

    def _record(self, request: WireRequest) -> Recorded:
        if self._closed:
            raise ShuttingDown("The transport is closed.")
        parts = urlsplit(request.url)
        try:
            parsed = msgspec.json.decode(request.body) if request.body else None
        except msgspec.DecodeError:
            parsed = None
        recorded = Recorded(
            method=request.method,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers=dict(request.headers),
            body=request.body,
            received_s=self._clock.monotonic(),
            json=parsed,
        )
        self.requests.append(recorded)
        return recorded

    async def _write(self, recorded: Recorded, pipe: _Pipe) -> None:
        """Run the script of a stream; its end, and a script that raises, end the pipe."""
        try:
            await self._upstream.answer(recorded, pipe)
            recorded.finished_s = self._clock.monotonic()
        except Exception as error:  # noqa: BLE001 - a script of the test is wrong: the reader says so instead of hanging
            pipe.fail(error)
        finally:
            pipe.end()


class _Pipe(Reply):
    """A reply kept in memory: what the upstream writes on one side, the reader takes on the other."""

    def __init__(self, recorded: Recorded, url: str) -> None:
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self._recorded = recorded
        self._url = url
        self._parts: list[bytes] = []
        self._over = False
        self._error: Exception | None = None
        self._news = asyncio.Event()

    # -- the upstream's side: see `Reply` ------------------------------------------------------------------------------

    def start(self, status: int, headers: Mapping[str, str], length: int | None = None) -> None:
        self.status, self.headers = status, headers
        self._recorded.status = status
        self._news.set()

    def write(self, data: bytes) -> None:
        if data and not self._over:
            self._recorded.chunks_sent += 1
            self._parts.append(data)
            self._news.set()

    def end(self) -> None:
        self._over = True
        self._news.set()

    def raw(self, data: bytes) -> None:
        self.write(data)

    def cut(self, *, reset: bool = False) -> None:
        where = "in the middle of its answer" if self.status is not None else "before it answered"
        self.fail(ProviderCut(f"{origin_of(self._url)} ended the connection {where}.", details={"reason": "cut"}))
        self.end()

    def fail(self, error: Exception) -> None:
        """Let the reader meet `error` after what was written before it."""
        self._error = self._error or error

    # -- the reader's side ---------------------------------------------------------------------------------------------

    def whole_body(self) -> bytes:
        """Return everything that was written. Raises what broke the answer off."""
        if self._error is not None:
            if isinstance(self._error, ProviderCut):
                self._error.details["status"] = self.status or 0
            raise self._error
        return b"".join(self._parts)

    async def started(self) -> None:
        """Wait for the head. Raises what came instead of it."""
        while self.status is None and not self._over:
            self._news.clear()
            await self._news.wait()
        if self.status is None:
            raise self._error or ProviderCut(f"{origin_of(self._url)} ended the connection before it answered.")

    async def take(self) -> bytes:
        """Return what has been written since the last call, at least one byte, or b"" at the end."""
        while not self._parts and not self._over:
            self._news.clear()
            await self._news.wait()
        data, self._parts = b"".join(self._parts), []
        if not data and self._error is not None:
            raise self._error
        return data


class _ScriptedStream:
    """The reader's end of a streamed answer: a `WireStream`."""

    def __init__(
        self, pipe: _Pipe, writer: asyncio.Task[None], timeouts: Timeouts, clock: Clock, streams: set[_ScriptedStream]
    ) -> None:
        self._pipe = pipe
        self._writer = writer
        self._timeouts = timeouts
        self._clock = clock
        self._streams = streams
        self._begun = False
        self._deadline = None if timeouts.total_s is None else clock.monotonic() + timeouts.total_s
        streams.add(self)

    @property
    def status(self) -> int:
        """See `WireStream.status`."""
        return self._pipe.status or 0

    @property
    def headers(self) -> Mapping[str, str]:
        """See `WireStream.headers`."""
        return self._pipe.headers

    async def head(self) -> None:
        """Wait for the head. Raises ProviderTimeout, ProviderCut."""
        stage, limit_s = self._limit("first_byte", self._timeouts.first_byte_s)
        try:
            async with self._clock.timeout(limit_s):
                await self._pipe.started()
        except TimeoutError as error:
            raise timed_out(self._pipe._url, stage, limit_s) from error

    async def read(self) -> bytes:
        """See `WireStream.read`."""
        stage, limit_s = (
            self._limit("between", self._timeouts.between_s)
            if self._begun
            else self._limit("first_byte", self._timeouts.first_byte_s)
        )
        try:
            async with self._clock.timeout(limit_s):
                data = await self._pipe.take()
        except TimeoutError as error:
            await self.aclose()
            raise timed_out(self._pipe._url, stage, limit_s) from error
        except asyncio.CancelledError:
            await self.aclose()
            raise
        self._begun = True
        return data

    async def aclose(self) -> None:
        """See `WireStream.aclose`: the script of an answer nobody reads is stopped."""
        self._streams.discard(self)
        if not self._writer.done():
            self._pipe._recorded.closed_early_s = self._clock.monotonic()
            self._writer.cancel()
            await asyncio.wait([self._writer])

    def _limit(self, stage: Stage, limit_s: float | None) -> tuple[Stage, float | None]:
        if self._deadline is None:
            return stage, limit_s
        left_s = max(0.0, self._deadline - self._clock.monotonic())
        return ("total", left_s) if limit_s is None or left_s < limit_s else (stage, limit_s)


def _tightest(timeouts: Timeouts) -> tuple[Stage, float | None]:
    """Return the limit that ends a whole answer first."""
    first, total = timeouts.first_byte_s, timeouts.total_s
    if first is not None and (total is None or first < total):
        return "first_byte", first
    return "total", total
