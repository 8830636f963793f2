"""Content parts of chat messages: text, image_url, input_audio, file, refusal; anything else is kept verbatim.

Fields a part has beyond the known ones go to the block's `extra`; those of its inner object lie there under the inner
object's own name, so that nothing is lost and nothing collides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefrontal.chat.blocks import Audio, Block, File, Image, Opaque, Refusal, Text
from prefrontal.providers.openai.check import missing, need_object, need_reachable, need_string, wrong_type

DIALECT = "openai"
Extra = dict[str, Any] | None


def parse_parts(content: list[Any], where: str) -> tuple[Block, ...]:
    """Return the blocks of a content array. Raises InvalidRequest naming the part."""
    return tuple([_parse_part(part, where, i) for i, part in enumerate(content)])


def _parse_part(part: object, where: str, index: int) -> Block:
    if type(part) is not dict:
        raise wrong_type(f"{where}[{index}]", "an object", part)
    kind = part.get("type")
    if kind == "text" and len(part) == 2 and type(part.get("text")) is str:
        return Text(text=part["text"])
    place = f"{where}[{index}]"
    if type(kind) is not str:
        raise missing(f"{place}.type") if kind is None else wrong_type(f"{place}.type", "a string", kind)
    parse = _PARSERS.get(kind)
    return parse(part, place) if parse else Opaque(dialect=DIALECT, value=part)


def _rest(part: dict[str, Any], inner: dict[str, Any] | None, name: str, known: tuple[str, ...]) -> Extra:
    """What is left of `part` and of its `inner` object called `name` after the `known` fields are taken out."""
    extra = {key: value for key, value in part.items() if key not in ("type", name)}
    if inner is not None:
        left = {key: value for key, value in inner.items() if key not in known}
        if left:
            extra[name] = left
    return extra or None


def _optional(inner: dict[str, Any], key: str, where: str) -> str | None:
    value = inner.get(key)
    if value is not None and type(value) is not str:
        raise wrong_type(f"{where}.{key}", "a string", value)
    return value


def _nulls(inner: dict[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    """Known fields that are not null: a null stays with the extras, so that it comes back as it was."""
    return tuple([key for key in known if inner.get(key) is not None])


def _text(part: dict[str, Any], where: str) -> Text:
    return Text(text=need_string(part.get("text"), f"{where}.text"), extra=_rest(part, None, "text", ()))


def _refusal(part: dict[str, Any], where: str) -> Refusal:
    return Refusal(text=need_string(part.get("refusal"), f"{where}.refusal"), extra=_rest(part, None, "refusal", ()))


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return (media type with parameters, base64 text) of a base64 data URL, None for any other URL."""
    if not url.startswith("data:"):
        return None
    head, mark, data = url[5:].partition(";base64,")
    return (head, data) if mark and head else None


def _image(part: dict[str, Any], where: str) -> Image:
    place = f"{where}.image_url"
    inner = need_object(part.get("image_url"), place) if "image_url" in part else _lacking(place)
    url = need_reachable(need_string(inner.get("url"), f"{place}.url"), f"{place}.url")
    detail = _optional(inner, "detail", place)
    extra = _rest(part, inner, "image_url", _nulls(inner, ("url", "detail")))
    inline = split_data_url(url)
    if inline is None:
        return Image(url=url, detail=detail, extra=extra)
    return Image(media_type=inline[0], data=inline[1], detail=detail, extra=extra)


def _audio(part: dict[str, Any], where: str) -> Audio:
    place = f"{where}.input_audio"
    inner = need_object(part.get("input_audio"), place) if "input_audio" in part else _lacking(place)
    data = need_string(inner.get("data"), f"{place}.data")
    extra = _rest(part, inner, "input_audio", _nulls(inner, ("data", "format")))
    return Audio(data=data, format=_optional(inner, "format", place), extra=extra)


def _file(part: dict[str, Any], where: str) -> File:
    place = f"{where}.file"
    inner = need_object(part.get("file"), place) if "file" in part else _lacking(place)
    data = _optional(inner, "file_data", place)
    file_id = _optional(inner, "file_id", place)
    if data is None and file_id is None:
        raise missing(f"{place}.file_data", hint="Give file_data or file_id.")
    inline = split_data_url(data) if data is not None else None
    return File(
        data=inline[1] if inline else data,
        media_type=inline[0] if inline else None,
        file_id=file_id,
        filename=_optional(inner, "filename", place),
        extra=_rest(part, inner, "file", _nulls(inner, ("file_data", "file_id", "filename"))),
    )


def _lacking(where: str) -> dict[str, Any]:
    raise missing(where)


_PARSERS: dict[str, Callable[[dict[str, Any], str], Block]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _audio,
    "file": _file,
    "refusal": _refusal,
}


def render_part(block: Block, *, native: bool) -> dict[str, Any] | None:
    """Return the content part of a block; None when this dialect has no form for it.

    `native`: the block's extras are of this dialect and are put back.
    """
    if type(block) is Text:
        part: dict[str, Any] = {"type": "text", "text": block.text}
        return {**part, **block.extra} if native and block.extra else part
    if isinstance(block, Opaque):
        return block.value if block.dialect == DIALECT else None
    found = _render(block)
    if found is None:
        return None
    kind, name, inner = found
    extra = getattr(block, "extra", None) if native else None
    if not extra:
        return {"type": kind, name: inner}
    if isinstance(inner, dict):
        inner.update(extra.get(name) or {})
    return {"type": kind, **extra, name: inner}


def _render(block: Block) -> tuple[str, str, Any] | None:
    """The part's type, the name of its inner field, and that field's value."""
    if isinstance(block, Image):
        url = block.url if block.data is None else f"data:{block.media_type or 'image/png'};base64,{block.data}"
        return "image_url", "image_url", _given(url=url, detail=block.detail)
    if isinstance(block, Audio):
        return "input_audio", "input_audio", _given(data=block.data, format=block.format)
    if isinstance(block, File):
        data = block.data if block.media_type is None or block.data is None else f"data:{block.media_type};base64,{block.data}"
        return "file", "file", _given(file_data=data, file_id=block.file_id, filename=block.filename)
    if isinstance(block, Refusal):
        return "refusal", "refusal", block.text
    return None


def _given(**fields: str | None) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
