"""Errors as the dialect of a route words them."""

from __future__ import annotations

import msgspec

from prefrontal.decisions.wire.systemone_client import ROUTE as SYSTEMONE_ROUTE
from prefrontal.decisions.wire.systemone_client import render_systemone_error
from prefrontal.errors import PrefrontalError
from prefrontal.providers.anthropic.client_response import render_messages_error
from prefrontal.providers.openai.response import render_error

ANTHROPIC_ROUTES = "/v1/messages"

OWN_NAMES = {
    "/v1/responses": {"reasoning_effort": "reasoning.effort", "response_format": "text.format", "messages": "input"},
    ANTHROPIC_ROUTES: {"reasoning_effort": "output_config.effort", "response_format": "output_config.format"},
}
"""What fields are called on routes of other dialects, where an error was raised after the request had been translated."""


def error_body(path: str, error: PrefrontalError, request_id: str | None) -> bytes:
    """Return the error envelope for a client of the route `path`."""
    _rename(path, error)
    if path.startswith(ANTHROPIC_ROUTES):
        told = render_messages_error(error, request_id)
    elif path == SYSTEMONE_ROUTE:
        told = render_systemone_error(error)
    else:
        told = render_error(error)
    return msgspec.json.encode(told, enc_hook=str)


def _rename(path: str, error: PrefrontalError) -> None:
    """Give the field of an error, which nobody but its reader will see any more, the name it has on the route."""
    names = next((names for route, names in OWN_NAMES.items() if path.startswith(route)), {})
    old, name = error.param, names.get(error.param or "")
    if old is None or name is None:
        return
    error.param = name
    if error.message.startswith(f"{old} "):
        error.message = name + error.message[len(old) :]
