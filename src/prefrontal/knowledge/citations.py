"""Does an answer's every citation hold? Numbers must exist, and what is quoted must stand in the cited bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

NUMBERS = re.compile(r"\[(\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*)\]")
QUOTE = re.compile(r"[\"“„«]([^\"“”„«»]{1,2000})[\"”“»]")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\[\s])|\n\s*\n")

MOST_RANGE = 50
"""Longest range of numbers that is taken apart, as in [1-5]."""

Problem = Literal["unknown_number", "quote_not_found"]


class Cited(Protocol):
    """A passage that was given under a number."""

    @property
    def number(self) -> int:
        """The number."""
        ...

    @property
    def text(self) -> str:
        """Its words."""
        ...


class CitationFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that does not hold: the number, what was quoted, and where in the answer (character offset)."""

    problem: Problem
    number: int
    quote: str
    at: int


class CitationCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers cited, quotes that were found in what they cite, and what does not hold."""

    cited: tuple[int, ...]
    quotes_found: int
    findings: tuple[CitationFinding, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong. An answer that cites nothing holds, too; see `cited`."""
        return not self.findings


def check_citations(answer: str, citations: Sequence[Cited]) -> CitationCheck:
    """Check an answer against the citations it was given.

    A quote belongs to the numbers in its sentence; it must occur in the text of at least one of them. White space and the
    shape of quotation marks and dashes do not count, nor does an ellipsis, which stands for anything left out.
    """
    known = {one.number: one for one in citations}
    cited: set[int] = set()
    findings: list[CitationFinding] = []
    found = 0
    for at, sentence in _sentences(answer):
        numbers = [number for match in NUMBERS.finditer(sentence) for number in _numbers(match.group(1))]
        cited.update(numbers)
        first = NUMBERS.search(sentence)
        where = at + (first.start() if first else 0)
        findings += [CitationFinding(problem="unknown_number", number=n, quote="", at=where) for n in numbers if n not in known]
        texts = [known[number].text for number in numbers if number in known]
        for match in QUOTE.finditer(sentence) if texts else ():
            if any(occurs(match.group(1), text) for text in texts):
                found += 1
            else:
                wrong = CitationFinding(problem="quote_not_found", number=numbers[0], quote=match.group(1), at=at + match.start())
                findings.append(wrong)
    return CitationCheck(cited=tuple(sorted(cited)), quotes_found=found, findings=tuple(findings))


def occurs(quote: str, text: str) -> bool:
    """Return whether a quote stands in a text; parts around an ellipsis must follow one another."""
    body = _folded(text)
    at = 0
    for part in re.split(r"\[?(?:…|\.\.\.)\]?", quote):
        wanted = _folded(part)
        place = body.find(wanted, at)
        if place < 0:
            return False
        at = place + len(wanted)
    return True


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).translate(
        {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2013: "-", 0x2014: "-"}
    )
    return " ".join(plain.split()).strip(" .,;:")


def _sentences(answer: str) -> list[tuple[int, str]]:
    """Return the sentences with their places; a citation right after a full stop belongs to the sentence before."""
    found: list[tuple[int, str]] = []
    start = 0
    for match in SENTENCE_END.finditer(answer):
        found.append((start, answer[start : match.start()]))
        start = match.end()
    return [*found, (start, answer[start:])]


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r"[,;]", text):
        ends = [int(one) for one in re.split(r"[–-]", part) if one.strip()]
        if len(ends) == 2 and 0 < ends[1] - ends[0] < MOST_RANGE:
            numbers.extend(range(ends[0], ends[1] + 1))
        else:
            numbers.extend(ends)
    return numbers
