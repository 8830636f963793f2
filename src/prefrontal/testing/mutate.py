"""Good messages made wrong, the same way each time: input for parsers that must survive anything.

    mutate = Mutator(Chance(1))
    for _ in range(10_000):
        parse(mutate.body({"model": "auto", "messages": []}))

`body` keeps the shape of a JSON value and breaks it somewhere: another type, a missing or doubled key, a huge number, a word out
of place, a deep nest. One in six also has its bytes broken. `raw` breaks bytes only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from prefrontal.clock import Chance

DEEP = 3000
"""How deep a nest is (assumed: three times what Python's own stack bears)."""

RAW_SHARE = 1 / 6
"""How many bodies also have broken bytes (assumed: most of those die in the JSON decoder, which needs less testing)."""

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    7,
    0.5,
    -0.0,
    1e308,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63) - 1,
    "",
    " ",
    "x",
    "auto",
    "none",
    "tool",
    "function",
    "custom",
    "developer",
    "text",
    "\x00\x1b[31m\r\n",
    "\u2028\ufeff\U0001f600e\u0301",
    "{{ x }} {% for %} <|im_start|> </think> <think>",
    "data:image/png;base64,",
    "data:;base64,====",
    "file:///etc/hostname",
    "x" * 5000,
    [],
    {},
    [None],
    [[]],
    {"": None},
    {"type": None},
    {"type": []},
    {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
    {"$ref": "https://example.com/x"},
    [{"type": "text"}],
    {"type": "text", "text": 7},
)
"""Values that are legal JSON and seldom what a field means."""

KEYS = (
    *("type", "id", "name", "role", "content", "text", "index", "usage", "error", "stream", "tools", "tool_choice", "model", "n"),
    *("thinking", "reasoning", "reasoning_effort", "metadata", "x_prefrontal", "extra_content", "cache_control", "signature"),
    *("input", "output", "arguments", "function", "custom", "status", "extra", "stop", "max_tokens", "$schema", "__class__"),
    *("message", "delta", "created", "finish_reason", "parts", "choices", "done", "citations", "annotations", "refusal"),
)
"""Names that are put where they do not belong."""

NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e-400", b"9" * 400, b"01", b"0x10", b"1.", b"-")
"""What some encoders write for numbers; all but the long one are no JSON."""

