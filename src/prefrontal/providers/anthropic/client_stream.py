"""Streamed answers for clients of the Messages dialect: chunks → server-sent events."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.response import Chunk, FinishReason, ToolCallDelta
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import PrefrontalError
from prefrontal.providers.anthropic.blocks import DIALECT
from prefrontal.providers.anthropic.client_response import NO_FIELD, render_messages_error, stop_reason
from prefrontal.providers.anthropic.response import usage_object
from prefrontal.providers.anthropic.seals import seal
from prefrontal.providers.common import Report

_ENCODE = msgspec.json.Encoder().encode
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_TEXT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%b}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def _event(kind: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _ENCODE({"type": kind, **fields}))


class MessageStreamRenderer:
    """Renders one stream of a Message. One block is open at a time; a block closes when another kind of piece follows.

    Thinking without this wire's signature gets one that says whose it is (`seals`). Pieces of a tool call whose block has
    closed, which only an engine that interleaves its calls sends, still go to that block.
    """

    def __init__(
        self,
        *,
        id: str,  # noqa: A002 - the wire's own name
        model: str,
        created_s: int = 0,
        include_usage: bool = True,
    ) -> None:
        self._id = id
        self._model = model
        self._begun = False
        self._next = 0
        self._open = ""
        self._at = 0
        self._calls: dict[int, int] = {}
        self._finish: FinishReason | None = None
        self._raw: str | None = None
        self._refused = False
        self._last: dict[str, Any] = {}
        self._passed: dict[str, Any] = {}
        self._report = Report()

    def lost(self) -> tuple[Dropped, ...]:
        """Return what of the answer so far the dialect could not carry."""
        return self._report.dropped

    def render(self, chunk: Chunk) -> bytes:
        """Return the events of a chunk. Usage is kept for the end, but for the count of the input that may come first."""
        if self._begun and chunk.text and self._open == "text" and not _more_than_text(chunk):
            return self._text(chunk.text)
        out = [] if self._begun else [self._begin(chunk.usage or UNKNOWN_USAGE)]
        if chunk.choice != 0:
            self._report.drop("answer.choices", "a Message is one answer: the first was given")
            return b"".join(out)
        if chunk.extra:
            out.append(self._extras(chunk.extra))
        if chunk.reasoning:
            out.append(self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""}))
            out.append(self._delta(self._at, {"type": "thinking_delta", "thinking": chunk.reasoning}))
        if chunk.signature:
            out.append(self._signature(chunk.signature, chunk.provider))
        if chunk.redacted:
            data = chunk.redacted if chunk.provider == DIALECT else seal(chunk.provider, chunk.redacted)
            out += [self._start("redacted", {"type": "redacted_thinking", "data": data}), self._close()]
        if chunk.text:
            out += [self._ensure("text", {"type": "text", "text": ""}), self._text(chunk.text)]
        if chunk.refusal and "stop_details" not in self._last:
            self._refused = True
            self._report.drop("answer.refusal", "a Message has no refusal block: given as text", "translated")
            out += [self._ensure("refusal", {"type": "text", "text": ""}), self._text(chunk.refusal)]
        out += [self._call(call) for call in chunk.tool_calls]
        if chunk.logprobs:
            self._report.drop("answer.logprobs", NO_FIELD)
        if chunk.finish_reason is not None:
            self._finish, self._raw = chunk.finish_reason, chunk.raw_finish
        return b"".join(out)

    def finish(self, usage: Usage, extension: dict[str, Any] | None) -> bytes:
        """Return the end of the stream: ``message_delta`` with stop reason, usage and `extension`, and ``message_stop``."""
        begin = b"" if self._begun else self._begin(usage)
        finish = self._finish or ("tool_calls" if self._calls else None)
        stop = stop_reason(finish, self._raw, refused=self._refused)
        counts = {**self._passed.pop("usage", {}), **usage_object(usage)}
        fields = {**self._passed, "delta": {"stop_reason": stop, "stop_sequence": None, **self._last}, "usage": counts}
        if extension is not None:
            fields["x_prefrontal"] = extension
        return begin + self._close() + _event("message_delta", fields) + STOP

    def error(self, error: PrefrontalError) -> bytes:
        """Return the event that ends a broken stream; the official SDK raises on it."""
        return _event("error", render_messages_error(error))

    def _begin(self, usage: Usage) -> bytes:
        self._begun = True
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(usage),
        }
        return _event("message_start", {"message": message}) + PING

    def _ensure(self, kind: str, block: dict[str, Any]) -> bytes:
        return b"" if self._open == kind else self._start(kind, block)

    def _start(self, kind: str, block: dict[str, Any]) -> bytes:
        closed = self._close()
        self._open, self._at = kind, self._next
        self._next += 1
        return closed + _event("content_block_start", {"index": self._at, "content_block": block})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        unsigned = self._open == "thinking"
        self._open = ""
        end = _event("content_block_stop", {"index": self._at})
        if not unsigned:
            return end
        return self._delta(self._at, {"type": "signature_delta", "signature": seal(None, None)}) + end

    def _signature(self, signature: str, provider: str | None) -> bytes:
        shown = signature if provider == DIALECT else seal(provider, signature)
        begin = self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._open = "signed"
        return begin + self._delta(self._at, {"type": "signature_delta", "signature": shown}) + self._close()

    @staticmethod
    def _delta(index: int, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": index, "delta": delta})

    def _text(self, text: str) -> bytes:
        return _TEXT % (self._at, _ENCODE(text))

    def _call(self, call: ToolCallDelta) -> bytes:
        begin = b""
        if call.index not in self._calls:
            block = {"type": "tool_use", "id": call.id or f"toolu_{self._id}_{call.index}", "name": call.name or "", "input": {}}
            begin = self._start("call", block)
            self._calls[call.index] = self._at
        if not call.arguments:
            return begin
        return begin + self._delta(self._calls[call.index], {"type": "input_json_delta", "partial_json": call.arguments})

    def _extras(self, extra: dict[str, Any]) -> bytes:
        """Pass on this wire's own events under our numbering; keep other wires' fields for the end, note pieces as lost."""
        for key, value in extra.items():
            if key in ("delta", "choice"):
                for name in value:
                    self._report.drop(f"answer.{name}", NO_FIELD)
            elif key == "usage" or not isinstance(value, dict | list):
                self._passed[key] = value
            elif key != DIALECT:
                self._report.drop(f"answer.content.{key}", "a block that only its own dialect understands")
        event = extra.get(DIALECT)
        if not isinstance(event, dict):
            return b""
        if event.get("type") == "content_block_start":
            return self._start("own", event["content_block"])
        if event.get("type") == "content_block_delta":
            return self._delta(self._at, event["delta"])
        if event.get("type") == "message_delta":
            self._last.update(event["delta"])
        return b""


def _more_than_text(chunk: Chunk) -> bool:
    return bool(
        chunk.choice
        or chunk.reasoning
        or chunk.signature
        or chunk.redacted
        or chunk.refusal
        or chunk.tool_calls
        or chunk.finish_reason
        or chunk.logprobs
        or chunk.extra
    )
