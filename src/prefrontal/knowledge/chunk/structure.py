"""Other code and data: passages start at definitions of the outermost levels, found by brackets, indentation and blank lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefrontal.knowledge.chunk.pieces import Cut, Piece

TARGET_WORDS = 120
"""Words at which the next outer line starts a new passage (specified: about 120 to 200)."""

_MODIFIERS = (
    r"^\s*(?:export\s+|default\s+|pub(?:\([^)]*\))?\s+|public\s+|private\s+|protected\s+|internal\s+|static\s+|final\s+|abstract\s+"
    r"|async\s+|unsafe\s+|virtual\s+|inline\s+|override\s+|const\s+|extern\s+|declare\s+|readonly\s+|get\s+|set\s+|@\w+\s+)*"
)
DEFINITION = re.compile(
    _MODIFIERS
    + r"(?:(?P<word>def|fn|func|function|class|struct|enum|trait|interface|impl|mod|module|namespace|object|record"
    r"|type|sub|message|service)\*?(?:\s+|(?=<))(?:\([^)]*\)\s*)?(?:<[^>]*>\s*)?(?P<name>[A-Za-z_$][\w$:.]*)"
    r"|(?:<[^>]*>\s+)?(?:[A-Za-z_][\w:<>,*&\[\]]*\s+[*&]*)+(?P<typed>[A-Za-z_~][\w:~]*)\s*\([^;{}]*\)?[^;={}]*\{?\s*$)"
)
BOUND = re.compile(
    r"^\s*(?:export\s+|default\s+)*(?:const|let|var)\s+([\w$]+)\s*(?::[^=]+)?=\s*(?:async\s*)?(?:function\b|\([^)]*\)[^=]*=>|[\w$]+\s*=>)"
    r"|^\s*#\s*define\s+(\w+)\(|^\s*macro_rules!\s*(\w+)"
)
"""Functions bound to a name, and macros."""

METHOD = re.compile(_MODIFIERS + r"\*?([#A-Za-z_$][\w$]*)\s*(?:<[^>]*>)?\([^;{}]*\)\s*(?:[:\w][^;={}]*)?\{")
"""A definition that has no word of its own; only what is directly inside a class is one."""

RECEIVER = re.compile(r"^func\s+\(\s*\w*\s*\*?\s*(\w+)")
IMPLEMENTED = re.compile(r"^\s*impl\b.*\sfor\s+([A-Za-z_][\w:]*)")
_AROUND = "class struct enum trait interface impl mod module namespace object record service message"
AROUND = frozenset(_AROUND.split())
"""Definitions in which others are named; inside any other one there are only its own variables."""

DEEPEST = 3
_NOT = "pub fn func function if else for while switch return catch do try new throw with elif except case in is not and or"
NOT_NAMES = frozenset(_NOT.split())
COMMENT = re.compile(r"^\s*(//|/\*|\*|#|--|@|\[\[|;)")
KEY = re.compile(r"^[\"']?([\w.$@/-]+)[\"']?\s*[:=]|^\[+([\w.\" -]+)\]+")


class _Outline:
    """Which definitions a line lies in, by brackets and indentation."""

    def __init__(self) -> None:
        self._around: list[tuple[tuple[int, int], str, bool]] = []

    def name(self, piece: Piece, depth: int) -> str:
        """Return the dotted name of what the piece defines, or nothing."""
        text = piece.text
        if not piece.starts_line or depth > DEEPEST or len(text) > 400 or not text.strip():
            return ""
        level = (depth, len(text) - len(text.lstrip()))
        around = [one for one in self._around if one[0] < level]
        inside = bool(around) and around[-1][2]
        if (around and not inside) or (not around and depth > 1):
            return ""
        name, holds = _defined(text, inside=inside)
        if not name:
            return ""
        self._around = [*around, (level, name, holds)]
        return ".".join(one[1] for one in self._around)


def _defined(text: str, *, inside: bool) -> tuple[str, bool]:
    """Return the name of a definition and whether others are named in it."""
    if text.split(None, 1)[0] in ("return", "await", "new", "throw", "else", "case"):
        return "", False
    bound = BOUND.match(text)
    if bound:
        return next(group for group in bound.groups() if group), False
    method = METHOD.match(text) if inside else None
    if method and method.group(1) not in NOT_NAMES:
        return method.group(1), False
    found = DEFINITION.match(text)
    name = (found.group("name") or found.group("typed") or "") if found else ""
    if found is None or name in NOT_NAMES:
        return "", False
    receiver, implemented = RECEIVER.match(text), IMPLEMENTED.match(text)
    name = f"{receiver.group(1)}.{name}" if receiver else implemented.group(1) if implemented else name
    return name, found.group("word") in AROUND


def cut_structure(pieces: Sequence[Piece], *, data: bool = False) -> list[Cut]:
    """Return the starts of passages, the first at 0. `data`: names are keys and sections instead of definitions."""
    cuts = [Cut(start=0)]
    words, depth, outline = 0, 0, _Outline()
    for i, piece in enumerate(pieces):
        name = _key(piece, depth) if data else outline.name(piece, depth)
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


def _key(piece: Piece, depth: int) -> str:
    if not piece.starts_line or depth > 1 or len(piece.text) > 400:
        return ""
    found = KEY.match(piece.text.strip() if depth else piece.text)
    return next((group.strip() for group in found.groups() if group), "") if found else ""


def _lead(pieces: Sequence[Piece], i: int, floor: int) -> int:
    while i - 1 > floor and COMMENT.match(pieces[i - 1].text):
        i -= 1
    return i


def _opened(text: str) -> int:
    return text.count("{") + text.count("[") - text.count("}") - text.count("]")
