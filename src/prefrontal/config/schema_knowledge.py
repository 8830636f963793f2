"""The part of the tree that says which engrams requests are answered from, and what may be taken in over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from prefrontal.config.schema_numbers import Count, Share


class EngramEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for one engram."""

    data_class: Annotated[
        str | None,
        Meta(description="Class of what it holds, of `egress.by_data_class`: requests that use it may only reach those hosts."),
    ] = None
    threshold: Annotated[
        Share | None, Meta(description="Evidence from which its passages count, 0 to 1; left out: `knowledge.threshold`.")
    ] = None
    encoder: Annotated[
        str | None, Meta(description="Encoder of its dense vectors; `none`: words only; left out: `knowledge.encoder`.")
    ] = None


class Knowledge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Engrams in requests, and taking files in over HTTP."""

    default: Annotated[
        tuple[str, ...],
        Meta(description="Engrams that chat requests are answered from when they, their channel and their model name none."),
    ] = ()
    preload: Annotated[
        tuple[str, ...], Meta(description="Engrams that are opened at the start, so that nobody waits for them; `*`: all.")
    ] = ()
    engrams: Annotated[dict[str, EngramEntry], Meta(description="Engram → what holds for it.")] = {}
    max_tokens: Annotated[
        Count, Meta(description="Most that passages may add to a prompt, tokens (estimated). Assumed: ten passages or so.")
    ] = 2048
    threshold: Annotated[
        Share | None,
        Meta(
            description="Evidence from which passages count, 0 (always) to 1; left out: each engram has its own, found by trying "
            "questions it can and cannot answer."
        ),
    ] = None
    encoder: Annotated[
        str | None,
        Meta(
            description="Encoder of dense vectors beside the engrams, made in the background: one of `prefrontal knowledge "
            "encoder list`, or `model:` and the name of a model that makes embeddings, to whose host all passages are then sent. "
            "Left out: words only."
        ),
    ] = None
    precision: Annotated[
        Literal["float16", "int8"],
        Meta(description="How dense vectors are kept; int8 takes half the room and a fifth of the time."),
    ] = "int8"
    cache_bytes: Annotated[
        Count,
        Meta(description="Index bytes of the engrams that are kept open; the longest unused goes first. Assumed: 512 MiB."),
    ] = 536_870_912
    roots: Annotated[
        tuple[str, ...],
        Meta(description="Folders from which admins may take files in over HTTP; empty: none. `~` is the home."),
    ] = ()
    max_upload_bytes: Annotated[
        Count, Meta(description="Largest upload, bytes, all files of one request together. Assumed: 64 MiB.")
    ] = 67_108_864
