"""Input items of the Responses wire ↔ messages, one message an item, losing nothing; and the turns they make together."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Block, File, Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ContentForm, Message
from prefrontal.providers.openai.check import bad_value, need_object, need_string, wrong_type
from prefrontal.providers.responses.freeform import as_turn
from prefrontal.providers.responses.parts import DIALECT, parse_parts, render_part
from prefrontal.providers.responses.seals import unseal

ROLES = ("user", "assistant", "system", "developer")
BOOKKEEPING = frozenset({"id", "status", "type", "phase", "annotations", "logprobs"})
"""Fields with which the API numbers and decorates its own items; they tell a model nothing, so leaving them out loses nothing."""

ITEM: ContentForm = "absent"
"""Form of a message that stands for an item without content of its own: a call, thinking, or one that nobody knows."""


def parse_items(items: list[Any], where: str = "input") -> tuple[Message, ...]:
    """Return one message an item. A kind nobody knows is kept verbatim. Raises InvalidRequest naming the item."""
    return tuple([_parse_item(item, f"{where}[{i}]") for i, item in enumerate(items)])


def _parse_item(item: object, where: str) -> Message:
    found = need_object(item, where)
    kind = found.get("type")
    if kind == "message" or (kind is None and "role" in found):
        return _message(found, where)
    if kind == "function_call":
        return _call(found, where)
    if kind == "function_call_output":
        return _output(found, where)
    if kind == "reasoning":
        return Message(role="assistant", blocks=(_reasoning(found, where),), form=ITEM)
    if kind is None and "id" not in found:
        need_string(kind, f"{where}.type")
    ours = not isinstance(kind, str) or not kind.endswith("_output")
    return Message(role="assistant" if ours else "user", blocks=(Opaque(dialect=DIALECT, value=found),), form=ITEM)


def _message(item: dict[str, Any], where: str) -> Message:
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise bad_value(f"{where}.role", role, ROLES)
    extra = {key: value for key, value in item.items() if key not in ("role", "content")} or None
    if isinstance(content, str):
        return Message(role=role, blocks=(Text(text=content),), extra=extra)
    if not isinstance(content, list):
        raise wrong_type(f"{where}.content", "a string or an array of objects", content)
    return Message(role=role, blocks=parse_parts(content, f"{where}.content", role), form="parts", extra=extra)


def _call(item: dict[str, Any], where: str) -> Message:
    call = ToolCall(
        id=need_string(item.get("call_id"), f"{where}.call_id"),
        name=need_string(item.get("name"), f"{where}.name"),
        arguments=need_string(item.get("arguments"), f"{where}.arguments"),
        extra=_rest(item, "call_id", "name", "arguments"),
    )
    return Message(role="assistant", blocks=(call,), form=ITEM)


def _output(item: dict[str, Any], where: str) -> Message:
    call_id = need_string(item.get("call_id"), f"{where}.call_id")
    output = item.get("output")
    extra = _rest(item, "call_id", "output")
    if isinstance(output, str):
        result = ToolResult(call_id=call_id, blocks=(Text(text=output),), form="text", extra=extra)
        return Message(role="tool", blocks=(result,))
    if not isinstance(output, list):
        raise wrong_type(f"{where}.output", "a string or an array of objects", output)
    parts = parse_parts(output, f"{where}.output", "user")
    blocks = tuple([part for part in parts if isinstance(part, Text | Image | File)])
    if len(blocks) != len(parts):
        extra = {**(extra or {}), "output": output}
    return Message(role="tool", blocks=(ToolResult(call_id=call_id, blocks=blocks, extra=extra),), form="parts")


def _reasoning(item: dict[str, Any], where: str) -> Reasoning:
    """The thinking of an item: as it was sealed, else its text; the item itself lies in `extra`."""
    extra = {key: value for key, value in item.items() if key != "type"}
    sealed = item.get("encrypted_content")
    if sealed is not None and not isinstance(sealed, str):
        raise wrong_type(f"{where}.encrypted_content", "a string", sealed)
    ours = unseal(sealed) if sealed else None
    if ours is not None:
        return msgspec.structs.replace(ours, extra=extra)
    text = "".join(_texts(item.get("content"), f"{where}.content")) or "\n\n".join(
        _texts(item.get("summary"), f"{where}.summary")
    )
    if sealed:
        return Reasoning(text=text, redacted=not text, data=sealed, provider="openai", extra=extra)
    return Reasoning(text=text, extra=extra)


def _texts(parts: Any, where: str) -> list[str]:
    if parts is None:
        return []
    if not isinstance(parts, list):
        raise wrong_type(where, "an array of objects", parts)
    return [need_string(need_object(part, f"{where}[{i}]").get("text"), f"{where}[{i}].text") for i, part in enumerate(parts)]


def _rest(item: dict[str, Any], *known: str) -> dict[str, Any] | None:
    return {key: value for key, value in item.items() if key != "type" and key not in known} or None


def render_items(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return the items that `parse_items` made these messages of."""
    return [_render(message) for message in messages]


def _render(message: Message) -> dict[str, Any]:
    first = message.blocks[0] if message.blocks else None
    match first:
        case ToolCall():
            fields = {"call_id": first.id, "name": first.name, "arguments": first.arguments}
            return {"type": "function_call", **fields, **(first.extra or {})}
        case ToolResult():
            text = "".join([block.text for block in first.blocks if isinstance(block, Text)])
            output = text if first.form == "text" else [render_part(block, "user") for block in first.blocks]
            return {"type": "function_call_output", "call_id": first.call_id, "output": output, **(first.extra or {})}
        case Reasoning():
            return {"type": "reasoning", **(first.extra or {})}
        case Opaque() if message.form == ITEM:
            return first.value
    content: Any = first.text if message.form == "text" and isinstance(first, Text) else None
    if content is None:
        content = [render_part(block, message.role) for block in message.blocks]
    return {"role": message.role, "content": content, **(message.extra or {})}


def join_turns(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns that items make: neighbouring items of the assistant are one. The API's bookkeeping is left out."""
    out: list[Message] = []
    for message in messages:
        clean = _clean(as_turn(message))
        if clean.role == "assistant" and out and out[-1].role == "assistant":
            last = out[-1]
            out[-1] = Message(role="assistant", blocks=(*last.blocks, *clean.blocks), extra=_both(last.extra, clean.extra))
        else:
            out.append(clean)
    return tuple(out)


def _clean(message: Message) -> Message:
    form = "text" if message.role == "assistant" else message.form
    blocks = tuple([_bare(block) for block in message.blocks])
    return msgspec.structs.replace(message, blocks=blocks, extra=_without(message.extra), form=form)


def _bare(block: Block) -> Block:
    if isinstance(block, Reasoning):
        return msgspec.structs.replace(block, extra=None)
    if isinstance(block, ToolResult):
        inner = tuple([_bare(part) for part in block.blocks])
        return msgspec.structs.replace(block, blocks=inner, extra=_without(block.extra))
    if isinstance(block, Opaque) or block.extra is None:
        return block
    return msgspec.structs.replace(block, extra=_without(block.extra))


def _without(extra: dict[str, Any] | None) -> dict[str, Any] | None:
    left = {key: value for key, value in (extra or {}).items() if key not in BOOKKEEPING and value is not None}
    return left or None


def _both(one: dict[str, Any] | None, two: dict[str, Any] | None) -> dict[str, Any] | None:
    return {**(one or {}), **(two or {})} or None
