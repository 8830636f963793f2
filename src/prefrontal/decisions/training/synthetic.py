"""Cases that a model made up: a file of lines, each marked, none of which is used before a person has accepted it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec

from prefrontal.contracts.decision import Question
from prefrontal.decisions.prepared import CODES
from prefrontal.decisions.training.cases import Case
from prefrontal.errors import InvalidRequest

Verdict = Literal["accepted", "rejected"]


class Review(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person said of a line: who, when (Unix time), and what."""

    verdict: Verdict
    by: str
    at_s: float


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One made-up case of a registered decision type. teacher: the model that made it; review None: nobody has looked at it."""

    type: str
    state: Any
    answer: str | bool
    reason: str | None = None
    terms: tuple[str, ...] = ()
    teacher: str | None = None
    review: Review | None = None


def read_lines(data: bytes) -> list[Line]:
    """Return the lines of a file; empty ones are passed over. Raises InvalidRequest naming the line."""
    decoder = msgspec.json.Decoder(Line)
    found = []
    for number, text in enumerate(data.splitlines(), 1):
        if text.strip():
            try:
                found.append(decoder.decode(text))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InvalidRequest(f"Line {number} is no synthetic case: {error}.", param=f"line {number}") from None
    return found


def written(lines: Iterable[Line]) -> bytes:
    """Return lines as a file."""
    return b"".join([msgspec.json.encode(line) + b"\n" for line in lines])


def reviewed(lines: Sequence[Line], numbers: Iterable[int], verdict: Verdict, by: str, now_s: float) -> list[Line]:
    """Return the lines with a verdict on those of `numbers`, counted from 1. Raises InvalidRequest: there is no such line."""
    found = list(lines)
    for number in numbers:
        if not 1 <= number <= len(found):
            raise InvalidRequest(f"There is no line {number}; there are {len(found)}.", param="line")
        review = Review(verdict=verdict, by=by, at_s=now_s)
        found[number - 1] = msgspec.structs.replace(found[number - 1], review=review)
    return found


def numbers_in(text: str, count: int, *, open_ones: Sequence[int]) -> list[int]:
    """Return the line numbers that ``1,4-7`` or ``all`` (those nobody has looked at) names. Raises InvalidRequest."""
    if text.strip() == "all":
        return list(open_ones)
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InvalidRequest(f"'{part.strip()}' is no line number.", param="line", hint="Write 3, 4-7, 3,9 or all.")
        until = int(last) if dash else int(first)
        if not 1 <= int(first) <= until <= count:
            raise InvalidRequest(f"There are the lines 1 to {count}, not '{part.strip()}'.", param="line")
        found += range(int(first), until + 1)
    return found


def accepted_cases(lines: Sequence[Line], lookup: Callable[[str], Question]) -> list[Case]:
    """Return the accepted lines as cases.

    lookup: the question of a registered type; raises InvalidRequest. Raises InvalidRequest: a line was looked at by nobody, or
    its answer is no option.
    """
    waiting = [number for number, line in enumerate(lines, 1) if line.review is None]
    if waiting:
        raise InvalidRequest(
            f"{len(waiting)} of {len(lines)} synthetic cases were reviewed by nobody, the first is line {waiting[0]}.",
            param="include_synthetic",
            hint="`prefrontal decisions review FILE` shows them one by one.",
        )
    found = []
    for number, line in enumerate(lines, 1):
        question = lookup(line.type)
        if line.answer not in question.values or len(question.options) > len(CODES):
            raise InvalidRequest(f"Line {number}: '{line.answer}' is none of the options.", param=f"line {number}")
        if line.review is not None and line.review.verdict == "accepted":
            found.append(
                Case(
                    question=question,
                    state=line.state if isinstance(line.state, str) else msgspec.json.encode(line.state).decode(),
                    option=question.values.index(line.answer),
                    origin="synthetic",
                    teacher=line.teacher,
                    reason=line.reason,
                    terms=line.terms,
                )
            )
    return found
