"""Which engine answers at a port: read from what it says, never from the port alone. Pure.

Several engines share a port (8000: vLLM and transformers; 8080: llama.cpp and half of the world's development servers), and
people move engines to other ports. The signs, in the order they count:

1. the owner that a list of models names (``owned_by``), or the ``server`` header;
2. the shape of a list that only one engine has (Ollama's tags);
3. a route that only one engine has (llama.cpp's ``/props``, LM Studio's ``/api/v1/models``, TGI's ``/info``).

Whatever lists models in OpenAI's form without a sign is an ``openai-compatible`` server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec

from prefrontal.contracts.wire import WireResponse
from prefrontal.providers.common import loads

GENERIC = "openai-compatible"
"""Profile of a server that speaks the common wire and does not say what it is."""

OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llamacpp", "llama.cpp": "llamacpp", "library": "ollama"}
"""Owner named in a list of models → profile. ``library`` is what Ollama writes on its OpenAI routes."""

SHARED_OWNERS = {"organization_owner": "lmstudio"}
"""Owners that others write too: they count only for a profile that is expected at the port."""

SERVERS = {"llama.cpp": "llamacpp"}
"""``server`` header → profile."""

NATIVE_KEYS = {"llamacpp": ("default_generation_settings",), "tgi": ("model_id", "max_total_tokens")}
"""Keys that the answer of a profile's own probe route has, and nobody else's."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A list of models as far as it tells its author. `rows` are the objects listed."""

    shape: Literal["openai", "ollama", "lmstudio", "empty"]
    rows: tuple[dict[str, Any], ...]


def read_listing(response: WireResponse) -> Listing | None:
    """Return the list of models in a response; None when it is none."""
    raw = loads(response.body) if response.status == 200 else None
    if not isinstance(raw, dict):
        return None
    for key in ("data", "models"):
        listed = raw.get(key)
        if isinstance(listed, list) and all(isinstance(row, dict) for row in listed):
            shape = _shape(listed, key)
            if shape is not None:
                return Listing(shape=shape, rows=tuple(listed))
    return None


def _shape(rows: list[dict[str, Any]], key: str) -> Literal["openai", "ollama", "lmstudio", "empty"] | None:
    if not rows:
        return "empty"
    if key == "data":
        return "openai" if all(isinstance(row.get("id"), str) for row in rows) else None
    if all(isinstance(row.get("key"), str) for row in rows):
        return "lmstudio"
    return "ollama" if all(isinstance(row.get("name") or row.get("model"), str) for row in rows) else None


def claimed_profile(listing: Listing, headers: Mapping[str, str], expected: Collection[str]) -> str | None:
    """Return the profile that a list of models betrays; None when nothing does. `expected`: profiles that use this port."""
    server = headers.get("server", "").split("/")[0].lower()
    if server in SERVERS:
        return SERVERS[server]
    for row in listing.rows:
        owner = row.get("owned_by")
        if not isinstance(owner, str):
            continue
        if owner.lower() in OWNERS:
            return OWNERS[owner.lower()]
        if SHARED_OWNERS.get(owner.lower()) in expected:
            return SHARED_OWNERS[owner.lower()]
    if listing.shape in ("ollama", "lmstudio"):
        return listing.shape
    if "transformers" in expected and listing.rows and all(_owned_by_prefix(row) for row in listing.rows):
        return "transformers"  # it writes the account of the hub as the owner: Qwen/Qwen3-4B is owned by Qwen
    return None


def _owned_by_prefix(row: dict[str, Any]) -> bool:
    prefix, slash, _ = str(row.get("id")).partition("/")
    return bool(slash) and row.get("owned_by") == prefix


def is_native(profile: str, response: WireResponse) -> bool:
    """Return whether the answer of a profile's own probe route is really that engine's."""
    if profile == "lmstudio":
        listing = read_listing(response)
        return listing is not None and listing.shape == "lmstudio"
    raw = loads(response.body) if response.status == 200 else None
    keys = NATIVE_KEYS.get(profile)
    return keys is not None and isinstance(raw, dict) and all(key in raw for key in keys)
