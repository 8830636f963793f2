"""Freeform tools of the Responses dialect (type ``custom``), whose input is text and no JSON.

No other wire has them, so a model is offered a function with one field of text in their place, which every engine that calls
functions can fill; the client sees its own tool. A grammar of the input is told in words and not enforced, which is reported.
"""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Opaque, Text, ToolCall, ToolResult
from prefrontal.chat.request import Message, Tool
from prefrontal.providers.common import encode, loads

KIND = "custom"
FIELD = "input"
SCHEMA = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "description": "The tool's whole input, as it is."}},
    "required": [FIELD],
    "additionalProperties": False,
}


def freeform_names(tools: tuple[Tool, ...]) -> frozenset[str]:
    """Return the names of the freeform tools among `tools`."""
    return frozenset([tool.name for tool in tools if tool.kind == KIND])


def has_grammar(tool: Tool) -> bool:
    """Whether a freeform tool says how its input is to be written."""
    form = (tool.extra or {}).get("format")
    return tool.kind == KIND and isinstance(form, dict) and form.get("type") == "grammar"


def as_function(tool: Tool) -> Tool:
    """Return the function that stands for a freeform tool; any other tool as it is."""
    if tool.kind != KIND:
        return tool
    given = tool.extra or {}
    words = [given["description"]] if isinstance(given.get("description"), str) else []
    if has_grammar(tool):
        words.append(f"The input follows this {given['format'].get('syntax')} grammar:\n{given['format'].get('definition')}")
    return Tool(name=tool.name, description="\n\n".join(words) or None, parameters=SCHEMA)


def wrapped(text: str) -> str:
    """Return the arguments of the function for an input."""
    return encode({FIELD: text}).decode()


def unwrapped(arguments: str) -> str:
    """Return the input in a function's arguments; what is not in its form is the input itself."""
    value = loads(arguments)
    if isinstance(value, dict) and isinstance(value.get(FIELD), str):
        found: str = value[FIELD]
        return found
    return arguments


def as_turn(message: Message) -> Message:
    """Return the turn that an item of a freeform call, or of its output, is for a model; any other message as it is."""
    block = message.blocks[0] if len(message.blocks) == 1 else None
    item: dict[str, Any] = block.value if isinstance(block, Opaque) else {}
    kind, call_id = item.get("type"), item.get("call_id")
    if not isinstance(call_id, str):
        return message
    name, text, output = item.get("name"), item.get(FIELD), item.get("output")
    if kind == "custom_tool_call" and isinstance(name, str) and isinstance(text, str):
        return msgspec.structs.replace(message, blocks=(ToolCall(id=call_id, name=name, arguments=wrapped(text)),))
    if kind == "custom_tool_call_output" and isinstance(output, str):
        return Message(role="tool", blocks=(ToolResult(call_id=call_id, blocks=(Text(text=output),), form="text"),))
    return message
