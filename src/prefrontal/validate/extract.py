"""Finds the JSON in an answer that should have been nothing but JSON."""

from __future__ import annotations

import json
import re
from typing import Any, Literal

import msgspec

Around = Literal["nothing", "fence", "prose"]

_FENCE = re.compile(r"```[ \t]*(?:json[c5]?|JSON)?[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_DECODE = msgspec.json.Decoder().decode


class Extracted(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON value of an answer: its text, and what stood around it."""

    value: Any
    text: str
    around: Around


def extract(text: str) -> Extracted | None:
    """Return the JSON value that `text` is, or the only one it holds; None: there is none, or it is not clear which.

    Inside other words only an object or an array counts, and only when there is exactly one: nothing is chosen, joined, closed or
    completed.
    """
    bare = text.strip()
    whole = _parsed(bare)
    if whole is not None:
        return Extracted(value=whole.value, text=bare, around="nothing")
    if "```" in bare:
        blocks = _FENCE.findall(bare)
        if len(blocks) != 1 or bare.count("```") != 2:
            return None
        inner = blocks[0].strip()
        found = _parsed(inner)
        outside = _FENCE.sub("", bare).strip()
        if found is None or "{" in outside or "[" in outside:
            return None
        return Extracted(value=found.value, text=inner, around="prose" if outside else "fence")
    return _in_prose(bare)


def _in_prose(text: str) -> Extracted | None:
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    if not starts:
        return None
    begin = min(starts)
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None
    rest = text[end:]
    if "{" in rest or "[" in rest:
        return None
    found = _parsed(text[begin:end])
    return None if found is None else Extracted(value=found.value, text=text[begin:end], around="prose")


class _Parsed(msgspec.Struct, frozen=True):
    value: Any


def _parsed(text: str) -> _Parsed | None:
    """Return the value of a JSON text; a struct around it, because null is a value."""
    try:
        return _Parsed(_DECODE(text))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
