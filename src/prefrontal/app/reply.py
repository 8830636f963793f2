"""What the library gives its callers: an answer with its record, and the pieces of a stream."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.blocks import ToolCall
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.chat.usage import Usage
from prefrontal.contracts.record import RequestRecord


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `response` is the whole of it, `record` how it came about."""

    response: ChatResponse
    record: RequestRecord

    @property
    def text(self) -> str:
        """The visible text of the first choice."""
        return self.response.text

    @property
    def thinking(self) -> str:
        """The visible thinking of the first choice."""
        return self.response.choices[0].reasoning if self.response.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the first choice."""
        blocks = self.response.choices[0].blocks if self.response.choices else ()
        return tuple([b for b in blocks if isinstance(b, ToolCall)])

    @property
    def model(self) -> str | None:
        """The model that answered, or ``reflex/NAME``."""
        return self.record.model

    @property
    def usage(self) -> Usage:
        """Tokens of all attempts."""
        return self.record.usage

    @property
    def cost_usd(self) -> float | None:
        """Cost of all attempts; None when a price is unknown."""
        return self.record.cost_usd


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a stream: `thinking` and `content` carry `text`; `tool` carries a delta of a call; `end` carries the record."""

    kind: Literal["thinking", "content", "tool", "end"]
    text: str = ""
    tool: dict[str, Any] | None = None
    record: RequestRecord | None = None


def pieces_of(chunk: Chunk) -> list[Piece]:
    """Return what of a chunk (of the first choice) a reader wants to see."""
    found: list[Piece] = []
    if chunk.choice:
        return found
    if chunk.reasoning:
        found.append(Piece(kind="thinking", text=chunk.reasoning))
    if chunk.text or chunk.refusal:
        found.append(Piece(kind="content", text=chunk.text or chunk.refusal))
    found.extend(
        Piece(kind="tool", tool={"index": d.index, "id": d.id, "name": d.name, "arguments": d.arguments})
        for d in chunk.tool_calls
    )
    return found
