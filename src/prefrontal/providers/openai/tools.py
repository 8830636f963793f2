"""Tools, the choice among them, and the format of the answer: wire → struct → wire."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.request import ResponseFormat, Tool, ToolChoice
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.check import bad_value, missing, need_object, need_string, wrong_type

_DRAFTS = ("draft-04/", "draft-06/", "draft-07/", "draft/2019-09/", "draft/2020-12/")
SCHEMA_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
"""The types there are (specified: JSON Schema)."""


def check_schema(schema: object, where: str) -> dict[str, Any]:
    """Return `schema` if it is a JSON Schema object.

    A ``$schema`` that names no published draft is not looked at: resolving it would fetch whatever address a client wrote.

    Raises:
        InvalidRequest: naming `where` and the place inside the schema that is wrong.
    """
    found = need_object(schema, where)
    if not found:
        return found
    import jsonschema_rs

    dialect = found.get("$schema")
    checked: Any = found
    if dialect is not None and not (
        isinstance(dialect, str) and dialect.split("//")[-1].startswith("json-schema.org/") and any(d in dialect for d in _DRAFTS)
    ):
        checked = {key: value for key, value in found.items() if key != "$schema"}
    try:
        jsonschema_rs.meta.validate(checked)
    except jsonschema_rs.ValidationError as error:
        inside = "".join([f".{step}" for step in error.instance_path])
        said = error.message
        if inside.endswith(".type") and "anyOf" in said:  # a choice of schemas tells a reader nothing
            said = f"{said.partition(' is not ')[0]} is no type: it is one of {', '.join(SCHEMA_TYPES)}, or a list of them"
        raise InvalidRequest(f"Invalid schema for '{where}': at '{inside or '.'}' {said}.", param=where) from None
    except (jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"Invalid schema for '{where}': {error}.", param=where) from None
    return found


def parse_tools(value: object) -> tuple[Tool, ...]:
    """Return the tools in the order given; the same definition twice is no error. Raises InvalidRequest."""
    if type(value) is not list:
        raise wrong_type("tools", "an array of objects", value)
    return tuple([_parse_tool(raw, f"tools[{i}]") for i, raw in enumerate(value)])


def _parse_tool(raw: object, where: str) -> Tool:
    tool = need_object(raw, where)
    kind = need_string(tool.get("type"), f"{where}.type")
    if kind != "function":
        inner = tool.get(kind)
        name = inner.get("name") if isinstance(inner, dict) else tool.get("name")
        return Tool(name=name if isinstance(name, str) else kind, kind=kind, extra={k: v for k, v in tool.items() if k != "type"})
    if "function" not in tool:
        raise missing(f"{where}.function")
    inner = need_object(tool["function"], f"{where}.function")
    name = need_string(inner.get("name"), f"{where}.function.name")
    if not name:
        raise InvalidRequest(f"Invalid '{where}.function.name': empty string.", param=f"{where}.function.name")
    known: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, field in inner.items():
        if key != "name":
            (known if key in _FUNCTION and field is not None else left)[key] = field
    if "parameters" in known:
        check_schema(known["parameters"], f"{where}.function.parameters")
    if type(known.get("description", "")) is not str:
        raise wrong_type(f"{where}.function.description", "a string", known["description"])
    if type(known.get("strict", True)) is not bool:
        raise wrong_type(f"{where}.function.strict", "a boolean", known["strict"])
    extra = {key: field for key, field in tool.items() if key not in ("type", "function")}
    if left:
        extra["function"] = left
    return Tool(name=name, extra=extra or None, **known)


_FUNCTION = frozenset({"description", "parameters", "strict"})


def render_tool(tool: Tool, *, native: bool, lost: list[str]) -> dict[str, Any] | None:
    """Return the wire's tool; None, with a note in `lost`, for another dialect's own tool."""
    if tool.kind != "function":
        if not native:
            lost.append(f"tools[].{tool.kind}")
            return None
        return {"type": tool.kind, **(tool.extra or {})}
    inner: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        inner["description"] = tool.description
    if tool.parameters is not None:
        inner["parameters"] = tool.parameters
    if tool.strict is not None:
        inner["strict"] = tool.strict
    out: dict[str, Any] = {"type": "function", "function": inner}
    if tool.extra and native:
        inner.update(tool.extra.get("function") or {})
        out.update({key: value for key, value in tool.extra.items() if key != "function"})
    elif tool.extra:
        lost.extend([f"tools[].{key}" for key, value in tool.extra.items() if value is not None])
    return out


def parse_tool_choice(value: object) -> ToolChoice:
    """Return the choice; a form richer than mode and name is kept whole in `extra`. Raises InvalidRequest."""
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise bad_value("tool_choice", value, ("none", "auto", "required"))
        return ToolChoice(mode=value)  # type: ignore[arg-type]  # one of the three, checked above
    choice = need_object(value, "tool_choice")
    kind = need_string(choice.get("type"), "tool_choice.type")
    inner = choice.get(kind)
    name = inner.get("name") if isinstance(inner, dict) else None
    if kind == "function":
        name = need_string(name, "tool_choice.function.name")
        plain = len(choice) == 2 and isinstance(inner, dict) and len(inner) == 1
        return ToolChoice(mode="tool", name=name, extra=None if plain else choice)
    if kind == "allowed_tools":
        mode = inner.get("mode") if isinstance(inner, dict) else None
        return ToolChoice(mode="required" if mode == "required" else "auto", extra=choice)
    return ToolChoice(mode="tool", name=name if isinstance(name, str) else kind, extra=choice)


def render_tool_choice(choice: ToolChoice, *, native: bool) -> Any:
    """Return the wire's tool_choice."""
    if choice.extra and native and "type" in choice.extra:
        return choice.extra
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "tool" else choice.mode


