"""Messages of a request as the wire's ``system`` and ``messages``."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Text
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.providers.anthropic.blocks import BlockWriter
from prefrontal.providers.common import Report

Content = str | list[dict[str, Any]]


def render_turns(
    request: ChatRequest, report: Report, *, native: bool, client: bool = False
) -> tuple[Content | None, list[dict[str, Any]]]:
    """Return the system prompt (None: there is none) and the turns.

    `native`: the request came in this dialect and goes back turn by turn. Otherwise instructions move to ``system``, tool
    results and what follows them become one user turn, and neighbours of the same role are merged: engines behind this wire
    fill chat templates that want the roles to alternate. Raises CapabilityMissing.
    """
    writer = BlockWriter(report, native=native, client=client)
    if native:
        return _native(request, writer)
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        _note_fields(message, report)
        blocks = [part for block in message.blocks if (part := writer.write(block, message.role)) is not None]
        if message.role in ("system", "developer"):
            if turns and blocks:
                reason = "the Messages wire takes instructions before the conversation: they moved to system"
                report.drop("messages[].role", reason, "translated")
            system += [part for part in blocks if part["type"] == "text"]
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not blocks:
            if message.blocks:
                report.drop("messages[]", "a turn without content the Messages wire can carry")
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    if not turns and system:
        reason = "the Messages wire needs a user turn: the last instruction became one"
        report.drop("messages[].role", reason, "translated")
        turns.append({"role": "user", "content": [system.pop()]})
    for turn in turns:
        turn["content"] = _shortest(turn["content"])
    return (_shortest(system) if system else None), turns


def _native(request: ChatRequest, writer: BlockWriter) -> tuple[Content | None, list[dict[str, Any]]]:
    system: Content | None = None
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        content = _content(message, writer)
        if message.role == "system":
            system = content if system is None else [*_as_list(system), *_as_list(content)]
            continue
        role = {"tool": "user", "developer": "system"}.get(message.role, message.role)
        turns.append({"role": role, "content": content, **(message.extra or {})})
    return system, turns


def _content(message: Message, writer: BlockWriter) -> Content:
    if message.form == "text" and len(message.blocks) == 1:
        only = message.blocks[0]
        if isinstance(only, Text) and not only.extra:
            return only.text
    return [part for block in message.blocks if (part := writer.write(block, message.role)) is not None]


def _as_list(content: Content) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _shortest(parts: list[dict[str, Any]]) -> Content:
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _note_fields(message: Message, report: Report) -> None:
    if message.name is not None:
        report.drop("messages[].name", "the Messages wire has no names of participants")
    for key in message.extra or ():
        report.drop(f"messages[].{key}", "the Messages wire has no such field")


def is_tool_turn(turn: dict[str, Any], kind: str) -> bool:
    """Return whether the turn holds a block of `kind` (``tool_use``, ``tool_result``)."""
    content = turn["content"]
    return isinstance(content, list) and any(part.get("type") == kind for part in content)
