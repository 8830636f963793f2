"""Globs over paths: `*` and `?` stay within a name, `**` spans folders, and a pattern without a slash matches names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefrontal.errors import InvalidRequest

LONGEST = 1_000
"""Longest pattern, characters: nothing sensible is longer, and matching stays linear."""


class Globs:
    """Matches a path that is included (any, when nothing is named) and not excluded. Raises InvalidRequest for bad patterns."""

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = [_compiled(pattern) for pattern in include]
        self._exclude = [_compiled(pattern) for pattern in exclude]

    def match(self, path: str) -> bool:
        """Return whether the path is meant."""
        if not self._include and not self._exclude:
            return True
        included = not self._include or any(pattern.match(path) for pattern in self._include)
        return included and not any(pattern.match(path) for pattern in self._exclude)


def _compiled(pattern: str) -> re.Pattern[str]:
    if not pattern or len(pattern) > LONGEST or pattern.count("**") > 8 or pattern.count("*") > 40:
        raise InvalidRequest(f"{pattern[:80]!r} is not a usable glob.", param="glob")
    anchored = pattern.lstrip("/")
    if anchored.endswith("/"):
        anchored += "**"
    body = re.sub(r"\*\*/?|\*|\?|\[!?\]?[^\]]*\]|.", _token, anchored, flags=re.DOTALL)
    start = "" if "/" in pattern else "(?:.*/)?"
    try:
        return re.compile(start + body + r"\Z", re.DOTALL)
    except re.error as error:
        raise InvalidRequest(f"{pattern[:80]!r} is not a usable glob: {error}.", param="glob") from error


def _token(match: re.Match[str]) -> str:
    text = match.group()
    if text == "**/":
        return "(?:.*/)?"
    if text == "**":
        return ".*"
    if text == "*":
        return "[^/]*"
    if text == "?":
        return "[^/]"
    if len(text) > 1:
        inner = text[1:-1].replace("\\", r"\\").replace("[", r"\[")
        return "[" + ("^" + inner[1:] if inner.startswith("!") else inner) + "]"
    return re.escape(text)