def parse_response_format(value: object) -> ResponseFormat | None:
    """Return the format; None for a kind this code does not know, which the caller keeps verbatim. Raises InvalidRequest."""
    raw = need_object(value, "response_format")
    kind = need_string(raw.get("type"), "response_format.type")
    if kind not in ("text", "json_object", "json_schema"):
        return None
    extra = {key: field for key, field in raw.items() if key not in ("type", "json_schema")}
    if kind != "json_schema":
        if "json_schema" in raw:
            extra["json_schema"] = raw["json_schema"]
        return ResponseFormat(kind=kind, extra=extra or None)  # type: ignore[arg-type]  # one of the two, checked above
    if "json_schema" not in raw:
        raise missing("response_format.json_schema")
    inner = need_object(raw["json_schema"], "response_format.json_schema")
    known: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, field in inner.items():
        (known if key in _FORMAT and field is not None else left)[key] = field
    for key in ("name", "description"):
        if key in known:
            need_string(known[key], f"response_format.json_schema.{key}")
    if type(known.get("strict", True)) is not bool:
        raise wrong_type("response_format.json_schema.strict", "a boolean", known["strict"])
    if "schema" in known:
        check_schema(known["schema"], "response_format.json_schema.schema")
    if left:
        extra["json_schema"] = left
    return ResponseFormat(kind="json_schema", extra=extra or None, **known)


_FORMAT = frozenset({"name", "description", "strict", "schema"})


def render_response_format(form: ResponseFormat, *, native: bool) -> dict[str, Any]:
    """Return the wire's response_format. A schema without a name is sent under the name ``answer``, which the API demands."""
    extra = form.extra if native and form.extra else {}
    if form.kind != "json_schema":
        return {"type": form.kind, **extra}
    inner: dict[str, Any] = {} if form.name is None and native else {"name": form.name or "answer"}
    given = {"description": form.description, "schema": form.schema, "strict": form.strict}
    inner.update({key: value for key, value in given.items() if value is not None})
    inner.update(extra.get("json_schema") or {})
    return {"type": "json_schema", **{key: value for key, value in extra.items() if key != "json_schema"}, "json_schema": inner}
