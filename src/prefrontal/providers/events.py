"""A stream of JSON objects as server-sent events, the common half of the Anthropic and Gemini stream parsers."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.response import Chunk
from prefrontal.errors import ProviderCut, ProviderError
from prefrontal.providers.base import Target
from prefrontal.providers.common import loads, misbehaved, upstream_error
from prefrontal.providers.sse import Event, SSEDecoder

_HEAD_BYTES = 64 * 1024
"""Assumed: an error body sent in place of a stream is smaller than this."""

_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":", b"\xef\xbb\xbf")
"""Specified: how a line of an event stream may begin."""


class JSONEvents:
    """Feeds each event's JSON object to `take`. A subclass sets `done` at the end mark, after which nothing is read any more.

    What came in the same bytes before an error is returned first; the error is raised by the next call.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.done = False
        self._sse = SSEDecoder()
        self._head = b""
        self._seen = False
        self._error: ProviderError | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer is whole so far."""
        return self.done

    def take(self, value: dict[str, Any]) -> list[Chunk]:
        """Return the chunks of one event. Raises ProviderError."""
        raise self.error({"status": 200})

    def error(self, value: dict[str, Any]) -> ProviderError:
        """Return the error an error object inside the stream stands for."""
        return misbehaved(self.target, f"unexpected event {str(value)[:80]}")

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks completed by `data`. Raises ProviderError."""
        if self._error is not None:
            raise self._error
        if not self._seen and len(self._head) < _HEAD_BYTES:
            self._head += data
        return self._all(self._sse.feed(data))

    def finish(self) -> list[Chunk]:
        """Return what is left. Raises ProviderCut, or ProviderMisbehaved when these bytes were never a stream of events."""
        if self._error is not None:
            raise self._error
        events = self._sse.finish()
        whole = [event for event in events if isinstance(loads(event.data), dict)]  # what the end cut off is no JSON any more
        chunks = self._all(whole)
        if self._error is not None:
            raise self._error
        if self.complete:
            return chunks
        head = self._head.lstrip()
        if not self._seen and head and not any(head.startswith(field[: len(head)]) for field in _FIELDS):
            value = loads(head)
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, dict) and "error" in value:
                raise self.error(value)
            raise misbehaved(self.target, "the answer is not an event stream")
        raise upstream_error(ProviderCut, f"{self.target.profile.title} ended the stream inside the answer.", self.target)

    def _all(self, events: list[Event]) -> list[Chunk]:
        out: list[Chunk] = []
        for event in events:
            self._seen, self._head = True, b""
            if self.done:
                break
            try:
                out.extend(self.take(self._object_in(event)))
            except ProviderError as error:
                if not out:
                    raise
                self._error = error
                break
        return out

    def _object_in(self, event: Event) -> dict[str, Any]:
        value = loads(event.data)
        if isinstance(value, dict):
            return value
        if event.event == "error":
            raise self.error({"error": {"message": event.data}})
        raise misbehaved(self.target, "an event of the stream is not a JSON object")
