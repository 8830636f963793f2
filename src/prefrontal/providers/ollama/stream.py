"""The NDJSON stream of ``/api/chat`` → chunks: one object a line, the last one with ``done``."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Reasoning, Text, ToolCall
from prefrontal.chat.response import Chunk, ToolCallDelta
from prefrontal.errors import ProviderCut, ProviderError
from prefrontal.providers.base import Target
from prefrontal.providers.common import loads, misbehaved, upstream_error
from prefrontal.providers.ollama.messages import exact_arguments
from prefrontal.providers.ollama.response import RAW_ANSWER, blocks_of, created_of, error_of, finish_of, usage_of
from prefrontal.providers.sse import MAX_LINE_BYTES


class OllamaStream:
    """One streamed answer. Its end mark is the object with ``done: true``. Memory is bounded by one line."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._buffer = bytearray()
        self._calls = 0
        self._error: ProviderError | None = None
        self._begun = False
        self._done = False

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks of the lines `data` completes. Raises ProviderError."""
        if self._error is not None:
            raise self._error
        self._buffer += data
        cut = self._buffer.rfind(b"\n")
        out: list[Chunk] = []
        if cut >= 0:
            whole = bytes(self._buffer[:cut])
            del self._buffer[: cut + 1]
            for line in whole.split(b"\n"):
                try:
                    out += self._line(line)
                except ProviderError as error:
                    if not out:
                        raise
                    self._error = error  # what came before it in the same bytes goes first
                    return out
        if len(self._buffer) > MAX_LINE_BYTES:
            raise misbehaved(self._target, f"a line of the stream is longer than {MAX_LINE_BYTES} bytes")
        return out

    def finish(self) -> list[Chunk]:
        """Return what is left. Raises ProviderCut when the last object did not come."""
        if self._error is not None:
            raise self._error
        line = bytes(self._buffer)
        self._buffer.clear()
        cut_off = line.lstrip().startswith(b"{") and loads(line) is None
        out = [] if cut_off else self._line(line)
        if not self._done:
            raise upstream_error(ProviderCut, f"{self._target.profile.title} ended the stream inside the answer.", self._target)
        return out

    def _line(self, line: bytes) -> list[Chunk]:
        if not line.strip() or self._done:
            return []
        value = loads(line)
        if not isinstance(value, dict):
            raise misbehaved(self._target, "a line of the stream is not a JSON object")
        if "error" in value:
            raise error_of(value, None, self._target)
        message = value.get("message")
        if not isinstance(message, dict) and not value.get("done"):
            raise misbehaved(self._target, "a line of the stream has no message")
        return self._object(value, message if isinstance(message, dict) else {}, line)

    def _object(self, value: dict[str, Any], message: dict[str, Any], line: bytes) -> list[Chunk]:
        out: list[Chunk] = []
        if not self._begun:
            self._begun = True
            model, created = value.get("model"), created_of(value)
            out.append(
                Chunk(
                    role="assistant",
                    id=str(value.get("created_at") or "") or None,
                    model=model if isinstance(model, str) else None,
                    created_s=created or None,
                )
            )
        exact = exact_arguments(RAW_ANSWER.decode(line).message) if message.get("tool_calls") else []
        logprobs = value.get("logprobs")
        kept = {"content": logprobs} if isinstance(logprobs, list) else None
        for block in blocks_of(message, str(value.get("created_at")), exact, self._calls, self._target):
            if isinstance(block, Reasoning):
                out.append(Chunk(reasoning=block.text))
            elif isinstance(block, Text):
                out.append(Chunk(text=block.text, logprobs=kept))
                kept = None
            elif isinstance(block, ToolCall):
                delta = ToolCallDelta(index=self._calls, id=block.id, name=block.name, arguments=block.arguments)
                self._calls += 1
                out.append(Chunk(tool_calls=(delta,)))
        if kept is not None:
            out.append(Chunk(logprobs=kept))
        if value.get("done") is True:
            self._done = True
            raw = value.get("done_reason")
            usage = usage_of(value)
            out.append(
                Chunk(
                    finish_reason=finish_of(raw, calls=self._calls > 0),
                    raw_finish=raw if isinstance(raw, str) else None,
                    usage=usage if usage.source != "unknown" else None,
                )
            )
        return out
