"""From raw values to the typed tree, with every problem reported at once and at its full path.

msgspec stops at the first error and names no mapping keys in its paths, so the tree is walked here by its own annotations and
msgspec judges the leaves.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from prefrontal.config.expand import Outside
from prefrontal.config.problems import Path, Problem, did_you_mean, dotted
from prefrontal.config.redact import is_secret
from prefrontal.config.schema import Config

Tree = TypeVar("Tree", bound=msgspec.Struct)

_HIDDEN = object()
"""Stands in a message for a value that may be a secret."""

_WRONG = object()
"""Stands in the walk for a value that was refused."""

Note = Callable[[Path, str, str, str | None], None]
"""Called with path, rule, message and hint for each problem."""


def decode(raw: dict[str, Any], note: Note) -> Config | None:
    """Return the tree, after `note` was called for each problem in it: then it is the tree without the settings that are wrong.

    None: not even that can be made.
    """
    return decode_as(raw, Config, note)


def decode_as(raw: dict[str, Any], struct: type[Tree], note: Note) -> Tree | None:
    """Return another tree than the configuration's, read the same way."""
    noted = False

    def noting(path: Path, rule: str, message: str, hint: str | None) -> None:
        nonlocal noted
        noted = True
        note(path, rule, message, hint)

    plain = _value(raw, struct, (), noting)
    try:
        return msgspec.convert({} if plain is _WRONG else plain, struct)
    except msgspec.ValidationError as error:  # a rule the walk does not know, or something wrong that nothing can be without
        if not noted:
            note((), "type", str(error), None)
        return None


def to_problem(file: str | None, lines: dict[Path, int], origins: dict[Path, str], path: Path, **said: Any) -> Problem:
    """Return the problem at `path` with its place: the file and line it stands in, or the variable or flag that set it."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in origins:
            return Problem(path=dotted(path), file=origins[path[:depth]], **said)
    if path and path not in lines:  # a mapping that only the environment or a flag created
        for set_path, origin in origins.items():
            if set_path[: len(path)] == path:
                return Problem(path=dotted(path), file=origin, **said)
    for depth in range(len(path), -1, -1):
        if path[:depth] in lines:
            return Problem(path=dotted(path), file=file, line=lines[path[:depth]], **said)
    return Problem(path=dotted(path), file=file, **said)


def _value(value: Any, annotation: Any, path: Path, note: Note) -> Any:
    """Return `value` in the form msgspec takes for `annotation`."""
    kind, arguments = _shape(annotation)
    if kind is not None and value is None and path and issubclass(kind, msgspec.Struct) and not _optional(annotation):
        return {}  # `server:` with nothing below it: all defaults
    if kind is dict and value is None and not _optional(annotation):
        return {}
    if kind is tuple and value is None and not _optional(annotation):
        return []
    if kind is None or value is None:
        return _leaf(value, annotation, path, note)
    if kind is dict:
        return _mapping(value, arguments, path, note)
    if kind is tuple:
        return _sequence(value, arguments[0], path, note)
    return _struct(value, kind, path, note)


def _struct(value: Any, struct: type[msgspec.Struct], path: Path, note: Note) -> Any:
    if not isinstance(value, dict):
        note(path, "type", f"expected settings below this key, found {_named(value)}", None)
        return _WRONG
    fields = _fields(struct)
    for key in value:
        if key not in fields:
            note((*path, key), "unknown_key", "unknown setting", did_you_mean(key, fields))
    read = {key: _value(item, fields[key], (*path, key), note) for key, item in value.items() if key in fields}
    return {key: item for key, item in read.items() if item is not _WRONG}


def _mapping(value: Any, types_: tuple[Any, ...], path: Path, note: Note) -> Any:
    if not isinstance(value, dict):
        note(path, "type", f"expected `name: value` lines below this key, found {_named(value)}", None)
        return _WRONG
    if types_[0] is not str:
        for key in value:
            _leaf(key, types_[0], (*path, key), note)
    read = {key: _value(item, types_[1], (*path, key), note) for key, item in value.items()}
    kind = _shape(types_[1])[0]
    blank: Any = _WRONG if kind is None else [] if kind is tuple else {}  # the name stays: others may refer to it
    kept = {key: blank if item is _WRONG else item for key, item in read.items()}
    return {key: item for key, item in kept.items() if item is not _WRONG}


def _sequence(value: Any, item_type: Any, path: Path, note: Note) -> Any:
    if not isinstance(value, list | tuple):
        secret = path and isinstance(path[-1], str) and path[-1].endswith("keys")
        shown = f"[{value}]" if isinstance(value, str | int | float) and not secret else "[…]"
        note(path, "type", "expected a list" if secret else f"expected a list, found {_named(value)}", f"write `{shown}`")
        return _WRONG
    read = [_value(item, item_type, (*path, index), note) for index, item in enumerate(value)]
    return [item for item in read if item is not _WRONG]


def _leaf(value: Any, annotation: Any, path: Path, note: Note) -> Any:
    if isinstance(value, Outside):
        value = str(value)
        try:
            return msgspec.convert(value, annotation)
        except msgspec.ValidationError:
            pass
        return _converted(value, annotation, path, note, strict=False)
    return _converted(_plain(value), annotation, path, note, strict=True)


def _converted(value: Any, annotation: Any, path: Path, note: Note, *, strict: bool) -> Any:
    try:
        return msgspec.to_builtins(msgspec.convert(value, annotation, strict=strict))
    except msgspec.ValidationError as error:
        message = str(error).split(" - at `$")[0]
        rule = "type" if "got `" in message else "range"
        if "Invalid enum" in message:
            rule = "choice"
        if is_secret(path):
            note(path, rule, _readable(message, _HIDDEN), "quote it" if isinstance(value, int | float) else None)
        else:
            note(path, rule, _readable(message, value), _leaf_hint(value, annotation))
        return _WRONG


def _plain(value: Any) -> Any:
    """Return `value` with text from outside as plain text: capabilities and extra_body hold values of any shape."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Outside) else value


