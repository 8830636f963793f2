"""Reads a request body within bounds of size and time."""

from __future__ import annotations

from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest, PayloadTooLarge
from prefrontal.serve.types import Message, Receive, Scope

DISCARD_BYTES = 256 * 1024 * 1024
DISCARD_S = 10.0
"""How much of a body that is too large is still taken in and thrown away, and for how long (assumed). A connection closed with
unread bytes is reset, and the reset overtakes the answer: the client would see a broken pipe instead of the 413."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, *, max_bytes: int, idle_s: float, clock: Clock) -> bytes:
    """Return the body.

    Raises:
        InvalidRequest: it is compressed, or stopped arriving. PayloadTooLarge: it is longer than `max_bytes`; the rest was thrown
        away. ClientGone: the connection closed.
    """
    coded = next((value for name, value in scope["headers"] if name == b"content-encoding"), b"identity")
    if coded.strip().lower() not in (b"", b"identity"):
        raise _coded(coded)
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        if not any(name == b"expect" for name, _ in scope["headers"]):  # who asks first has sent nothing yet
            await _discard(receive, clock)
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
            if message.get("more_body"):
                await _discard(receive, clock)
            raise _too_large(max_bytes)
    return b"".join(parts)


async def _discard(receive: Receive, clock: Clock) -> None:
    """Take in the rest of a body, within bounds, and keep nothing of it. Raises ClientGone."""
    size = 0
    try:
        async with clock.timeout(DISCARD_S):
            while size < DISCARD_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


async def _next(receive: Receive, idle_s: float, clock: Clock) -> Message:
    try:
        async with clock.timeout(idle_s):
            message = await receive()
    except TimeoutError as error:
        raise InvalidRequest(f"The request body stopped arriving for {idle_s:g} s.") from error
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _coded(coding: bytes) -> InvalidRequest:
    """Return the refusal of a compressed body: a few bytes of it could become more than memory holds."""
    error = InvalidRequest(f"A body in '{coding.decode('latin-1')[:40]}' is not taken.", hint="Send it without content-encoding.")
    error.status = 415
    return error


def _too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {max_bytes} bytes.", hint="server.max_body_bytes sets the limit.")
