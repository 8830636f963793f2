"""The Messages dialect as clients speak it to us: body → ChatRequest → body is the identity on valid input.

Role ``system`` is the top-level ``system``; a system turn inside ``messages`` becomes role ``developer``. A user turn made of
tool results alone becomes role ``tool``. Whatever has no neutral field stays in an `extra` and comes back from there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Text, ToolResult
from prefrontal.chat.request import NO_HINTS, ChatRequest, Message, ResponseFormat, Role, Sampling, Tool, ToolChoice
from prefrontal.errors import InvalidRequest
from prefrontal.providers.anthropic.blocks import DIALECT, Malformed, parse_blocks, raw_inputs
from prefrontal.providers.anthropic.request import BETAS, common_fields, format_of
from prefrontal.providers.common import Report, encode
from prefrontal.providers.hints import FIELD, parse_hints
from prefrontal.providers.openai.check import decode_object, need_count
from prefrontal.providers.openai.tools import check_schema

_CHOICES = {"auto": "auto", "none": "none", "any": "required", "tool": "tool"}


class _RawMessage(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"")


class _RawBody(msgspec.Struct):
    messages: list[_RawMessage] = []


_RAW_BODY = msgspec.json.Decoder(_RawBody)


def parse_messages_request(body: bytes, betas: str | None = None) -> ChatRequest:
    """Return the request in a Messages body. `betas`: the header ``anthropic-beta``, which goes along as a field of that name.

    Raises:
        InvalidRequest: not a JSON object, or a field of a wrong type; `param` is its path.
    """
    rest = decode_object(body)
    model = _take(rest, "model", str, "a string")
    if not model:
        raise InvalidRequest("Missing required field: 'model'.", param="model")
    hints = parse_hints(rest.pop(FIELD)) if FIELD in rest else NO_HINTS
    messages = _system(rest) + _messages(rest, body)
    stream = _take(rest, "stream", bool, "true or false")
    choice, parallel = _tool_choice(rest)
    effort, response_format = _output_config(rest)
    user, metadata = _metadata(rest)
    cap = _take(rest, "max_tokens", int, "an integer")
    if cap is not None:
        need_count(cap, "max_tokens", least=0)  # the API takes 0: it reads the prompt into its cache
    if betas is not None:
        rest[BETAS] = betas
    return ChatRequest(
        model=model,
        messages=messages,
        tools=_tools(rest),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=response_format,
        sampling=Sampling(
            temperature=_number(rest, "temperature"),
            top_p=_number(rest, "top_p"),
            top_k=_take(rest, "top_k", int, "an integer"),
            stop=_stops(rest),
        ),
        max_output_tokens=cap,
        cap_field=None if cap is None else "max_tokens",
        reasoning_effort=effort,
        thinking=_take(rest, "thinking", dict, "an object"),
        stream=bool(stream),
        stream_given=stream is not None,
        include_usage=True,
        metadata=metadata,
        user=user,
        hints=hints,
        dialect=DIALECT,
        extra=rest or None,
    )


def render_messages_body(request: ChatRequest) -> bytes:
    """Return the Messages body of a request; for one that `parse_messages_request` made, the same JSON value it came from."""
    body: dict[str, Any] = {"model": request.model}
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    native = request.dialect == DIALECT
    body |= common_fields(request, Report(), native=native, client=True)
    extra = dict(request.extra or {}) if native else {}
    config = dict(extra.pop("output_config", None) or {})
    had = native and "output_config" in (request.extra or {})
    if request.reasoning_effort is not None:
        config["effort"] = request.reasoning_effort
    if request.response_format is not None and request.response_format.kind == "json_schema":
        config["format"] = format_of(request)
    if config or had:
        body["output_config"] = config
    if request.thinking is not None:
        body["thinking"] = request.thinking
    if request.stream_given:
        body["stream"] = request.stream
    return encode({**extra, **body})


def _take(rest: dict[str, Any], name: str, kind: type, expected: str) -> Any:
    """Take a field of one type; null stays with the extras, so that it comes back."""
    value = rest.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidRequest(f"'{name}' must be {expected}.", param=name)
    return rest.pop(name)


def _stops(rest: dict[str, Any]) -> tuple[str, ...] | None:
    stops = _take(rest, "stop_sequences", list, "an array of strings")
    if stops is not None and not all(isinstance(stop, str) for stop in stops):
        raise InvalidRequest("'stop_sequences' must be an array of strings.", param="stop_sequences")
    return None if stops is None else tuple(stops)


def _number(rest: dict[str, Any], name: str) -> float | None:
    value = rest.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidRequest(f"'{name}' must be a number.", param=name)
    del rest[name]
    return value


def _system(rest: dict[str, Any]) -> tuple[Message, ...]:
    value = rest.get("system")
    if value is None:
        return ()
    del rest["system"]
    if isinstance(value, str):
        return (Message(role="system", blocks=(Text(text=value),)),)
    if not isinstance(value, list):
        raise InvalidRequest("'system' must be a string or an array of text blocks.", param="system")
    return (Message(role="system", blocks=_blocks(value, "system"), form="parts"),)


def _messages(rest: dict[str, Any], body: bytes) -> tuple[Message, ...]:
    value = rest.pop("messages", None)
    if not isinstance(value, list) or not value:
        raise InvalidRequest("'messages' must be an array with at least one message.", param="messages")
    has_calls = b'"tool_use"' in body
    raws = _RAW_BODY.decode(body).messages if has_calls and all(isinstance(item, dict) for item in value) else []
    out: list[Message] = []
    for i, item in enumerate(value):
        where = f"messages[{i}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"'{where}' must be an object.", param=where)
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system"):
            raise InvalidRequest(f"'{where}.role' must be user, assistant or system.", param=f"{where}.role")
        extra = {key: found for key, found in item.items() if key not in ("role", "content")} or None
        if isinstance(content, str):
            own: Role = "developer" if role == "system" else role
            out.append(Message(role=own, blocks=(Text(text=content),), extra=extra))
            continue
        if not isinstance(content, list):
            raise InvalidRequest(f"'{where}.content' must be a string or an array of blocks.", param=f"{where}.content")
        blocks = _blocks(content, f"{where}.content", raw_inputs(raws[i].content) if raws else None)
        results = role == "user" and bool(blocks) and all(isinstance(block, ToolResult) for block in blocks)
        own = "tool" if results else "developer" if role == "system" else role
        out.append(Message(role=own, blocks=blocks, form="parts", extra=extra))
    return tuple(out)


def _blocks(content: list[Any], where: str, inputs: list[str] | None = None) -> tuple[Any, ...]:
    try:
        return parse_blocks(content, inputs)
    except Malformed as error:
        path = f"{where}{error.path}"
        raise InvalidRequest(f"'{path}' must be {error.expected}.", param=path) from None


def _tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    value = rest.get("tools")
    if value is not None and not isinstance(value, list):
        raise InvalidRequest("'tools' must be an array of objects.", param="tools")
    if not value:
        return ()
    del rest["tools"]
    return tuple([_tool(item, f"tools[{i}]") for i, item in enumerate(value)])


def _tool(item: Any, where: str) -> Tool:
    if not isinstance(item, dict):
        raise InvalidRequest(f"'{where}' must be an object.", param=where)
    rest = dict(item)
    kind = rest.get("type")
    name = rest.pop("name", "")
    if not isinstance(name, str):
        raise InvalidRequest(f"'{where}.name' must be a string.", param=f"{where}.name")
    if isinstance(kind, str) and kind != "custom":
        del rest["type"]
        return Tool(name=name, kind=kind, extra=rest or None)
    if not name:
        raise InvalidRequest(f"Missing required field: '{where}.name'.", param=f"{where}.name")
    schema = rest.get("input_schema")
    if not isinstance(schema, dict):
        raise InvalidRequest(f"'{where}.input_schema' must be a JSON Schema object.", param=f"{where}.input_schema")
    check_schema(schema, f"{where}.input_schema")
    own_schema = rest.pop("input_schema") if "type" in schema else None  # one without a type goes back as it is, from extra
    description = rest.pop("description") if isinstance(rest.get("description"), str) else None
    strict = rest.pop("strict") if isinstance(rest.get("strict"), bool) else None
    parameters = schema if own_schema is None else own_schema
    return Tool(name=name, description=description, parameters=parameters, strict=strict, extra=rest or None)


def _tool_choice(rest: dict[str, Any]) -> tuple[ToolChoice | None, bool | None]:
    value = rest.get("tool_choice")
    if value is None:
        return None, None
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise InvalidRequest("'tool_choice.type' must be auto, any, tool or none.", param="tool_choice.type")
    del rest["tool_choice"]
    left = {key: found for key, found in value.items() if key != "type"}
    name = None
    if kind == "tool":
        name = left.pop("name", None)
        if not isinstance(name, str):
            raise InvalidRequest("'tool_choice.name' must be a string.", param="tool_choice.name")
    alone = left.get("disable_parallel_tool_use")
    parallel = None
    if isinstance(alone, bool) and kind != "none":
        parallel = not left.pop("disable_parallel_tool_use")
    return ToolChoice(mode=_CHOICES[kind], name=name, extra=left or None), parallel  # type: ignore[arg-type]  # one of the modes


def _output_config(rest: dict[str, Any]) -> tuple[str | None, ResponseFormat | None]:
    config = rest.get("output_config")
    if config is None:
        return None, None
    if not isinstance(config, dict):
        raise InvalidRequest("'output_config' must be an object.", param="output_config")
    left = dict(config)
    effort = left.pop("effort") if isinstance(left.get("effort"), str) else None
    response_format = None
    wanted = left.get("format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        check_schema(wanted.get("schema"), "output_config.format.schema")
        del left["format"]
        extra = {key: found for key, found in wanted.items() if key not in ("type", "schema")} or None
        response_format = ResponseFormat(kind="json_schema", schema=wanted["schema"], extra=extra)
    if left or not config:
        rest["output_config"] = left
    else:
        del rest["output_config"]
    return effort, response_format


def _metadata(rest: dict[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    metadata = rest.get("metadata")
    if metadata is None:
        return None, None
    if not isinstance(metadata, dict):
        raise InvalidRequest("'metadata' must be an object.", param="metadata")
    left = dict(rest.pop("metadata"))
    user = left.pop("user_id") if isinstance(left.get("user_id"), str) else None
    return user, left if left or user is None else None
