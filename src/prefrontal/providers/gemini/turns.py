"""Messages of a request as the wire's ``systemInstruction`` and ``contents``."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Block, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.providers.common import Report
from prefrontal.providers.gemini.parts import PartWriter

ROLE_ABSENT = "roleAbsent"
"""Key in a message's `extra`: the client left the role out, which means user."""

UNSIGNED = "skip_thought_signature_validator"
"""Secondary: what Google's guide to thought signatures gives for calls that another model made; newer models refuse none."""


def render_turns(
    request: ChatRequest, report: Report, *, native: bool, sign: bool = False
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the system instruction (None: there is none) and the contents.

    `native`: turn by turn as the client wrote it. Otherwise instructions move to the front, the results of one round of calls
    become one turn, and other neighbours of the same role are merged. `sign`: the model refuses unsigned calls in the round in
    progress, so calls of another model get the API's own placeholder. Raises CapabilityMissing.
    """
    writer = PartWriter(report, _names(request.messages), native=native)
    if native:
        return _native(request, writer)
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    last = ""
    for message in request.messages:
        _note_fields(message, report)
        for kind, blocks in _split(message):
            parts = [part for block in blocks if (part := writer.write(block, message.role)) is not None]
            if kind == "system":
                if turns and parts:
                    reason = "the Gemini wire takes instructions before the conversation: they moved to systemInstruction"
                    report.drop("messages[].role", reason, "translated")
                system += [part for part in parts if "text" in part]
            elif not parts:
                if blocks:
                    report.drop("messages[]", "a turn without content the Gemini wire can carry")
            elif kind == last:
                turns[-1]["parts"] += parts
            else:
                turns.append({"role": "model" if kind == "model" else "user", "parts": parts})
                last = kind
    if not turns and system:
        report.drop("messages[].role", "the Gemini wire needs a user turn: the last instruction became one", "translated")
        turns.append({"role": "user", "parts": [system.pop()]})
    if sign:
        _sign(turns, report)
    return ({"parts": system} if system else None), turns


def _split(message: Message) -> list[tuple[str, tuple[Block, ...]]]:
    """The turn by kind: tool results stand in a turn of their own, before what follows them."""
    if message.role in ("system", "developer"):
        return [("system", message.blocks)]
    if message.role == "assistant":
        return [("model", message.blocks)]
    results = tuple([block for block in message.blocks if isinstance(block, ToolResult)])
    if not results:
        return [("user", message.blocks)]
    rest = tuple([block for block in message.blocks if not isinstance(block, ToolResult)])
    return [("tool", results), ("user", rest)] if rest else [("tool", results)]


def _names(messages: tuple[Message, ...]) -> dict[str, str]:
    return {block.id: block.name for message in messages for block in message.blocks if isinstance(block, ToolCall)}


def _native(request: ChatRequest, writer: PartWriter) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    system: dict[str, Any] | None = None
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        parts = [part for block in message.blocks if (part := writer.write(block, message.role)) is not None]
        extra = dict(message.extra or {})
        if message.role in ("system", "developer"):
            system = {"parts": parts, **extra} if system is None else {**system, "parts": [*system["parts"], *parts]}
            continue
        role = {} if extra.pop(ROLE_ABSENT, False) else {"role": "model" if message.role == "assistant" else "user"}
        turns.append({**role, **({} if message.form == "absent" else {"parts": parts}), **extra})
    return system, turns


def _note_fields(message: Message, report: Report) -> None:
    if message.name is not None:
        report.drop("messages[].name", "the Gemini wire has no names of participants")
    for key in message.extra or ():
        report.drop(f"messages[].{key}", "the Gemini wire has no such field")


def _sign(turns: list[dict[str, Any]], report: Report) -> None:
    """Give the first call of each model turn since the last user turn a signature, where it has none."""
    for turn in reversed(turns):
        if turn["role"] == "user" and not any("functionResponse" in part for part in turn["parts"]):
            return
        first = next((part for part in turn["parts"] if "functionCall" in part), None)
        if turn["role"] == "model" and first is not None and "thoughtSignature" not in first:
            first["thoughtSignature"] = UNSIGNED
            reason = "calls of another model have no thought signature: the API's placeholder stands for it"
            report.drop("messages[].tool_calls[].signature", reason, "translated")
