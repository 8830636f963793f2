"""The name of an answer in the cache: a digest of everything that could have made it another. Pure.

What does not matter is listed here by name, and everything else counts: a field that somebody adds to a request, a hint or a
model's card is part of the name from its first day.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from prefrontal.chat.request import ChatRequest, Hints
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard

VERSION = 1
"""Of what is written to upstreams for one and the same request; counted up when rendering changes, so old answers are left."""

NEUTRAL_REQUEST = frozenset(
    {"model", "stream", "stream_given", "include_usage", "stream_options", "metadata", "user", "hints"}
)
"""How the answer travels, who asks and under which name; the model behind the name is in the card."""

NEUTRAL_EXTRA = frozenset({"safety_identifier", "prompt_cache_key", "prompt_cache_retention", "store"})
"""Unknown fields that are known to leave the answer alone."""

NEUTRAL_HINTS = frozenset(
    {
        *("prefer", "effort", "channel", "session", "urgency", "risk", "needs", "max_cost_usd", "deadline_s"),
        *("fallback", "reflex", "timezone", "cache"),
    }
)
"""Hints choose the model and the effort, which are in the name as what was chosen."""

NEUTRAL_CARD = frozenset(
    {
        *("key", "price", "roles", "strengths", "weaknesses", "tags", "priority", "memory_bytes", "latency_ms", "quality"),
        *("max_concurrency", "max_queue", "self_hosted", "licence", "enabled", "auto", "origin", "provider", "cache"),
        *("context_tokens", "context_origin", "tls_verify", "tls_ca_file", "timeout_s"),
        *("deployment", "weight", "balance", "hedge"),
    }
)
"""What is known of a model that changes neither what is sent to it nor who it is."""

OWNER_DIGITS = 8
MODEL_DIGITS = 8
DIGITS = 40
"""Hexadecimal digits of a name's three parts; the last has 160 bits, so that nobody finds two requests of one name."""


class CacheKey(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer lies. `name` begins with the parts for its tenant and its model, so all of either can be found."""

    name: str
    tenant: str
    model: str


def key_of(
    request: ChatRequest,
    card: ModelCard,
    fields: EffortFields,
    *,
    tenant: str,
    default_cap: int | None = None,
    revision: str = "",
    data_classes: tuple[str, ...] = (),
) -> CacheKey:
    """Return the name of the answer to `request` by this model, for this tenant.

    fields: effort as it is rendered for the model. default_cap: the output cap that is sent when the caller gave none.
    revision: which build of the program and of a local model's file it is. data_classes: what kinds of data the request is; those
    of one kind are never answered from another.
    """
    parts = (
        *(VERSION, revision, tenant, default_cap, data_classes, fields),
        _card(card),
        [getattr(request.hints, name) for name in Hints.__struct_fields__ if name not in NEUTRAL_HINTS],
        [_value(request, name) for name in ChatRequest.__struct_fields__ if name not in NEUTRAL_REQUEST],
    )
    digest = blake2b(_ENCODER.encode(parts), digest_size=DIGITS // 2).hexdigest()
    return CacheKey(name=tenant_part(tenant) + model_part(card.id) + digest, tenant=tenant, model=card.id)


def tenant_part(tenant: str) -> str:
    """Return what the names of a tenant's answers begin with."""
    return _short(tenant, OWNER_DIGITS)


def model_part(model: str) -> str:
    """Return what stands behind the tenant's part in the names of a model's answers."""
    return _short(model, MODEL_DIGITS)


def is_name(text: str) -> bool:
    """Return whether a text can be the name of an answer."""
    return len(text) == OWNER_DIGITS + MODEL_DIGITS + DIGITS and set(text) <= set("0123456789abcdef")


def identity_of(card: ModelCard) -> bytes:
    """Return a digest of everything about a model that could change its answers."""
    return blake2b(_ENCODER.encode(_card(card)), digest_size=16).digest()


def _card(card: ModelCard) -> list[Any]:
    """What of a model counts; the places that serve it are cards of their own."""
    return [
        [_card(place) for place in card.deployments] if name == "deployments" else getattr(card, name)
        for name in ModelCard.__struct_fields__
        if name not in NEUTRAL_CARD
    ]


def _value(request: ChatRequest, name: str) -> Any:
    if name != "extra" or not request.extra:
        return getattr(request, name)
    # fields of an object have no order; inside tools and schemas they keep theirs, because models see it
    return sorted([(key, value) for key, value in request.extra.items() if key not in NEUTRAL_EXTRA], key=_first) or None


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]


def _short(text: str, digits: int) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2).hexdigest()


def _told(value: object) -> str:
    """What JSON does not know is told apart by how it is written."""
    return repr(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_told)
