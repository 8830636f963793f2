"""Errors as the dialect of a route words them."""

from __future__ import annotations

import msgspec

from prefrontal.decisions.wire.systemone_client import ROUTE as SYSTEMONE_ROUTE
from prefrontal.decisions.wire.systemone_client import render_systemone_error
from prefrontal.errors import PrefrontalError
from prefrontal.providers.anthropic.client_response import render_messages_error
from prefrontal.providers.openai.response import render_error

ANTHROPIC_ROUTES = "/v1/messages"


def error_body(path: str, error: PrefrontalError, request_id: str | None) -> bytes:
    """Return the error envelope for a client of the route `path`."""
    if path.startswith(ANTHROPIC_ROUTES):
        told = render_messages_error(error, request_id)
    elif path == SYSTEMONE_ROUTE:
        told = render_systemone_error(error)
    else:
        told = render_error(error)
    return msgspec.json.encode(told, enc_hook=str)
