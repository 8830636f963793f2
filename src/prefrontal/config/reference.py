"""What is generated from the tree: the JSON Schema that ships, and the reference part of the documentation.

``python -m prefrontal.config.reference docs/configuration.md src/prefrontal/config/schema.json`` writes both anew.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from prefrontal.config.schema import Config

BEGIN = "<!-- reference: generated from the schema, do not edit by hand -->"
END = "<!-- end of the reference -->"

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true/false", Any: "anything", type(None): "null"}


def json_schema() -> str:
    """Return the JSON Schema of the configuration file, for editors and for ``prefrontal config schema``."""
    schema = msgspec.json.schema(Config)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Prefrontal configuration", **schema}
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=1).decode() + "\n"


def shipped_schema() -> str:
    """Return the JSON Schema as shipped in the package."""
    return resources.files("prefrontal.config").joinpath("schema.json").read_text(encoding="utf-8")


def markdown() -> str:
    """Return the reference as Markdown: one table for each part of the tree, in its order."""
    parts = [_table(path, struct) for path, struct in _structs(Config, "")]
    return "\n".join(parts)


def inserted(page: str) -> str:
    """Return a documentation page with the reference between its two markers.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, found, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def leaves(struct: type[msgspec.Struct] = Config, path: str = "") -> Iterator[tuple[str, type[msgspec.Struct], str]]:
    """Yield each leaf setting: its path (``models.NAME.price.input_usd``), the struct it belongs to, and its attribute there."""
    for shown, name, annotation in _fields(struct):
        inner, suffix = _inner(annotation)
        where = f"{path}.{shown}" if path else shown
        if inner is None:
            yield where, struct, name
        else:
            yield from leaves(inner, where + suffix)


def _structs(struct: type[msgspec.Struct], path: str) -> Iterator[tuple[str, type[msgspec.Struct]]]:
    yield path, struct
    for shown, _, annotation in _fields(struct):
        inner, suffix = _inner(annotation)
        if inner is not None:
            yield from _structs(inner, (f"{path}.{shown}" if path else shown) + suffix)


def _fields(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str, Any]]:
    """Yield the name in the file, the attribute, and the annotation of each field."""
    hints = get_type_hints(struct, include_extras=True)
    for name, shown in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        yield shown, name, hints[name]


def _table(path: str, struct: type[msgspec.Struct]) -> str:
    title = f"### `{path}`" if path else "### The file"
    rows = [f"{title}\n", f"{_first_paragraph(struct)}\n", "| setting | value | default | meaning |", "|---|---|---|---|"]
    defaults = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for shown, _, annotation in _fields(struct):
        meaning = _description(annotation).replace("|", "\\|")
        rows.append(f"| `{shown}` | {_kind(annotation)} | {_default(defaults[shown], annotation)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _first_paragraph(struct: type[msgspec.Struct]) -> str:
    return " ".join((struct.__doc__ or "").split("\n\n")[0].split())


def _description(annotation: Any) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return ""


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of a field's annotation; ranges stay attached to theirs."""
    if get_origin(annotation) is Annotated:
        inner, *metas = get_args(annotation)
        found = _members(inner)
        return [(member, (*more, *metas)) for member, more in found]
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [(annotation, ())]


def _inner(annotation: Any) -> tuple[type[msgspec.Struct] | None, str]:
    """Return the struct a field holds, itself or as values of a mapping or list, with what to add to its path."""
    for member, _ in _members(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if origin is None and isinstance(member, type) and issubclass(member, msgspec.Struct):
            return member, ""
        if origin in (dict, tuple):
            item = arguments[1] if origin is dict else arguments[0]
            if isinstance(item, type) and issubclass(item, msgspec.Struct):
                return item, ".NAME" if origin is dict else "[]"
    return None, ""


def _kind(annotation: Any) -> str:
    shown = [_member_kind(member, metas) for member, metas in _members(annotation) if member is not type(None)]
    return " or ".join(dict.fromkeys(shown))


def _member_kind(member: Any, metas: tuple[Any, ...]) -> str:
    origin, arguments = get_origin(member), get_args(member)
    if getattr(origin, "_name", None) == "Literal":
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}" if _inner(member)[0] is None else "list of settings"
    if origin is dict:
        return f"name → {_kind(arguments[1])}" if _inner(member)[0] is None else "name → settings"
    if isinstance(member, type) and issubclass(member, msgspec.Struct):
        return "settings"
    return _WORDS.get(member, str(member)) + _bounds(metas)


def _bounds(metas: tuple[Any, ...]) -> str:
    low = next((f"{meta.ge:g}" for meta in metas if meta.ge is not None), None)
    above = next((f"{meta.gt:g}" for meta in metas if meta.gt is not None), None)
    high = next((f"{meta.le:g}" for meta in metas if meta.le is not None), None)
    if low is not None and high is not None:
        return f", {low} to {high}"
    if above is not None:
        return f" > {above}" + (f", at most {high}" if high is not None else "")
    return f" ≥ {low}" if low is not None else ""


def _default(field: msgspec.structs.FieldInfo, annotation: Any) -> str:
    if _inner(annotation)[0] is not None and field.default is not None:
        return "see below"
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if field.required:
        return "required"
    if value is None:
        return "left out"
    if value in ((), {}, ""):
        return "empty"
    return f"`{msgspec.json.encode(value).decode()}`"


def main(arguments: list[str]) -> int:
    """Write the documentation page and the schema file named in `arguments` anew."""
    page, schema = (Path(argument) for argument in arguments)
    page.write_text(inserted(page.read_text(encoding="utf-8")), encoding="utf-8")
    schema.write_text(json_schema(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
