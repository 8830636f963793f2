"""Content blocks: the neutral alphabet every dialect is translated into.

A block keeps fields it does not know in `extra`, so that a translation back to the same dialect loses nothing.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text", omit_defaults=True):
    """Plain text."""

    text: str
    extra: dict[str, Any] | None = None


class Image(msgspec.Struct, frozen=True, kw_only=True, tag="image", omit_defaults=True):
    """An image: either `url` (http, https) or `data` (base64) with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    extra: dict[str, Any] | None = None


class Audio(msgspec.Struct, frozen=True, kw_only=True, tag="audio", omit_defaults=True):
    """Sound: base64 `data` in `format` (wav, mp3, …), or a reference by `id` to an earlier answer."""

    data: str | None = None
    format: str | None = None
    id: str | None = None
    transcript: str | None = None
    extra: dict[str, Any] | None = None


class File(msgspec.Struct, frozen=True, kw_only=True, tag="file", omit_defaults=True):
    """A document: inline base64 `data`, a `url`, or the provider's `file_id`."""

    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    media_type: str | None = None
    extra: dict[str, Any] | None = None


class Reasoning(msgspec.Struct, frozen=True, kw_only=True, tag="reasoning", omit_defaults=True):
    """Thinking made visible. `signature` and `data` (redacted) are opaque and must go back unchanged to `provider`.

    `field` names the wire field it came from (``reasoning_content``, ``reasoning``), so that it returns under that name.
    """

    text: str = ""
    signature: str | None = None
    redacted: bool = False
    data: str | None = None
    provider: str | None = None
    field: str | None = None
    extra: dict[str, Any] | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="tool_call", omit_defaults=True):
    """A call the model asks for. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    kind: str = "function"
    signature: str | None = None
    extra: dict[str, Any] | None = None


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="tool_result", omit_defaults=True):
    """What a tool returned, as blocks. `form` is ``text`` when the wire carried one plain string."""

    call_id: str
    blocks: tuple[Text | Image | File, ...] = ()
    name: str | None = None
    is_error: bool = False
    form: Literal["text", "parts"] = "parts"
    extra: dict[str, Any] | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal", omit_defaults=True):
    """The model declined; `text` is its explanation."""

    text: str
    extra: dict[str, Any] | None = None


class Opaque(msgspec.Struct, frozen=True, kw_only=True, tag="opaque", omit_defaults=True):
    """A block of one dialect that has no neutral form; kept verbatim and returned only to `dialect`."""

    dialect: str
    value: dict[str, Any]


Block = Text | Image | Audio | File | Reasoning | ToolCall | ToolResult | Refusal | Opaque
