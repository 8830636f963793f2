"""Embedding requests and answers."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from prefrontal.chat.usage import UNKNOWN_USAGE, Usage


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts (or token arrays) to embed, in order. `form` remembers whether the wire carried one item or a list."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    form: Literal["one", "many"] = "many"
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    extra: dict[str, Any] | None = None


class EmbeddingsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One vector an input, in the order of the inputs; floats, or the base64 text the upstream sent when that was asked for."""

    model: str = ""
    vectors: tuple[tuple[float, ...] | str, ...] = ()
    usage: Usage = UNKNOWN_USAGE
    extra: dict[str, Any] | None = None
