"""The part of the tree that says which answers are kept to be given again."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

CacheMode = Literal["off", "asked", "all"]
CacheScope = Literal["key", "team", "all"]


class Cache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exact response cache: the same request gets the same answer again. It holds what was asked and answered."""

    mode: Annotated[
        CacheMode,
        Meta(
            description="Who uses it: nobody; requests that ask for it, by themselves or through their key, channel or model; "
            "or all that do not decline."
        ),
    ] = "asked"
    ttl_s: Annotated[float, Meta(gt=0, description="How long an answer is given again, s. Assumed: an hour.")] = 3600.0
    max_bytes: Annotated[
        int, Meta(ge=1024, description="Most to keep, bytes; the longest unused goes first. Assumed: 64 MiB.")
    ] = 67_108_864
    max_entry_bytes: Annotated[
        int, Meta(ge=256, description="Longer answers are not kept, bytes. Assumed: 1 MiB, far beyond the longest text.")
    ] = 1_048_576
    scope: Annotated[
        CacheScope,
        Meta(description="Who shares answers: each key by itself, the keys of a team, or everybody, whoever paid."),
    ] = "key"
    sampled: Annotated[
        bool,
        Meta(description="Whether requests with a temperature above 0 count too, without asking for it themselves."),
    ] = False
    private_keys: Annotated[
        bool, Meta(description="Whether answers are kept for keys whose content is never stored (`store_content: false`).")
    ] = False
    single_flight: Annotated[
        bool, Meta(description="Whether equal requests at the same time wait for one call instead of making one each.")
    ] = True
    persist: Annotated[
        bool,
        Meta(description="Whether answers lie in a file instead of in memory, for all processes here. Takes effect at start."),
    ] = False
    path: Annotated[
        str | None,
        Meta(description="The file; left out: `$PREFRONTAL_HOME/cache.db`. Takes effect at start."),
    ] = None
