"""Streamed answers for clients of this dialect: chunks → server-sent events."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.response import Chunk
from prefrontal.chat.usage import Usage
from prefrontal.errors import PrefrontalError
from prefrontal.providers.openai.response import finish_word, render_error
from prefrontal.providers.openai.usage import render_usage

DONE = b"data: [DONE]\n\n"
_ENCODE = msgspec.json.Encoder().encode


class ChatStreamRenderer:
    """Renders one ``chat.completion.chunk`` stream.

    The chunk with the last finish reason is held back until `finish`, so that ``x_prefrontal`` can travel in it when the client
    did not ask for a usage chunk: a chunk without choices would surprise clients that read ``choices[0]`` of each.
    """

    object_name = "chat.completion.chunk"

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the wire's own name
        model: str,
        created_s: int,
        include_usage: bool,
    ) -> None:
        head = _ENCODE({"id": id, "object": self.object_name, "created": created_s, "model": model})
        self._head = b"data: " + head[:-1]
        self._usage_asked = include_usage
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._open: set[int] = set()
        self._held: tuple[bytes, bytes] | None = None
        self._usage_extra: dict[str, Any] | None = None

    def render(self, chunk: Chunk) -> bytes:
        """Return the bytes of a chunk; empty for one that has only usage, which `finish` sends."""
        if chunk.parts and chunk.choice in self._open:
            return self._release() + self._several(chunk.choice, chunk.parts)
        choice = self._choice(chunk)
        extra = self._extra(chunk.extra) if chunk.extra else b""
        if choice is None and not extra:
            return b""
        event = self._head + b',"choices":[' + (choice or b"") + b"]" + extra
        if chunk.finish_reason is not None:
            out = self._release()
            self._held = (event, self._tail)
            return out
        return self._release() + event + self._tail

    def finish(self, usage: Usage, extension: dict[str, Any] | None) -> bytes:
        """Return the end of the stream: the last chunk, with `extension` as ``x_prefrontal``, and the end mark."""
        ours = b',"x_prefrontal":' + _ENCODE(extension) if extension is not None else b""
        if self._usage_asked:
            known = usage.source != "unknown"
            counts = _ENCODE(render_usage(usage, self._usage_extra)) if known else b"null"
            return self._release() + self._head + b',"choices":[],"usage":' + counts + ours + b"}\n\n" + DONE
        if self._held is not None:
            event, self._held = self._held[0], None
            return event + ours + b"}\n\n" + DONE
        return (self._head + b',"choices":[]' + ours + b"}\n\n" if ours else b"") + DONE

    def error(self, error: PrefrontalError) -> bytes:
        """Return the event that ends a broken stream; the official SDK raises APIError on it, and no end mark follows."""
        return self._release() + b"data: " + _ENCODE(render_error(error)) + b"\n\n"

    def _release(self) -> bytes:
        if self._held is None:
            return b""
        event, tail = self._held
        self._held = None
        return event + tail

    def _several(self, index: int, parts: tuple[str, ...]) -> bytes:
        """Return deltas that came together as an event each."""
        begin = self._head + b',"choices":[{"index":%d,"delta":{"content":' % index
        end = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        return begin + (end + begin).join([_ENCODE(part) for part in parts]) + end

    def _extra(self, extra: dict[str, Any]) -> bytes:
        self._usage_extra = extra.get("usage") or self._usage_extra
        left = {key: value for key, value in extra.items() if key not in ("usage", "choice", "delta")}
        return b"," + _ENCODE(left)[1:-1] if left else b""

    def _choice(self, chunk: Chunk) -> bytes | None:
        """The JSON of the chunk's one choice; None when it has no news."""
        index = chunk.choice
        first = index not in self._open
        if (
            not first
            and chunk.text
            and chunk.finish_reason is None
            and not (chunk.reasoning or chunk.tool_calls or chunk.logprobs or chunk.refusal or chunk.extra)
        ):
            return b'{"index":%d,"delta":{"content":%b},"logprobs":null,"finish_reason":null}' % (index, _ENCODE(chunk.text))
        delta = self._delta(chunk)
        more = (chunk.extra or _EMPTY).get("choice") or _EMPTY
        if not (delta or more or chunk.role or chunk.logprobs or chunk.finish_reason is not None):
            return None
        if first:
            self._open.add(index)
            delta = (
                {"role": "assistant", "content": "", **delta}
                if "tool_calls" not in delta
                else {"role": "assistant", "content": None, **delta}
            )
        finish = finish_word(chunk.finish_reason, chunk.raw_finish)
        return _ENCODE({**more, "index": index, "delta": delta, "logprobs": chunk.logprobs, "finish_reason": finish})

    @staticmethod
    def _delta(chunk: Chunk) -> dict[str, Any]:
        delta: dict[str, Any] = dict((chunk.extra or _EMPTY).get("delta") or _EMPTY)
        if chunk.reasoning:
            delta["reasoning_content"] = delta["reasoning"] = chunk.reasoning
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.refusal:
            delta["refusal"] = chunk.refusal
        if chunk.tool_calls:
            delta["tool_calls"] = [_call(call) for call in chunk.tool_calls]
        return delta


_EMPTY: dict[str, Any] = {}


def _call(call: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"index": call.index}
    inner: dict[str, Any] = {}
    if call.id is not None:
        out["id"] = call.id
        out["type"] = call.kind
    if call.name is not None:
        inner["name"] = call.name
    inner["input" if call.kind == "custom" else "arguments"] = call.arguments
    out[call.kind] = inner
    if call.signature is not None:
        out["extra_content"] = {"google": {"thought_signature": call.signature}}
    return out


class CompletionStreamRenderer(ChatStreamRenderer):
    """Renders one ``text_completion`` stream; thinking and tool calls have no place in it."""

    object_name = "text_completion"

    def _choice(self, chunk: Chunk) -> bytes | None:
        if not chunk.text and chunk.finish_reason is None:
            return None
        finish = finish_word(chunk.finish_reason, chunk.raw_finish)
        return _ENCODE({"text": chunk.text, "index": chunk.choice, "logprobs": chunk.logprobs, "finish_reason": finish})
