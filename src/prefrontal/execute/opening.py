"""The opening of a stream, and the question whether thinking used up the output cap. Almost pure."""

from __future__ import annotations

from prefrontal.chat.blocks import Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.chat.usage import Usage
from prefrontal.config.schema_service import Opening
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import ProviderMisbehaved
from prefrontal.execute.live import LiveStream

CHUNK_OVERHEAD_BYTES = 64
"""What a held chunk weighs besides its text (assumed)."""


async def hold_opening(live: LiveStream, bounds: Opening) -> list[Chunk]:
    """Read until the first token, the end, or the bounds of the opening; return what was read.

    Nothing of it has been shown, so a failure here may still fall back to another model.

    Raises:
        ProviderError: the upstream failed; ProviderMisbehaved when it ended without a token and without saying why.
    """
    held: list[Chunk] = []
    size = 0
    while not live.ended and len(held) < bounds.max_chunks and size < bounds.max_bytes:
        chunks = await live.pull()
        held.extend(chunks)
        size += sum(len(chunk.text) + len(chunk.reasoning) + CHUNK_OVERHEAD_BYTES for chunk in chunks)
        if live.entry.first_token_ms is not None:
            break
    if live.ended and live.entry.first_token_ms is None and live.entry.finish_reason is None:
        raise ProviderMisbehaved(f"Model '{live.entry.card.id}' sent an empty answer.")
    return held


def thinks(card: ModelCard, fields: EffortFields, usage: Usage | None) -> bool:
    """Return whether hidden thinking may explain an empty answer."""
    return bool(fields.thinking or card.can("thinking") or (usage is not None and usage.reasoning_tokens))


def thinking_ate_cap(answer: ChatResponse, may_think: bool) -> bool:
    """Return whether the only choice ended at its cap with nothing but thinking."""
    if len(answer.choices) != 1:
        return False
    choice = answer.choices[0]
    if choice.finish_reason != "length":
        return False
    visible = any((isinstance(b, Text | Refusal) and b.text) or isinstance(b, ToolCall) for b in choice.blocks)
    return not visible and (may_think or any(isinstance(b, Reasoning) for b in choice.blocks))


def thinking_ate_cap_chunks(held: list[Chunk], live: LiveStream, may_think: bool) -> bool:
    """Return the same of a stream that ended inside its opening, before anything could be shown."""
    if not live.ended or not may_think or any(chunk.has_token for chunk in held):
        return False
    return next((chunk.finish_reason for chunk in reversed(held) if chunk.finish_reason), None) == "length"


def ended_thinking(live: LiveStream, request: ChatRequest) -> bool:
    """Return the same of a stream whose thinking was shown as it came: it ended at its cap with nothing else."""
    only_one = (request.sampling.n or 1) == 1
    return only_one and bool(live.characters) and not live.shown and live.entry.finish_reason == "length"


def answer_length(answer: ChatResponse) -> int:
    """Return the characters of an answer, thinking and tool arguments included."""
    total = 0
    for choice in answer.choices:
        for block in choice.blocks:
            if isinstance(block, Text | Reasoning | Refusal):
                total += len(block.text)
            elif isinstance(block, ToolCall):
                total += len(block.arguments)
    return total
