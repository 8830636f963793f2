"""What a reader gives: text with the way back to the source's lines, and files that lie inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

MOST_MISSES = 20
"""Lines that are not found in the source before the search for more is given up: a crafted file must not cost its square."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file inside another: its name there, with slashes, and its bytes. `reason` is set, and no bytes, when it is left out."""

    name: str
    data: bytes = b""
    reason: str = ""
    detail: str = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A file's text, as Markdown where it has headings.

    `lines` holds for each line of `text` the line of the source it comes from, from 1, or 0; it is empty for sources that
    have no lines. Text of sources with pages has a heading `Page N` for each.
    """

    text: str = ""
    title: str = ""
    lines: tuple[int, ...] = ()
    members: tuple[Member, ...] = ()


class Unreadable(Exception):
    """A file that a reader can make nothing of. `reason` is a word as in `Skipped`, `detail` what helps."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Reads files by the ending of their names.

    `read` takes the bytes and returns a `Reading`; it raises `Unreadable`. It must depend on the bytes only: the way back to
    lines is found by reading again. `name` is what filters call the type; `mapped` says whether readings have `lines`.
    `apart` is of shipped readers only: the library they need, which is used in a process of its own, bounded in time and memory.
    """

    name: str
    endings: tuple[str, ...]
    read: Callable[[bytes], Reading]
    mapped: bool = False
    apart: str = ""


def checked(reader: Reader, data: bytes) -> Reading:
    """Return what a reader makes of a file. Raises Unreadable, whatever the reader or its library raises."""
    try:
        found = reader.read(data)
        if not isinstance(found, Reading):
            raise Unreadable("unreadable", f"the reader {reader.name} returned no reading")
        return found
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("unreadable", f"{type(error).__name__}: {error}"[:300]) from error


class Lines:
    """Gathers lines of text with the line of the source each comes from."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._lines: list[int] = []

    def add(self, text: str, line: int = 0) -> None:
        """Add text of one or more lines; further lines come from the source's next ones when `line` is known."""
        for n, part in enumerate(text.split("\n")):
            self._text.append(part)
            self._lines.append(line + n if line else 0)

    def blank(self) -> None:
        """Add an empty line unless there is one."""
        if self._text and self._text[-1]:
            self._text.append("")
            self._lines.append(0)

    def reading(self, *, title: str = "", members: tuple[Member, ...] = ()) -> Reading:
        """Return what was gathered."""
        while self._text and not self._text[-1]:
            self._text.pop()
            self._lines.pop()
        text = "\n".join(self._text) + "\n" if self._text else ""
        return Reading(text=text, title=" ".join(title.split()), lines=tuple(self._lines), members=members)


class Seeker:
    """Finds the lines of a source one after the other, so that each is looked for behind the one before."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._line = 1
        self._misses = 0

    def line_of(self, spellings: Iterable[str]) -> int:
        """Return the line where the first of the spellings that occurs begins; 0 when none does."""
        if self._misses > MOST_MISSES:
            return 0
        for spelling in spellings:
            found = self._source.find(spelling, self._at) if spelling else -1
            if found >= 0:
                self._line += self._source.count("\n", self._at, found)
                self._at = found
                return self._line
        self._misses += 1
        return 0
