"""uvicorn's HTTP protocol with what it lacks: bounds on a head, one reading of where a request ends, word of a client that left.

Two programs that disagree about where a request ends can be made to see a second one inside the first. So whatever could be
read in two ways is refused and the connection closed, before anything behind it is looked at.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from prefrontal.serve.watcher import EXTENSION, Leaving

MAX_HEADERS = 200
"""Most headers of a request (assumed: browsers and SDKs send a few dozen; the common proxies stop at 100)."""

HEAD_TIMEOUT_S = 30.0
"""How long a head may take to arrive once it has begun (assumed: a head is one packet or a few)."""

BODY_TIMEOUT_S = 300.0
"""How long a body may take (assumed: 32 MiB at one megabit a second)."""

FRAMING_BYTES = 16
"""What a chunk of a body may cost beside its bytes, and `max_header_bytes` once (assumed: sizes and line ends are some eight)."""

ONCE = frozenset({b"host", b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"content-type", b"content-encoding"})
"""Headers of which two would leave open which one counts."""


def _response(status: bytes, message: bytes, code: bytes) -> bytes:
    body = b'{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":"%s"}}' % (message, code)
    head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


TOO_LARGE = _response(
    b"431 Request Header Fields Too Large",
    b"The request head is too large (server.max_header_bytes).",
    b"request_head_too_large",
)
TOO_MANY = _response(b"431 Request Header Fields Too Large", b"The request has too many headers.", b"request_head_too_large")
NOT_HTTP = _response(b"400 Bad Request", b"The request is not valid HTTP.", b"not_http")
AMBIGUOUS = _response(b"400 Bad Request", b"The request can be read in more than one way.", b"not_http")
TOO_SLOW = _response(b"408 Request Timeout", b"The request did not arrive in time.", b"request_timeout")


class Refused(Exception):
    """Ends the parsing of a connection; what is answered is in `refusal` of its protocol."""


class StrictProtocol(HttpToolsProtocol):
    """Counts and times what arrives. Its limits are set by `bounded_protocol`.

    in_head, in_message: what has arrived last is of a head, of a message not yet complete. begun: its request is being answered.
    """

    max_header_bytes = 65_536
    head_s = HEAD_TIMEOUT_S
    body_s = BODY_TIMEOUT_S

    leaving: Leaving
    refusal = NOT_HTTP
    in_head = True
    in_message = False
    begun = False
    messages = 0
    chunked = False
    head_bytes = 0
    framing_left = 0
    deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Begin; whoever connects and says nothing is not kept."""
        super().connection_made(transport)
        self.leaving = Leaving(self.flow.resume_reading)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._in_time()
        super().connection_lost(exc)
        self.leaving.left()

    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
        if self.transport.is_closing():
            return  # it was refused: whatever follows is nobody's request
        if self.chunked:
            self.framing_left -= len(data)
        before, busy = self.messages, self.in_message
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.in_head and self.messages - before == (0 if busy else 1):  # all of it is of this head
            self.head_bytes += len(data)
        if self.in_head and self.head_bytes > self.max_header_bytes:
            self._refuse(TOO_LARGE)
        elif self.chunked and self.framing_left < 0:
            self._refuse(AMBIGUOUS)
        elif not self.in_message:
            self._in_time()
        elif self.deadline is None:
            self.deadline = self.loop.call_later(self.head_s if self.in_head else self.body_s, self._too_slow)

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser or one of its callbacks did."""
        self._refuse(self.refusal)

    # -- the parser's callbacks ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Count from here. Raises Refused behind a refused request."""
        if self.transport.is_closing():
            raise Refused
        self.messages += 1
        self.in_head = self.in_message = True
        self.begun = self.chunked = False
        self.head_bytes = 0
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self.leaving}  # type: ignore[dict-item]  # uvicorn takes extensions for mappings

    def on_headers_complete(self) -> None:
        """Look at the head as a whole. Raises Refused."""
        self.in_head = False
        self._in_time()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.max_header_bytes:
            self._stop(TOO_LARGE)
        if len(self.headers) > MAX_HEADERS:
            self._stop(TOO_MANY)
        self._check_framing()
        super().on_headers_complete()
        self.begun = True
        self.headers = []  # what follows a chunked body is no header, whatever it is called

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self.chunked:
            self.framing_left += len(body) + FRAMING_BYTES
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the time."""
        self.in_message = self.chunked = False
        super().on_message_complete()

    # -- refusing ------------------------------------------------------------------------------------------------------

    def _check_framing(self) -> None:
        """Raise Refused for a head that a proxy before us may have read differently."""
        seen: set[bytes] = set()
        for name, value in self.headers:
            if name in ONCE:
                if name in seen:
                    self._stop(AMBIGUOUS)
                seen.add(name)
            elif name == b"transfer-encoding":
                if self.chunked or value.strip().lower() != b"chunked":
                    self._stop(AMBIGUOUS)
                self.chunked = True
                self.framing_left = self.max_header_bytes
        version = self.parser.get_http_version()
        if version == "1.1":
            if b"host" not in seen:
                self._stop(NOT_HTTP)
        elif version != "1.0" or self.chunked:
            self._stop(NOT_HTTP)
        if not self.url.startswith(b"/") and self.url != b"*":
            self._stop(NOT_HTTP)  # a request for a proxy, which this is not

    def _stop(self, answer: bytes) -> None:
        self.refusal = answer
        raise Refused

    def _refuse(self, answer: bytes) -> None:
        """Close the connection, with `answer` where no other answer is on its way."""
        self._in_time()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if (not cycle.response_started) if self.begun else (cycle is None or cycle.response_complete):
            self.transport.write(answer)
        self.transport.close()

    def _too_slow(self) -> None:
        self.deadline = None
        if self.pipeline:  # reading is paused for an answer that comes first
            self.deadline = self.loop.call_later(self.body_s, self._too_slow)
            return
        self._refuse(TOO_SLOW)

    def _in_time(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


def bounded_protocol(
    max_header_bytes: int, *, head_s: float = HEAD_TIMEOUT_S, body_s: float = BODY_TIMEOUT_S
) -> type[HttpToolsProtocol]:
    """Return a protocol class that refuses a head of more than `max_header_bytes` while it is still arriving.

    head_s, body_s: how long head and body of a request may take to arrive. Each request's scope carries the `Leaving` of its
    connection.
    """
    limits = {"max_header_bytes": max_header_bytes, "head_s": head_s, "body_s": body_s}
    return type("BoundedProtocol", (StrictProtocol,), limits)
