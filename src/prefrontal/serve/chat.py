"""One request for an answer, in whatever dialect: the hot routes, plain ASGI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import InvariantBroken, PrefrontalError, cause_of
from prefrontal.machine.context import CallContext
from prefrontal.machine.run import extension
from prefrontal.machine.stream import AnswerStream
from prefrontal.providers.openai.client_stream import ChatStreamRenderer, CompletionStreamRenderer
from prefrontal.providers.openai.completions import parse_completion_request, render_completion_response
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.providers.openai.response import render_chat_response
from prefrontal.serve.heads import cache_headers, degraded_header, dropped_header, first_headers, whole_headers
from prefrontal.serve.pace import rate_headers
from prefrontal.serve.types import JSON_TYPE, STREAM_HEADERS, Headers, Send, send_body
from prefrontal.serve.watcher import Watcher

log = logging.getLogger(__name__)


class StreamRenderer(Protocol):
    """Writes one streamed answer as events of its dialect."""

    def render(self, chunk: Chunk) -> bytes:
        """Return the events of a chunk, none if it has no news for a client."""
        ...

    def finish(self, usage: Usage, extension: dict[str, Any] | None) -> bytes:
        """Return the end of the stream, with `extension` as ``x_prefrontal``."""
        ...

    def error(self, error: PrefrontalError) -> bytes:
        """Return the end of a broken stream."""
        ...


class LossyRenderer(StreamRenderer, Protocol):
    """A renderer of a dialect that cannot carry every answer."""

    def lost(self) -> tuple[Dropped, ...]:
        """Return what could not be carried so far."""
        ...


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one route reads requests and writes answers.

    lost: counts what of an answer the dialect cannot carry; its stream renderers have a method `lost` then. settle: what must
    be done before the client sees the last bytes of an answer; it returns the bytes to send.
    """

    parse: Callable[[bytes], ChatRequest]
    render: Callable[..., bytes]
    stream: Callable[..., StreamRenderer]
    prefix: str
    lost: Callable[[ChatResponse], tuple[Dropped, ...]] | None = None
    settle: Callable[[bytes], Awaitable[bytes]] | None = None


CHAT = Dialect(parse=parse_chat_request, render=render_chat_response, stream=ChatStreamRenderer, prefix="chatcmpl-")
COMPLETIONS = Dialect(
    parse=parse_completion_request, render=render_completion_response, stream=CompletionStreamRenderer, prefix="cmpl-"
)


async def serve_chat(
    pf: Prefrontal, dialect: Dialect, body: bytes, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one request. Raises PrefrontalError while nothing was sent; afterwards errors travel inside the stream.

    A client that leaves cancels everything done for it; then nothing is sent and nothing raised.
    """
    await serve_request(pf, dialect, dialect.parse(body), context, extra, watcher, send)


async def serve_request(
    pf: Prefrontal, dialect: Dialect, request: ChatRequest, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one parsed request; like `serve_chat`."""
    if dialect.lost is not None:
        context = msgspec.structs.replace(context, lost=dialect.lost)
    try:
        with watcher:
            if request.stream:
                source = await pf.open_stream(request, context)
                await _send_stream(source, request, dialect, context, extra, send)
            else:
                answer = await pf.answer(request, context)
                record, response = answer.record, answer.response
                data = dialect.render(
                    response,
                    id=dialect.prefix + record.id[4:],
                    model=record.model or request.model,
                    created_s=int(record.started_s),
                    extension=extension(record),
                )
                if dialect.settle is not None:
                    data = await dialect.settle(data)
                headers = [*whole_headers(record, context.request_id), JSON_TYPE, *extra]
                if answer.standing:
                    headers += rate_headers(answer.standing, context.route, pf.clock.now())
                await send_body(send, 200, headers, data)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not watcher.gone or task is None:
            raise
        task.uncancel()  # the watcher cancelled this task for the client that left; nobody else asked for it


async def _send_stream(
    source: AnswerStream, request: ChatRequest, dialect: Dialect, context: CallContext, extra: Headers, send: Send
) -> None:
    run = source.run
    headers = first_headers(run.id, context.request_id, run.model, run.answered_by, run.effort.score)
    dropped_header(run.dropped(), headers)
    degraded_header(run.degraded, headers)
    cache_headers(run.cache, headers)
    if run.purse is not None:
        headers += rate_headers(run.standing(), context.route, run.journal.clock.now())
    renderer = dialect.stream(
        id=dialect.prefix + run.id[4:],
        model=run.model or request.model,
        created_s=int(run.started_s),
        include_usage=request.include_usage,
    )
    if dialect.lost is not None:
        run.lost = cast("LossyRenderer", renderer).lost
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers, *extra]})
        while chunks := await source.read():
            data = renderer.render(chunks[0]) if len(chunks) == 1 else b"".join([renderer.render(chunk) for chunk in chunks])
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        last = renderer.finish(source.usage, source.extension())
        if dialect.settle is not None:
            last = await dialect.settle(last)
        await send({"type": "http.response.body", "body": last})
    except PrefrontalError as error:
        await send({"type": "http.response.body", "body": renderer.error(error)})
    except asyncio.CancelledError as gone:
        cause = cause_of(gone)
        if cause is not None:  # the client is there, and the stream ends as its dialect says
            await source.aclose(cause)
            await send({"type": "http.response.body", "body": renderer.error(cause)})
        raise
    except Exception as error:
        # The head is out: a bug of ours must still end the stream as the dialect says, and is then reported.
        log.exception("a stream failed inside the gateway")
        await send(
            {"type": "http.response.body", "body": renderer.error(InvariantBroken("The gateway failed inside the answer."))}
        )
        raise InvariantBroken(f"{type(error).__name__} inside a stream.") from error
    finally:
        await source.aclose()
