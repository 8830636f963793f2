"""The generateContent dialect as clients speak it to us: body → ChatRequest → body is the identity on valid input.

The model and whether to stream stand in the path, not in the body. Fields in snake case, which the API takes too, come back in
their usual form. Whatever has no neutral field stays in an `extra` and comes back from there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, ToolCall, ToolResult
from prefrontal.chat.request import NO_HINTS, ChatRequest, Message, ResponseFormat, Role, Sampling, Tool, ToolChoice
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.errors import InvalidRequest
from prefrontal.providers.common import Report, encode, loads
from prefrontal.providers.gemini.parts import DIALECT, OWN_ID, Malformed, PartWriter, camel, own_id, parse_parts
from prefrontal.providers.gemini.request import CONFIG, JSON, SAMPLING, common_fields, format_fields
from prefrontal.providers.gemini.response import FINISH_WORDS, exact_args, usage_object
from prefrontal.providers.gemini.schema import json_schema
from prefrontal.providers.gemini.turns import ROLE_ABSENT
from prefrontal.providers.hints import FIELD, parse_hints

_TOP = {
    "system_instruction": "systemInstruction",
    "generation_config": CONFIG,
    "tool_config": "toolConfig",
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
}
_CHOICES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}
_NUMBERS = ("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty")


class _RawContents(msgspec.Struct):
    contents: list[msgspec.Raw] = []


_RAW_CONTENTS = msgspec.json.Decoder(_RawContents)


def parse_generate_request(body: bytes, *, model: str, stream: bool = False) -> ChatRequest:
    """Return the request in a generateContent body; `model` and `stream` come from the path.

    Raises:
        InvalidRequest: not a JSON object, or a field of a wrong type; `param` is its path.
    """
    value = loads(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", hint="Send one JSON object, encoded in UTF-8.")
    rest = camel(value, _TOP)
    hints = parse_hints(rest.pop(FIELD)) if FIELD in rest else NO_HINTS
    messages = _linked(_system(rest) + _contents(rest, body))
    config = _object(rest, CONFIG)
    sampling = _sampling(config)
    cap = config.pop("maxOutputTokens") if _is_int(config.get("maxOutputTokens")) else None
    thinking = config.pop("thinkingConfig") if isinstance(config.get("thinkingConfig"), dict) else None
    response_format = _format(config)
    if config or rest.get(CONFIG) == {}:
        rest[CONFIG] = config
    else:
        rest.pop(CONFIG, None)
    return ChatRequest(
        model=model,
        messages=messages,
        tools=_tools(rest),
        tool_choice=_choice(rest),
        response_format=response_format,
        sampling=sampling,
        max_output_tokens=cap,
        cap_field=None if cap is None else "maxOutputTokens",
        thinking=thinking,
        stream=stream,
        stream_given=True,
        include_usage=True,
        hints=hints,
        dialect=DIALECT,
        extra=rest or None,
    )


def render_generate_body(request: ChatRequest) -> bytes:
    """Return the body of a request; for one that `parse_generate_request` made, the same JSON value it came from."""
    native = request.dialect == DIALECT
    body = common_fields(request, Report(), native=native)
    config = body.pop(CONFIG, None)
    fields: dict[str, Any] = {} if config is None else config
    if request.max_output_tokens is not None:
        fields["maxOutputTokens"] = request.max_output_tokens
    if request.response_format is not None:
        fields |= format_fields(request.response_format, native=native)
    if request.thinking is not None and native:
        fields["thinkingConfig"] = request.thinking
    if fields or config is not None:
        body[CONFIG] = fields
    return encode(body)


def render_generate_response(response: ChatResponse) -> bytes:
    """Return the answer as a GenerateContentResponse; one that came over this wire comes back with its own fields."""
    own = dict((response.extra or {}).get(DIALECT) or {})
    out: dict[str, Any] = {
        "candidates": [_candidate(choice) for choice in response.choices],
        "usageMetadata": {**usage_object(response.usage), **(own.pop("usageMetadata", None) or {})},
        "modelVersion": response.model,
        "responseId": response.id,
    }
    return encode({**out, **own})


def _candidate(choice: Choice) -> dict[str, Any]:
    writer = PartWriter(Report(), {}, native=True)
    parts = [part for block in choice.blocks if (part := writer.write(block, "assistant")) is not None]
    own = (choice.extra or {}).get(DIALECT) or {}
    finish = choice.raw_finish if own and choice.raw_finish else FINISH_WORDS.get(choice.finish_reason or "", "STOP")
    return {"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": choice.index, **own}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _object(rest: dict[str, Any], name: str) -> dict[str, Any]:
    value = rest.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"'{name}' must be an object.", param=name)
    return dict(value)


def _system(rest: dict[str, Any]) -> tuple[Message, ...]:
    value = rest.get("systemInstruction")
    if value is None:
        return ()
    if not isinstance(value, dict) or not isinstance(value.get("parts"), list):
        raise InvalidRequest("'systemInstruction' must be an object with parts.", param="systemInstruction")
    del rest["systemInstruction"]
    blocks = _blocks(value["parts"], "systemInstruction.parts", "system", None)
    extra = {key: found for key, found in value.items() if key != "parts"} or None
    return (Message(role="system", blocks=blocks, form="parts", extra=extra),)


def _contents(rest: dict[str, Any], body: bytes) -> tuple[Message, ...]:
    value = rest.pop("contents", None)
    if not isinstance(value, list) or not value:
        raise InvalidRequest("'contents' must be an array with at least one item.", param="contents")
    raws = _RAW_CONTENTS.decode(body).contents if b'"functionCall"' in body else []
    out: list[Message] = []
    for i, item in enumerate(value):
        where = f"contents[{i}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"'{where}' must be an object.", param=where)
        role, parts = item.get("role"), item.get("parts")
        if role not in ("user", "model", "function", None):
            raise InvalidRequest(f"'{where}.role' must be user or model.", param=f"{where}.role")
        if parts is not None and not isinstance(parts, list):
            raise InvalidRequest(f"'{where}.parts' must be an array.", param=f"{where}.parts")
        args = exact_args(raws[i]) if raws else None
        blocks = _blocks(parts or [], f"{where}.parts", f"contents{i}", args)
        extra = {key: found for key, found in item.items() if key not in ("role", "parts")}
        if role == "function":
            extra["role"] = role
        elif role is None:
            extra |= {"role": None} if "role" in item else {ROLE_ABSENT: True}
        results = bool(blocks) and all(isinstance(block, ToolResult) for block in blocks)
        own: Role = "assistant" if role == "model" else "tool" if results else "user"
        form: Any = "parts" if parts is not None else "absent"
        out.append(Message(role=own, blocks=blocks, form=form, extra=extra or None))
    return tuple(out)


def _blocks(parts: list[Any], where: str, seed: str, args: list[str] | None) -> tuple[Block, ...]:
    try:
        return parse_parts(parts, seed, args)
    except Malformed as error:
        path = f"{where}{error.path}"
        raise InvalidRequest(f"'{path}' must be {error.expected}.", param=path) from None


def _linked(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Give results that came without an id the id of the first unanswered call of their name."""
    open_calls: list[ToolCall] = []
    out: list[Message] = []
    for i, message in enumerate(messages):
        open_calls += [block for block in message.blocks if isinstance(block, ToolCall)]
        blocks: list[Block] = []
        for j, block in enumerate(message.blocks):
            if isinstance(block, ToolResult):
                found = next((c for c in open_calls if (block.call_id or c.id) == c.id and c.name == block.name), None)
                if found is not None:
                    open_calls.remove(found)
                if not block.call_id:
                    plain = found.id if found is not None and found.id.startswith(OWN_ID) else None
                    given = plain or own_id(f"result{i}", j, block.name or "", "")
                    block = msgspec.structs.replace(block, call_id=given)  # the linked one stands for it
            blocks.append(block)
        out.append(msgspec.structs.replace(message, blocks=tuple(blocks)))
    return tuple(out)


