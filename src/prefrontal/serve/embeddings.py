"""POST /v1/embeddings."""

from __future__ import annotations

import asyncio

from prefrontal.app.library import Prefrontal
from prefrontal.machine.context import CallContext
from prefrontal.providers.openai.embeddings import parse_embeddings_request, render_embeddings_response
from prefrontal.serve.heads import whole_headers
from prefrontal.serve.pace import rate_headers
from prefrontal.serve.types import JSON_TYPE, Headers, Send, send_body
from prefrontal.serve.watcher import Watcher


async def serve_embeddings(
    pf: Prefrontal, body: bytes, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one request. Raises PrefrontalError before anything is sent."""
    request = parse_embeddings_request(body)
    try:
        with watcher:
            done = await pf.embeddings(request, context)
            record = done.record
            data = render_embeddings_response(
                done.response, model=record.model or request.model, encoding_format=request.encoding_format
            )
            headers = [*whole_headers(record, context.request_id), JSON_TYPE, *extra]
            headers += rate_headers(done.standing, context.route, pf.clock.now())
            await send_body(send, 200, headers, data)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not watcher.gone or task is None:
            raise
        task.uncancel()  # cancelled by the watcher for a client that left
