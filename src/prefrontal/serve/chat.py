"""POST /v1/chat/completions and /v1/completions: the hot routes, plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.chat.request import ChatRequest
from prefrontal.errors import InvariantBroken, PrefrontalError
from prefrontal.machine.context import CallContext
from prefrontal.machine.run import extension
from prefrontal.machine.stream import AnswerStream
from prefrontal.providers.openai.client_stream import ChatStreamRenderer, CompletionStreamRenderer
from prefrontal.providers.openai.completions import parse_completion_request, render_completion_response
from prefrontal.providers.openai.request import parse_chat_request
from prefrontal.providers.openai.response import render_chat_response
from prefrontal.serve.heads import dropped_header, first_headers, whole_headers
from prefrontal.serve.types import JSON_TYPE, STREAM_HEADERS, Headers, Send, send_body
from prefrontal.serve.watcher import Watcher


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one route reads requests and writes answers."""

    parse: Callable[[bytes], ChatRequest]
    render: Callable[..., bytes]
    stream: type[ChatStreamRenderer]
    prefix: str


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
    request = dialect.parse(body)
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
                headers = [*whole_headers(record, context.request_id), JSON_TYPE, *extra]
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
    renderer = dialect.stream(
        id=dialect.prefix + run.id[4:],
        model=run.model or request.model,
        created_s=int(run.started_s),
        include_usage=request.include_usage,
    )
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers, *extra]})
        while chunks := await source.read():
            data = b"".join([renderer.render(chunk) for chunk in chunks])
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": renderer.finish(source.usage, source.extension())})
    except PrefrontalError as error:
        await send({"type": "http.response.body", "body": renderer.error(error)})
    except Exception as error:
        # The head is out: a bug of ours must still end the stream as the dialect says, and is then reported.
        await send(
            {"type": "http.response.body", "body": renderer.error(InvariantBroken("The gateway failed inside the answer."))}
        )
        raise InvariantBroken(f"{type(error).__name__} inside a stream.") from error
    finally:
        await source.aclose()
