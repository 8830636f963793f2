"""Parts of the generateContent wire, both ways.

A thought signature goes back on the part it came with: on a thought it is the reasoning block's `signature`, on a function call
the tool call's, on other parts it stays in `extra`; one that came alone, on an empty text, is a reasoning block without text.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.errors import CapabilityMissing
from prefrontal.providers.common import Report, encode, image_type, loads

DIALECT = "gemini"
OWN_ID = "gemini_call_"
"""Prefix of the ids we give to calls that came without one; such an id is not sent back."""

KEPT_EXTRAS = ("thoughtSignature", "videoMetadata", "mediaResolution")
"""Fields of a part that keep their meaning when the rest of the request came in another dialect."""

_CAMEL = {
    "inline_data": "inlineData",
    "file_data": "fileData",
    "function_call": "functionCall",
    "function_response": "functionResponse",
    "thought_signature": "thoughtSignature",
    "mime_type": "mimeType",
    "file_uri": "fileUri",
    "display_name": "displayName",
}


class Malformed(Exception):  # never leaves the wire's rooms: turned into InvalidRequest or ProviderMisbehaved
    """A part that is not one; `path` is relative to the list of parts."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path} must be {expected}")
        self.path = path
        self.expected = expected


def camel(value: dict[str, Any], names: dict[str, str] | None = None) -> dict[str, Any]:
    """Return `value` with the snake-case field names the API also takes in their usual form."""
    table = _CAMEL if names is None else names
    return {table.get(key, key): found for key, found in value.items()}


def own_id(seed: str, index: int, name: str, arguments: str) -> str:
    """Return an id for a call that came without one: the same for the same answer, another for another."""
    digest = hashlib.sha256(f"{seed}\0{index}\0{name}\0{arguments}".encode()).hexdigest()
    return OWN_ID + digest[:20]


def parse_parts(parts: list[Any], seed: str, args: list[str] | None = None) -> tuple[Block, ...]:
    """Return the blocks of some parts. `seed` makes ids for calls without one; `args` is their exact JSON. Raises Malformed."""
    out: list[Block] = []
    for i, raw in enumerate(parts):
        if not isinstance(raw, dict):
            raise Malformed(f"[{i}]", "an object")
        exact = args[i] if args and i < len(args) else ""
        try:
            out.append(parse_part(camel(raw), seed, i, exact))
        except Malformed as error:
            raise Malformed(f"[{i}].{error.path}", error.expected) from None
    return tuple(out)


def parse_part(part: dict[str, Any], seed: str, index: int, exact: str = "") -> Block:
    """Return the block of one part."""
    if isinstance(part.get("text"), str):
        return _text(part)
    call, answer = part.get("functionCall"), part.get("functionResponse")
    if isinstance(call, dict) and isinstance(call.get("name"), str):
        return _call(part, call, seed, index, exact)
    if isinstance(answer, dict) and isinstance(answer.get("name"), str):
        return _answer(part, answer)
    if isinstance(part.get("inlineData"), dict):
        return _media(part, "inlineData", "data")
    if isinstance(part.get("fileData"), dict):
        return _media(part, "fileData", "fileUri")
    return Opaque(dialect=DIALECT, value=part)


def _rest(part: dict[str, Any], *known: str) -> dict[str, Any] | None:
    return {key: value for key, value in part.items() if key not in known} or None


def _signature(part: dict[str, Any]) -> str | None:
    found = part.get("thoughtSignature")
    return found if isinstance(found, str) else None


def _text(part: dict[str, Any]) -> Block:
    signature = _signature(part)
    known = ("text", "thoughtSignature") if signature is not None else ("text",)
    if part.get("thought") is True:
        extra = _rest(part, "thought", *known)
        if not part["text"] and signature is not None:
            extra = {**(extra or {}), "thought": True}
        return Reasoning(text=part["text"], signature=signature, provider=DIALECT, extra=extra)
    if not part["text"] and signature is not None:
        return Reasoning(signature=signature, provider=DIALECT, extra=_rest(part, *known))
    return Text(text=part["text"], extra=_rest(part, "text"))


def _call(part: dict[str, Any], call: dict[str, Any], seed: str, index: int, exact: str) -> Block:
    args = call.get("args")
    if args is not None and not isinstance(args, dict):
        raise Malformed("functionCall.args", "an object")
    signature = _signature(part)
    extra = _rest(part, "functionCall", *(("thoughtSignature",) if signature is not None else ()))
    left = {key: value for key, value in call.items() if key not in ("id", "name", "args")}
    if not isinstance(call.get("id"), str) and "id" in call:
        left["id"] = call["id"]
    if "args" in call and args is None:
        left["args"] = None
    if left:
        extra = {**(extra or {}), "functionCall": left}
    arguments = exact or (encode(args).decode() if args is not None else "")
    name = str(call["name"])
    found = call.get("id")
    call_id = found if isinstance(found, str) else own_id(seed, index, name, arguments)
    return ToolCall(id=call_id, name=name, arguments=arguments, signature=signature, extra=extra)


