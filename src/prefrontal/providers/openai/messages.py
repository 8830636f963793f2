"""Chat messages: wire → `Message` → wire, losing nothing."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.blocks import Audio, Block, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ContentForm, Message
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.check import bad_value, missing, need_object, need_string, wrong_type
from prefrontal.providers.openai.parts import parse_parts, render_part

ROLES = ("system", "developer", "user", "assistant", "tool")
REASONING_FIELDS = ("reasoning_content", "reasoning")
BOTH_REASONING_FIELDS = "reasoning_content+reasoning"
"""`Reasoning.field` of a turn that carried the same text under both names, as our own answers do."""


def parse_messages(value: object) -> tuple[Message, ...]:
    """Return the messages of a request. Raises InvalidRequest naming the message and its field."""
    if type(value) is not list:
        raise missing("messages") if value is None else wrong_type("messages", "an array of objects", value)
    if not value:
        raise InvalidRequest("Invalid 'messages': empty array. Expected at least one message.", param="messages")
    return tuple([_parse_message(raw, i) for i, raw in enumerate(value)])


def _parse_message(raw: object, index: int) -> Message:
    if type(raw) is not dict:
        raise wrong_type(f"messages[{index}]", "an object", raw)
    role = raw.get("role")
    content = raw.get("content")
    if len(raw) == 2 and type(content) is str and role in ("user", "system", "assistant", "developer"):
        return Message(role=role, blocks=(Text(text=content),))
    where = f"messages[{index}]"
    if role not in ROLES:
        raise missing(f"{where}.role") if role is None else bad_value(f"{where}.role", role, ROLES)
    blocks, form = _content(raw, content, role, where)
    extra = {key: value for key, value in raw.items() if key not in _KNOWN}
    if role == "assistant":
        blocks = _assistant(raw, blocks, form, extra, where)
    elif role == "tool":
        result_form = "text" if form == "text" else "parts"
        call_id = need_string(raw.get("tool_call_id"), f"{where}.tool_call_id")
        extra.pop("tool_call_id")
        result: Any = ToolResult(call_id=call_id, blocks=blocks, form=result_form)  # type: ignore[arg-type]  # parts of a tool turn
        blocks = (result,)
    name = raw.get("name")
    if name is not None and type(name) is not str:
        raise wrong_type(f"{where}.name", "a string", name)
    if name is None and "name" in raw:
        extra["name"] = None
    return Message(role=role, blocks=blocks, name=name, form=form, extra=extra or None)


_KNOWN = frozenset({"role", "content", "name"})


def _content(raw: dict[str, Any], content: object, role: str, where: str) -> tuple[tuple[Block, ...], ContentForm]:
    if type(content) is str:
        return (Text(text=content),), "text"
    if type(content) is list:
        return parse_parts(content, f"{where}.content"), "parts"
    if content is None and role == "assistant":
        return (), "none" if "content" in raw else "absent"
    if content is None and "content" not in raw:
        raise missing(f"{where}.content")
    raise wrong_type(f"{where}.content", "a string or an array of objects", content)


def _assistant(
    raw: dict[str, Any], content: tuple[Block, ...], form: ContentForm, extra: dict[str, Any], where: str
) -> tuple[Block, ...]:
    """The blocks of an assistant turn: reasoning, content, refusal, audio, tool calls; what is taken leaves `extra`."""
    blocks: list[Block] = _take_reasoning(raw, extra)
    blocks.extend(content)
    refusal = extra.get("refusal")
    if type(refusal) is str and form != "parts":
        blocks.append(Refusal(text=extra.pop("refusal")))
    audio = extra.get("audio")
    if type(audio) is dict and type(audio.get("id")) is str:
        left = {key: value for key, value in extra.pop("audio").items() if key != "id"}
        blocks.append(Audio(id=audio["id"], extra=left or None))
    calls = extra.get("tool_calls")
    if calls:
        if type(calls) is not list:
            raise wrong_type(f"{where}.tool_calls", "an array of objects", calls)
        del extra["tool_calls"]
        blocks.extend([parse_tool_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)])
    return tuple(blocks)


def _take_reasoning(raw: dict[str, Any], extra: dict[str, Any]) -> list[Block]:
    found = [name for name in REASONING_FIELDS if type(raw.get(name)) is str]
    for name in found:
        del extra[name]
    if len(found) == 2 and raw["reasoning"] == raw["reasoning_content"]:
        return [Reasoning(text=raw["reasoning"], field=BOTH_REASONING_FIELDS)]
    return [Reasoning(text=raw[name], field=name) for name in found]


def parse_tool_call(raw: object, where: str) -> ToolCall:
    """Return one tool call of an assistant turn. Raises InvalidRequest naming the field."""
    call = need_object(raw, where)
    kind = call.get("type", "function")
    call_id = need_string(call.get("id"), f"{where}.id")
    if kind not in ("function", "custom"):
        raise bad_value(f"{where}.type", kind, ("function", "custom"))
    if kind not in call:
        raise missing(f"{where}.{kind}")
    inner = need_object(call[kind], f"{where}.{kind}")
    argument = "arguments" if kind == "function" else "input"
    name = need_string(inner.get("name"), f"{where}.{kind}.name")
    arguments = need_string(inner.get(argument), f"{where}.{kind}.{argument}")
    if len(call) == 3 and len(inner) == 2:
        return ToolCall(id=call_id, name=name, arguments=arguments, kind=kind)
    extra = {key: value for key, value in call.items() if key not in ("id", "type", kind)}
    left = {key: value for key, value in inner.items() if key not in ("name", argument)}
    if left:
        extra[kind] = left
    signature = take_signature(extra)
    return ToolCall(id=call_id, name=name, arguments=arguments, kind=kind, signature=signature, extra=extra or None)


def take_signature(extra: dict[str, Any]) -> str | None:
    """Take Google's thought signature out of `extra`, where its own OpenAI-compatible answers carry it on a tool call."""
    content = extra.get("extra_content")
    if type(content) is dict and len(content) == 1:
        google = content.get("google")
        if type(google) is dict and len(google) == 1 and type(google.get("thought_signature")) is str:
            del extra["extra_content"]
            return str(google["thought_signature"])
    return None


