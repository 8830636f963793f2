"""Anthropic Messages, Gemini and Ollama, as the mock upstream speaks them."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.testing.answers import Asked, Spoken, arguments_json, text_of
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.mock_wire import Event, Wire

_encode = msgspec.json.encode


def _object(request: Recorded) -> dict[str, Any]:
    return request.json if isinstance(request.json, dict) else {}


def _arguments(call_arguments: Any) -> Any:
    return call_arguments if not isinstance(call_arguments, str) else {"raw": call_arguments}


def _from_messages(body: dict[str, Any], *, stream: bool, model: str) -> Asked:
    messages = [m for m in body.get("messages") or [] if isinstance(m, dict)]
    users = [text_of(m.get("content")) for m in messages if m.get("role") == "user"]
    count = sum(len(text_of(m.get("content")).split()) for m in messages) + len(text_of(body.get("system")).split())
    return Asked(model=model, text=users[-1] if users else "", stream=stream, prompt_words=count)


class AnthropicWire(Wire):
    """`POST /v1/messages`. Reasoning comes as a thinking block with a signature."""

    content_type = "text/event-stream"
    _FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

    def read(self, request: Recorded) -> Asked:
        """Return what is asked."""
        body = _object(request)
        return _from_messages(body, stream=bool(body.get("stream")), model=str(body.get("model", "")))

    def body(self, spoken: Spoken) -> bytes:
        """Return the unstreamed message."""
        blocks: list[dict[str, Any]] = []
        if spoken.thinking:
            blocks.append({"type": "thinking", "thinking": spoken.thinking, "signature": "mock-signature"})
        if spoken.text:
            blocks.append({"type": "text", "text": spoken.text})
        calls = spoken.tool_calls
        blocks += [{"type": "tool_use", "id": c.id, "name": c.name, "input": _arguments(c.arguments)} for c in calls]
        message = self._message(spoken) | {"content": blocks, "stop_reason": self._finish(spoken)}
        if spoken.usage:
            message["usage"] = self._usage(spoken)
        return _encode(message)

    def events(self, spoken: Spoken) -> list[Event]:
        """Return message_start, the blocks one after another, message_delta and message_stop."""
        start = self._message(spoken) | {"content": [], "stop_reason": None}
        if spoken.usage:
            start["usage"] = self._usage(spoken) | {"output_tokens": 1}
        events = [self._sse("message_start", {"message": start}), self._sse("ping", {})]
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in spoken.reasoning]
        if deltas:
            deltas.append({"type": "signature_delta", "signature": "mock-signature"})
            events += self._block(0, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
        index = 1 if deltas else 0
        if spoken.pieces:
            texts = [{"type": "text_delta", "text": piece} for piece in spoken.pieces]
            events += self._block(index, {"type": "text", "text": ""}, texts)
            index += 1
        for call in spoken.tool_calls:
            text = arguments_json(call)
            halves = (text[: len(text) // 2], text[len(text) // 2 :])
            parts = [{"type": "input_json_delta", "partial_json": half} for half in halves]
            opening = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            events += self._block(index, opening, parts)
            index += 1
        last: dict[str, Any] = {"delta": {"stop_reason": self._finish(spoken), "stop_sequence": None}}
        if spoken.usage:
            last["usage"] = {"output_tokens": spoken.output_tokens}
        return [*events, self._sse("message_delta", last), self._sse("message_stop", {})]

    def error(self, status: int, message: str) -> bytes:
        """Return Anthropic's error envelope."""
        kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
        kinds |= {429: "rate_limit_error", 529: "overloaded_error"}
        error = {"type": kinds.get(status, "api_error"), "message": message}
        return _encode({"type": "error", "error": error, "request_id": "req_mock"})

    def error_event(self, message: str) -> bytes:
        """Return an `error` event."""
        return self._sse("error", {"error": {"type": "overloaded_error", "message": message}}).data

    def wrong_event(self) -> bytes:
        """Return an event of a foreign shape."""
        return b'event: surprise\ndata: {"unexpected": true}\n\n'

    def _finish(self, spoken: Spoken) -> str:
        return self._FINISH.get(spoken.finish, "end_turn")

    @staticmethod
    def _message(spoken: Spoken) -> dict[str, Any]:
        base = {"id": "msg_mock", "type": "message", "role": "assistant"}
        return {**base, "model": spoken.model, "stop_sequence": None}

    @staticmethod
    def _usage(spoken: Spoken) -> dict[str, Any]:
        return {
            "input_tokens": max(0, spoken.input_tokens - spoken.cached_tokens),
            "cache_read_input_tokens": spoken.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": spoken.output_tokens,
        }

    @staticmethod
    def _sse(kind: str, fields: dict[str, Any], *, token: bool = False) -> Event:
        data = _encode({"type": kind, **fields})
        return Event(data=b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", token=token)

    def _block(self, index: int, opening: dict[str, Any], deltas: list[dict[str, Any]]) -> list[Event]:
        start = self._sse("content_block_start", {"index": index, "content_block": opening})
        inner = [self._sse("content_block_delta", {"index": index, "delta": delta}, token=True) for delta in deltas]
        return [start, *inner, self._sse("content_block_stop", {"index": index})]


class GeminiWire(Wire):
    """`POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent?alt=sse`."""

    content_type = "text/event-stream"
    _FINISH = {"length": "MAX_TOKENS", "content_filter": "SAFETY"}

    def read(self, request: Recorded) -> Asked:
        """Return what is asked; model and streaming are in the path."""
        model, _, action = request.path.rpartition("/")[2].partition(":")
        contents = [c for c in _object(request).get("contents") or [] if isinstance(c, dict)]
        texts = [(c.get("role", "user"), text_of(c.get("parts"))) for c in contents]
        users = [text for role, text in texts if role == "user"]
        return Asked(
            model=model,
            text=users[-1] if users else "",
            stream=action.startswith("stream"),
            prompt_words=sum(len(text.split()) for _, text in texts),
        )

    def body(self, spoken: Spoken) -> bytes:
        """Return the unstreamed answer."""
        parts: list[dict[str, Any]] = []
        if spoken.thinking:
            parts.append({"text": spoken.thinking, "thought": True})
        if spoken.text:
            parts.append({"text": spoken.text})
        parts += self._calls(spoken)
        return _encode(self._answer(spoken, parts, last=True))

    def events(self, spoken: Spoken) -> list[Event]:
        """Return one event a part; the last carries the finish reason."""
        parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in spoken.reasoning]
        parts += [{"text": piece} for piece in spoken.pieces]
        parts += self._calls(spoken)
        events = [self._sse(self._answer(spoken, [part], last=False), token=True) for part in parts]
        return [*events, self._sse(self._answer(spoken, [], last=True))]

    def error(self, status: int, message: str) -> bytes:
        """Return Google's error envelope."""
        names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
        names |= {503: "UNAVAILABLE"}
        return _encode({"error": {"code": status, "message": message, "status": names.get(status, "INTERNAL")}})

    def error_event(self, message: str) -> bytes:
        """Return an error object as an event."""
        return b"data: " + self.error(500, message) + b"\n\n"

    def wrong_event(self) -> bytes:
        """Return an event of a foreign shape."""
        return b'data: {"unexpected": true}\n\n'

    @staticmethod
    def _calls(spoken: Spoken) -> list[dict[str, Any]]:
        return [{"functionCall": {"name": c.name, "args": _arguments(c.arguments)}} for c in spoken.tool_calls]

    def _answer(self, spoken: Spoken, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if last:
            candidate["finishReason"] = self._FINISH.get(spoken.finish, "STOP")
        answer: dict[str, Any] = {"candidates": [candidate], "modelVersion": spoken.model}
        if spoken.usage:
            answer["usageMetadata"] = {
                "promptTokenCount": spoken.input_tokens,
                "candidatesTokenCount": max(0, spoken.output_tokens - spoken.reasoning_tokens),
                "thoughtsTokenCount": spoken.reasoning_tokens,
                "cachedContentTokenCount": spoken.cached_tokens,
                "totalTokenCount": spoken.input_tokens + spoken.output_tokens,
            }
        return answer

    @staticmethod
    def _sse(answer: dict[str, Any], *, token: bool = False) -> Event:
        return Event(data=b"data: " + _encode(answer) + b"\r\n\r\n", token=token)


class OllamaWire(Wire):
    """`POST /api/chat`: one JSON object a line, streaming unless told otherwise."""

    content_type = "application/x-ndjson"
    _STAMP = "2026-01-01T00:00:00Z"

    def read(self, request: Recorded) -> Asked:
        """Return what is asked."""
        body = _object(request)
        return _from_messages(body, stream=body.get("stream") is not False, model=str(body.get("model", "")))

    def body(self, spoken: Spoken) -> bytes:
        """Return the unstreamed answer."""
        message: dict[str, Any] = {"role": "assistant", "content": spoken.text}
        if spoken.thinking:
            message["thinking"] = spoken.thinking
        if spoken.tool_calls:
            message["tool_calls"] = self._calls(spoken)
        return _encode(self._frame(spoken, message) | self._end(spoken))

    def events(self, spoken: Spoken) -> list[Event]:
        """Return a line a piece, the last with `done`."""
        messages: list[dict[str, Any]] = [{"content": "", "thinking": piece} for piece in spoken.reasoning]
        messages += [{"content": piece} for piece in spoken.pieces]
        if spoken.tool_calls:
            messages.append({"content": "", "tool_calls": self._calls(spoken)})
        lines = [self._line(self._frame(spoken, {"role": "assistant", **m}) | {"done": False}, True) for m in messages]
        last = self._frame(spoken, {"role": "assistant", "content": ""}) | self._end(spoken)
        return [*lines, self._line(last, False)]

    def error(self, status: int, message: str) -> bytes:
        """Return Ollama's error object."""
        return _encode({"error": message})

    def error_event(self, message: str) -> bytes:
        """Return an error as a line."""
        return self.error(500, message) + b"\n"

    def wrong_event(self) -> bytes:
        """Return a line of a foreign shape."""
        return b'{"unexpected": true}\n'

    @staticmethod
    def _calls(spoken: Spoken) -> list[dict[str, Any]]:
        return [{"function": {"name": c.name, "arguments": _arguments(c.arguments)}} for c in spoken.tool_calls]

    def _frame(self, spoken: Spoken, message: dict[str, Any]) -> dict[str, Any]:
        return {"model": spoken.model, "created_at": self._STAMP, "message": message}

    @staticmethod
    def _end(spoken: Spoken) -> dict[str, Any]:
        end: dict[str, Any] = {"done": True, "done_reason": "length" if spoken.finish == "length" else "stop"}
        if spoken.usage:
            end |= {"prompt_eval_count": spoken.input_tokens, "eval_count": spoken.output_tokens}
            end |= {"total_duration": 1_000_000, "prompt_eval_duration": 400_000, "eval_duration": 600_000}
        return end

    @staticmethod
    def _line(line: dict[str, Any], token: bool) -> Event:
        return Event(data=_encode(line) + b"\n", token=token)
