"""Content parts of Responses items: wire ↔ blocks. What a part has beyond the known fields lies in its block's `extra`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Refusal, Text
from prefrontal.providers.openai.check import missing, need_object, need_reachable, need_string, wrong_type
from prefrontal.providers.openai.parts import split_data_url

DIALECT = "responses"
TEXT_KINDS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def parse_parts(content: list[Any], where: str, role: str) -> tuple[Block, ...]:
    """Return the blocks of a content array; an unknown kind is kept verbatim. Raises InvalidRequest naming the part."""
    return tuple([_parse_part(part, f"{where}[{i}]", role) for i, part in enumerate(content)])


def _parse_part(part: object, where: str, role: str) -> Block:
    found = need_object(part, where)
    kind = need_string(found.get("type"), f"{where}.type")
    if kind in TEXT_KINDS:
        text = need_string(found.get("text"), f"{where}.text")
        extra = {key: value for key, value in found.items() if key != "text" and (key != "type" or kind != text_kind(role))}
        return Text(text=text, extra=extra or None)
    read = _READERS.get(kind)
    return Opaque(dialect=DIALECT, value=found) if read is None else read(found, where)


def text_kind(role: str) -> str:
    """Return the type of a text part in a message of `role`."""
    return "output_text" if role == "assistant" else "input_text"


def _word(part: dict[str, Any], key: str, where: str) -> str | None:
    value = part.get(key)
    if value is not None and type(value) is not str:
        raise wrong_type(f"{where}.{key}", "a string", value)
    return value


def _rest(part: dict[str, Any], *known: str) -> dict[str, Any] | None:
    """What a part has beyond `known` fields that are not null."""
    return {k: v for k, v in part.items() if k != "type" and (k not in known or v is None)} or None


def _image(part: dict[str, Any], where: str) -> Block:
    url, detail = _word(part, "image_url", where), _word(part, "detail", where)
    if url is None:
        if part.get("file_id") is None:
            raise missing(f"{where}.image_url", hint="Give image_url or file_id.")
        return Opaque(dialect=DIALECT, value={**part})
    need_reachable(url, f"{where}.image_url")
    extra = _rest(part, "image_url", "detail")
    inline = split_data_url(url)
    if inline is None:
        return Image(url=url, detail=detail, extra=extra)
    return Image(media_type=inline[0], data=inline[1], detail=detail, extra=extra)


def _file(part: dict[str, Any], where: str) -> Block:
    data, url, file_id = (_word(part, key, where) for key in ("file_data", "file_url", "file_id"))
    if data is None and url is None and file_id is None:
        raise missing(f"{where}.file_data", hint="Give file_data, file_url or file_id.")
    inline = split_data_url(data) if data is not None else None
    need_reachable(url or "", f"{where}.file_url")
    return File(
        data=inline[1] if inline else data,
        media_type=inline[0] if inline else None,
        url=url,
        file_id=file_id,
        filename=_word(part, "filename", where),
        extra=_rest(part, "file_data", "file_url", "file_id", "filename"),
    )


def _audio(part: dict[str, Any], where: str) -> Block:
    inner = need_object(part.get("input_audio"), f"{where}.input_audio")
    extra = {key: value for key, value in part.items() if key not in ("type", "input_audio")}
    left = {key: value for key, value in inner.items() if key not in ("data", "format") or value is None}
    if left:
        extra["input_audio"] = left
    place = f"{where}.input_audio"
    data = need_string(inner.get("data"), f"{place}.data")
    return Audio(data=data, format=_word(inner, "format", place), extra=extra or None)


def _refusal(part: dict[str, Any], where: str) -> Block:
    return Refusal(text=need_string(part.get("refusal"), f"{where}.refusal"), extra=_rest(part, "refusal"))


_READERS: dict[str, Callable[[dict[str, Any], str], Block]] = {
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
    "refusal": _refusal,
}


def render_part(block: Block, role: str) -> dict[str, Any]:
    """Return the part a block of this dialect came from. Blocks that are items of their own are not parts."""
    extra = getattr(block, "extra", None) or {}
    match block:
        case Text():
            return {"type": text_kind(role), "text": block.text, **extra}
        case Image():
            url = block.url if block.data is None else f"data:{block.media_type or 'image/png'};base64,{block.data}"
            return {"type": "input_image", **_given(image_url=url, detail=block.detail), **extra}
        case File():
            data = block.data if block.media_type is None else f"data:{block.media_type};base64,{block.data or ''}"
            names = _given(file_data=data, file_url=block.url, file_id=block.file_id, filename=block.filename)
            return {"type": "input_file", **names, **extra}
        case Audio():
            inner = _given(data=block.data, format=block.format)
            rest = {key: value for key, value in extra.items() if key != "input_audio"}
            return {"type": "input_audio", "input_audio": {**inner, **extra.get("input_audio", {})}, **rest}
        case Refusal():
            return {"type": "refusal", "refusal": block.text, **extra}
        case Opaque():
            return block.value
    raise ValueError(f"{type(block).__name__} is not a content part")


def _given(**fields: str | None) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
