"""What a model answered: whole (`ChatResponse`) or in pieces (`Chunk`)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.blocks import Block, Reasoning, Refusal, Text
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `raw_finish` is the wire's own word; `logprobs` is passed through verbatim."""

    index: int = 0
    blocks: tuple[Block, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish: str | None = None
    logprobs: dict[str, Any] | None = None
    form: Literal["text", "parts", "none"] = "text"
    extra: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The visible text."""
        return "".join([b.text for b in self.blocks if isinstance(b, Text)])

    @property
    def reasoning(self) -> str:
        """The visible thinking."""
        return "".join([b.text for b in self.blocks if isinstance(b, Reasoning)])

    @property
    def refusal(self) -> str | None:
        """The refusal, if there is one."""
        found = [b.text for b in self.blocks if isinstance(b, Refusal)]
        return "".join(found) if found else None


class ChatResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer. `created_s` is Unix time as the upstream gave it (0 when it gave none)."""

    id: str = ""
    model: str = ""
    created_s: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage = UNKNOWN_USAGE
    extra: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The visible text of the first choice."""
        return self.choices[0].text if self.choices else ""


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a tool call: the first carries `id` and `name`, later ones only more `arguments`. `kind`: as of a `ToolCall`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None
    kind: str = "function"


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a streamed answer. Exactly the fields that are set have news.

    `text`, `reasoning` and `refusal` are deltas. `parts`: several deltas of nothing but text that came at once, for renderers
    that pass them on one by one; `text` is them joined, so everybody else may overlook them. `signature` / `redacted` complete
    the reasoning block being streamed, and `provider` is who must get them back.
    `usage` is cumulative: the last one wins. `logprobs` and `extra` are passed through verbatim. `error` never appears
    here: a broken stream raises.
    """

    choice: int = 0
    role: str | None = None
    text: str = ""
    parts: tuple[str, ...] = ()
    reasoning: str = ""
    refusal: str = ""
    signature: str | None = None
    redacted: str | None = None
    provider: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()
    finish_reason: FinishReason | None = None
    raw_finish: str | None = None
    usage: Usage | None = None
    logprobs: dict[str, Any] | None = None
    id: str | None = None
    model: str | None = None
    created_s: int | None = None
    extra: dict[str, Any] | None = None

    @property
    def has_token(self) -> bool:
        """Whether this carries something a user could see: after it, no other model may answer."""
        return bool(self.text or self.reasoning or self.refusal or self.tool_calls or self.redacted)