def render_tool_call(call: ToolCall, *, native: bool) -> dict[str, Any]:
    """Return the wire's tool call."""
    argument = "input" if call.kind == "custom" else "arguments"
    inner: dict[str, Any] = {"name": call.name, argument: call.arguments}
    out: dict[str, Any] = {"id": call.id, "type": call.kind, call.kind: inner}
    if call.extra and native:
        inner.update(call.extra.get(call.kind) or {})
        out.update({key: value for key, value in call.extra.items() if key != call.kind})
    if call.signature is not None:
        out["extra_content"] = {"google": {"thought_signature": call.signature}}
    return out


def render_messages(messages: tuple[Message, ...], *, native: bool, lost: list[str]) -> list[dict[str, Any]]:
    """Return the wire's messages. `lost` collects the kinds of blocks and fields this dialect has no form for.

    A turn of another dialect that mixes tool results with other blocks becomes tool messages followed by the rest.
    """
    out: list[dict[str, Any]] = []
    for message in messages:
        blocks = message.blocks
        if len(blocks) == 1 and message.form == "text" and type(blocks[0]) is Text and message.role != "tool":
            plain: dict[str, Any] = {"role": message.role, "content": blocks[0].text}
        elif any(type(block) is ToolResult for block in blocks):
            out.extend(_tool_turns(message, native, lost))
            continue
        else:
            plain = _turn(message, blocks, native, lost)
            if not native and blocks and plain.keys() <= {"role", "content"} and not plain.get("content"):
                continue  # nothing of it has a form here, which `lost` says
        out.append(_finish(plain, message, native, lost))
    return out


