"""What a wire of the mock upstream can do."""

from __future__ import annotations

from typing import ClassVar, Protocol

import msgspec

from prefrontal.testing.answers import Asked, Spoken
from prefrontal.testing.http_server import Recorded


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a stream as it is written. `token` marks those that carry something of the answer."""

    data: bytes
    token: bool = False


class Wire(Protocol):
    """Reads requests and renders answers, streams and errors of one vendor."""

    content_type: ClassVar[str]
    """Of streams; whole answers are `application/json`."""

    def read(self, request: Recorded) -> Asked:
        """Return what the request asks; tolerant, for the upstream under test is not ours to validate."""
        ...

    def body(self, spoken: Spoken) -> bytes:
        """Return the unstreamed answer."""
        ...

    def events(self, spoken: Spoken) -> list[Event]:
        """Return the whole stream."""
        ...

    def error(self, status: int, message: str) -> bytes:
        """Return the body of an error answer."""
        ...

    def error_event(self, message: str) -> bytes:
        """Return an error in the middle of a stream."""
        ...

    def wrong_event(self) -> bytes:
        """Return a piece of a stream that is valid JSON of a foreign shape."""
        ...
