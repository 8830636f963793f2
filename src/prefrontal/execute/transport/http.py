"""The transport that serves: aiohttp over one pool, with our limits, our clock and our errors.

Why aiohttp: of the clients fast enough it is the one that closes the upstream connection when a call is cancelled before
the head of the answer has arrived (docs/benchmarks.md, "Choice of the upstream client").
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from prefrontal.clock import Clock
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderCut, ProviderError, ProviderMisbehaved, ShuttingDown
from prefrontal.execute.egress import check_reach
from prefrontal.execute.transport.base import (
    MAX_BODY_BYTES,
    MAX_CONNECTIONS,
    SYSTEM_TRUST,
    Egress,
    Timeouts,
    TlsOptions,
    allow_all,
)
from prefrontal.execute.transport.faults import CAUGHT, Stage, origin_of, timed_out, translate
from prefrontal.execute.transport.names import LocalNames
from prefrontal.execute.transport.patience import PATIENT_FROM_S, Patience
from prefrontal.execute.transport.slots import Slots
from prefrontal.execute.transport.tls import TlsContexts

if TYPE_CHECKING:
    from aiohttp import ClientRequest, ClientTimeout
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace

_KEEP_ALIVE_S = 30.0
"""Idle connections are closed after so many seconds. Assumed; servers that close sooner are noticed by the event loop."""

_NO_LIMITS = aiohttp.ClientTimeout(total=None)
_TARGETS = 1024  # parsed URLs remembered; assumed: a registry holds fewer
_Target = tuple[str, URL]
_HEAD_BYTES = 64 * 1024  # longest header line accepted; the client's own 8 KB is too short for some vendors' cookies


class HttpTransport:
    """A `Transport` over HTTP/1.1 with keep-alive. Used from one event loop; opens nothing before the first call.

    `allow` may forbid a URL. `proxy` is the proxy for every upstream; `trust_env=True` takes
    proxies from the environment instead (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), otherwise the environment is not read.
    `max_connections` bounds the requests under way to one origin. Connections are pooled by address and TLS options.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        allow: Egress = allow_all,
        proxy: str | None = None,
        trust_env: bool = False,
        max_connections: int = MAX_CONNECTIONS,
        max_body_bytes: int = MAX_BODY_BYTES,
        user_agent: str = "prefrontal",
    ) -> None:
        self._clock = clock
        self._allow = allow
        self._proxy = proxy
        self._trust_env = trust_env
        self._max_body_bytes = max_body_bytes
        self._user_agent = user_agent
        self._targets: dict[str, _Target] = {}
        self._slots = Slots(max_connections, clock)
        self._contexts = TlsContexts()
        self._session: aiohttp.ClientSession | None = None
        self._limits: dict[float | None, aiohttp.ClientTimeout] = {}
        self._streams: set[_HttpStream] = set()
        self._patience = Patience(clock, self._streams)
        self._closed = False

    async def send(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> WireResponse:
        """Send `request` and return the whole answer; see `Transport.send`."""
        stream = await self._start(request, timeouts, tls)
        try:
            body = await stream.read_all(self._max_body_bytes)
        except ProviderCut as error:
            error.details["status"] = stream.status  # an answer had begun, and what it cost may have to be paid
            error.upstream_request_id = error.upstream_request_id or stream.headers.get("x-request-id")
            raise
        finally:
            await stream.aclose()
        return WireResponse(status=stream.status, headers=stream.headers, body=body)

    async def open(self, request: WireRequest, timeouts: Timeouts, *, tls: TlsOptions = SYSTEM_TRUST) -> _HttpStream:
        """Send `request` and return once the head of the answer is there; see `Transport.open`."""
        return await self._start(request, timeouts, tls, first_byte_of_body=True)

    async def aclose(self) -> None:
        """Close every connection; see `Transport.aclose`."""
        self._closed = True
        for stream in tuple(self._streams):
            await stream.aclose()
        await self._patience.aclose()
        if self._session is not None:
            await self._session.close()
            await self._clock.sleep(0)  # lets the loop run the close callbacks of the sockets

    def running(self, url: str) -> int:
        """Return how many requests to the origin of `url` are under way."""
        return self._slots.running(origin_of(url))

    async def _start(
        self, request: WireRequest, timeouts: Timeouts, tls: TlsOptions, *, first_byte_of_body: bool = False
    ) -> _HttpStream:
        if self._closed:
            raise ShuttingDown("The transport is closed.")
        self._allow(request.url)
        if request.reach is not None:
            check_reach(request.reach, request.url)
        begun_s = self._clock.monotonic()
        try:
            origin, url = self._target(request.url)
        except CAUGHT as error:
            raise translate(error, request.url, answering=False) from error
        if not self._slots.try_take(origin):
            await self._slots.take(origin, timeouts.connect_s)
        try:
            response = await self._head(request, timeouts, tls, url, begun_s)
            limits = _Deadlines(self._clock, timeouts, begun_s, request.url, first_byte_pending=first_byte_of_body)
        except BaseException:  # cancelled or failed: the slot is free again, and the exception goes on
            self._slots.give(origin)
            raise
        return _HttpStream(response, limits, self._slots, origin, self._streams, self._patience)

    async def _head(
        self, request: WireRequest, timeouts: Timeouts, tls: TlsOptions, url: URL, begun_s: float
    ) -> aiohttp.ClientResponse:
        session = self._session or self._open_session()
        stage: Stage = "first_byte"
        limit_s = timeouts.first_byte_s
        if timeouts.total_s is not None and (limit_s is None or timeouts.total_s < limit_s):
            limit_s, stage = timeouts.total_s, "total"
        left_s = None if limit_s is None else max(0.0, limit_s - (self._clock.monotonic() - begun_s))
        try:
            async with self._clock.timeout(left_s):
                return await session.request(
                    request.method,
                    url,
                    data=request.body or None,
                    headers=request.headers,
                    allow_redirects=False,
                    timeout=self._limit(timeouts.connect_s),
                    ssl=self._contexts.get(tls) if url.scheme == "https" else True,
                    proxy=self._proxy,
                )
        except ProviderError:
            raise
        except TimeoutError as error:
            if isinstance(error, aiohttp.ClientError):
                raise translate(error, request.url, answering=False) from error
            raise timed_out(request.url, stage, limit_s) from error
        except CAUGHT as error:
            if self._closed:
                raise ShuttingDown("The transport was closed during the call.") from error
            raise translate(error, request.url, answering=False) from error

    def _target(self, url: str) -> _Target:
        target = self._targets.get(url)
        if target is None:
            if len(self._targets) >= _TARGETS:
                self._targets.clear()
            target = self._targets[url] = (origin_of(url), URL(url, encoded=True))
        return target

    def _limit(self, connect_s: float | None) -> aiohttp.ClientTimeout:
        limit = self._limits.get(connect_s)
        if limit is None:
            if len(self._limits) >= 64:  # as many distinct connect timeouts as a registry may hold; then start afresh
                self._limits.clear()
            limit = self._limits[connect_s] = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        return limit

    def _open_session(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=_Connector(self._clock),
            timeout=_NO_LIMITS,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Compressed streams are held back by some servers until a block is full, so plain bytes are asked for.
            headers={"accept-encoding": "identity", "user-agent": self._user_agent},
            trust_env=self._trust_env,
            skip_auto_headers=("user-agent", "accept-encoding", "content-type"),
            max_line_size=_HEAD_BYTES,
            max_field_size=_HEAD_BYTES,
        )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """A pool whose connect limit is kept by our clock. How many connections there may be is the business of `Slots`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(limit=0, limit_per_host=0, keepalive_timeout=_KEEP_ALIVE_S, resolver=LocalNames())
        self._own_clock = clock

    async def _create_connection(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> ResponseHandler:
        """Return a new connection. Raises `ProviderTimeout` for the stage `connect`. Pooled ones do not come this way."""
        try:
            async with self._own_clock.timeout(timeout.sock_connect):
                return await super()._create_connection(req, traces, _NO_LIMITS)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ClientError):
                raise
            raise timed_out(str(req.url), "connect", timeout.sock_connect) from error


class _Deadlines:
    """The time left for the next read, and the name of the limit that ends it."""

    def __init__(self, clock: Clock, timeouts: Timeouts, begun_s: float, url: str, *, first_byte_pending: bool) -> None:
        self.clock = clock
        self.url = url
        self._timeouts = timeouts
        self._begun_s = begun_s
        self._first_byte_pending = first_byte_pending

    def next_read(self) -> tuple[float | None, Stage, float | None]:
        """Return seconds from now, the stage, and the limit as it was configured."""
        limits = self._timeouts
        stage: Stage = "between"
        left_s = limit_s = limits.between_s
        if self._first_byte_pending:
            stage, limit_s = "first_byte", limits.first_byte_s
            left_s = None if limit_s is None else max(0.0, self._begun_s + limit_s - self.clock.monotonic())
        if limits.total_s is not None:
            total_left_s = max(0.0, self._begun_s + limits.total_s - self.clock.monotonic())
            if left_s is None or total_left_s < left_s:
                return total_left_s, "total", limits.total_s
        return left_s, stage, limit_s

    def arrived(self) -> None:
        """Note that the first byte is there."""
        self._first_byte_pending = False


class _HttpStream:
    """One answer on its way; gives its slot back exactly once."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        deadlines: _Deadlines,
        slots: Slots,
        origin: str,
        registry: set[_HttpStream],
        patience: Patience,
    ) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = _lower(response.headers)
        self._response = response
        self._content = response.content
        self._deadlines = deadlines
        self._slots = slots
        self._origin = origin
        self._registry = registry
        registry.add(self)
        self._patience = patience
        self._expired = False
        self.due_s: float | None = None
        self._ended = False
        self._closed = False

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end; see `WireStream.read`."""
        if self._ended:
            return b""
        if self._closed:
            raise translate(aiohttp.ClientConnectionError("closed by us"), self._deadlines.url, answering=True)
        if self._content.is_eof():  # all of it is here already: no wait, so no limit to keep
            return self._rest()
        left_s, stage, limit_s = self._deadlines.next_read()
        try:
            if left_s is not None and left_s >= PATIENT_FROM_S:
                data = await self._read_patiently(left_s)
            else:
                async with self._deadlines.clock.timeout(left_s):
                    data = await self._content.readany()
        except asyncio.CancelledError:
            self._abort()
            raise
        except TimeoutError as error:
            self._abort()
            raise timed_out(self._deadlines.url, stage, limit_s) from error
        except CAUGHT as error:
            self._abort()
            if self._expired:
                raise timed_out(self._deadlines.url, stage, limit_s) from error
            raise translate(error, self._deadlines.url, answering=True) from error
        if data:
            self._deadlines.arrived()
        else:
            self._ended = True
        return data

    async def _read_patiently(self, left_s: float) -> bytes:
        self.due_s = self._deadlines.clock.monotonic() + left_s
        self._patience.wake()
        try:
            return await self._content.readany()
        finally:
            self.due_s = None

    def expire(self) -> None:
        """End the read that waits now: closing the connection fails it."""
        self._expired = True
        self._response.close()

    def _rest(self) -> bytes:
        try:
            data = self._content.read_nowait()
        except CAUGHT as error:
            self._abort()
            raise translate(error, self._deadlines.url, answering=True) from error
        self._ended = not data
        return data

    async def read_all(self, max_bytes: int) -> bytes:
        """Return the rest of the body. Raises `ProviderMisbehaved` beyond `max_bytes`."""
        first = await self.read()
        if self._content.at_eof() or not first:
            return self._bounded(first, len(first), max_bytes)
        parts, size = [first], len(first)
        while size <= max_bytes:
            data = await self.read()
            if not data:
                break
            parts.append(data)
            size += len(data)
        return self._bounded(b"".join(parts), size, max_bytes)

    async def aclose(self) -> None:
        """Give back or close the connection; see `WireStream.aclose`."""
        self._abort()

    def _bounded(self, body: bytes, size: int, max_bytes: int) -> bytes:
        if size <= max_bytes:
            return body
        raise ProviderMisbehaved(
            f"The answer of {origin_of(self._deadlines.url)} is larger than {max_bytes} bytes.",
            details={"reason": "too_large", "limit_bytes": max_bytes},
        )

    def _abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._response.close()  # at the end of the body the connection is in the pool already and stays open
        self._registry.discard(self)
        self._slots.give(self._origin)


def _lower(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) < len(headers):  # some name is repeated
        for name in lowered:
            lowered[name] = ", ".join(headers.getall(name))
    return lowered
