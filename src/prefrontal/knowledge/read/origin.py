"""From a passage of a text that was read out of a file back to that file: its lines or pages."""

from __future__ import annotations

import hashlib
import re

import msgspec

from prefrontal.errors import NotFound
from prefrontal.knowledge.paths import TEXT_MEMBER
from prefrontal.knowledge.read.readers import Readers, read
from prefrontal.knowledge.read.reading import Reading, Unreadable
from prefrontal.knowledge.store.engram import Engram

PAGE = re.compile(r"^Page (\d+)(?: >|$)")


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a passage stands in the file it was read from; None for what such a file has not, or what is not known."""

    path: str
    line_start: int | None = None
    line_end: int | None = None
    page: int | None = None


class Origins:
    """Finds origins of passages of one engram; a file is read once for all its passages."""

    def __init__(self, engram: Engram, readers: Readers) -> None:
        self._engram = engram
        self._readers = readers
        self._known: dict[str, Reading | None] = {}

    def of(self, path: str, sha256: str, heading: str, lines: tuple[int, int]) -> Origin | None:
        """Return the origin of lines (from 1, both included) of a text read out of a file; None for a file that was text."""
        if not path.endswith(TEXT_MEMBER):
            return None
        container = path.removesuffix(TEXT_MEMBER)
        page = PAGE.match(heading)
        if page:
            return Origin(path=container, page=int(page.group(1)))
        if path not in self._known:
            self._known[path] = self._read(container, sha256)
        reading = self._known[path]
        found = [n for n in reading.lines[lines[0] - 1 : lines[1]] if n] if reading else []
        if not found:
            return Origin(path=container)
        return Origin(path=container, line_start=min(found), line_end=max(found))

    def _read(self, container: str, sha256: str) -> Reading | None:
        reader = self._readers.reader(container)
        if reader is None or not reader.mapped:
            return None
        try:
            data = self._engram.content(self._engram.file(container))
            reading = read(reader, data)
        except (NotFound, Unreadable):
            return None
        same = hashlib.sha256(reading.text.encode("utf-8", "replace")).hexdigest() == sha256
        return reading if same else None
