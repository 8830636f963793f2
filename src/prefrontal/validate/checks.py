"""Validators for any answer: is there one, is it whole, and do its tool calls fit the tools."""

from __future__ import annotations

from typing import Any

import msgspec

from prefrontal.chat.blocks import Text, ToolCall
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import Choice
from prefrontal.contracts.verdict import PASSED, Finding, Verdict, verdict_of
from prefrontal.errors import InvalidRequest
from prefrontal.validate.compiled import Schemas
from prefrontal.validate.schema import REFUSED

MAX_CALLS = 64
"""Calls of one answer that are looked at (assumed)."""


def check_format(_request: ChatRequest, choice: Choice) -> Verdict:
    """Return whether there is an answer, and a whole one: neither empty nor cut at its cap."""
    if choice.refusal is not None or choice.finish_reason in REFUSED:
        return PASSED
    found: list[Finding] = []
    if choice.finish_reason == "length":
        found.append(Finding(code="truncated", severity="error", message="The answer was cut at its output cap."))
    said = any((isinstance(b, Text) and b.text.strip()) or isinstance(b, ToolCall) for b in choice.blocks)
    if not said and not found:
        found.append(Finding(code="empty", severity="error", message="The answer is empty.", repairable=True))
    return verdict_of(tuple(found))


def check_tools(request: ChatRequest, choice: Choice, schemas: Schemas) -> Verdict:
    """Return whether each tool call names a tool of the request and has arguments that fit its schema.

    Providers' own tools, whose arguments only the provider knows, are not looked at, nor is a tool whose schema cannot be used.
    """
    calls = [block for block in choice.blocks if isinstance(block, ToolCall)]
    if not calls:
        return PASSED
    tools = {tool.name: tool for tool in request.tools}
    own = any(tool.kind != "function" for tool in request.tools)
    found: list[Finding] = []
    for number, call in enumerate(calls[:MAX_CALLS]):
        where = f"/tool_calls/{number}"
        tool = tools.get(call.name)
        if tool is None:
            if not own:
                known = ", ".join(sorted(tools)) or "none"
                found.append(_error("unknown_tool", f"There is no tool of that name. There are: {known}.", where))
            continue
        if tool.kind != "function":
            continue
        arguments = _object(call.arguments)
        if arguments is None:
            found.append(_error("bad_arguments", "The arguments are not a JSON object.", f"{where}/arguments"))
        elif tool.parameters:
            found += _misfits(schemas, tool.parameters, arguments, f"{where}/arguments")
    return verdict_of(tuple(found))


def _misfits(schemas: Schemas, schema: dict[str, Any], value: Any, where: str) -> list[Finding]:
    try:
        misfits = schemas.get(schema, "tools").findings(value)
    except InvalidRequest as error:
        return [Finding(code="schema_unusable", severity="warning", where=where, message=error.message)]
    return [msgspec.structs.replace(one, code="bad_arguments", where=where + one.where) for one in misfits]


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _error(code: str, message: str, where: str) -> Finding:
    return Finding(code=code, severity="error", where=where, message=message, repairable=True)
