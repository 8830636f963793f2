"""POST /v1/messages and its token counter."""

from __future__ import annotations

from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.machine.context import CallContext
from prefrontal.providers.anthropic.client import parse_messages_request
from prefrontal.providers.anthropic.client_response import lost_in_message, render_messages_response
from prefrontal.providers.anthropic.client_stream import MessageStreamRenderer
from prefrontal.providers.anthropic.request import BETAS
from prefrontal.serve.chat import Dialect, serve_request
from prefrontal.serve.types import Headers, Scope, Send
from prefrontal.serve.watcher import Watcher

MESSAGES = Dialect(
    parse=parse_messages_request,
    render=render_messages_response,
    stream=MessageStreamRenderer,
    prefix="msg_",
    lost=lost_in_message,
)


async def serve_messages(
    pf: Prefrontal, scope: Scope, body: bytes, context: CallContext, extra: Headers, watcher: Watcher, send: Send
) -> None:
    """Answer one request; like `serve_chat`. The header ``anthropic-beta`` goes to upstreams of this wire."""
    await serve_request(pf, MESSAGES, parse_messages_request(body, betas_of(scope)), context, extra, watcher, send)


async def count_messages(pf: Prefrontal, scope: Scope, body: bytes, context: CallContext) -> dict[str, Any]:
    """Return the input tokens of a request, and who counted them. Raises PrefrontalError."""
    found = await pf.count(parse_messages_request(body, betas_of(scope)), context)
    return {"input_tokens": found.input_tokens, "x_prefrontal": {"model": found.model, "counted_by": found.source}}


def betas_of(scope: Scope) -> str | None:
    """Return the header ``anthropic-beta``, all of them joined, or None."""
    found = [value.decode("latin-1") for name, value in scope["headers"] if name == BETAS.encode()]
    return ",".join(found) or None
