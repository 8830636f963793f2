"""Prose: a passage starts at a heading, or at a paragraph when enough words have come together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefrontal.knowledge.chunk.pieces import Cut, Piece

TARGET_WORDS = 160
"""Words at which the next paragraph starts a new passage (specified: passages of about 120 to 200 words)."""

HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
UNDERLINE = re.compile(r"^(=+|-+|~+|\^+|\*+)\s*$")
FENCE = re.compile(r"^\s{0,3}(```|~~~)")
LEVELS = {"=": 1, "-": 2, "~": 3, "^": 4, "*": 1}


def cut_prose(pieces: Sequence[Piece]) -> list[Cut]:
    """Return the starts of passages, the first at 0."""
    cuts = [Cut(start=0)]
    path: list[tuple[int, str]] = []
    words, body, fenced, after_blank = 0, 0, False, True
    for i, piece in enumerate(pieces):
        heading = None if fenced else _heading(pieces, i)
        if heading:
            level, title = heading
            path = [(n, t) for n, t in path if n < level] + [(level, title)]
            where = " > ".join(t for _, t in path)
            if body:
                cuts.append(Cut(start=i, heading=where))
                words = body = 0
            else:
                cuts[-1] = Cut(start=cuts[-1].start, heading=where)
            words += piece.words
        elif (after_blank or not piece.starts_line) and not fenced and body and words + _ahead(pieces, i) > TARGET_WORDS:
            cuts.append(Cut(start=i, heading=cuts[-1].heading))
            words, body = piece.words, piece.words
        else:
            words += piece.words
            body += 0 if UNDERLINE.match(piece.text) else piece.words
        if FENCE.match(piece.text):
            fenced = not fenced
        after_blank = piece.blank
    return cuts


def _heading(pieces: Sequence[Piece], i: int) -> tuple[int, str] | None:
    """Return level and text of the heading at `i`: marked by hashes, or underlined by the next line."""
    text = pieces[i].text
    marked = HEADING.match(text)
    if marked:
        return len(marked.group(1)), marked.group(2)
    if i + 1 < len(pieces) and text.strip() and not text.startswith((" ", "\t")) and (i == 0 or pieces[i - 1].blank):
        below = UNDERLINE.match(pieces[i + 1].text)
        if below and len(below.group(1)) >= max(3, len(text.strip()) // 2):
            return LEVELS[below.group(1)[0]], text.strip()
    return None


def _ahead(pieces: Sequence[Piece], i: int) -> int:
    """Return the words of the paragraph that starts at `i`, or of the one piece in the middle of a long line."""
    if not pieces[i].starts_line:
        return pieces[i].words
    total = 0
    for piece in pieces[i:]:
        if piece.blank and total:
            break
        total += piece.words
        if total > TARGET_WORDS or not piece.starts_line:
            break
    return total