def _answer(part: dict[str, Any], answer: dict[str, Any]) -> Block:
    found = answer.get("id")
    left = {key: value for key, value in answer.items() if key not in ("id", "name", "response")}
    if not isinstance(found, str) and "id" in answer:
        left["id"] = found
    blocks: list[Text | Image | File] = []
    response = answer.get("response")
    if isinstance(response, dict):
        blocks.append(Text(text=encode(response).decode()))
    elif "response" in answer:
        left["response"] = response
    inner = answer.get("parts")
    media = [_result_media(item) for item in inner] if isinstance(inner, list) and inner else []
    if media and all(block is not None for block in media):
        left.pop("parts")
        blocks += [block for block in media if block is not None]
    extra = _rest(part, "functionResponse") or {}
    if left:
        extra["functionResponse"] = left
    return ToolResult(
        call_id=found if isinstance(found, str) else "",
        name=str(answer["name"]),
        blocks=tuple(blocks),
        form="parts" if media else "text",
        extra=extra or None,
    )


def _result_media(item: Any) -> Image | File | None:
    """An inline part of a function's result, if it has no fields but data and type."""
    blob = item.get("inlineData") if isinstance(item, dict) and len(item) == 1 else None
    if not isinstance(blob, dict) or blob.keys() != {"mimeType", "data"} or not all(isinstance(v, str) for v in blob.values()):
        return None
    kind = Image if blob["mimeType"].startswith("image/") else File
    return kind(data=blob["data"], media_type=blob["mimeType"])


def _media(part: dict[str, Any], field: str, place: str) -> Block:
    inner = camel(part[field])
    value, media = inner.get(place), inner.get("mimeType")
    if not isinstance(value, str) or (media is not None and not isinstance(media, str)):
        raise Malformed(f"{field}.{place}", "a string")
    extra = _rest(part, field)
    name = inner.get("displayName")
    filename = name if isinstance(name, str) else None
    known = ("mimeType", place, "displayName") if filename is not None else ("mimeType", place)
    left = {key: found for key, found in inner.items() if key not in known}
    if left or ("mimeType" in inner and media is None):
        return Opaque(dialect=DIALECT, value=part)
    kind = (media or "").partition("/")[0]
    inline = field == "inlineData"
    if kind == "image" and filename is None:
        return Image(data=value, media_type=media, extra=extra) if inline else Image(url=value, media_type=media, extra=extra)
    if kind == "audio" and inline and filename is None:
        return Audio(data=value, format=str(media).partition("/")[2], extra=extra)
    if inline:
        return File(data=value, media_type=media, filename=filename, extra=extra)
    return File(url=value, media_type=media, filename=filename, extra=extra)


