"""Messages of the native Ollama wire, both ways: text, thinking, inline images and tool calls; nothing else has a form."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, ContentForm, Message, Role
from prefrontal.errors import CapabilityMissing, InvalidRequest
from prefrontal.providers.common import Report, encode, loads

DIALECT = "ollama"
OWN_ID = "ollama_call_"
"""Prefix of the ids we give to calls that came without one; such an id is not sent back."""

_KNOWN = ("role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id")
_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class _RawFunction(msgspec.Struct, frozen=True):
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _RawCall(msgspec.Struct, frozen=True):
    function: _RawFunction = _RawFunction()


class _RawMessage(msgspec.Struct):
    tool_calls: list[_RawCall] | None = None


_RAW = msgspec.json.Decoder(_RawMessage)


def exact_arguments(message: bytes | msgspec.Raw) -> list[str]:
    """Return the JSON text of each call's arguments in a message, exactly as it stood."""
    try:
        calls = _RAW.decode(message).tool_calls or []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [bytes(call.function.arguments).decode() for call in calls]


def own_id(seed: str, index: int, name: str, arguments: str) -> str:
    """Return an id for a call that came without one: the same for the same answer, another for another."""
    digest = hashlib.sha256(f"{seed}\0{index}\0{name}\0{arguments}".encode()).hexdigest()
    return OWN_ID + digest[:20]


