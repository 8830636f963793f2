"""The ASGI application: lets callers in, sends hot routes the short way, everything else to Starlette, and words all errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from prefrontal.app.library import Prefrontal
from prefrontal.config.schema import Config
from prefrontal.decisions.wire.systemone_client import ROUTE as SYSTEMONE_PATH
from prefrontal.errors import (
    InvalidRequest,
    InvariantBroken,
    Overloaded,
    PayloadTooLarge,
    PrefrontalError,
    ShuttingDown,
    cause_of,
)
from prefrontal.machine.context import CallContext
from prefrontal.serve.access import Caller, Gate, check_route, for_admins
from prefrontal.serve.asks import PRIORITY, TIMEOUT, priority_of, timeout_s_of
from prefrontal.serve.body import ClientGone, read_body
from prefrontal.serve.chat import CHAT, COMPLETIONS, serve_chat
from prefrontal.serve.colleague import Colleague
from prefrontal.serve.decisions import DECISIONS, SYSTEMONE, serve_decisions
from prefrontal.serve.embeddings import serve_embeddings
from prefrontal.serve.heads import cache_wish, error_headers, request_id_of, trace_of
from prefrontal.serve.messages import serve_messages
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.origins import Origins
from prefrontal.serve.pace import rate_headers
from prefrontal.serve.peers import Peers
from prefrontal.serve.responses import serve_responses
from prefrontal.serve.routes import build_routes
from prefrontal.serve.types import JSON_TYPE, Headers, Message, Receive, Scope, Send, send_body
from prefrontal.serve.ui.guard import browser_headers, is_page
from prefrontal.serve.ui.pages import Shell
from prefrontal.serve.watcher import Watcher
from prefrontal.serve.wording import error_body

log = logging.getLogger(__name__)

HEADROOM = 64
"""Requests beyond those that may run or wait whose bodies are still read (assumed): one of them may matter more than one that
waits. More than that are refused unread, which bounds what bodies can take of the memory."""

OPEN_PATHS = frozenset({"/livez", "/readyz", "/health", "/healthz"})
"""Probes of orchestrators carry no key and learn nothing from us but whether we are up."""


class Site:
    """Serves one `Prefrontal` over HTTP. `instance` tells our own answers from other servers' when looking for models."""

    def __init__(self, pf: Prefrontal, metrics: Metrics, *, instance: str) -> None:
        self.pf = pf
        self.metrics = metrics
        self.instance = instance
        self.draining = False
        self.active = 0
        self.colleague: Colleague | None = None  # where several workers serve together
        self._tasks: set[asyncio.Task[object]] = set()
        self._always: Headers = [(b"x-prefrontal-instance", instance.encode())]
        self._config: Config | None = None
        self._gate = Gate(pf.config.server, pf.money.keys)
        self._origins = Origins(())
        self._peers = Peers(())
        self.shell = Shell()
        self._router = build_routes(self)

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """Every route but those that carry traffic."""
        return self._router.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; anything else ASGI offers is declined."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        self.active += 1
        task = asyncio.current_task()
        assert task is not None  # ASGI servers run each request in a task
        self._tasks.add(task)
        try:
            await self._serve(scope, receive, send)
        finally:
            self.active -= 1
            self._tasks.discard(task)

    def cut(self) -> int:
        """End every running request with `ShuttingDown`, streams with an event that says so; return how many there were."""
        for task in self._tasks:
            error = ShuttingDown("The gateway was stopped and did not wait for this answer.", retry_after_s=1.0)
            task.cancel(error)
        return len(self._tasks)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        request_id = request_id_of(headers.get(b"x-request-id"))
        self._refresh()
        extra = self._always
        origin = headers.get(b"origin")
        if origin is not None:
            extra = [*extra, *self._origins.headers(origin)]
            if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
                await send_body(send, 204, [*extra, *self._origins.preflight(origin)], b"")
                return
        started = _Started(send, scope["path"])
        shown = browser_headers(scope, headers)
        try:
            path = scope["path"]
            peer = self._peers.of(scope, headers)
            admin = for_admins(scope["method"], path)
            caller = Caller() if path in OPEN_PATHS else self._gate.admit(shown, peer, admin=admin)
            if caller is None:
                caller = await self._gate.look_up(shown, peer, admin=admin)
            self._origins.check(origin, caller, scope["method"])
            hot = HOT.get(path) if scope["method"] == "POST" else None
            if hot is not None:
                self._check_load()
                await hot(self, scope, receive, started, self._context(scope, headers, caller, request_id), extra)
                return
            check_route(caller, headers, path, scope["method"])
            scope["prefrontal.caller"] = caller
            scope["prefrontal.context"] = self._context(scope, headers, caller, request_id)
            scope["app"] = self  # makes Starlette's router raise for a wrong method instead of answering in plain text
            named = request_id or self.pf.chance.identifier("req_", self.pf.clock.now())
            await self._router(scope, receive, started.adding([*extra, (b"x-request-id", named.encode())]))
        except ClientGone:
            return
        except PrefrontalError as error:
            await self.fail(started, error, request_id, extra)
        except HTTPException as error:
            wrong, allow = _wrong_method(scope, error)
            await self.fail(started, wrong, request_id, [*extra, allow])
        except asyncio.CancelledError as gone:
            cause, task = cause_of(gone), asyncio.current_task()
            if cause is None or task is None:
                raise
            task.uncancel()  # it was `cut`, and the client is still there
            await self.fail(started, cause, request_id, extra)
        except Exception as error:  # the edge: a bug of ours, worded without its insides and logged with them
            about = {"request_id": request_id, "path": scope["path"]}
            log.exception("request failed inside the gateway", extra={"fields": about})
            await self.fail(started, InvariantBroken(f"The gateway failed: {type(error).__name__}."), request_id, extra)

    async def fail(self, send: _Started, error: PrefrontalError, request_id: str | None, extra: Headers) -> None:
        """Answer with the error envelope, unless an answer has begun."""
        if send.begun:
            return
        self.metrics.error(error)
        if request_id is None and "trace" not in error.details:  # refused before it became a request: it still gets a name
            request_id = self.pf.chance.identifier("req_", self.pf.clock.now())
        if is_page("GET", send.path):
            kind, body = self.shell.error(error, request_id)
        else:
            kind, body = [JSON_TYPE], error_body(send.path, error, request_id)
        headers = [*error_headers(error, request_id), *kind, *extra]
        headers += rate_headers(error.standing, send.path, self.pf.clock.now())
        if isinstance(error, PayloadTooLarge):
            headers.append((b"connection", b"close"))  # the rest of the body is not read
        await send_body(send.adding([]), error.status, headers, body)

    def _refresh(self) -> None:
        config = self.pf.config
        if config is not self._config:
            self._config = config
            self._gate = Gate(config.server, self.pf.money.keys)
            self._origins = Origins(config.server.cors_origins)
            self._peers = Peers(config.server.trusted_proxies)

    def _check_load(self) -> None:
        if self.draining:
            raise ShuttingDown("The gateway is shutting down.", retry_after_s=1.0)
        limits = self.pf.config.limits
        if self.active > limits.concurrency + limits.shedding.queue + HEADROOM:  # not even read; who waits is decided later
            raise Overloaded(
                "The gateway is busy: as many requests run and wait as may.",
                retry_after_s=1.0,
                details={"dimension": "concurrency", "limit": limits.concurrency, "scope": "gateway", "shed": "full"},
            )

    def _context(self, scope: Scope, headers: dict[bytes, bytes], caller: Caller, request_id: str | None) -> CallContext:
        session = headers.get(b"x-session-id") or headers.get(b"x-conversation-id")
        channel = headers.get(b"x-prefrontal-channel")
        data_class = headers.get(b"x-prefrontal-data-class")
        return CallContext(
            route=scope["path"],
            request_id=request_id,
            session=session.decode("latin-1")[:256] if session else None,
            channel=channel.decode("latin-1") if channel else None,
            key_id=caller.key_id,
            allow_host=caller.trusted,
            arrived=self.pf.clock.monotonic(),
            trace=trace_of(headers) if b"traceparent" in headers else None,
            grant=caller.grant,
            timeout_s=timeout_s_of(headers) if TIMEOUT in headers else None,
            priority=priority_of(headers) if PRIORITY in headers else None,
            data_classes=(data_class.decode("latin-1"),) if data_class else (),
            cache=cache_wish(headers[b"x-prefrontal-cache"]) if b"x-prefrontal-cache" in headers else None,
        )

    async def body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the request's body within the configured bounds."""
        server = self.pf.config.server
        return await read_body(scope, receive, max_bytes=server.max_body_bytes, idle_s=server.idle_timeout_s, clock=self.pf.clock)


