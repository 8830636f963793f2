"""A whole answer as the stream it could have been: what `Collector` puts together, taken apart again."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice, Chunk, ToolCallDelta


def chunks_of(response: ChatResponse) -> list[Chunk]:
    """Return chunks that add up to `response`: one a block, and each choice's end. Blocks that no stream carries are left out."""
    head = Chunk(id=response.id or None, model=response.model or None, created_s=response.created_s or None)
    found: list[Chunk] = [] if (head.id, head.model, head.created_s) == (None, None, None) else [head]
    if response.extra:
        found.append(Chunk(extra=response.extra))
    for choice in response.choices:
        found += _choice(choice)
    found.append(Chunk(usage=response.usage))
    return found


def _choice(choice: Choice) -> list[Chunk]:
    index = choice.index
    found: list[Chunk] = []
    calls = 0
    for block in choice.blocks:
        role = None if found else "assistant"
        if isinstance(block, Text):
            found.append(Chunk(choice=index, role=role, text=block.text))
        elif isinstance(block, Reasoning):
            found.append(_thought(index, role, block))
        elif isinstance(block, Refusal):
            found.append(Chunk(choice=index, role=role, refusal=block.text))
        elif isinstance(block, ToolCall):
            call = ToolCallDelta(
                index=calls,
                id=block.id,
                name=block.name,
                arguments=block.arguments,
                kind=block.kind,
                signature=block.signature,
            )
            found.append(Chunk(choice=index, role=role, tool_calls=(call,)))
            calls += 1
    if not found:
        found.append(Chunk(choice=index, role="assistant"))
    if choice.logprobs or choice.extra:
        found.append(Chunk(choice=index, logprobs=choice.logprobs, extra=_extra(choice.extra)))
    finish = choice.finish_reason
    found.append(Chunk(choice=index, finish_reason=finish, raw_finish=choice.raw_finish or finish))
    return found


def _thought(index: int, role: str | None, block: Reasoning) -> Chunk:
    if block.redacted:
        return Chunk(choice=index, role=role, redacted=block.data, provider=block.provider)
    return Chunk(choice=index, role=role, reasoning=block.text, signature=block.signature, provider=block.provider)


def _extra(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    """Fields of the message travel as fields of the delta, the others as the choice's own."""
    if not extra:
        return None
    own = {key: value for key, value in extra.items() if key != "message"}
    found: dict[str, Any] = {}
    if extra.get("message"):
        found["delta"] = extra["message"]
    if own:
        found["choice"] = own
    return found or None