def _sampling(config: dict[str, Any]) -> Sampling:
    found: dict[str, Any] = {}
    for ours, theirs in SAMPLING.items():
        value = config.get(theirs)
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        right = isinstance(value, bool) if ours == "logprobs" else number if theirs in _NUMBERS else _is_int(value)
        if not right:
            kind = "true or false" if ours == "logprobs" else "a number"
            raise InvalidRequest(f"'{CONFIG}.{theirs}' must be {kind}.", param=f"{CONFIG}.{theirs}")
        found[ours] = config.pop(theirs)
    stops = config.get("stopSequences")
    if isinstance(stops, list) and all(isinstance(stop, str) for stop in stops):
        found["stop"] = tuple(config.pop("stopSequences"))
    return Sampling(**found)


def _format(config: dict[str, Any]) -> ResponseFormat | None:
    media = config.get("responseMimeType")
    if media == "text/plain":
        del config["responseMimeType"]
        return ResponseFormat(kind="text")
    if media != JSON:
        return None
    del config["responseMimeType"]
    found = {key: config.pop(key) for key in ("responseJsonSchema", "responseSchema") if isinstance(config.get(key), dict)}
    if not found:
        return ResponseFormat(kind="json_object")
    if found.keys() == {"responseJsonSchema"}:
        return ResponseFormat(kind="json_schema", schema=found["responseJsonSchema"])
    schema = found.get("responseJsonSchema") or json_schema(found["responseSchema"])
    return ResponseFormat(kind="json_schema", schema=schema, extra=found)


