"""Lines, and parts of very long lines: what cutters put together and never cut."""

from __future__ import annotations

import re

import msgspec

from prefrontal.knowledge.tokens import RUNS, word_runs

LONG_WORDS = 100
"""A line of more words is taken apart at the ends of sentences (assumed: half of a usual passage)."""

LONG_CHARACTERS = 2_000
"""Nothing longer than this stays in one piece, whatever it holds (assumed)."""

SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|(?<=[。！？])|(?<=[;,])\s+(?=\S{2})")


class Piece(msgspec.Struct, frozen=True):
    """A line with its end, or a part of one. `line` counts from 1; `words` is what weighs."""

    text: str
    line: int
    words: int
    starts_line: bool

    @property
    def blank(self) -> bool:
        """Whether it holds nothing but white space."""
        return not self.text.strip()


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Where a passage starts (index of its first piece), and what it is called.

    `symbol`: path of function and class names. `heading`: path of headings, or the header of a table.
    """

    start: int
    symbol: str = ""
    heading: str = ""


def pieces(text: str) -> list[Piece]:
    """Divide text into pieces that put together give it again. A line ends with a line feed and nothing else."""
    found: list[Piece] = []
    for number, line in enumerate(_lines(text), 1):
        words = len(word_runs(line))
        if words <= LONG_WORDS and len(line) <= LONG_CHARACTERS:
            found.append(Piece(line, number, words, True))
            continue
        for n, part in enumerate(_parts(line)):
            found.append(Piece(part, number, len(word_runs(part)), n == 0))
    return found


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    ended = [line + "\n" for line in lines[:-1]]
    return [*ended, lines[-1]] if lines[-1] else ended


def _parts(line: str) -> list[str]:
    """Divide a long line after sentences where there are any, else at white space, else anywhere."""
    ends = [match.end() for match in SENTENCE.finditer(line)]
    parts: list[str] = []
    start = 0
    for end in [*ends, len(line)]:
        if end > start and (end == len(line) or len(word_runs(line[start:end])) >= LONG_WORDS // 4):
            parts.extend(_short(line[start:end]))
            start = end
    return parts


def _short(text: str) -> list[str]:
    parts: list[str] = []
    while len(text) > LONG_CHARACTERS or len(word_runs(text)) > 2 * LONG_WORDS:
        limit = min(len(text), LONG_CHARACTERS)
        for words, match in enumerate(RUNS.finditer(text), 1):
            if words > LONG_WORDS or match.start() > limit:
                limit = min(limit, match.start())
                break
        limit = max(1, limit)
        parts.append(text[:limit])
        text = text[limit:]
    return [*parts, text] if text else parts
