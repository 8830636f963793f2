"""What a model is told when its answer did not pass."""

from __future__ import annotations

import msgspec

from prefrontal.chat.blocks import Text, ToolCall
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.verdict import Finding
from prefrontal.prompts import filled

MAX_QUOTED = 8_000
"""Characters of the bad answer that go back to the model (assumed: the rest of it says nothing new)."""

PLAIN, QUOTED = "repair.v1", "repair_quoted.v1"
"""The templates: with the bad answer as the turn before, and with it quoted, where it cannot stand as a turn."""


def repair_request(request: ChatRequest, response: ChatResponse, findings: tuple[Finding, ...]) -> ChatRequest:
    """Return the request with the bad answer and what is wrong with it behind its messages.

    An answer with tool calls is quoted, because a wire takes a call only with its result; so is a very long one, cut.
    """
    choice = response.choices[0] if response.choices else None
    text = choice.text if choice is not None else ""
    calls = [block for block in choice.blocks if isinstance(block, ToolCall)] if choice is not None else []
    told = "\n".join([f"- {one.where + ': ' if one.where else ''}{one.message}" for one in findings if one.severity == "error"])
    turns: tuple[Message, ...]
    if text.strip() and not calls and len(text) <= MAX_QUOTED:
        turns = (
            Message(role="assistant", blocks=(Text(text=text),)),
            Message(role="user", blocks=(Text(text=filled(PLAIN, findings=told)),)),
        )
    else:
        said = "\n".join([text, *[f"{call.name}({call.arguments})" for call in calls]]).strip() or "(nothing)"
        quoted = said if len(said) <= MAX_QUOTED else said[:MAX_QUOTED] + " …"
        turns = (Message(role="user", blocks=(Text(text=filled(QUOTED, findings=told, answer=quoted)),)),)
    return msgspec.structs.replace(request, messages=(*request.messages, *turns))