class PartWriter:
    """Writes blocks for one request. `names` maps the ids of earlier calls to their names; `native` as in the request."""

    def __init__(self, report: Report, names: dict[str, str], *, native: bool) -> None:
        self.report = report
        self.names = names
        self.native = native

    def write(self, block: Block, role: str) -> dict[str, Any] | None:
        """Return the part; None when it has no form here, which the report then says.

        Raises:
            CapabilityMissing: a user's file of another provider: leaving it out would change the question.
        """
        match block:
            case Text():
                return self._extras({"text": block.text}, block.extra) if block.text or self.native else None
            case Reasoning():
                return self._reasoning(block)
            case ToolCall():
                return self._call(block)
            case ToolResult():
                return self._result(block)
            case Image():
                if block.detail not in (None, "auto"):
                    self.report.drop("messages[].content.image_url.detail", "the Gemini wire has no level of detail")
                return self._extras(_image_part(block), block.extra)
            case File():
                return self._file(block)
            case Audio() if block.data is not None:
                media = f"audio/{block.format or 'wav'}"
                return self._extras(_media_part(block.data, None, media, media), block.extra)
            case Audio():
                self.report.drop("messages[].audio", "a sound known by its id alone: its transcript is sent", "translated")
                return {"text": block.transcript} if block.transcript else None
            case Refusal():
                self.report.drop("messages[].refusal", "the Gemini wire has no refusals in turns: sent as text", "translated")
                return {"text": block.text} if block.text else None
            case Opaque() if block.dialect == DIALECT:
                return block.value
            case _:
                self.report.drop(f"messages[].content.{block.dialect}", "a block that only its own dialect understands")
                return None

    def _extras(self, out: dict[str, Any], extra: dict[str, Any] | None) -> dict[str, Any]:
        for key, value in (extra or {}).items():
            if self.native or key in KEPT_EXTRAS:
                out.setdefault(key, value)
            else:
                self.report.drop(f"messages[].content.{key}", "the Gemini wire has no such field")
        return out

    def _reasoning(self, block: Reasoning) -> dict[str, Any] | None:
        if block.provider != DIALECT:
            self.report.drop("messages[].reasoning", "thinking of another provider cannot be sent back to this one")
            return None
        out: dict[str, Any] = {"text": block.text}
        extra = block.extra or {}
        if block.text or block.signature is None or extra.get("thought") is True:
            out["thought"] = True
        if block.signature is not None:
            out["thoughtSignature"] = block.signature
        return {**extra, **out}

    def _call(self, block: ToolCall) -> dict[str, Any]:
        inner: dict[str, Any] = {"name": block.name}
        if not block.id.startswith(OWN_ID):
            inner["id"] = block.id
        if block.arguments.strip() or not self.native:
            inner["args"] = self._args(block.arguments)
        extra = dict(block.extra or {})
        if self.native:
            inner.update(extra.pop("functionCall", None) or {})
        out: dict[str, Any] = {"functionCall": inner}
        if block.signature is not None:
            out["thoughtSignature"] = block.signature
        return self._extras(out, extra)

    def _args(self, arguments: str) -> msgspec.Raw:
        if not arguments.strip():
            return msgspec.Raw(b"{}")
        if isinstance(loads(arguments), dict):
            return msgspec.Raw(arguments.encode())
        reason = "arguments that are not a JSON object are sent as the field raw_arguments of one"
        self.report.drop("messages[].tool_calls[].arguments", reason, "translated")
        return msgspec.Raw(encode({"raw_arguments": arguments}))

    def _result(self, block: ToolResult) -> dict[str, Any]:
        name = block.name or self.names.get(block.call_id)
        if name is None:
            name = block.call_id
            reason = "no earlier call has this id: the id stands in for the function's name"
            self.report.drop("messages[].tool_call_id", reason, "translated")
        inner: dict[str, Any] = {"name": name}
        if block.call_id and not block.call_id.startswith(OWN_ID):
            inner["id"] = block.call_id
        texts = [b.text for b in block.blocks if isinstance(b, Text)]
        if texts or not self.native:
            inner["response"] = _response("\n".join(texts), failed=block.is_error)
        media = [_any_part(b) for b in block.blocks if isinstance(b, Image | File)]
        if media:
            inner["parts"] = media
        extra = dict(block.extra or {})
        if self.native:
            inner.update(extra.pop("functionResponse", None) or {})
        return self._extras({"functionResponse": inner}, extra)

    def _file(self, block: File) -> dict[str, Any]:
        if block.data is None and block.url is None:
            raise CapabilityMissing(
                "A file of another provider cannot be read by this one.",
                param="messages[].content.file.file_id",
                hint="Send the file's data.",
            )
        media = block.media_type or media_type_of(block.filename or "")
        out = _media_part(block.data, block.url, media, "application/pdf" if block.data is not None else None)
        if block.filename is not None and self.native:
            (out.get("inlineData") or out["fileData"])["displayName"] = block.filename
        return self._extras(out, block.extra)


def _image_part(block: Image) -> dict[str, Any]:
    return _media_part(block.data, block.url, block.media_type, image_type(block.data or "", block.media_type))


def _any_part(block: Image | File) -> dict[str, Any]:
    if isinstance(block, Image):
        return _image_part(block)
    return _media_part(block.data, block.url, block.media_type, "application/pdf")


def _media_part(data: str | None, url: str | None, media: str | None, assumed: str | None) -> dict[str, Any]:
    if data is not None:
        return {"inlineData": {"mimeType": media or assumed, "data": data}}
    kind = media or media_type_of((url or "").partition("?")[0])
    return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": url}}


_MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
}


def media_type_of(name: str) -> str | None:
    """Return the media type a file name's ending stands for, None for one this wire is not known to read."""
    return _MEDIA_TYPES.get(name.rpartition(".")[2].lower())


def _response(text: str, *, failed: bool) -> Any:
    """The result object: the text itself when it is one, else the text under the API's own keys ``output`` and ``error``."""
    if not failed and isinstance(loads(text), dict):
        return msgspec.Raw(text.encode())
    return {"error" if failed else "output": text}
