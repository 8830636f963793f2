"""Errors as the dialect of a route words them."""

from __future__ import annotations

import msgspec

from prefrontal.errors import PrefrontalError
from prefrontal.providers.anthropic.client_response import render_messages_error
from prefrontal.providers.openai.response import render_error

ANTHROPIC_ROUTES = "/v1/messages"


def error_body(path: str, error: PrefrontalError, request_id: str | None) -> bytes:
    """Return the error envelope for a client of the route `path`."""
    told = render_messages_error(error, request_id) if path.startswith(ANTHROPIC_ROUTES) else render_error(error)
    return msgspec.json.encode(told, enc_hook=str)