class _Started:
    """A `send` that knows whether the answer has begun, and can add headers to it."""

    __slots__ = ("_extra", "_send", "begun", "path")

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self.path = path
        self._extra: Headers = []
        self.begun = False

    async def __call__(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.begun = True
            if self._extra:
                message["headers"] = [*message.get("headers", []), *self._extra]
        await self._send(message)

    def adding(self, extra: Headers) -> _Started:
        """Add `extra` to the head of the answer."""
        self._extra = extra
        return self


async def _chat(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    await serve_chat(site.pf, CHAT, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


async def _completions(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    await serve_chat(site.pf, COMPLETIONS, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


async def _embeddings(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    await serve_embeddings(site.pf, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


async def _messages(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    await serve_messages(site.pf, scope, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


async def _responses(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    await serve_responses(site.pf, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


async def _decisions(site: Site, scope: Scope, receive: Receive, send: Send, context: CallContext, extra: Headers) -> None:
    route = SYSTEMONE if scope["path"] == SYSTEMONE_PATH else DECISIONS
    await serve_decisions(site.pf, route, await site.body(scope, receive), context, extra, Watcher(scope, receive), send)


HOT = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completions,
    "/v1/decisions": _decisions,
    "/v1/systemone": _decisions,
    "/v1/embeddings": _embeddings,
    "/v1/messages": _messages,
    "/v1/responses": _responses,
}
"""The routes that carry traffic. Clients that leave out /v1 in their base URL get a hint from the 404."""


def _wrong_method(scope: Scope, error: HTTPException) -> tuple[InvalidRequest, tuple[bytes, bytes]]:
    """Return the error and the header that say which methods a route takes."""
    allowed = (error.headers or {}).get("Allow", "")
    wrong = InvalidRequest(f"{scope['path']} does not take {scope['method']}.", hint=f"It takes {allowed}.")
    wrong.status = error.status_code
    return wrong, (b"allow", allowed.encode())


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
