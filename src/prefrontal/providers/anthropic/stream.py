"""The Messages event stream → chunks."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.response import Chunk, ToolCallDelta
from prefrontal.errors import ProviderError
from prefrontal.providers.anthropic.blocks import DIALECT
from prefrontal.providers.anthropic.response import error_of, finish_of, refusal_of, usage_of
from prefrontal.providers.base import Target
from prefrontal.providers.common import encode, misbehaved
from prefrontal.providers.events import JSONEvents


class _Open:
    """One content block being streamed."""

    __slots__ = ("call", "got", "input", "kind", "signature")

    def __init__(self, block: dict[str, Any], call: int) -> None:
        self.kind = str(block.get("type"))
        self.call = call
        self.signature = (_word(block, "signature") or "") if self.kind == "thinking" else ""
        self.input = block.get("input")
        self.got = False


class AnthropicStream(JSONEvents):
    """One streamed message. Its end mark is ``message_stop``; usage is cumulative, the last one wins."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._usage: dict[str, Any] | None = None

    def error(self, value: dict[str, Any]) -> ProviderError:
        """Return the error of an ``error`` event."""
        return error_of(value, None, self.target)

    def take(self, value: dict[str, Any]) -> list[Chunk]:
        """Return the chunks of one event; kinds of events nobody knows yet pass without a chunk."""
        match value.get("type"):
            case "content_block_delta":
                return self._delta(value)
            case "content_block_start":
                return self._start(value)
            case "content_block_stop":
                return self._stop(value)
            case "message_start":
                message = self._object(value, "message")
                found = self._merge(message.get("usage"))
                return [Chunk(role="assistant", id=_word(message, "id"), model=_word(message, "model"), usage=found)]
            case "message_delta":
                return self._message_delta(value)
            case "message_stop":
                self.done = True
                return []
            case "error":
                raise self.error(value)
            case str():
                return []
            case _:
                raise misbehaved(self.target, "an event of the stream has no type")

    def _object(self, value: dict[str, Any], name: str) -> dict[str, Any]:
        found = value.get(name)
        if not isinstance(found, dict):
            raise misbehaved(self.target, f"the event {value.get('type')} has no {name}")
        return found

    def _merge(self, usage: Any) -> Any:
        if isinstance(usage, dict):
            self._usage = {**(self._usage or {}), **{key: value for key, value in usage.items() if value is not None}}
        return None if self._usage is None else usage_of(self._usage)

    def _start(self, value: dict[str, Any]) -> list[Chunk]:
        block = self._object(value, "content_block")
        opened = _Open(block, self._calls)
        self._open[_index(value)] = opened
        match opened.kind:
            case "text":
                text = _word(block, "text")
                return [Chunk(text=text)] if text else []
            case "thinking":
                text = _word(block, "thinking")
                return [Chunk(reasoning=text)] if text else []
            case "redacted_thinking":
                return [Chunk(redacted=_word(block, "data") or "", provider=DIALECT)]
            case "tool_use":
                self._calls += 1
                delta = ToolCallDelta(index=opened.call, id=_word(block, "id"), name=_word(block, "name"))
                return [Chunk(tool_calls=(delta,))]
            case _:
                return [Chunk(extra={DIALECT: value})]

    def _delta(self, value: dict[str, Any]) -> list[Chunk]:
        delta = self._object(value, "delta")
        opened = self._open.get(_index(value))
        match delta.get("type"):
            case "text_delta":
                return [Chunk(text=_word(delta, "text") or "")]
            case "thinking_delta":
                return [Chunk(reasoning=_word(delta, "thinking") or "")]
            case "signature_delta" if opened is not None:
                opened.signature += _word(delta, "signature") or ""
                return []
            case "input_json_delta" if opened is not None and opened.kind == "tool_use":
                text = _word(delta, "partial_json") or ""
                if not text:
                    return []
                opened.got = True
                return [Chunk(tool_calls=(ToolCallDelta(index=opened.call, arguments=text),))]
            case _:
                return [Chunk(extra={DIALECT: value})]

    def _stop(self, value: dict[str, Any]) -> list[Chunk]:
        opened = self._open.pop(_index(value), None)
        if opened is None:
            return []
        if opened.signature:
            return [Chunk(signature=opened.signature, provider=DIALECT)]
        if opened.kind == "tool_use" and not opened.got:
            text = encode(opened.input if isinstance(opened.input, dict) else {}).decode()
            return [Chunk(tool_calls=(ToolCallDelta(index=opened.call, arguments=text),))]
        return []

    def _message_delta(self, value: dict[str, Any]) -> list[Chunk]:
        delta = self._object(value, "delta")
        raw = delta.get("stop_reason")
        usage = self._merge(value.get("usage"))
        if not isinstance(raw, str):
            return [Chunk(usage=usage)] if usage is not None else []
        refusal = refusal_of(delta.get("stop_details"))
        own = {key: found for key, found in delta.items() if key != "stop_reason" and found is not None}
        last = Chunk(
            refusal="".join([block.text for block in refusal]),  # type: ignore[union-attr]  # refusal_of makes Refusal only
            finish_reason=finish_of(raw, calls=self._calls > 0),
            raw_finish=raw,
            usage=usage,
            extra={DIALECT: {"type": "message_delta", "delta": own}} if own else None,
        )
        return [last]


def _index(value: dict[str, Any]) -> int:
    found = value.get("index")
    return found if isinstance(found, int) else 0


def _word(value: dict[str, Any], key: str) -> str | None:
    found = value.get(key)
    return found if isinstance(found, str) else None
