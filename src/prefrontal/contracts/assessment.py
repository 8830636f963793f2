"""What is being asked, as far as can be told without a model."""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.contracts.lens import LensReading

TaskType = Literal[
    "code",
    "math",
    "reasoning",
    "multilingual",
    "chat_writing",
    "knowledge_qa",
    "document_qa",
    "tool_call",
    "summarization",
    "vision",
]
TASK_TYPES: tuple[TaskType, ...] = TaskType.__args__  # type: ignore[attr-defined]  # typing offers no typed accessor


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What a model must be able to do. `context_tokens` = input plus room for the answer; `language` ISO 639-1 or None."""

    thinking: bool = False
    tools: bool = False
    vision: bool = False
    audio: bool = False
    files: bool = False
    structured_output: bool = False
    embedding: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    language: str | None = None
    custom: tuple[str, ...] = ()

    @property
    def context_tokens(self) -> int:
        """Tokens the context window must hold."""
        return self.input_tokens + self.output_tokens


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """The reading of a task. `complexity` and `confidence` lie in [0, 1]; `signals` name the rules that fired.

    `lens` is what lenses saw; where one refined the task, `origin` is ``lens``.
    """

    task_type: TaskType
    complexity: float
    needs: Needs
    confidence: float
    origin: str = "rules"
    signals: tuple[str, ...] = ()
    lens: tuple[LensReading, ...] = ()
