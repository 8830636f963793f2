"""A state without what does not matter to a type of decision, as bytes that are equal when it is. Pure.

Nothing is guessed: fields are left out, texts masked and numbers put into buckets only where the type says so.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from prefrontal.config.schema_tiers import MaskName, TypeCache

_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_ORDER: tuple[MaskName, ...] = ("ids", "dates", "times", "numbers")
_PATTERNS: Mapping[MaskName, re.Pattern[str]] = {
    "ids": re.compile(
        r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"
        r"|\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}\b|\b[A-Z][A-Z0-9]+-\d+\b|#\d+\b",
    ),
    "dates": re.compile(
        rf"\b\d{{4}}-\d{{2}}-\d{{2}}\b|\b\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}\b|\b\d{{1,2}}\.? {_MONTH}(?: \d{{4}})?\b"
        rf"|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b",
        re.IGNORECASE,
    ),
    "times": re.compile(r"(?:\b|(?<=T))\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[ap]m\b|Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE),
    "numbers": re.compile(r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?![\w])"),
}
_ENCODE = msgspec.json.Encoder(order="sorted").encode
ANY = "*"

Change = Callable[[Any], Any]


class Normaliser:
    """What one type of decision leaves out. Without any rule a state is only brought into one order."""

    def __init__(self, rules: TypeCache) -> None:
        """Raises ValueError: the edges of a bucket do not rise."""
        self._masks = [(f"<{name}>", _PATTERNS[name]) for name in _ORDER if name in rules.mask]
        self._ignore = [path.split(".") for path in rules.ignore]
        self._buckets = [(path.split("."), _step(width)) for path, width in rules.steps.items()]
        self._buckets += [(path.split("."), _bucket(path, edges)) for path, edges in rules.buckets.items()]
        self._plain = not (self._masks or self._ignore or self._buckets)

    def canonical(self, state: Any) -> bytes:
        """Return the state as bytes; a text and the JSON of the same text differ."""
        if self._plain:
            return _ENCODE(state)
        if isinstance(state, str):
            return _ENCODE(self.text(state))
        value = msgspec.json.decode(_ENCODE(state))  # a copy: the caller's own stays as it is
        for path in self._ignore:
            _change(value, path, None)
        for path, bucket in self._buckets:
            _change(value, path, bucket)
        return _ENCODE(self._masked(value) if self._masks else value)

    def text(self, text: str) -> str:
        """Return a text with what does not matter masked."""
        for name, pattern in self._masks:
            text = pattern.sub(name, text)
        return text

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self._masked(one) for key, one in value.items()}
        return [self._masked(one) for one in value] if isinstance(value, list) else value


def _step(width: float) -> Change:
    return lambda value: f"<{math.floor(value / width)}>" if _is_number(value) else value


def _bucket(path: str, edges: Sequence[float]) -> Change:
    if not edges or sorted(set(edges)) != list(edges):
        raise ValueError(f"the edges of the buckets of '{path}' must rise")
    return lambda value: f"<{bisect_right(edges, value)}>" if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _change(value: Any, path: Sequence[str], change: Change | None) -> None:
    """Change what lies at a path, or take it out; a list is entered as it stands."""
    if isinstance(value, list):
        for one in value:
            _change(one, path, change)
        return
    if not isinstance(value, dict):
        return
    first, rest = path[0], path[1:]
    for name in list(value) if first == ANY else [first] if first in value else []:
        if rest:
            _change(value[name], rest, change)
        elif change is None:
            del value[name]
        else:
            value[name] = change(value[name])