def _tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    """The tools; a list that could not be put together again as it was also stays in the extras, verbatim."""
    value = rest.get("tools")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest("'tools' must be an array of objects.", param="tools")
    out: list[Tool] = []
    exact, last = bool(value), ""
    for i, raw in enumerate(value):
        item = camel(raw, {"function_declarations": "functionDeclarations", "google_search": "googleSearch"})
        exact = exact and len(item) == 1
        for kind, content in item.items():
            if kind == "functionDeclarations":
                where = f"tools[{i}].functionDeclarations"
                if not isinstance(content, list):
                    raise InvalidRequest(f"'{where}' must be an array.", param=where)
                out += [_declaration(found, f"{where}[{j}]") for j, found in enumerate(content)]
                exact = exact and bool(content) and last != kind
            else:
                out.append(Tool(name=kind, kind=kind, extra={kind: content}))
            last = kind
    if exact:
        del rest["tools"]
    return tuple(out)


def _declaration(item: Any, where: str) -> Tool:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InvalidRequest(f"'{where}.name' must be a string.", param=f"{where}.name")
    left = camel(item, {"parameters_json_schema": "parametersJsonSchema"})
    name = left.pop("name")
    description = left.pop("description") if isinstance(left.get("description"), str) else None
    parameters = left.pop("parametersJsonSchema") if isinstance(left.get("parametersJsonSchema"), dict) else None
    if parameters is None and isinstance(left.get("parameters"), dict):
        parameters = json_schema(left["parameters"])
    elif parameters is not None and "parameters" in left:
        left["parametersJsonSchema"] = parameters
    return Tool(name=name, description=description, parameters=parameters, extra=left or None)


def _choice(rest: dict[str, Any]) -> ToolChoice | None:
    config = rest.get("toolConfig")
    if config is None:
        return None
    if not isinstance(config, dict):
        raise InvalidRequest("'toolConfig' must be an object.", param="toolConfig")
    left = camel(config, {"function_calling_config": "functionCallingConfig"})
    calling = left.get("functionCallingConfig")
    if not isinstance(calling, dict):
        rest["toolConfig"] = left
        return None
    del left["functionCallingConfig"]
    if left:
        rest["toolConfig"] = left
    else:
        del rest["toolConfig"]
    inner = camel(calling, {"allowed_function_names": "allowedFunctionNames"})
    word, names = inner.get("mode"), inner.get("allowedFunctionNames")
    if word == "ANY" and isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
        extra = {key: found for key, found in inner.items() if key not in ("mode", "allowedFunctionNames")}
        return ToolChoice(mode="tool", name=names[0], extra=extra or None)
    mode: Any = _CHOICES.get(word, "auto") if isinstance(word, str) else "auto"
    known = isinstance(word, str) and word in _CHOICES
    extra = {key: found for key, found in inner.items() if key != "mode" or not known}
    if "mode" not in inner:
        extra["mode"] = None
    return ToolChoice(mode=mode, extra=extra or None)
