"""Reads a request body within bounds of size and time."""

from __future__ import annotations

from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest, PayloadTooLarge
from prefrontal.serve.types import Message, Receive, Scope


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int, idle_s: float, clock: Clock) -> bytes:
    """Return the body.

    Raises:
        PayloadTooLarge: it is longer than `max_bytes`; said before the rest is read. InvalidRequest: it stopped arriving.
        ClientGone: the connection closed.
    """
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    message = await _next(receive, idle_s, clock)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await _next(receive, idle_s, clock)
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
    return b"".join(parts)


async def _next(receive: Receive, idle_s: float, clock: Clock) -> Message:
    try:
        async with clock.timeout(idle_s):
            message = await receive()
    except TimeoutError as error:
        raise InvalidRequest(f"The request body stopped arriving for {idle_s:g} s.") from error
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {max_bytes} bytes.", hint="server.max_body_bytes sets the limit.")
