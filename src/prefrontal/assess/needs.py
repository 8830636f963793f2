"""What a request needs from a model, and the facts about it that its text does not show."""

from __future__ import annotations

from typing import Final, NamedTuple

from prefrontal.chat.blocks import Audio, File, Image, ToolResult
from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.assessment import Needs, TaskType

THINKING_FROM: Final = 0.5
"""Complexity from which a formal task needs a model that can think (measured: half of hard competition problems)."""

THINKING_TYPES: Final = frozenset[TaskType]({"math", "reasoning", "code"})
"""Task types on which thinking pays (specified: the design's reading of the effort question)."""

THINKING_WORDS: Final = frozenset({"high", "xhigh", "max"})
"""Values of the caller's own ``reasoning_effort`` that ask for thinking outright."""

ANSWER_TOKENS: Final[dict[TaskType, int]] = {
    "code": 2_048,
    "math": 2_048,
    "reasoning": 2_048,
    "multilingual": 1_024,
    "chat_writing": 1_024,
    "knowledge_qa": 512,
    "document_qa": 512,
    "tool_call": 1_024,
    "summarization": 1_024,
    "vision": 1_024,
}
"""Tokens of context kept free for the answer when the caller set no cap (assumed)."""


_FACT_OF_BLOCK: Final[dict[type, str]] = {Image: "image", Audio: "audio", File: "file"}


class Content(NamedTuple):
    """Which kinds of content a request carries anywhere, and its facts for the task rules."""

    images: bool
    audio: bool
    files: bool
    tools: bool
    facts: frozenset[str]


def read_content(request: ChatRequest) -> Content:
    """Look through the blocks of every message once."""
    seen: set[type] = set()
    facts = set()
    last_user = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    for i, message in enumerate(request.messages):
        for block in message.blocks:
            kind = type(block)
            if isinstance(block, ToolResult):
                seen.update([type(part) for part in block.blocks])
            elif kind is not Audio or message.role != "assistant":  # what a model said aloud before need not be heard
                seen.add(kind)
            if i == last_user and kind in _FACT_OF_BLOCK:
                facts.add(_FACT_OF_BLOCK[kind])
    mode = request.tool_choice.mode if request.tool_choice is not None else "auto"
    tools = bool(request.tools) and mode != "none"
    if tools:
        facts.add("tools_offered")
        if mode in ("required", "tool"):
            facts.add("tool_required")
    if request.messages and request.messages[-1].role == "tool":
        facts.add("tool_result")
    return Content(
        images=Image in seen,
        audio=Audio in seen or _answers_aloud(request),
        files=File in seen,
        tools=tools,
        facts=frozenset(facts),
    )


def derive_needs(
    request: ChatRequest,
    content: Content,
    *,
    task_type: TaskType,
    complexity: float,
    input_tokens: int,
    language: str | None,
) -> Needs:
    """Return what a model must be able to do for this request.

    Args:
        request: the request.
        content: its kinds of content.
        task_type: what is being asked.
        complexity: in [0, 1].
        input_tokens: tokens of the rendered request, counted or estimated by the caller, at least 0.
        language: ISO 639-1 code or None.
    """
    cap = request.max_output_tokens
    asked_to_think = request.reasoning_effort in THINKING_WORDS
    return Needs(
        thinking=asked_to_think or (complexity >= THINKING_FROM and task_type in THINKING_TYPES),
        tools=content.tools,
        vision=content.images,
        audio=content.audio,
        files=content.files,
        structured_output=request.response_format is not None and request.response_format.kind != "text",
        input_tokens=input_tokens,
        output_tokens=cap if cap is not None else ANSWER_TOKENS[task_type],
        language=language,
        custom=request.hints.needs,
    )


def _answers_aloud(request: ChatRequest) -> bool:
    """Whether the caller asks for spoken answers, by the field chat dialects have for it."""
    wanted = request.extra.get("modalities") if request.extra else None
    return isinstance(wanted, list) and "audio" in wanted
