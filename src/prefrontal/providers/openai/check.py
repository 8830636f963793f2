"""Errors about fields of a client's request, worded the way users of OpenAI's API know them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from prefrontal.errors import InvalidRequest

MAX_COUNT = 2**31 - 1
"""Largest count that is taken (assumed: a thousand times the largest window; the books keep 64 bits, and so do most engines)."""

_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a decimal number"}


def describe(value: object) -> str:
    """Return the JSON type of `value` with its article."""
    return "null" if value is None else _NAMES.get(type(value), "something else")


def wrong_type(where: str, expected: str, got: object) -> InvalidRequest:
    """Return the error for a field of another type; `expected` carries its article."""
    return InvalidRequest(f"Invalid type for '{where}': expected {expected}, but got {describe(got)} instead.", param=where)


def missing(where: str, hint: str | None = None) -> InvalidRequest:
    """Return the error for a required field that is not there."""
    return InvalidRequest(f"Missing required parameter: '{where}'.", param=where, hint=hint)


def bad_value(where: str, got: object, allowed: Iterable[str]) -> InvalidRequest:
    """Return the error for a word that is none of `allowed`."""
    words = ", ".join(repr(word) for word in allowed)
    return InvalidRequest(f"Invalid value: {got!r}. Supported values for '{where}' are: {words}.", param=where)


def need_object(value: object, where: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object. Raises InvalidRequest naming `where`."""
    if type(value) is not dict:
        raise wrong_type(where, "an object", value)
    return value


def need_string(value: object, where: str) -> str:
    """Return `value` if it is a string. Raises InvalidRequest naming `where`."""
    if type(value) is not str:
        raise missing(where) if value is None else wrong_type(where, "a string", value)
    return value


def need_count(value: object, where: str, least: int = 1) -> int:
    """Return `value` if it is a whole number from `least` to 2³¹ − 1. Raises InvalidRequest naming `where`."""
    if type(value) is not int:
        raise wrong_type(where, "an integer", value)
    if not least <= value <= MAX_COUNT:
        below, bound = value < least, f"at least {least}" if value < least else f"at most {MAX_COUNT}"
        word = "below minimum" if below else "above maximum"
        shown = value if abs(value) < 10**12 else "more"
        raise InvalidRequest(f"Invalid '{where}': integer {word} value. Expected {bound}, but got {shown}.", param=where)
    return value


def need_reachable(url: str, where: str) -> str:
    """Return `url` unless it names a file of whichever machine would open it. Raises InvalidRequest naming `where`."""
    if url[:5].lower() == "file:":
        raise InvalidRequest(f"Invalid '{where}': files of a server cannot be read. Send the data, or an https URL.", param=where)
    return url


def decode_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises InvalidRequest for anything else."""
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", hint="Send one JSON object, encoded in UTF-8.") from None
    if type(value) is not dict:
        raise InvalidRequest(f"The body must be a JSON object, but it is {describe(value)}.")
    return value


_DECODER = msgspec.json.Decoder()
