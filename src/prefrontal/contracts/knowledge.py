"""What engrams had to say to a question, as it goes into the prompt, the answer and the record."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.chat.request import EngramWish


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is to be answered from.

    asked: the caller named the engrams; else the configuration did, and one that cannot be used is left out and said.
    max_tokens: of all passages with what frames them. threshold: the evidence that is needed, [0, 1]; None: as each engram says.
    """

    engrams: tuple[EngramWish, ...]
    asked: bool
    max_tokens: int
    threshold: float | None = None


class EngramUse(msgspec.Struct, frozen=True, kw_only=True):
    """An engram that was asked, and at which version. problem: why it was left out."""

    name: str
    version: int = 0
    problem: str | None = None


class CitedPassage(msgspec.Struct, frozen=True, kw_only=True):
    """What a number in an answer stands for.

    `path` and `lines` (from 1) or `page` are those of the file as it came, None where it has none. `bytes` are a half-open range
    of `file` as it is since `version`, and `sha256` is that of those bytes; `file` is ``PATH!/text`` when the text was read out
    of `path`. `cited`: the answer names the number; None while there is no answer.
    """

    number: int
    engram: str
    path: str
    lines: tuple[int, int] | None
    page: int | None
    file: str
    bytes: tuple[int, int]
    version: int
    sha256: str
    cited: bool | None = None


class CitationProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What of an answer's citations does not hold, from character `at` of the answer on; `length` is that of a quote."""

    problem: Literal["unknown_number", "quote_not_found"]
    number: int
    at: int
    length: int = 0


class KnowledgeNote(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked for in engrams and found. Without passages the prompt is as it came, and `reason` says why.

    `evidence` is how much of the question the best passages hold, in [0, 1], and `threshold` what was needed. `tokens` is an
    estimate of what was added to the prompt. `holds`: whether every citation of the answer holds; None: nothing was checked.
    """

    engrams: tuple[EngramUse, ...]
    evidence: float = 0.0
    threshold: float = 0.0
    tokens: int = 0
    reason: str = ""
    citations: tuple[CitedPassage, ...] = ()
    holds: bool | None = None
    quotes_found: int = 0
    problems: tuple[CitationProblem, ...] = ()


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """A passage's words, by its number."""

    number: int
    text: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Passages for a question: the note, the delimited text for the model (empty: none), and the passages' words."""

    note: KnowledgeNote
    text: str = ""
    words: tuple[Words, ...] = ()
