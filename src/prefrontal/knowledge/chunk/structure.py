"""Other code and data: passages start at definitions of the outermost levels, found by brackets, indentation and blank lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefrontal.knowledge.chunk.pieces import Cut, Piece

TARGET_WORDS = 120
"""Words at which the next outer line starts a new passage (specified: about 120 to 200)."""

DEFINITION = re.compile(
    r"^\s{0,4}(?:export\s+|default\s+|pub(?:\([^)]*\))?\s+|public\s+|private\s+|protected\s+|internal\s+|static\s+|final\s+|abstract\s+"
    r"|async\s+|unsafe\s+|virtual\s+|inline\s+|override\s+|const\s+|extern\s+)*"
    r"(?:(?:def|fn|func|function|class|struct|enum|trait|interface|impl|module|namespace|object|record|type|sub|message|service)"
    r"\s+(?:\([^)]*\)\s*)?(?:<[^>]*>\s*)?([A-Za-z_$][\w$:.]*)"
    r"|(?:[A-Za-z_][\w:<>,*&\[\]]*\s+[*&]*)+([A-Za-z_~][\w:~]*)\s*\([^;{}]*\)?[^;={}]*\{?\s*$)"
)
_NOT = "if else for while switch return catch do try new throw with elif except case in is not and or"
NOT_NAMES = frozenset(_NOT.split())
COMMENT = re.compile(r"^\s*(//|/\*|\*|#|--|@|\[\[|;)")
KEY = re.compile(r"^[\"']?([\w.$@/-]+)[\"']?\s*[:=]|^\[+([\w.\" -]+)\]+")


def cut_structure(pieces: Sequence[Piece], *, data: bool = False) -> list[Cut]:
    """Return the starts of passages, the first at 0. `data`: names are keys and sections instead of definitions."""
    cuts = [Cut(start=0)]
    words, depth = 0, 0
    for i, piece in enumerate(pieces):
        name = _name(piece, depth, data=data)
        lead = _lead(pieces, i, cuts[-1].start) if name else i
        enough = words >= TARGET_WORDS
        if (name and (not data or enough) and lead > cuts[-1].start) or (
            enough and i > cuts[-1].start and (piece.blank or depth <= 1 or not piece.starts_line)
        ):
            cuts.append(Cut(start=lead, symbol=name or cuts[-1].symbol))
            words = sum(p.words for p in pieces[lead:i])
        elif name and not cuts[-1].symbol:
            cuts[-1] = Cut(start=cuts[-1].start, symbol=name)
        words += piece.words
        depth = max(0, depth + _opened(piece.text))
    return cuts


def _name(piece: Piece, depth: int, *, data: bool) -> str:
    if not piece.starts_line or depth > 1 or len(piece.text) > 400:
        return ""
    if data:
        found = KEY.match(piece.text.strip() if depth else piece.text)
        return next((group.strip() for group in found.groups() if group), "") if found else ""
    found = DEFINITION.match(piece.text)
    name = next((group for group in found.groups() if group), "") if found else ""
    return "" if name in NOT_NAMES or piece.text.split(None, 1)[:1] == ["return"] else name


def _lead(pieces: Sequence[Piece], i: int, floor: int) -> int:
    while i - 1 > floor and COMMENT.match(pieces[i - 1].text):
        i -= 1
    return i


def _opened(text: str) -> int:
    return text.count("{") + text.count("[") - text.count("}") - text.count("]")