STRINGS = (rb'"\ud800"', rb'"\udc00\ud800"', rb'"\x41"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b'"a\nb"', b"'a'", rb'"\u0000"')
"""Strings that are broken, or that only look so."""

MARKS = (b"\n", b"\r\n\r\n", b"data: ", b"event: error\n", b"\xef\xbb\xbf", b"\x00", b"[DONE]", b"}", b"[")
"""Bytes that mean something to somebody."""


class Mutator:
    """Breaks messages. What it does is decided by `chance` alone."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._ways: tuple[Callable[[Any, list[Any]], Any], ...] = (
            self._replace,
            self._replace,
            self._vary,
            self._vary,
            self._vary,
            self._add,
            self._remove,
            self._rename,
            self._repeat,
            self._wrap,
            self._transplant,
            self._nest,
        )

    def body(self, value: Any) -> bytes:
        """Return `value` as JSON with one to four things wrong."""
        parts = list(_parts(value))
        for _ in range(1 + int(self._chance.random() ** 2 * 4)):
            value = self._change(value, self._chance.choice(self._ways), parts)
        data = json.dumps(value).encode()  # not msgspec: whole numbers of any length
        if self._chance.random() < RAW_SHARE:
            data = self._spoil(data)
        return data

    def raw(self, data: bytes) -> bytes:
        """Return `data` with one to five of its bytes, or stretches of it, changed, left out or repeated."""
        out = bytearray(data)
        for _ in range(1 + int(self._chance.random() * 5)):
            at = self._at(len(out))
            end = min(len(out), at + 1 + int(self._chance.random() ** 3 * 40))
            match int(self._chance.random() * 7):
                case 0:
                    del out[at:end]
                case 1:
                    out[at:at] = out[at:end]
                case 2:
                    out[at:end] = bytes([int(self._chance.random() * 256) for _ in range(end - at)])
                case 3:
                    out[at:at] = self._chance.choice((*NUMBERS, *STRINGS))
                case 4:
                    del out[end:]
                case 5:
                    out[at:at] = self._chance.choice(MARKS)
                case _:
                    if at < len(out):
                        out[at] ^= 1 << int(self._chance.random() * 8)
        return bytes(out)

    def cut(self, data: bytes) -> list[bytes]:
        """Return `data` in one to six pieces."""
        marks = sorted({self._at(len(data)) for _ in range(int(self._chance.random() * 6))})
        return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]

    def _at(self, length: int) -> int:
        return int(self._chance.random() * length)

    def _change(self, value: Any, way: Callable[[Any, list[Any]], Any], parts: list[Any]) -> Any:
        """Return a copy of `value` with `way` done to one of its places, each as likely as any other."""
        return self._at_path(value, self._chance.choice(list(_paths(value))), way, parts)

    def _at_path(self, value: Any, path: tuple[Any, ...], way: Callable[[Any, list[Any]], Any], parts: list[Any]) -> Any:
        if not path:
            return way(value, parts)
        first, *rest = path
        inner = self._at_path(value[first], tuple(rest), way, parts)
        if isinstance(value, dict):
            return {**value, first: inner}
        return [*value[:first], inner, *value[first + 1 :]]

    def _replace(self, _value: Any, _parts: list[Any]) -> Any:
        return self._chance.choice(ODD)

    def _vary(self, value: Any, _parts: list[Any]) -> Any:
        """Another value of the same type, which a parser is likely to let through to whoever comes next."""
        alike = [odd for odd in ODD if type(odd) is type(value)]
        return self._chance.choice(alike) if alike else value

    def _add(self, value: Any, parts: list[Any]) -> Any:
        if isinstance(value, dict):
            new = self._chance.choice((self._chance.choice(ODD), self._chance.choice(parts)))
            return {**value, self._chance.choice(KEYS): new}
        return [*value, self._chance.choice(ODD)] if isinstance(value, list) else value

    def _remove(self, value: Any, _parts: list[Any]) -> Any:
        if isinstance(value, dict) and value:
            gone = self._chance.choice(list(value))
            return {key: inner for key, inner in value.items() if key != gone}
        return value[1:] if isinstance(value, list | str) else None

    def _rename(self, value: Any, _parts: list[Any]) -> Any:
        if not isinstance(value, dict) or not value:
            return self._chance.choice(ODD)
        old = self._chance.choice(list(value))
        new = self._chance.choice([old.upper(), old + "s", "type", "role", "content", "id", "name", "x_prefrontal", ""])
        return {new if key == old else key: inner for key, inner in value.items()}

    def _repeat(self, value: Any, _parts: list[Any]) -> Any:
        if isinstance(value, list):
            return value * self._chance.choice((2, 3, 30))
        return value * 3 if isinstance(value, str) else [value, value]

    def _wrap(self, value: Any, _parts: list[Any]) -> Any:
        return self._chance.choice(([value], {"type": value}, {"value": value}, [[value]]))

    def _transplant(self, _value: Any, parts: list[Any]) -> Any:
        return self._chance.choice(parts)

    def _nest(self, value: Any, _parts: list[Any]) -> Any:
        for _ in range(40):
            value = [value] if self._chance.random() < 0.5 else {"properties": value}
        return value

    def _spoil(self, data: bytes) -> bytes:
        match int(self._chance.random() * 8):
            case 0:
                return b"\xef\xbb\xbf" + data
            case 1:
                return data.replace(b":", b":" + b"[" * DEEP, 1)
            case 2:
                return data.replace(b'":', b'":' + self._chance.choice(NUMBERS) + b',"', 1)
            case 3:
                return data.replace(b'""', self._chance.choice(STRINGS), 1).replace(b'"x"', self._chance.choice(STRINGS), 1)
            case 4:
                half, wide = data[: len(data) // 2], data.decode().encode("utf-16")
                return self._chance.choice((b"", b"null", b"[]", b"0", b'"x"', data + data, half, wide))
            case _:
                return self.raw(data)


def _paths(value: Any, depth: int = 0) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every place in `value`, the whole included; what is nested deeper than 20 counts as one place."""
    yield ()
    if depth == 20:
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        for path in _paths(inner, depth + 1):
            yield (key, *path)


def _parts(value: Any) -> list[Any]:
    """Return every value inside `value`, itself included."""
    found = [value]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found.extend(_parts(inner))
    return found
