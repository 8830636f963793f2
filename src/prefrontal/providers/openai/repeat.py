"""The events of a stream differ in one word, mostly. What is the same as in the event before is not read again."""

from __future__ import annotations

import re

import msgspec

from prefrontal.chat.response import Chunk

MOST_MISSES = 8
"""So many frames are tried that never fit again; a stream whose every event differs elsewhere too is read in full (assumed)."""

_CONTENT = re.compile(rb'"content":\s*"((?:[^"\\]|\\.)*)"')
_TEXT = msgspec.json.Decoder(str)
_TEXTS = msgspec.json.Decoder(list[str])


class Repeat:
    """Reads events that are equal to an earlier one but for the text of their `content`.

    Exact: bytes are taken only when all before and after the text is byte for byte the frame of an event that was read in full,
    and what is between is one JSON string. So they mean the same, with that text. Whoever uses it must call `forget` when what
    was read since changes the meaning of an event.
    """

    __slots__ = ("_after", "_before", "_between", "_choice", "_misses", "known")

    def __init__(self) -> None:
        self.known = False
        self._before = b""
        self._after = b""
        self._between = b""
        self._choice = 0
        self._misses = 0

    @property
    def worthwhile(self) -> bool:
        """Whether this stream may still turn out to repeat itself."""
        return self._misses <= MOST_MISSES

    def read(self, data: bytes, chunks: list[Chunk]) -> bytes:
        """Add the chunk of the events at the start of `data` that fit the frame; return the rest, to be read in full."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return data
        texts = data[len(before) :].split(self._between)
        last, found, rest = texts.pop().partition(after)
        if found:
            texts.append(last)
        else:  # cut short, or an event of another frame
            rest = before + last
        parts, fit = _decoded(texts)
        if fit < len(texts):
            tail = after + rest if found else self._between + last
            rest = before + self._between.join(texts[fit:]) + tail
        if parts:
            self._misses = 0
            several = tuple([part for part in parts if part]) if len(parts) > 1 else ()
            chunks.append(Chunk(choice=self._choice, text="".join(parts), parts=several))
        return rest

    def forget(self) -> None:
        """Read the next event in full."""
        self.known = False

    def learn(self, data: str, chunk: Chunk) -> None:
        """Take the frame of an event whose data was read in full as `chunk`, when it said nothing but text."""
        self.known = False
        if not self.worthwhile or not chunk.text or chunk != Chunk(choice=chunk.choice, text=chunk.text):
            return
        self._misses += 1
        event = b"data: %b\n\n" % data.encode()
        found = _CONTENT.search(event)
        if found is None or event.count(b'"content"') != 1 or event.find(b'"delta"', 0, found.start()) < 0 or b"\n" in event[:-2]:
            return
        if _TEXT.decode(event[found.start(1) - 1 : found.end(1) + 1]) == chunk.text:
            self._before, self._after, self._choice = event[: found.start(1)], event[found.end(1) :], chunk.choice
            self._between = self._after + self._before
            self.known = True


def _decoded(texts: list[bytes]) -> tuple[list[str], int]:
    """Return the texts up to the first that is no JSON string, and how many those are.

    Without a quotation mark or a backslash in any of them they are read in one go: nothing can then end a string early.
    """
    together = b'["%b"]' % b'","'.join(texts)
    if texts and b"\\" not in together and together.count(b'"') == 2 * len(texts):
        try:
            return _TEXTS.decode(together), len(texts)
        except ValueError:
            pass  # one by one, to find which
    parts: list[str] = []
    for text in texts:
        try:
            parts.append(_TEXT.decode(b'"%b"' % text))
        except ValueError:
            break
    return parts, len(parts)