_WORDS = {
    "`int | null`": "a whole number",
    "`float | null`": "a number",
    "`str | null`": "text",
    "`bool | null`": "true or false",
    "`int | str | null`": "a whole number or text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`str`": "text",
    "`bool`": "true or false",
    "`null`": "nothing",
}


def _readable(message: str, value: Any) -> str:
    """Return msgspec's sentence in words a person without Python knows, with the value that was found."""
    if "matching regex" in message:
        return f'expected a time as "HH:MM", found {_named(value)}'
    if "Invalid enum" in message:
        return f"`{value}` is not a choice"
    said = message.split(", got ")[0]
    for code, words in _WORDS.items():
        said = said.replace(code, words)
    said = said.replace(" <= ", " of at most ").replace(" >= ", " of at least ").replace(" > ", " above ")
    said = re.sub(r"(\d)\.0\b", r"\1", said)
    return f"{said[:1].lower()}{said[1:]}, found {_named(value)}"


def _leaf_hint(value: Any, annotation: Any) -> str | None:
    choices = _choices(annotation)
    if choices:
        return did_you_mean(str(value), choices) or "choices: " + ", ".join(choices)
    kinds = set(_members(annotation))
    if bool in kinds and isinstance(value, str) and value.lower() in ("on", "off", "yes", "no"):
        return f"write `{'true' if value.lower() in ('on', 'yes') else 'false'}`"
    if str in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return f'quote it: "{value}"'
    if isinstance(value, str) and (int in kinds or float in kinds):
        return "write the number without quotes or units"
    return None


def _named(value: Any) -> str:
    """Return `value` as a message may show it: short, and never longer text, which may be a secret."""
    if value is None:
        return "nothing"
    if value is _HIDDEN:
        return "a value that is not shown"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return f"`{value}`"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 16 else "text"
    return "a list" if isinstance(value, list) else "settings"


@lru_cache(maxsize=64)
def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the annotation of each field by its name in the file."""
    hints = get_type_hints(struct, include_extras=True)
    return {shown: hints[name] for name, shown in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)}


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of `annotation`, without metadata."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _optional(annotation: Any) -> bool:
    return type(None) in _members(annotation)


def _choices(annotation: Any) -> list[str]:
    return [str(choice) for member in _members(annotation) for choice in (get_args(member) if _is_literal(member) else ())]


def _is_literal(member: Any) -> bool:
    return getattr(get_origin(member), "_name", None) == "Literal"


def _shape(annotation: Any) -> tuple[type[Any] | None, tuple[Any, ...]]:
    """Return the container `annotation` stands for: a struct, dict or tuple with its arguments, or None for a leaf."""
    for member in _members(annotation):
        if isinstance(member, type) and get_origin(member) is None and issubclass(member, msgspec.Struct):
            return member, ()
        if get_origin(member) is dict and get_args(member)[1] is not Any:
            return dict, get_args(member)
        if get_origin(member) is tuple:
            return tuple, get_args(member)
    return None, ()
