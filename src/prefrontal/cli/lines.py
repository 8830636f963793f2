"""One line in the log for each finished request, at the level info.

They do not go through the standard library's logging: that costs 38 µs a line as text and 77 as JSON (measured), a third of what
a whole request may cost. Lines are made and written together, some times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from prefrontal.config.redact import Redactor
from prefrontal.contracts.record import RequestRecord

LOGGER = "prefrontal.requests"

LONGEST = 200
"""Characters of a text that others wrote, at most (assumed: a model's name has fewer)."""

FLUSH_S = 0.25
FLUSH_AT = 500
"""When lines are written: so long after the first that waits, or at so many (assumed: nobody reads faster)."""

REMEMBERED = 1000
"""Names whose cleaned form is remembered (assumed: more than there are models)."""

Later = Callable[[float, Callable[[], None]], object]
"""Calls a function after so many seconds, as ``loop.call_later``."""


class RequestLines:
    """Writes the lines. Owned by one event loop; silent until `configure`."""

    def __init__(self, write: Callable[[str], None], later: Later) -> None:
        self._write = write
        self._later = later
        self._enabled = False
        self._json = False
        self._waiting: list[RequestRecord] = []
        self._cleaner = Cleaner(Redactor())
        self._second = -1
        self._prefix = ""

    def configure(self, *, enabled: bool, form: str, redactor: Redactor) -> None:
        """Write lines as ``text`` or ``json`` from now on, or none. May be called again."""
        self.flush()
        self._enabled = enabled
        self._json = form == "json"
        self._cleaner = Cleaner(redactor)
        self._second = -1

    def observe(self, record: RequestRecord) -> None:
        """Take a finished request."""
        if not self._enabled:
            return
        self._waiting.append(record)
        if len(self._waiting) == 1:
            self._later(FLUSH_S, self.flush)
        elif len(self._waiting) >= FLUSH_AT:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            records, self._waiting = self._waiting, []
            line = self._json_line if self._json else self._text_line
            self._write("".join([line(record) for record in records]))

    def _text_line(self, record: RequestRecord) -> str:
        ended_s = record.started_s + record.duration_ms / 1000.0
        if int(ended_s) != self._second:
            self._second = int(ended_s)
            self._prefix = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._second))
        return f"{self._prefix},{int(ended_s % 1 * 1000):03d} INFO    {LOGGER}: {text_of(record, self._cleaner)}\n"

    def _json_line(self, record: RequestRecord) -> str:
        ended_s = record.started_s + record.duration_ms / 1000.0
        if int(ended_s) != self._second:
            self._second = int(ended_s)
            self._prefix = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        shown = {
            "time": f"{self._prefix}.{int(ended_s % 1 * 1000):03d}+00:00",
            "level": "info",
            "logger": LOGGER,
            "message": "request",
            **fields_of(record, self._cleaner),
        }
        return msgspec.json.encode(shown).decode() + "\n"


class Cleaner:
    """Makes texts that others wrote fit for a line: no secret, no line's end, not long. Remembers names, which come again."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._names: dict[str, str] = {}

    def name(self, text: str | None) -> str | None:
        """Return a text that is likely to come again."""
        if text is None or len(text) > LONGEST:
            return text and self.text(text)
        found = self._names.get(text)
        if found is None:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            found = self._names[text] = self.text(text)
        return found

    def text(self, text: str) -> str:
        """Return any text."""
        cut = self._redactor.text(text[:LONGEST])
        return cut if cut.isprintable() else "".join([char if char.isprintable() else "?" for char in cut])


def fields_of(record: RequestRecord, cleaner: Cleaner) -> dict[str, Any]:
    """Return what a log in JSON says of a request; what is not known is left out. Times in milliseconds."""
    usage = record.usage
    found = {
        "trace_id": record.trace_id,
        "record": record.id,
        "request_id": None if record.request_id is None else cleaner.text(record.request_id),
        "caller": record.key_id,
        "route": cleaner.name(record.route),
        "requested_model": cleaner.name(record.requested_model),
        "model": cleaner.name(record.model),
        "answered_by": record.answered_by,
        "status": record.status,
        "http_status": record.http_status,
        "error_code": record.error_code,
        "stream": record.stream,
        "duration_ms": record.duration_ms,
        "overhead_ms": record.overhead_ms,
        "first_token_ms": record.first_token_ms,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "usage_source": usage.source,
        "cost_usd": record.cost_usd,
        "attempts": len(record.attempts),
    }
    return {name: value for name, value in found.items() if value is not None}


def text_of(record: RequestRecord, cleaner: Cleaner) -> str:
    """Return the line for people."""
    usage, cost = record.usage, record.cost_usd
    first = "" if record.first_token_ms is None else f", first token {record.first_token_ms:.0f} ms"
    error = "" if record.error_code is None else f" {record.error_code}"
    request_id = "" if record.request_id is None else f" request_id={cleaner.text(record.request_id)}"
    asked, model = cleaner.name(record.requested_model), cleaner.name(record.model) or "none"
    return (
        f"{record.http_status} {record.status}{error}: {asked} -> {model}"
        f" ({record.answered_by}) in {record.duration_ms:.0f} ms (ours {record.overhead_ms:.1f} ms{first}),"
        f" {usage.input_tokens} + {usage.output_tokens} tokens, {'cost unknown' if cost is None else f'${cost:.6f}'},"
        f" {len(record.attempts)} attempts, {record.id} trace={record.trace_id}{request_id}"
    )
