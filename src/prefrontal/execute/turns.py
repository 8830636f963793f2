"""Keeps the raw thinking of assistant turns that call tools, and puts it back when the client returns the turn without it.

Most clients drop signed thinking blocks and `reasoning_content`; the models that made them answer 400 when they are missing. Kept
in memory, within bounds; a turn that is gone is simply not restored. A turn is known by the id of its first tool call and the
question it belongs to: some engines number their calls anew in every answer, and one conversation must not see another's
thinking.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from prefrontal.chat.blocks import Block, Reasoning, ToolCall
from prefrontal.chat.request import ChatRequest, Message, text_of

MAX_TURNS = 4096
"""Turns kept (assumed: the open tool loops of a busy team)."""

MAX_CHARACTERS = 64 * 1024 * 1024
"""Characters of thinking and signatures kept in all (assumed)."""

Key = tuple[str, int]


class Kept(NamedTuple):
    """What is kept of a turn: each thought with the number of calls before it, and the calls' signatures by id."""

    thoughts: tuple[tuple[int, Reasoning], ...]
    signatures: dict[str, str]
    characters: int


class Turns:
    """A bounded store, the longest unused out first. Owned by one event loop."""

    def __init__(self, *, max_turns: int = MAX_TURNS, max_characters: int = MAX_CHARACTERS) -> None:
        self._max_turns = max_turns
        self._max_characters = max_characters
        self._turns: OrderedDict[Key, Kept] = OrderedDict()
        self._characters = 0

    def remember(self, blocks: tuple[Block, ...], provider: str, request: ChatRequest) -> None:
        """Keep the answer to `request` if it has both thinking (or signatures) and tool calls; any other is ignored.

        provider: who made thoughts that do not say it themselves.
        """
        first = next((b for b in blocks if isinstance(b, ToolCall)), None)
        if first is None:
            return
        kept = _kept(blocks, provider)
        if not kept.thoughts and not kept.signatures:
            return
        key = (first.id, _question(request.messages))
        old = self._turns.pop(key, None)
        self._characters += kept.characters - (old.characters if old is not None else 0)
        self._turns[key] = kept
        while self._turns and (len(self._turns) > self._max_turns or self._characters > self._max_characters):
            _, gone = self._turns.popitem(last=False)
            self._characters -= gone.characters

    def restore(self, request: ChatRequest) -> ChatRequest:
        """Return the request with the thinking of its tool turns put back where the client left it out."""
        if not self._turns:
            return request
        messages = request.messages
        restored = [
            self._restored(message, messages[:place]) if message.role == "assistant" else message
            for place, message in enumerate(messages)
        ]
        if all(new is old for new, old in zip(restored, messages, strict=True)):
            return request
        return msgspec.structs.replace(request, messages=tuple(restored))

    def _restored(self, message: Message, before: Sequence[Message]) -> Message:
        first = next((b for b in message.blocks if isinstance(b, ToolCall)), None)
        if first is None:
            return message
        key = (first.id, _question(before))
        kept = self._turns.get(key)
        if kept is None:
            return message
        self._turns.move_to_end(key)
        blocks = _signed_calls(message.blocks, kept.signatures)
        shown = [b for b in blocks if isinstance(b, Reasoning)]
        # clients that show thinking return its text, not its signature
        if not shown or (_signed(thought for _, thought in kept.thoughts) and not _signed(shown)):
            blocks = _with_thoughts(blocks, kept.thoughts)
        return msgspec.structs.replace(message, blocks=blocks) if blocks != message.blocks else message


def _kept(blocks: tuple[Block, ...], provider: str) -> Kept:
    thoughts: list[tuple[int, Reasoning]] = []
    signatures: dict[str, str] = {}
    calls = characters = 0
    for block in blocks:
        if isinstance(block, Reasoning):
            thought = block if block.provider else msgspec.structs.replace(block, provider=provider)
            thoughts.append((calls, thought))
            characters += len(block.text) + len(block.signature or "") + len(block.data or "")
        elif isinstance(block, ToolCall):
            calls += 1
            if block.signature:
                signatures[block.id] = block.signature
                characters += len(block.signature)
    return Kept(tuple(thoughts), signatures, characters)


def _question(messages: Sequence[Message]) -> int:
    """Return what stands for the last thing a user said; results of tools are not something said."""
    for message in reversed(messages):
        if message.role == "user" and (text := text_of(message)):
            return hash(text)
    return 0


def _signed_calls(blocks: tuple[Block, ...], signatures: dict[str, str]) -> tuple[Block, ...]:
    if not signatures:
        return blocks
    return tuple(
        [
            msgspec.structs.replace(b, signature=signatures[b.id])
            if isinstance(b, ToolCall) and b.signature is None and b.id in signatures
            else b
            for b in blocks
        ]
    )


def _with_thoughts(blocks: tuple[Block, ...], thoughts: tuple[tuple[int, Reasoning], ...]) -> tuple[Block, ...]:
    """Return the blocks with these thoughts instead of their own, each behind as many calls as it followed."""
    placed: list[Block] = [thought for calls, thought in thoughts if calls == 0]
    seen = 0
    for block in blocks:
        if isinstance(block, Reasoning):
            continue
        placed.append(block)
        if isinstance(block, ToolCall):
            seen += 1
            placed.extend(thought for calls, thought in thoughts if calls == seen)
    placed.extend(thought for calls, thought in thoughts if calls > seen)
    return tuple(placed)


def _signed(thoughts: Iterable[Reasoning]) -> bool:
    return any(b.signature is not None or b.data is not None for b in thoughts)
