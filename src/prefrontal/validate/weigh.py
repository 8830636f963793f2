"""How dear it can be to check a value against a schema, told from the schema alone.

A schema comes from a caller, and a short one can be made to take hours: references that fork at each step, or patterns. What is
weighed here is how many rules one value can meet when all references are followed; a reference back into itself counts once,
because checking remembers those.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

MAX_DEPTH = 64
"""Levels of a schema (assumed: generated ones have fewer than twenty)."""

MAX_NODES = 5_000
"""Objects in a schema (assumed: the largest that a vendor takes has 5,000 properties)."""

MAX_WEIGHT = 20_000
"""Rules that one value can meet with all references followed (measured: 11 ns each; the rest is a bound on malice)."""

MAX_DIGITS = 6
"""Digits of a place in a list; a longer number leads nowhere, and a very long one cannot even be read."""

_VALUES = frozenset({"const", "enum", "default", "examples", "required", "type"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SHELVES = frozenset({"$defs", "definitions"})


class TooDear(Exception):
    """The schema is beyond a bound; the message says which."""


class Weight(msgspec.Struct, frozen=True, kw_only=True):
    """rules: what one value can meet. forks: references in the schema when one leads back into itself, else 0."""

    rules: int
    forks: int


def weigh(schema: dict[str, Any]) -> Weight:
    """Return the weight of a schema. Raises TooDear when it is too deep, too large or too heavy."""
    _measure(schema)
    return _Scale(schema).weight()


def _measure(schema: dict[str, Any]) -> None:
    level: list[Any] = [schema]
    nodes = 0
    for _ in range(MAX_DEPTH):
        nodes += sum(isinstance(item, dict) for item in level)
        if nodes > MAX_NODES:
            raise TooDear(f"it has more than {MAX_NODES} parts")
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise TooDear(f"it is more than {MAX_DEPTH} levels deep")


class _Scale:
    """Weighs each part once; a part that is being weighed already is a reference back."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._known: dict[int, int] = {}
        self._open: set[int] = set()
        self._refs = 0
        self._back = False
        self._anchors: dict[str, Any] = {}
        self._depth = 0

    def weight(self) -> Weight:
        rules = self._of(self._root)
        return Weight(rules=rules, forks=max(2, self._refs) if self._back else 0)

    def _of(self, node: Any) -> int:
        if not isinstance(node, dict):
            return 1
        key = id(node)
        if key in self._known:
            return self._known[key]
        if key in self._open:
            self._back = True
            return 1
        self._open.add(key)
        self._depth += 1
        if self._depth > MAX_DEPTH * 4:  # a chain of references is followed by a recursion of ours
            raise TooDear(f"its references are more than {MAX_DEPTH * 4} steps long")
        total = 1
        for name, value in node.items():
            total += self._member(name, value)
            if total > MAX_WEIGHT:
                raise TooDear(f"with its references followed it has more than {MAX_WEIGHT} rules")
        self._depth -= 1
        self._open.discard(key)
        self._known[key] = total
        return total

    def _member(self, name: str, value: Any) -> int:
        if name in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
            self._refs += 1
            return self._of(self._resolve(value))
        if name in _VALUES or name in _SHELVES:
            return 1
        if name in _MAPS and isinstance(value, dict):
            return sum(self._of(inner) for inner in value.values())
        if isinstance(value, list):
            return sum(self._of(inner) for inner in value)
        return self._of(value)

    def _resolve(self, ref: str) -> Any:
        """Return what a reference within the schema points at; any other is refused later, by the compiler."""
        if ref == "#":
            return self._root
        if not ref.startswith("#/"):
            return self._named(ref)
        found: Any = self._root
        for step in ref[2:].split("/"):
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found.get(name)
            elif isinstance(found, list) and name.isdecimal() and len(name) <= MAX_DIGITS and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found

    def _named(self, ref: str) -> Any:
        """Return the part with that anchor or id."""
        if not self._anchors:
            stack: list[Any] = [self._root]
            while stack:
                item = stack.pop()
                if isinstance(item, dict):
                    for key in ("$anchor", "$dynamicAnchor", "$id", "id"):
                        if isinstance(item.get(key), str):
                            self._anchors.setdefault(item[key].rpartition("#")[2] or item[key], item)
                stack.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
            self._anchors.setdefault("", self._root)
        return self._anchors.get(ref.removeprefix("#")) or self._anchors.get(ref)
