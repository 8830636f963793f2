"""The events of a stream differ in one word, mostly. What is the same as in the event before is not read again."""

from __future__ import annotations

import re

import msgspec

from prefrontal.chat.response import Chunk

MOST_MISSES = 8
"""So many frames are tried that never fit again; a stream whose every event differs elsewhere too is read in full (assumed)."""

_CONTENT = re.compile(r'"content":\s*"((?:[^"\\]|\\.)*)"')
_TEXT = msgspec.json.Decoder(str)


class Repeat:
    """Reads events that are equal to an earlier one but for the text of their `content`.

    Exact: an event is taken only when all before and after its text is byte for byte the frame of an event that was read in
    full, and what is between is one JSON string. So it means the same, with that text.
    """

    __slots__ = ("_after", "_before", "_choice", "_misses")

    def __init__(self) -> None:
        self._before: str | None = None
        self._after = ""
        self._choice = 0
        self._misses = 0

    def read(self, data: str) -> Chunk | None:
        """Return the chunk of an event that fits the frame; None: it has to be read in full."""
        before, after = self._before, self._after
        if before is None or not data.startswith(before) or not data.endswith(after):
            return None
        quoted = data[len(before) - 1 : len(data) - len(after) + 1]  # the frame has the quotation marks
        try:
            text = _TEXT.decode(quoted)
        except ValueError:
            return None
        self._misses = 0
        return Chunk(choice=self._choice, text=text)

    def forget(self) -> None:
        """Read the next event in full."""
        self._before = None

    def learn(self, data: str, chunk: Chunk) -> None:
        """Take the frame of an event that was read in full as `chunk`, when it said nothing but text."""
        if self._misses > MOST_MISSES or not chunk.text or chunk != Chunk(choice=chunk.choice, text=chunk.text):
            return
        self._misses += 1
        found = _CONTENT.search(data)
        if found is None or data.count('"content"') != 1 or data.find('"delta"', 0, found.start()) < 0:
            return
        if _TEXT.decode(data[found.start(1) - 1 : found.end(1) + 1]) != chunk.text:
            return
        self._before, self._after, self._choice = data[: found.start(1)], data[found.end(1) :], chunk.choice