def parse_call(value: Any, where: str, seed: str, index: int, exact: str = "") -> ToolCall:
    """Return one tool call. Raises InvalidRequest naming the field."""
    function = value.get("function") if isinstance(value, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise InvalidRequest(f"'{where}.function.name' must be a string.", param=f"{where}.function.name")
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise InvalidRequest(f"'{where}.function.arguments' must be an object.", param=f"{where}.function.arguments")
    text = exact if exact and exact != "null" else encode(arguments or {}).decode()
    extra = {key: found for key, found in value.items() if key not in ("id", "function")}
    left = {key: found for key, found in function.items() if key not in ("name", "arguments")}
    if arguments is None:
        left["arguments"] = None if "arguments" in function else _ABSENT
    if left:
        extra["function"] = left
    found = value.get("id")
    if "id" in value and not isinstance(found, str):
        extra["id"] = found
    call_id = found if isinstance(found, str) else own_id(seed, index, name, text)
    return ToolCall(id=call_id, name=name, arguments=text, extra=extra or None)


_ABSENT = "\0absent"


def parse_messages(value: list[Any], raws: list[msgspec.Raw]) -> tuple[Message, ...]:
    """Return the messages of a request. `raws`: their exact bytes. Raises InvalidRequest naming the field."""
    out: list[Message] = []
    for i, item in enumerate(value):
        where = f"messages[{i}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"'{where}' must be an object.", param=where)
        role, content = item.get("role"), item.get("content")
        if role not in _ROLES:
            raise InvalidRequest(f"'{where}.role' must be system, user, assistant or tool.", param=f"{where}.role")
        if content is not None and not isinstance(content, str):
            raise InvalidRequest(f"'{where}.content' must be a string.", param=f"{where}.content")
        out.append(_parse(item, _ROLES[role], content, where, raws[i] if raws else None))
    return _linked(tuple(out))


def _parse(item: dict[str, Any], role: Role, content: str | None, where: str, raw: msgspec.Raw | None) -> Message:
    extra = {key: found for key, found in item.items() if key not in _KNOWN}
    blocks: list[Block] = []
    if isinstance(item.get("thinking"), str):
        blocks.append(Reasoning(text=item["thinking"], provider=DIALECT))
    elif "thinking" in item:
        extra["thinking"] = item["thinking"]
    if content is not None:
        blocks.append(Text(text=content))
    images = item.get("images")
    if isinstance(images, list) and images and all(isinstance(image, str) for image in images):
        blocks += [Image(data=image) for image in images]
    elif "images" in item:
        extra["images"] = images
    calls = item.get("tool_calls")
    if isinstance(calls, list) and calls:
        exact = exact_arguments(raw) if raw is not None else []
        for j, call in enumerate(calls):
            text = exact[j] if j < len(exact) else ""
            blocks.append(parse_call(call, f"{where}.tool_calls[{j}]", where, j, text))
    elif "tool_calls" in item:
        extra["tool_calls"] = calls
    form: ContentForm = "text" if content is not None else "none" if "content" in item else "absent"
    names: dict[str, Any] = {key: item[key] for key in ("tool_name", "tool_call_id") if key in item}
    if role == "tool":
        call_id = names.pop("tool_call_id") if isinstance(names.get("tool_call_id"), str) else ""
        name = names.pop("tool_name") if isinstance(names.get("tool_name"), str) else None
        inner = tuple([block for block in blocks if isinstance(block, Text | Image)])
        rest = tuple([block for block in blocks if not isinstance(block, Text | Image)])
        result = ToolResult(call_id=call_id, name=name, blocks=inner, form="text")
        return Message(role="tool", blocks=(result, *rest), form=form, extra={**extra, **names} or None)
    return Message(role=role, blocks=tuple(blocks), form=form, extra={**extra, **names} or None)


def _linked(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Give results that came without an id the id of the first unanswered call, of their name where they say it."""
    waiting: list[ToolCall] = []
    out: list[Message] = []
    for i, message in enumerate(messages):
        waiting += [block for block in message.blocks if isinstance(block, ToolCall)]
        first = message.blocks[0] if message.blocks else None
        if message.role == "tool" and isinstance(first, ToolResult) and not first.call_id:
            found = next((call for call in waiting if first.name in (None, call.name)), None)
            if found is not None:
                waiting.remove(found)
            plain = (
                found.id if found is not None and found.id.startswith(OWN_ID) else own_id(f"result{i}", 0, first.name or "", "")
            )
            message = msgspec.structs.replace(  # the linked one stands for it
                message, blocks=(msgspec.structs.replace(first, call_id=plain), *message.blocks[1:])
            )
        out.append(message)
    return tuple(out)


class MessageWriter:
    """Writes the messages of one request. `native` as in the other wires; `think_back`: when thinking goes back (profile)."""

    def __init__(self, report: Report, *, native: bool, think_back: str = "never") -> None:
        self.report = report
        self.native = native
        self.think_back = think_back
        self._names: dict[str, str] = {}

    def write(self, request: ChatRequest) -> list[dict[str, Any]]:
        """Return the messages. Raises CapabilityMissing for content of a user that has no form here."""
        out: list[dict[str, Any]] = []
        for message in request.messages:
            results = [block for block in message.blocks if isinstance(block, ToolResult)]
            rest = tuple([block for block in message.blocks if not isinstance(block, ToolResult)])
            if self.native and results:
                out.append(self._result(results[0], message, rest))
                continue
            out += [self._result(result, message, ()) for result in results]
            if rest or not results:
                out.append(self._turn(message, rest))
        return out

    def _turn(self, message: Message, blocks: tuple[Block, ...]) -> dict[str, Any]:
        role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
        out: dict[str, Any] = {"role": role}
        texts: list[str] = []
        images: list[str] = []
        calls = [block for block in blocks if isinstance(block, ToolCall)]
        for block in blocks:
            if isinstance(block, Reasoning):
                self._reasoning(out, block, tool_turn=bool(calls))
            elif not isinstance(block, ToolCall):
                self._content(block, texts, images, role)
        if texts or message.form in ("text", "parts") or not self.native:
            out["content"] = "\n".join(texts)
        elif message.form == "none":
            out["content"] = None
        if images:
            out["images"] = images
        if calls:
            out["tool_calls"] = [self._call(call) for call in calls]
        return self._fields(out, message)

    def _fields(self, out: dict[str, Any], message: Message) -> dict[str, Any]:
        if message.name is not None:
            self.report.drop("messages[].name", "the Ollama wire has no names of participants")
        if self.native:
            return {**out, **(message.extra or {})}
        for key in message.extra or ():
            self.report.drop(f"messages[].{key}", "the Ollama wire has no such field")
        return out

    def _content(self, block: Block, texts: list[str], images: list[str], role: str) -> None:
        match block:
            case Text():
                texts.append(block.text)
                self._note_extra(block.extra)
            case Image():
                images.append(self._image(block))
                self._note_extra(block.extra)
            case Refusal():
                self.report.drop("messages[].refusal", "the Ollama wire has no refusals: sent as text", "translated")
                texts.append(block.text)
            case Audio() if role == "assistant":
                self.report.drop("messages[].audio", "the Ollama wire carries no sound: its transcript is sent", "translated")
                texts.append(block.transcript or "")
            case Audio():
                raise CapabilityMissing("The Ollama wire carries no audio.", param="messages[].content.input_audio")
            case File():
                raise CapabilityMissing(
                    "The Ollama wire carries no documents.", param="messages[].content.file", hint="Send the document's text."
                )
            case Opaque():
                self.report.drop(f"messages[].content.{block.dialect}", "a block that only its own dialect understands")
            case _:
                self.report.drop("messages[].content", "a block without a form on the Ollama wire")

    def _image(self, block: Image) -> str:
        if block.data is None:
            raise CapabilityMissing(
                "The Ollama wire carries images as data, not by URL.",
                param="messages[].content.image_url.url",
                hint="Send the image as a base64 data URL.",
            )
        if block.detail not in (None, "auto"):
            self.report.drop("messages[].content.image_url.detail", "the Ollama wire has no level of detail")
        return block.data

    def _note_extra(self, extra: dict[str, Any] | None) -> None:
        for key in extra or ():
            self.report.drop(f"messages[].content.{key}", "the Ollama wire has no such field")

    def _reasoning(self, out: dict[str, Any], block: Reasoning, *, tool_turn: bool) -> None:
        if self.native and block.provider == DIALECT:
            out["thinking"] = block.text
        elif block.redacted or block.provider not in (None, DIALECT):
            self.report.drop("messages[].reasoning", "thinking of another provider cannot be sent back to this one")
        elif self.think_back == "always" or (self.think_back == "tool_turns" and tool_turn):
            out["thinking"] = out.get("thinking", "") + block.text
        else:
            self.report.drop("messages[].reasoning", "this engine's templates leave thinking of earlier turns out")

    def _call(self, call: ToolCall) -> dict[str, Any]:
        self._names[call.id] = call.name
        value = msgspec.Raw(call.arguments.encode())
        if not isinstance(loads(call.arguments), dict):
            empty = not call.arguments.strip()
            value = msgspec.Raw(b"{}" if empty else encode({"raw_arguments": call.arguments}))
            if not empty:
                reason = "arguments that are not a JSON object are sent as the field raw_arguments of one"
                self.report.drop("messages[].tool_calls[].arguments", reason, "translated")
        function: dict[str, Any] = {"name": call.name, "arguments": value}
        out: dict[str, Any] = {} if call.id.startswith(OWN_ID) else {"id": call.id}
        extra = dict(call.extra or {})
        if self.native:
            function.update(extra.pop("function", None) or {})
            if function["arguments"] == _ABSENT:
                del function["arguments"]
            return {**out, "function": function, **extra}
        for key in extra:
            self.report.drop(f"messages[].tool_calls[].{key}", "the Ollama wire has no such field")
        if call.signature is not None:
            self.report.drop("messages[].tool_calls[].signature", "a signature that only another provider reads")
        return {**out, "function": function}

    def _result(self, result: ToolResult, message: Message, rest: tuple[Block, ...]) -> dict[str, Any]:
        texts: list[str] = []
        images: list[str] = []
        for block in result.blocks:
            self._content(block, texts, images, "tool")
        out: dict[str, Any] = {"role": "tool"}
        if texts or message.form in ("text", "parts") or not self.native:
            out["content"] = "\n".join(texts)
        elif message.form == "none":
            out["content"] = None
        if images:
            out["images"] = images
        name = result.name or (None if self.native else self._names.get(result.call_id))
        if name is not None:
            out["tool_name"] = name
        if result.call_id and not result.call_id.startswith(OWN_ID):
            out["tool_call_id"] = result.call_id
        if result.is_error and not self.native:
            self.report.drop(
                "messages[].is_error", "the Ollama wire has no mark for failed tools: the text says it", "translated"
            )
        for other in rest:
            if isinstance(other, Reasoning):
                self._reasoning(out, other, tool_turn=False)
            elif isinstance(other, ToolCall):
                out.setdefault("tool_calls", []).append(self._call(other))
        return self._fields(out, message)
