"""Keeps the raw thinking of assistant turns that call tools, and puts it back when the client returns the turn without it.

Most clients drop signed thinking blocks and `reasoning_content`; the models that made them answer 400 when they are missing. Kept
by tool-call id, in memory, within bounds; a turn that is gone is simply not restored.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from prefrontal.chat.blocks import Block, Reasoning, ToolCall
from prefrontal.chat.request import ChatRequest, Message

MAX_TURNS = 4096
"""Turns kept (assumed: the open tool loops of a busy team)."""

MAX_BYTES = 64 * 1024 * 1024
"""Characters of thinking kept in all (assumed)."""


class Turns:
    """A bounded store, oldest out first. Owned by one event loop."""

    def __init__(self, *, max_turns: int = MAX_TURNS, max_bytes: int = MAX_BYTES) -> None:
        self._max_turns = max_turns
        self._max_bytes = max_bytes
        self._turns: OrderedDict[str, tuple[Block, ...]] = OrderedDict()
        self._bytes = 0

    def remember(self, blocks: tuple[Block, ...], provider: str) -> None:
        """Keep a turn that has both thinking (or signatures) and tool calls; any other is ignored."""
        calls = [b for b in blocks if isinstance(b, ToolCall)]
        if not calls or not any(isinstance(b, Reasoning) or (isinstance(b, ToolCall) and b.signature) for b in blocks):
            return
        kept = tuple(
            msgspec.structs.replace(b, provider=b.provider or provider) if isinstance(b, Reasoning) else b
            for b in blocks
            if isinstance(b, Reasoning | ToolCall)
        )
        old = self._turns.pop(calls[0].id, None)
        if old is not None:
            self._bytes -= _size(old)
        self._turns[calls[0].id] = kept
        self._bytes += _size(kept)
        while len(self._turns) > self._max_turns or self._bytes > self._max_bytes:
            _, gone = self._turns.popitem(last=False)
            self._bytes -= _size(gone)

    def restore(self, request: ChatRequest) -> ChatRequest:
        """Return the request with the thinking of its tool turns put back where the client left it out."""
        if not self._turns:
            return request
        messages = [self._restored(m) if m.role == "assistant" else m for m in request.messages]
        if all(new is old for new, old in zip(messages, request.messages, strict=True)):
            return request
        return msgspec.structs.replace(request, messages=tuple(messages))

    def _restored(self, message: Message) -> Message:
        first = next((b for b in message.blocks if isinstance(b, ToolCall)), None)
        if first is None:
            return message
        kept = self._turns.get(first.id)
        if kept is None:
            return message
        self._turns.move_to_end(first.id)
        signatures = {b.id: b.signature for b in kept if isinstance(b, ToolCall) and b.signature}
        blocks = tuple(
            msgspec.structs.replace(b, signature=signatures[b.id])
            if isinstance(b, ToolCall) and b.signature is None and b.id in signatures
            else b
            for b in message.blocks
        )
        thoughts = tuple(b for b in kept if isinstance(b, Reasoning))
        shown = [b for b in blocks if isinstance(b, Reasoning)]
        if not shown or (
            _signed(thoughts) and not _signed(shown)
        ):  # clients that show thinking return its text, not its signature
            blocks = (*thoughts, *(b for b in blocks if not isinstance(b, Reasoning)))
        return msgspec.structs.replace(message, blocks=blocks) if blocks != message.blocks else message


def _signed(thoughts: Iterable[Reasoning]) -> bool:
    return any(b.signature is not None or b.data is not None for b in thoughts)


def _size(blocks: tuple[Block, ...]) -> int:
    return sum(len(b.text) + len(b.signature or "") + len(b.data or "") if isinstance(b, Reasoning) else 64 for b in blocks)
