"""Server-sent events: bytes in, events out, whatever way the bytes are cut."""

from __future__ import annotations

import msgspec

from prefrontal.errors import ProviderMisbehaved

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Assumed: the largest event seen in the wild (an inline image) is under 4 MiB; twice that is certainly not one."""

_BOM = b"\xef\xbb\xbf"


class Event(msgspec.Struct, frozen=True, gc=False):
    r"""One event: its name (None when the stream gave none) and its data lines joined by ``\n``."""

    event: str | None
    data: str


class SSEDecoder:
    r"""Decodes one event stream. Memory is bounded by `max_line_bytes`, for one line and for the data of one event.

    Lines may end in ``\n``, ``\r\n`` or ``\r``. Comments and unknown fields are skipped; bytes that are not UTF-8 become
    U+FFFD. A line of the field ``error``, which some engines write in place of an event, is an event named ``error``.
    """

    __slots__ = ("_buffer", "_data", "_limit", "_name", "_skip_lf", "_started")

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._name: str | None = None
        self._limit = max_line_bytes
        self._skip_lf = False
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes.

        Raises:
            ProviderMisbehaved: a line, or the data of one event, is longer than `max_line_bytes`.
        """
        if self._skip_lf and data:
            self._skip_lf = False
            if data[:1] == b"\n":
                data = data[1:]
        cut = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if cut < 0:
            self._buffer += data
            if len(self._buffer) > self._limit:
                raise self._too_long()
            return []
        whole, rest = data[: cut + 1], data[cut + 1 :]
        self._skip_lf = data[cut] == 13 and not rest
        if self._buffer:
            self._buffer += whole
            whole = bytes(self._buffer)
            self._buffer.clear()
        self._buffer += rest
        events = self._lines(whole.splitlines())
        if len(self._buffer) > self._limit:
            raise self._too_long()
        return events

    @property
    def idle(self) -> bool:
        """Whether the next byte begins an event: nothing is left over from the one before."""
        return not (self._buffer or self._data or self._name or self._skip_lf)

    def finish(self) -> list[Event]:
        """Return the event that the end of the stream completes, if one was begun: many engines leave out the last blank line."""
        lines = [bytes(self._buffer)] if self._buffer else []
        self._buffer.clear()
        return self._lines([*lines, b""])

    def _lines(self, lines: list[bytes]) -> list[Event]:
        events: list[Event] = []
        if not self._started and lines:
            self._started = True
            if lines[0].startswith(_BOM):
                lines[0] = lines[0][3:]
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._dispatch())
                self._name = None
            elif line.startswith(b"data: "):
                self._add(line[6:])
            elif not line.startswith(b":"):
                self._field(line)
        return events

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"error":
            self._name = "error"
            self._add(value)

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        size = len(value) if len(self._data) == 1 else sum(map(len, self._data))
        if size > self._limit:
            raise self._too_long()

    def _dispatch(self) -> Event:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        return Event(self._name or None, data.decode("utf-8", "replace"))

    def _too_long(self) -> ProviderMisbehaved:
        return ProviderMisbehaved(f"The upstream sent an event larger than {self._limit} bytes.")
