"""uvicorn's HTTP protocol with two things it lacks: a bound on the request's head, and word of a client that leaves."""

from __future__ import annotations

from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prefrontal.serve.watcher import EXTENSION, Leaving

BODY = (
    b'{"error":{"message":"The request head is too large (server.max_header_bytes).",'
    b'"type":"invalid_request_error","param":null,"code":"request_head_too_large"}}'
)
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


def bounded_protocol(max_header_bytes: int) -> type[HttpToolsProtocol]:
    """Return a protocol class that refuses a head of more than `max_header_bytes` while it is still arriving.

    Each request's scope carries the `Leaving` of its connection.
    """

    class BoundedProtocol(HttpToolsProtocol):
        """Counts the bytes between the start of a message and the end of its head."""

        head_bytes = 0
        in_head = True
        leaving: Leaving

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
            super().connection_made(transport)
            self.leaving = Leaving(self.flow.resume_reading)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.leaving.left()

        def data_received(self, data: bytes) -> None:
            if self.in_head:
                self.head_bytes += len(data)
                super().data_received(data)
                if self.in_head and self.head_bytes > max_header_bytes and not self.transport.is_closing():
                    self.transport.write(TOO_LARGE)
                    self.transport.close()
                return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self.in_head = True
            self.head_bytes = 0
            super().on_message_begin()
            self.scope["extensions"] = {EXTENSION: self.leaving}  # type: ignore[dict-item]  # uvicorn takes extensions for mappings

        def on_headers_complete(self) -> Any:
            size = sum(len(name) + len(value) for name, value in self.headers)
            self.in_head = False
            if size > max_header_bytes:
                self.transport.write(TOO_LARGE)
                self.transport.close()
                return None
            return super().on_headers_complete()

    return BoundedProtocol
