"""Whether a request may be answered from the cache, whether its answer may be kept, and for whom. Pure."""

from __future__ import annotations

import msgspec

from prefrontal.chat.blocks import Refusal
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.config.schema_cache import Cache
from prefrontal.contracts.access import Grant
from prefrontal.contracts.cache import CacheWish

WHOLE = frozenset({"stop", "tool_calls"})
"""How an answer ends that has all its words: cut, filtered, refused and paused ones are not kept."""

LOOKS_OUTSIDE = ("web_search_options",)
"""Fields that make a model look at a world which changes."""


class CacheChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done for one request; with neither, `reason` says why."""

    look: bool = False
    keep: bool = False
    reason: str | None = None


def choose_cache(
    settings: Cache,
    request: ChatRequest,
    *,
    wish: CacheWish | None,
    grant: Grant | None,
    channel: bool | None,
    model: bool | None,
) -> CacheChoice | None:
    """Return what the cache may do; None: nobody asked for it, so nothing is said of it either.

    wish: the request's own word. channel, model: what the configuration says of them. A key, channel or model that declines is
    obeyed also when the request asks.
    """
    key = None if grant is None else grant.cache
    asked = wish is not None
    if wish == "bypass":
        return CacheChoice(reason="the request declines")
    for name, word in (("key", key), ("channel", channel), ("model", model)):
        if word is False:
            return CacheChoice(reason=f"the {name} declines") if asked else None
    if settings.mode == "off":
        return CacheChoice(reason="it is switched off") if asked else None
    if not (asked or key or channel or model or settings.mode == "all"):
        return None
    reason = _unfit(settings, request, grant, asked=asked)
    if reason is not None:
        return CacheChoice(reason=reason)
    return CacheChoice(look=wish != "refresh", keep=wish != "no-store")


def _unfit(settings: Cache, request: ChatRequest, grant: Grant | None, *, asked: bool) -> str | None:
    if grant is not None and not grant.store_content and not settings.private_keys:
        return "content of this key is not stored"
    if asked:
        return None  # whoever asks for it knows that the same answer comes again
    if request.sampling.temperature and not settings.sampled:
        return "the temperature is above 0"
    if any(tool.kind != "function" for tool in request.tools):
        return "a tool of the provider looks outside"
    if request.extra and any(request.extra.get(name) for name in LOOKS_OUTSIDE):
        return "the model looks outside"
    return None


def unkept(request: ChatRequest, response: ChatResponse) -> str | None:
    """Return why an answer is not worth keeping; None: it is complete."""
    if not response.choices:
        return "the answer is empty"
    wants_json = request.response_format is not None and request.response_format.kind != "text"
    for choice in response.choices:
        if choice.finish_reason not in WHOLE:
            return f"the answer ended with '{choice.finish_reason or 'nothing'}'"
        if any(isinstance(block, Refusal) for block in choice.blocks):
            return "the model refused"
        if not choice.blocks:
            return "the answer is empty"
        if wants_json and choice.finish_reason == "stop" and not _is_json(choice.text):
            return "the answer is not the JSON that was asked for"
    return None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def tenant_of(settings: Cache, key_id: str | None, grant: Grant | None) -> str:
    """Return who shares answers with this caller. Callers without a key are one tenant."""
    if settings.scope == "all":
        return "all"
    if settings.scope == "team" and grant is not None and grant.payer.team is not None:
        return f"team:{grant.payer.team}"
    return f"key:{key_id or ''}"
