"""Chat completion requests: a client's body → `ChatRequest` → a body for an upstream.

Parsing is strict about what it understands and keeps what it does not: a field this code does not know, and a known one that
is null, stays in `extra` and is rendered as it came. So parse → render is the identity on valid requests. ``x_prefrontal``
is for us; it is read into `hints` and never rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefrontal.chat.request import NO_SAMPLING, ChatRequest, Sampling
from prefrontal.providers.hints import FIELD as HINTS_FIELD
from prefrontal.providers.hints import parse_hints
from prefrontal.providers.openai.check import decode_object, missing, need_count, need_object, wrong_type
from prefrontal.providers.openai.messages import parse_messages, render_messages
from prefrontal.providers.openai.tools import (
    parse_response_format,
    parse_tool_choice,
    parse_tools,
    render_response_format,
    render_tool,
    render_tool_choice,
)

DIALECTS = ("openai", "completions")
CAP_FIELDS = ("max_completion_tokens", "max_tokens")
Fields = dict[str, Any]


def parse_chat_request(body: bytes) -> ChatRequest:
    """Return the request in `body`, a JSON object of ``POST /v1/chat/completions``.

    ``max_tokens: -1``, which some local engines take for "no cap", is kept as an unknown field and caps nothing.

    Raises:
        InvalidRequest: `param` is the path of the field that is wrong.
    """
    raw = decode_object(body)
    messages = parse_messages(raw.pop("messages", None))
    fields, sampling, extra = take_fields(raw)
    fields["messages"] = messages
    return build_request(fields, sampling, extra)


def take_fields(raw: Fields) -> tuple[Fields, Fields, Fields]:
    """Return the request's fields but for its messages: those of `ChatRequest`, of `Sampling`, and all others as they came.

    Raises:
        InvalidRequest: `param` is the path of the field that is wrong.
    """
    fields: Fields = {}
    sampling: Fields = {}
    extra: Fields = {}
    for key, value in raw.items():
        if value is None:
            extra[key] = None
        elif key in _SAMPLING:
            sampling[key] = _SAMPLING[key](value, key)
        elif key in _PLAIN:
            fields[key] = _PLAIN[key](value, key)
        elif key in _SPECIAL:
            _SPECIAL[key](value, fields, sampling, extra)
        else:
            extra[key] = value
    return fields, sampling, extra


def build_request(fields: Fields, sampling: Fields, extra: Fields, dialect: str = "openai") -> ChatRequest:
    """Return the request of parsed parts. Raises InvalidRequest when there is no model."""
    model = fields.get("model")
    if not model:
        raise missing("model", hint='Name a model, or "auto" to let Prefrontal choose one.')
    extra.pop(HINTS_FIELD, None)
    if sampling:
        fields["sampling"] = Sampling(**sampling)
    return ChatRequest(extra=extra or None, dialect=dialect, **fields)


def _string(value: Any, where: str) -> str:
    if type(value) is not str:
        raise wrong_type(where, "a string", value)
    return value


def _number(value: Any, where: str) -> float:
    if type(value) is not float and type(value) is not int:
        raise wrong_type(where, "a number", value)
    return value


def _integer(value: Any, where: str) -> int:
    if type(value) is not int:
        raise wrong_type(where, "an integer", value)
    return value


def _boolean(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise wrong_type(where, "a boolean", value)
    return value


def _bias(value: Any, where: str) -> dict[str, float]:
    return {key: _number(weight, f"{where}.{key}") for key, weight in need_object(value, where).items()}


_SAMPLING: dict[str, Callable[[Any, str], Any]] = {
    "temperature": _number,
    "top_p": _number,
    "top_k": _integer,
    "min_p": _number,
    "seed": _integer,
    "presence_penalty": _number,
    "frequency_penalty": _number,
    "logit_bias": _bias,
    "logprobs": _boolean,
    "top_logprobs": _integer,
    "n": need_count,
}
_PLAIN: dict[str, Callable[[Any, str], Any]] = {
    "model": _string,
    "parallel_tool_calls": _boolean,
    "reasoning_effort": _string,
    "thinking": need_object,
    "metadata": need_object,
    "user": _string,
}


def _stop(value: Any, _fields: Fields, sampling: Fields, _extra: Fields) -> None:
    if type(value) is str:
        sampling.update(stop=(value,), stop_form="text")
    elif type(value) is list:
        sampling["stop"] = tuple([_string(word, f"stop[{i}]") for i, word in enumerate(value)])
    else:
        raise wrong_type("stop", "a string or an array of strings", value)


def _stream(value: Any, fields: Fields, _sampling: Fields, _extra: Fields) -> None:
    fields.update(stream=_boolean(value, "stream"), stream_given=True)


def _stream_options(value: Any, fields: Fields, _sampling: Fields, _extra: Fields) -> None:
    options = need_object(value, "stream_options")
    usage = options.get("include_usage")
    fields.update(stream_options=options, include_usage=usage is not None and _boolean(usage, "stream_options.include_usage"))


def _cap(field: str) -> Callable[[Any, Fields, Fields, Fields], None]:
    def take(value: Any, fields: Fields, _sampling: Fields, extra: Fields) -> None:
        if value == -1:
            extra[field] = value
            return
        cap = need_count(value, field)
        if "cap_field" in fields:  # both were given: the newer name counts, the older stays as it came
            if field == "max_tokens":
                extra[field] = value
                return
            extra["max_tokens"] = fields["max_output_tokens"]
        fields.update(max_output_tokens=cap, cap_field=field)

    return take


def _tools(value: Any, fields: Fields, _sampling: Fields, extra: Fields) -> None:
    tools = parse_tools(value)
    if tools:
        fields["tools"] = tools
    else:
        extra["tools"] = value


def _tool_choice(value: Any, fields: Fields, _sampling: Fields, _extra: Fields) -> None:
    fields["tool_choice"] = parse_tool_choice(value)


def _response_format(value: Any, fields: Fields, _sampling: Fields, extra: Fields) -> None:
    found = parse_response_format(value)
    if found is None:
        extra["response_format"] = value
    else:
        fields["response_format"] = found


def _hints(value: Any, fields: Fields, _sampling: Fields, _extra: Fields) -> None:
    fields["hints"] = parse_hints(value)


_SPECIAL: dict[str, Callable[[Any, Fields, Fields, Fields], None]] = {
    "stop": _stop,
    "stream": _stream,
    "stream_options": _stream_options,
    "max_tokens": _cap("max_tokens"),
    "max_completion_tokens": _cap("max_completion_tokens"),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "response_format": _response_format,
    HINTS_FIELD: _hints,
}


def render_chat_body(request: ChatRequest, *, lost: list[str] | None = None) -> dict[str, Any]:
    """Return the JSON object of the request in this dialect.

    For a request of this dialect that is the client's own body without ``x_prefrontal``. Fields and blocks of another dialect
    that have no form here are left out and named in `lost`.
    """
    lost = [] if lost is None else lost
    native = request.dialect in DIALECTS
    body: dict[str, Any] = {
        "model": request.model,
        "messages": render_messages(request.messages, native=native, lost=lost),
    }
    if request.stream_given or request.stream:
        body["stream"] = request.stream
    if request.sampling is not NO_SAMPLING:
        render_sampling(request.sampling, body)
    if request.max_output_tokens is not None:
        field = request.cap_field
        body[field if field in CAP_FIELDS else "max_tokens"] = request.max_output_tokens
    if request.tools:
        tools = [render_tool(tool, native=native, lost=lost) for tool in request.tools]
        body["tools"] = [tool for tool in tools if tool is not None]
    if request.tool_choice is not None:
        body["tool_choice"] = render_tool_choice(request.tool_choice, native=native)
    if request.response_format is not None:
        body["response_format"] = render_response_format(request.response_format, native=native)
    for name in _SAME_NAME:
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.extra:
        if native:
            body.update(request.extra)
        else:
            lost.extend(request.extra)
    return body


_SAME_NAME = ("reasoning_effort", "thinking", "parallel_tool_calls", "stream_options", "metadata", "user")


def render_sampling(sampling: Sampling, body: dict[str, Any]) -> None:
    """Put the sampling fields that were given into `body`."""
    for name in _SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    stop = sampling.stop
    if stop is not None:
        body["stop"] = stop[0] if sampling.stop_form == "text" and len(stop) == 1 else list(stop)