def _finish(out: dict[str, Any], message: Message, native: bool, lost: list[str]) -> dict[str, Any]:
    if message.name is not None:
        out["name"] = message.name
    if message.extra:
        if native:
            out.update(message.extra)
        else:
            lost.extend([f"messages[].{key}" for key in message.extra])
    return out


def _tool_turns(message: Message, native: bool, lost: list[str]) -> list[dict[str, Any]]:
    results = [block for block in message.blocks if isinstance(block, ToolResult)]
    out: list[dict[str, Any]] = []
    for result in results:
        content = _content_of(result.blocks, result.form, native, lost)
        turn = {"role": "tool", "tool_call_id": result.call_id, "content": content}
        if result.extra and native:
            turn.update(result.extra)
        elif result.extra:
            _note(result.extra, "messages[].tool_result", lost)
        if result.is_error:
            lost.append("messages[].tool_result.is_error")
        if message.role == "tool" and len(results) == 1:
            turn = _finish(turn, message, native, lost)
        out.append(turn)
    rest = tuple([block for block in message.blocks if not isinstance(block, ToolResult)])
    if rest:
        out.append(_turn(message, rest, native, lost))
    return out


def _note(extra: dict[str, Any] | None, where: str, lost: list[str]) -> None:
    lost.extend([f"{where}.{key}" for key, value in (extra or {}).items() if value is not None])


def _turn(message: Message, blocks: tuple[Block, ...], native: bool, lost: list[str]) -> dict[str, Any]:
    role = "user" if message.role == "tool" else message.role
    out: dict[str, Any] = {"role": role}
    if role != "assistant":
        out["content"] = _content_of(blocks, message.form, native, lost)
        return out
    content: list[Block] = []
    calls: list[dict[str, Any]] = []
    for block in blocks:
        if isinstance(block, ToolCall):
            calls.append(render_tool_call(block, native=native))
            if block.extra and not native:
                _note(block.extra, "messages[].tool_calls[]", lost)
        elif isinstance(block, Reasoning):
            _put_reasoning(out, block, lost)
        elif isinstance(block, Refusal) and message.form != "parts":
            out["refusal"] = out.get("refusal", "") + block.text
        elif isinstance(block, Audio) and block.id is not None:
            out["audio"] = {"id": block.id, **((block.extra or {}) if native else {})}
        else:
            content.append(block)
    if content or (message.form == "parts" and native):
        out["content"] = _content_of(tuple(content), message.form, native, lost)
    elif message.form != "absent":
        out["content"] = "" if message.form in ("text", "parts") and not calls and "refusal" not in out else None
    if calls:
        out["tool_calls"] = calls
    return out


def _put_reasoning(out: dict[str, Any], block: Reasoning, lost: list[str]) -> None:
    if block.redacted:
        lost.append("messages[].redacted_thinking")
        return
    field = block.field or "reasoning_content"
    for name in REASONING_FIELDS if field == BOTH_REASONING_FIELDS else (field,):
        out[name] = out.get(name, "") + block.text
    if block.field and block.extra:
        out.update(block.extra)


def _content_of(blocks: tuple[Block, ...], form: str, native: bool, lost: list[str]) -> Any:
    if form != "parts" and all(type(block) is Text and not block.extra for block in blocks):
        return "".join([block.text for block in blocks])  # type: ignore[union-attr]  # all are Text, checked above
    parts: list[dict[str, Any]] = []
    if not native:
        for block in blocks:
            _note(getattr(block, "extra", None), "messages[].content", lost)
        if len(blocks) == 1 and isinstance(blocks[0], Text):
            return blocks[0].text  # other dialects always write lists, which not every engine takes
    for block in blocks:
        part = render_part(block, native=native)
        if part is None:
            lost.append(f"messages[].content.{getattr(block, 'dialect', type(block).__name__.lower())}")
        else:
            parts.append(part)
    return parts
