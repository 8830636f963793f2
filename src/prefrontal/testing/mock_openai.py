"""OpenAI chat completions, as the mock upstream speaks them."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.testing.answers import Asked, ScriptedCall, Spoken, arguments_json, text_of, words
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.mock_wire import Event, Wire

_CREATED = 1_700_000_000


class OpenAIWire(Wire):
    """`POST /v1/chat/completions`. `reasoning_field` is where the trace goes: a field's name, or "tags" for `<think>`."""

    content_type = "text/event-stream"

    def __init__(self, reasoning_field: str = "reasoning_content") -> None:
        self._field = reasoning_field

    def read(self, request: Recorded) -> Asked:
        """Return what is asked."""
        body = request.json if isinstance(request.json, dict) else {}
        messages = [m for m in body.get("messages") or [] if isinstance(m, dict)]
        users = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
        options = body.get("stream_options") or {}
        return Asked(
            model=str(body.get("model", "")),
            text=users[-1] if users else "",
            stream=bool(body.get("stream")),
            prompt_words=sum(len(text_of(m.get("content")).split()) for m in messages),
            include_usage=bool(options.get("include_usage")),
            choices=int(body.get("n") or 1),
        )

    def body(self, spoken: Spoken) -> bytes:
        """Return the unstreamed answer."""
        text = spoken.text
        message: dict[str, Any] = {"role": "assistant"}
        if spoken.thinking and self._field == "tags":
            text = f"<think>{spoken.thinking}</think>{text}"
        elif spoken.thinking:
            message[self._field] = spoken.thinking
        message["content"] = text or None
        if spoken.tool_calls:
            message["tool_calls"] = [_call(call) for call in spoken.tool_calls]
        choices = [{"index": i, "message": message, "finish_reason": spoken.finish} for i in range(spoken.choices)]
        answer: dict[str, Any] = _frame(spoken, "chat.completion") | {"choices": choices}
        if spoken.usage:
            answer["usage"] = _usage(spoken)
        return msgspec.json.encode(answer)

    def events(self, spoken: Spoken) -> list[Event]:
        """Return the stream."""
        events: list[Event] = []
        for index in range(spoken.choices):
            events.append(_chunk(spoken, {"role": "assistant", "content": ""}, index=index))
            events += [_chunk(spoken, delta, index=index, token=True) for delta in self._deltas(spoken)]
        last = spoken.choices - 1
        usage = _usage(spoken) if spoken.usage and spoken.include_usage else None
        for index in range(spoken.choices):
            shared = usage if spoken.usage_with_choices and index == last else None
            events.append(_chunk(spoken, {}, index=index, finish=spoken.finish, usage=shared))
        if usage is not None and not spoken.usage_with_choices:
            events.append(_sse(_frame(spoken, "chat.completion.chunk") | {"choices": [], "usage": usage}))
        events.append(Event(data=b"data: [DONE]\n\n"))
        return events

    def error(self, status: int, message: str) -> bytes:
        """Return OpenAI's error envelope."""
        kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}.get(status, "server_error")
        return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})

    def error_event(self, message: str) -> bytes:
        """Return the event most engines send when they fail after the head."""
        return b"data: " + self.error(500, message) + b"\n\n"

    def wrong_event(self) -> bytes:
        """Return an event of a foreign shape."""
        return b'data: {"unexpected": true}\n\ndata: [DONE]\n\n'

    def _deltas(self, spoken: Spoken) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        if spoken.reasoning and self._field == "tags":
            deltas += [{"content": piece} for piece in words(f"<think>{spoken.thinking}</think>")]
        else:
            deltas += [{self._field: piece} for piece in spoken.reasoning]
        deltas += [{"content": piece} for piece in spoken.pieces]
        for index, call in enumerate(spoken.tool_calls):
            text = arguments_json(call)
            head = {"index": index} | _call(call) | {"function": {"name": call.name, "arguments": ""}}
            deltas.append({"tool_calls": [head]})
            for part in (text[: len(text) // 2], text[len(text) // 2 :]):
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
        return deltas


def _call(call: ScriptedCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments_json(call)}}


def _frame(spoken: Spoken, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-mock", "object": kind, "created": _CREATED, "model": spoken.model}


def _chunk(
    spoken: Spoken,
    delta: dict[str, Any],
    *,
    index: int,
    token: bool = False,
    finish: str | None = None,
    usage: dict[str, Any] | None = None,
) -> Event:
    chunk = _frame(spoken, "chat.completion.chunk")
    chunk["choices"] = [{"index": index, "delta": delta, "finish_reason": finish}]
    if usage is not None:
        chunk["usage"] = usage
    return _sse(chunk, token=token)


def _sse(chunk: dict[str, Any], *, token: bool = False) -> Event:
    return Event(data=b"data: " + msgspec.json.encode(chunk) + b"\n\n", token=token)


def _usage(spoken: Spoken) -> dict[str, Any]:
    return {
        "prompt_tokens": spoken.input_tokens,
        "completion_tokens": spoken.output_tokens,
        "total_tokens": spoken.input_tokens + spoken.output_tokens,
        "prompt_tokens_details": {"cached_tokens": spoken.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": spoken.reasoning_tokens},
    }
