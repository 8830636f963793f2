"""A file's text to chunks: cut by its type, divide what is too long, count bytes and lines. Chunks tile the file exactly."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.knowledge.chunk.languages import FileType
from prefrontal.knowledge.chunk.pieces import Cut, Piece, pieces
from prefrontal.knowledge.chunk.prose import cut_prose
from prefrontal.knowledge.chunk.python import cut_python
from prefrontal.knowledge.chunk.structure import cut_structure
from prefrontal.knowledge.chunk.table import cut_table

MOST_WORDS = 320
"""A passage of more words is divided, at a blank line where there is one (assumed: twice the usual)."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A passage of a file. Bytes are a half-open range; lines count from 1 and include the last one."""

    byte_start: int
    byte_end: int
    line_start: int
    line_end: int
    symbol: str
    heading: str
    text: str


def cut(text: str, kind: FileType, encoding: str = "utf-8") -> list[Chunk]:
    """Return the chunks of `text`, whose bytes are `text.encode(encoding)`; none when it is empty.

    The first starts at byte 0, each starts where the one before ends, and the last ends at the end of the file.
    """
    if not text:
        return []
    parts = pieces(text)
    cuts = _divided(parts, _cuts(parts, text, kind))
    found: list[Chunk] = []
    at = 0
    for n, start in enumerate(cuts):
        end = cuts[n + 1].start if n + 1 < len(cuts) else len(parts)
        passage = "".join(piece.text for piece in parts[start.start : end])
        size = len(passage.encode(encoding))
        found.append(
            Chunk(
                byte_start=at,
                byte_end=at + size,
                line_start=parts[start.start].line,
                line_end=parts[end - 1].line,
                symbol=start.symbol,
                heading=start.heading,
                text=passage,
            )
        )
        at += size
    return found


def _cuts(parts: Sequence[Piece], text: str, kind: FileType) -> list[Cut]:
    if kind.cutter == "python":
        return cut_python(parts, text) or cut_structure(parts)
    if kind.cutter == "structure":
        return cut_structure(parts, data=kind.kind == "data")
    if kind.cutter in ("table", "rows"):
        return cut_table(parts, header=kind.cutter == "table")
    return cut_prose(parts)


def _divided(parts: Sequence[Piece], cuts: Sequence[Cut]) -> list[Cut]:
    """Drop cuts that would leave a blank passage, and divide passages that are too long."""
    found: list[Cut] = []
    for n, start in enumerate(cuts):
        end = cuts[n + 1].start if n + 1 < len(cuts) else len(parts)
        if all(piece.blank for piece in parts[start.start : end]) and found:
            continue
        if found and not found[-1].symbol and all(p.blank for p in parts[found[-1].start : start.start]):
            found[-1] = Cut(start=found[-1].start, symbol=start.symbol, heading=start.heading)
        else:
            found.append(start)
        found.extend(Cut(start=at, symbol=start.symbol, heading=start.heading) for at in _breaks(parts, found[-1].start, end))
    return found


def _breaks(parts: Sequence[Piece], start: int, end: int) -> list[int]:
    """Return where a too long passage is divided: the last blank line before the limit, else at the limit."""
    found: list[int] = []
    words, blank = 0, None
    for i in range(start, end):
        if words and words + parts[i].words > MOST_WORDS:
            at = blank if blank is not None and blank > (found[-1] if found else start) else i
            found.append(at)
            words, blank = sum(piece.words for piece in parts[at:i]), None
        words += parts[i].words
        if parts[i].blank and words > MOST_WORDS // 3:
            blank = i + 1
    return found
