"""The native Ollama dialect as clients speak it to us: body → ChatRequest → body is the identity on valid input.

Whatever has no neutral field stays in an `extra` and comes back from there.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Reasoning, ToolCall
from prefrontal.chat.request import NO_HINTS, ChatRequest, ResponseFormat, Sampling, Tool
from prefrontal.chat.response import ChatResponse
from prefrontal.errors import InvalidRequest
from prefrontal.providers.common import Report, encode, loads
from prefrontal.providers.hints import FIELD, parse_hints
from prefrontal.providers.ollama.messages import DIALECT, OWN_ID, MessageWriter, parse_messages
from prefrontal.providers.ollama.request import OPTIONS, common_fields
from prefrontal.providers.ollama.response import DONE_REASONS, usage_object


class _RawBody(msgspec.Struct):
    messages: list[msgspec.Raw] = []


_RAW_BODY = msgspec.json.Decoder(_RawBody)


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the request in an ``/api/chat`` body. The wire streams unless it says otherwise.

    Raises:
        InvalidRequest: not a JSON object, or a field of a wrong type; `param` is its path.
    """
    value = loads(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.", hint="Send one JSON object, encoded in UTF-8.")
    rest = dict(value)
    model = rest.pop("model", None)
    if not isinstance(model, str):
        raise InvalidRequest("Missing required field: 'model'.", param="model")
    hints = parse_hints(rest.pop(FIELD)) if FIELD in rest else NO_HINTS
    messages = rest.pop("messages", None)
    if not isinstance(messages, list):
        raise InvalidRequest("'messages' must be an array of objects.", param="messages")
    raws = _RAW_BODY.decode(body).messages if b'"tool_calls"' in body else []
    options = rest.get("options")
    if options is not None and not isinstance(options, dict):
        raise InvalidRequest("'options' must be an object.", param="options")
    left = dict(options or {})
    sampling = _sampling(left, rest)
    cap = left.pop("num_predict") if _is_int(left.get("num_predict")) and left["num_predict"] > 0 else None
    if isinstance(options, dict):
        if left or not options:
            rest["options"] = left
        else:
            del rest["options"]
    think = rest.get("think")
    if isinstance(think, bool | str):
        del rest["think"]
    stream = rest.pop("stream") if isinstance(rest.get("stream"), bool) else None
    return ChatRequest(
        model=model,
        messages=parse_messages(messages, raws),
        tools=_tools(rest),
        response_format=_format(rest),
        sampling=sampling,
        max_output_tokens=cap,
        cap_field=None if cap is None else "num_predict",
        reasoning_effort=think if isinstance(think, str) else None,
        thinking={"think": think} if isinstance(think, bool) else None,
        stream=stream is not False,
        stream_given=stream is not None,
        include_usage=True,
        hints=hints,
        dialect=DIALECT,
        extra=rest or None,
    )


def render_chat_body(request: ChatRequest) -> bytes:
    """Return the body of a request; for one that `parse_chat_request` made, the same JSON value it came from."""
    native = request.dialect == DIALECT
    writer = MessageWriter(Report(), native=native, think_back="always")
    body = {"model": request.model, **common_fields(request, Report(), writer)}
    if request.max_output_tokens is not None:
        body["options"] = {**body.get("options", {}), "num_predict": request.max_output_tokens}
    if request.thinking is not None and "think" in request.thinking:
        body["think"] = request.thinking["think"]
    elif request.reasoning_effort is not None:
        body["think"] = request.reasoning_effort
    if request.stream_given or not native:
        body["stream"] = request.stream
    return encode(body)


def render_chat_response(response: ChatResponse) -> bytes:
    """Return the answer as Ollama's final object; one that came over this wire comes back with its own fields."""
    own = dict((response.extra or {}).get(DIALECT) or {})
    choice = response.choices[0] if response.choices else None
    blocks = choice.blocks if choice else ()
    message: dict[str, Any] = {"role": "assistant", "content": choice.text if choice else ""}
    thinking = [block for block in blocks if isinstance(block, Reasoning) and not block.redacted]
    if thinking:
        message["thinking"] = "".join([block.text for block in thinking])
    calls = [block for block in blocks if isinstance(block, ToolCall)]
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    finish = choice.finish_reason if choice else None
    reason = choice.raw_finish if choice and own and choice.raw_finish else DONE_REASONS.get(finish or "", "stop")
    out = {"model": response.model, "message": message, "done": True, "done_reason": reason, **usage_object(response.usage)}
    return encode({**out, **own})


def _call(call: ToolCall) -> dict[str, Any]:
    value = call.arguments if isinstance(loads(call.arguments), dict) else "{}"
    function = {"name": call.name, "arguments": msgspec.Raw(value.encode()), **((call.extra or {}).get("function") or {})}
    return {**({} if call.id.startswith(OWN_ID) else {"id": call.id}), "function": function}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _sampling(options: dict[str, Any], rest: dict[str, Any]) -> Sampling:
    found: dict[str, Any] = {}
    for name in OPTIONS:
        value = options.get(name)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidRequest(f"'options.{name}' must be a number.", param=f"options.{name}")
        found[name] = options.pop(name)
    stop = options.get("stop")
    if isinstance(stop, str):
        found |= {"stop": (options.pop("stop"),), "stop_form": "text"}
    elif isinstance(stop, list) and all(isinstance(word, str) for word in stop):
        found["stop"] = tuple(options.pop("stop"))
    if isinstance(rest.get("logprobs"), bool):
        found["logprobs"] = rest.pop("logprobs")
    if _is_int(rest.get("top_logprobs")):
        found["top_logprobs"] = rest.pop("top_logprobs")
    return Sampling(**found)


def _format(rest: dict[str, Any]) -> ResponseFormat | None:
    value = rest.get("format")
    if value == "json":
        del rest["format"]
        return ResponseFormat(kind="json_object")
    if isinstance(value, dict):
        del rest["format"]
        return ResponseFormat(kind="json_schema", schema=value)
    return None  # an empty string means no format and stays with the extras


def _tools(rest: dict[str, Any]) -> tuple[Tool, ...]:
    value = rest.get("tools")
    if not value:
        return ()
    if not isinstance(value, list):
        raise InvalidRequest("'tools' must be an array of objects.", param="tools")
    del rest["tools"]
    return tuple([_tool(item, f"tools[{i}]") for i, item in enumerate(value)])


def _tool(item: Any, where: str) -> Tool:
    if not isinstance(item, dict):
        raise InvalidRequest(f"'{where}' must be an object.", param=where)
    kind = item.get("type", "function")
    extra: dict[str, Any] = {key: found for key, found in item.items() if key not in ("type", "function")}
    if kind != "function":
        function = {"function": item["function"]} if "function" in item else {}
        return Tool(name=str(kind), kind=str(kind), extra={**extra, **function} or None)
    inner = item.get("function")
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise InvalidRequest(f"'{where}.function.name' must be a string.", param=f"{where}.function.name")
    left = dict(inner)
    name = left.pop("name")
    description = left.pop("description") if isinstance(left.get("description"), str) else None
    parameters = left.pop("parameters") if isinstance(left.get("parameters"), dict) else None
    if left:
        extra["function"] = left
    if "type" not in item:
        extra["typeAbsent"] = True
    return Tool(name=name, description=description, parameters=parameters, extra=extra or None)
