"""Content blocks of the Messages wire, both ways.

What a block carries beyond the known fields lies in its `extra`. A kind, or a source, that has no neutral form is kept verbatim
as `Opaque` of the dialect ``anthropic``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.errors import CapabilityMissing
from prefrontal.providers.anthropic.seals import seal, unseal
from prefrontal.providers.common import Report, encode, image_type, loads

DIALECT = "anthropic"
KEPT_EXTRAS = ("cache_control", "citations", "caller", "toolset_name", "transformations", "context")
"""Fields of this wire's blocks that keep their meaning when the rest of the request came in another dialect."""


class Malformed(Exception):  # never leaves the wire's rooms: turned into InvalidRequest or ProviderMisbehaved
    """A known block lacks a field or has it in another type; `path` is relative to the block."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path} must be {expected}")
        self.path = path
        self.expected = expected


class _RawInput(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"")


_RAW_INPUTS = msgspec.json.Decoder(list[_RawInput])


def raw_inputs(content: bytes | msgspec.Raw) -> list[str]:
    """Return the JSON text of each block's ``input``, exactly as it stood (empty where there is none)."""
    try:
        return [bytes(block.input).decode() for block in _RAW_INPUTS.decode(content)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def parse_blocks(content: list[Any], inputs: list[str] | None = None) -> tuple[Block, ...]:
    """Return the blocks of a content array. `inputs`: the exact text of each tool input. Raises Malformed."""
    out: list[Block] = []
    for i, value in enumerate(content):
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise Malformed(f"[{i}]", "an object with a type")
        read = _READERS.get(value["type"])
        try:
            if value["type"] == "tool_use":
                out.append(_tool_use(value, inputs[i] if inputs and i < len(inputs) else None))
            else:
                out.append(Opaque(dialect=DIALECT, value=value) if read is None else read(value))
        except Malformed as error:
            raise Malformed(f"[{i}].{error.path}", error.expected) from None
    return tuple(out)


def _need(value: dict[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise Malformed(key, "a string")
    return found


def _rest(value: dict[str, Any], *known: str) -> dict[str, Any] | None:
    return {key: found for key, found in value.items() if key != "type" and key not in known} or None


def _text(value: dict[str, Any]) -> Block:
    return Text(text=_need(value, "text"), extra=_rest(value, "text"))


def _thinking(value: dict[str, Any]) -> Block:
    signature = value.get("signature")
    if not isinstance(signature, str):
        return Reasoning(text=_need(value, "thinking"), provider=DIALECT, extra=_rest(value, "thinking"))
    provider, own = unseal(signature) or (DIALECT, signature)
    text = _need(value, "thinking")
    return Reasoning(text=text, signature=own, provider=provider, extra=_rest(value, "thinking", "signature"))


def _redacted(value: dict[str, Any]) -> Block:
    data = _need(value, "data")
    provider, own = unseal(data) or (DIALECT, data)
    return Reasoning(redacted=True, data=own, provider=provider, extra=_rest(value, "data"))


def _tool_use(value: dict[str, Any], raw: str | None) -> Block:
    if not isinstance(value.get("input"), dict):
        raise Malformed("input", "an object")
    return ToolCall(
        id=_need(value, "id"),
        name=_need(value, "name"),
        arguments=raw or encode(value["input"]).decode(),
        extra=_rest(value, "id", "name", "input"),
    )


def _source(value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a source and its fields; ("", {}) for one with fields nobody knows."""
    source = value.get("source")
    if not isinstance(source, dict):
        raise Malformed("source", "an object")
    kind = source.get("type")
    fields = {"base64": {"type", "media_type", "data"}, "text": {"type", "media_type", "data"}, "url": {"type", "url"}}
    fields["file"] = {"type", "file_id"}
    if not isinstance(kind, str) or fields.get(kind) != source.keys() or not all(isinstance(v, str) for v in source.values()):
        return "", {}
    return kind, source


def _reachable(url: str) -> str:
    if url[:5].lower() == "file:":  # of whichever machine would open it
        raise Malformed("source.url", "an https URL")
    return url


def _image(value: dict[str, Any]) -> Block:
    kind, source = _source(value)
    extra = _rest(value, "source")
    if kind == "base64":
        return Image(data=source["data"], media_type=source["media_type"], extra=extra)
    if kind == "url":
        return Image(url=_reachable(source["url"]), extra=extra)
    return Opaque(dialect=DIALECT, value=value)


def _document(value: dict[str, Any]) -> Block:
    kind, source = _source(value)
    title = value.get("title")
    filename = title if isinstance(title, str) else None
    extra = _rest(value, "source", "title") if filename is not None else _rest(value, "source")
    if kind == "base64" and not source["media_type"].startswith("text/"):
        return File(data=source["data"], media_type=source["media_type"], filename=filename, extra=extra)
    if kind == "text" and source["media_type"] == "text/plain":
        data = base64.b64encode(source["data"].encode()).decode()
        return File(data=data, media_type="text/plain", filename=filename, extra=extra)
    if kind == "url":
        return File(url=_reachable(source["url"]), filename=filename, extra=extra)
    if kind == "file":
        return File(file_id=source["file_id"], filename=filename, extra=extra)
    return Opaque(dialect=DIALECT, value=value)


def _tool_result(value: dict[str, Any]) -> Block:
    call_id = _need(value, "tool_use_id")
    failed = value.get("is_error") is True
    extra = _rest(value, "tool_use_id", "content", "is_error") if failed else _rest(value, "tool_use_id", "content")
    content = value.get("content")
    if "content" not in value:
        return ToolResult(call_id=call_id, is_error=failed, form="text", extra=extra)
    if isinstance(content, str):
        return ToolResult(call_id=call_id, blocks=(Text(text=content),), is_error=failed, form="text", extra=extra)
    if not isinstance(content, list):
        raise Malformed("content", "a string or an array of blocks")
    try:
        found = parse_blocks(content)
    except Malformed as error:
        raise Malformed(f"content{error.path}", error.expected) from None
    blocks = tuple([block for block in found if isinstance(block, Text | Image | File)])
    if len(blocks) != len(found):
        extra = {**(extra or {}), "content": content}
    return ToolResult(call_id=call_id, blocks=blocks, is_error=failed, extra=extra)


_READERS: dict[str, Callable[[dict[str, Any]], Block]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "tool_result": _tool_result,
}


class BlockWriter:
    """Writes blocks for one request. `native`: the request came in this dialect, so its extras go back as they are.

    `client`: what is written goes to a client, who must see the thinking of every provider, and not to the API, which takes
    only its own.
    """

    def __init__(self, report: Report, *, native: bool, client: bool = False) -> None:
        self.report = report
        self.native = native
        self.client = client

    def write(self, block: Block, role: str) -> dict[str, Any] | None:
        """Return the content block; None when it has no form here, which the report then says.

        Raises:
            CapabilityMissing: a user's sound or document has no form: leaving it out would change the question.
        """
        match block:
            case Text():
                return self._text(block)
            case Reasoning():
                return self._reasoning(block)
            case ToolCall():
                return self._call(block)
            case ToolResult():
                return self._result(block)
            case Image():
                return self._image(block)
            case File():
                return self._file(block)
            case Opaque() if block.dialect == DIALECT:
                return block.value
            case Refusal():
                self.report.drop("messages[].refusal", "the Messages wire has no refusal block: sent as text", "translated")
                return {"type": "text", "text": block.text} if block.text else None
            case Audio() if role == "assistant":
                self.report.drop("messages[].audio", "the Messages wire carries no sound: its transcript is sent", "translated")
                return {"type": "text", "text": block.transcript} if block.transcript else None
            case Audio():
                raise CapabilityMissing("The Messages wire carries no audio.", param="messages[].content.input_audio")
            case _:
                self.report.drop(f"messages[].content.{block.dialect}", "a block that only its own dialect understands")
                return None

    def _extras(self, out: dict[str, Any], extra: dict[str, Any] | None, where: str) -> dict[str, Any]:
        for key, value in (extra or {}).items():
            if self.native or key in KEPT_EXTRAS:
                out.setdefault(key, value)
            else:
                self.report.drop(f"{where}.{key}", "the Messages wire has no such field")
        return out

    def _text(self, block: Text) -> dict[str, Any] | None:
        if not block.text and not self.native:
            return None  # the wire refuses empty text, and it says nothing
        return self._extras({"type": "text", "text": block.text}, block.extra, "messages[].content")

    def _reasoning(self, block: Reasoning) -> dict[str, Any] | None:
        if self.client:
            return shown_reasoning(block)
        if block.provider != DIALECT or not (block.redacted or block.signature):
            reason = "thinking without this provider's signature cannot be sent back to it"
            self.report.drop("messages[].reasoning", reason)
            return None
        if block.redacted:
            return {"type": "redacted_thinking", "data": block.data or "", **(block.extra or {})}
        return {"type": "thinking", "thinking": block.text, "signature": block.signature, **(block.extra or {})}

    def _call(self, block: ToolCall) -> dict[str, Any]:
        value = msgspec.Raw(block.arguments.encode())
        if not isinstance(loads(block.arguments), dict):
            empty = not block.arguments.strip()
            value = msgspec.Raw(b"{}" if empty else encode({"raw_arguments": block.arguments}))
            if not empty:
                reason = "arguments that are not a JSON object are sent as the field raw_arguments of one"
                self.report.drop("messages[].tool_calls[].arguments", reason, "translated")
        out = {"type": "tool_use", "id": self.call_id(block.id), "name": block.name, "input": value}
        return self._extras(out, block.extra, "messages[].tool_calls[]")

    def call_id(self, found: str) -> str:
        """Return a tool call's id in the alphabet of this wire (letters, digits, ``_`` and ``-``)."""
        if self.native:
            return found
        clean = "".join([c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in found]) or "_"
        if clean != found:
            reason = "the Messages wire allows letters, digits, _ and - in the ids of tool calls"
            self.report.drop("messages[].tool_calls[].id", reason, "translated")
        return clean

    def _result(self, block: ToolResult) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "tool_result", "tool_use_id": self.call_id(block.call_id)}
        whole = (block.extra or {}).get("content") if self.native else None
        if whole is not None:
            out["content"] = whole
        elif block.form == "text" and all(isinstance(b, Text) and not b.extra for b in block.blocks):
            if block.blocks:
                out["content"] = "".join([b.text for b in block.blocks if isinstance(b, Text)])
        else:
            out["content"] = [part for b in block.blocks if (part := self.write(b, "tool")) is not None]
        if block.is_error:
            out["is_error"] = True
        return self._extras(out, block.extra, "messages[].tool_result")

    def _image(self, block: Image) -> dict[str, Any]:
        if block.data is not None:
            source = {"type": "base64", "media_type": image_type(block.data, block.media_type), "data": block.data}
        else:
            source = {"type": "url", "url": block.url or ""}
        if block.detail not in (None, "auto"):
            self.report.drop("messages[].content.image_url.detail", "the Messages wire has no level of detail")
        return self._extras({"type": "image", "source": source}, block.extra, "messages[].content")

    def _file(self, block: File) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "document", "source": self._file_source(block)}
        if block.filename is not None:
            out["title"] = block.filename
        return self._extras(out, block.extra, "messages[].content")

    def _file_source(self, block: File) -> dict[str, Any]:
        if block.url is not None:
            return {"type": "url", "url": block.url}
        if block.file_id is not None and (self.native or block.data is None):
            if not self.native:
                raise CapabilityMissing(
                    "A file of another provider cannot be read by this one.",
                    param="messages[].content.file.file_id",
                    hint="Send the file's data.",
                )
            return {"type": "file", "file_id": block.file_id}
        media = block.media_type or ("text/plain" if (block.filename or "").endswith((".txt", ".md")) else "application/pdf")
        data = block.data or ""
        if not media.startswith("text/"):
            if media != "application/pdf" and not self.native:
                raise CapabilityMissing(
                    f"The Messages wire carries PDF and plain text documents, not {media}.", param="messages[].content.file"
                )
            return {"type": "base64", "media_type": media, "data": data}
        try:
            return {"type": "text", "media_type": "text/plain", "data": base64.b64decode(data, validate=True).decode()}
        except (binascii.Error, ValueError):
            raise CapabilityMissing("A text document must be UTF-8 in base64.", param="messages[].content.file") from None


def shown_reasoning(block: Reasoning) -> dict[str, Any]:
    """Return thinking as a client sees it: this provider's as it is, any other's under a seal."""
    own = block.provider == DIALECT
    extra = block.extra or {}
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.data or "" if own else seal(block.provider, block.data), **extra}
    out: dict[str, Any] = {"type": "thinking", "thinking": block.text}
    if not own or block.signature is not None:
        out["signature"] = block.signature if own else seal(block.provider, block.signature)
    return {**out, **extra}
