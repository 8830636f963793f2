"""The generateContent event stream → chunks: each event is a whole answer that holds only what is new."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Block, Opaque, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import Chunk, ToolCallDelta
from prefrontal.errors import ProviderError
from prefrontal.providers.base import Target
from prefrontal.providers.common import misbehaved
from prefrontal.providers.events import JSONEvents
from prefrontal.providers.gemini.errors import error_of
from prefrontal.providers.gemini.parts import DIALECT
from prefrontal.providers.gemini.response import block_of, blocks_of, finish_of, usage_of

_ANSWER_FIELDS = ("candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId")


class GeminiStream(JSONEvents):
    """One streamed answer: complete when each candidate that spoke gave its finish reason, or the prompt was blocked."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._calls: dict[int, int] = {}
        self._open: set[int] = set()
        self._ended = False
        self._begun = False

    @property
    def complete(self) -> bool:
        """Whether every candidate has ended. Usage may still follow."""
        return self._ended and not self._open

    def error(self, value: dict[str, Any]) -> ProviderError:
        """Return the error of an error object in the stream."""
        return error_of(value, None, self.target)

    def take(self, value: dict[str, Any]) -> list[Chunk]:
        """Return the chunks of one event."""
        if "error" in value:
            raise self.error(value)
        if not any(key in value for key in _ANSWER_FIELDS):
            raise misbehaved(self.target, "an event of the stream is not an answer")
        out: list[Chunk] = []
        if not self._begun:
            self._begun = True
            out.append(Chunk(role="assistant", id=_word(value, "responseId"), model=_word(value, "modelVersion")))
        candidates = value.get("candidates")
        for i, candidate in enumerate(candidates if isinstance(candidates, list) else ()):
            if not isinstance(candidate, dict):
                raise misbehaved(self.target, "a candidate is not an object")
            out += self._candidate(candidate, i, str(value.get("responseId") or ""))
        blocked = block_of(value)
        if blocked is not None:
            self._ended = True
            text = "".join([block.text for block in blocked[1] if isinstance(block, Refusal)])
            out.append(Chunk(refusal=text, finish_reason="content_filter", raw_finish=blocked[0]))
        if isinstance(value.get("usageMetadata"), dict):
            out.append(Chunk(usage=usage_of(value["usageMetadata"])))
        return out

    def _candidate(self, candidate: dict[str, Any], place: int, seed: str) -> list[Chunk]:
        found = candidate.get("index")
        index = found if isinstance(found, int) else place
        self._open.add(index)
        seen = self._calls.get(index, 0)
        out: list[Chunk] = []
        for block in blocks_of(candidate, f"{seed}/{index}/{seen}", None, self.target):
            out += self._block(block, index)
        raw = candidate.get("finishReason")
        if isinstance(raw, str):
            self._ended = True
            self._open.discard(index)
            finish = finish_of(raw, calls=self._calls.get(index, 0) > 0)
            logprobs = candidate.get("logprobsResult")
            kept = {"gemini": logprobs} if isinstance(logprobs, dict) else None
            out.append(Chunk(choice=index, finish_reason=finish, raw_finish=raw, logprobs=kept))
        return out

    def _block(self, block: Block, index: int) -> list[Chunk]:
        match block:
            case Text():
                out = [Chunk(choice=index, text=block.text)] if block.text else []
                signature = (block.extra or {}).get("thoughtSignature")
                return [*out, Chunk(choice=index, signature=signature, provider=DIALECT)] if isinstance(signature, str) else out
            case Reasoning():
                out = [Chunk(choice=index, reasoning=block.text)] if block.text else []
                return [*out, Chunk(choice=index, signature=block.signature, provider=DIALECT)] if block.signature else out
            case ToolCall():
                number = self._calls.get(index, 0)
                self._calls[index] = number + 1
                delta = ToolCallDelta(
                    index=number,
                    id=block.id,
                    name=block.name,
                    arguments=block.arguments or "{}",
                    signature=block.signature,
                )
                return [Chunk(choice=index, tool_calls=(delta,))]
            case Opaque():
                return [Chunk(choice=index, extra={DIALECT: block.value})]
            case _:
                return []


def _word(value: dict[str, Any], key: str) -> str | None:
    found = value.get(key)
    return found if isinstance(found, str) else None
