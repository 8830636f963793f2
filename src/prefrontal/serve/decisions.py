"""POST /v1/decisions and POST /v1/systemone: the same decisions in two dialects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from prefrontal.app.library import Prefrontal
from prefrontal.contracts.decision import DecisionRequest, DecisionResponse
from prefrontal.decisions.wire.openai_client import parse_decisions, render_decisions
from prefrontal.decisions.wire.systemone_client import parse_systemone, render_systemone
from prefrontal.machine.context import CallContext
from prefrontal.machine.run import extension
from prefrontal.serve.heads import whole_headers
from prefrontal.serve.pace import rate_headers
from prefrontal.serve.types import JSON_TYPE, Headers, Send, send_body
from prefrontal.serve.watcher import Watcher


class DecisionRoute(msgspec.Struct, frozen=True, kw_only=True):
    """How one route reads requests and writes answers."""

    parse: Callable[..., DecisionRequest]
    render: Callable[[DecisionResponse, dict[str, Any] | None], bytes]


DECISIONS = DecisionRoute(parse=parse_decisions, render=render_decisions)
SYSTEMONE = DecisionRoute(parse=parse_systemone, render=render_systemone)


async def serve_decisions(
    pf: Prefrontal, route: DecisionRoute, body: bytes, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one request. Raises PrefrontalError before anything is sent."""
    settings = pf.config.decisions
    types = pf.decisions.types(settings)
    request = route.parse(body, max_state_bytes=settings.max_state_bytes, lookup=types.lookup)
    try:
        with watcher:
            done = await pf.decide_all(request, context, types)
            data = route.render(done.response, extension(done.record))
            headers = [*whole_headers(done.record, context.request_id), JSON_TYPE, *extra]
            headers += rate_headers(done.standing, context.route, pf.clock.now())
            await send_body(send, 200, headers, data)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not watcher.gone or task is None:
            raise
        task.uncancel()  # cancelled by the watcher for a client that left
