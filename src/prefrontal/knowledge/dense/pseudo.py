"""Questions made from an engram itself: what its authors wrote as a summary of a passage, and the passage without it."""

from __future__ import annotations

import re

import msgspec

from prefrontal.knowledge.store.rows import ChunkRow, FileRow
from prefrontal.knowledge.tokens import RUNS, STOP_WORDS

DOCSTRING = re.compile(r'("""|\'\'\')(.{3,}?)\1', re.DOTALL)
COMMENT = re.compile(r"(?:^[ \t]*(?:#|//|--|;)[!#/]*[ \t]+[^\n]+\n?)+|/\*+((?:.|\n)+?)\*+/", re.MULTILINE)
MARKS = re.compile(r"^[ \t]*(?:#+|//+|--|;+|\*+|/\*+)[ \t]*", re.MULTILINE)
SENTENCE = re.compile(r".{12,}?(?:[.!?:](?=\s)|\n[ \t]*\n|$)", re.DOTALL)

LEAST_ASKED, MOST_ASKED, LEAST_LEFT = 2, 24, 8
"""Words of a question, stop words not counted, and of what must be left of the passage (assumed)."""


class Pseudo(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the passage it was made from. `rest`: the passage's text without it. `named`: it was a title."""

    question: str
    rest: str
    named: bool


def pseudo(file: FileRow, chunk: ChunkRow, text: str) -> Pseudo | None:
    """Return a question for a passage, or None where nothing in it sums it up.

    Of code the first sentence of its docstring or first comment; of prose its title, else its first sentence. A name alone is no
    question: what remains of a function does not have its words, and vectors would seem better than they are (measured).
    """
    made = _of_code(text) if chunk.kind == "code" else _of_prose(file, chunk, text)
    if made is None:
        return None
    asked, left = _words(made.question), _words(made.rest)
    if len(asked) < LEAST_ASKED or len(left) < LEAST_LEFT:
        return None
    return made


def _of_code(text: str) -> Pseudo | None:
    found = DOCSTRING.search(text) or COMMENT.search(text)
    if found is not None:
        inner = MARKS.sub("", found.group(2) if found.re is DOCSTRING else found.group(1) or found.group(0))
        question = _first(inner)
        if len(_words(question)) >= LEAST_ASKED:
            return Pseudo(question=question, rest=text[: found.start()] + text[found.end() :], named=False)
    return None


def _of_prose(file: FileRow, chunk: ChunkRow, text: str) -> Pseudo | None:
    title = chunk.heading.rpartition(" > ")[2] if chunk.heading else file.title if chunk.ordinal == 0 else ""
    if len(_words(title)) >= LEAST_ASKED:
        return Pseudo(question=_short(title), rest=text.replace(title, " "), named=True)
    question = _first(text)
    return Pseudo(question=question, rest=text.replace(question, " ", 1), named=False) if question else None


def _first(text: str) -> str:
    found = SENTENCE.search(text.strip())
    return _short(" ".join((found.group(0) if found else text).split()))


def _short(text: str) -> str:
    return " ".join(text.split()[:MOST_ASKED])


def _words(text: str) -> list[str]:
    return [word for word in RUNS.findall(text.lower().replace("_", " ")) if len(word) > 1 and word not in STOP_WORDS]
