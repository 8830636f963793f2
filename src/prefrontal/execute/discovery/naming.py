"""The names discovered models go by, and what a name gives away. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.plan.musts import EMBEDDING_WORDS

RESERVED = frozenset({"auto", "reflex", "role"})
"""First parts of names by which clients let the gateway choose."""

_WORD = re.compile(r"[a-z]+")
_NO_CHAT_WORDS = EMBEDDING_WORDS | {"rerank", "reranker", "whisper", "tts"}


def name_cards(cards: Iterable[ModelCard]) -> tuple[ModelCard, ...]:
    """Return the cards with names of their own, in the same order.

    A model is called what its engine calls it. When that name is taken the next one is ``profile/name``, then
    ``profile:port/name``; a card for which all three are taken is left out, since nobody could ask for it.
    """
    taken: dict[str, ModelCard] = {}
    for card in cards:
        name = next((offer for offer in _offers(card) if offer not in taken), None)
        if name is not None:
            taken[name] = card if name == card.id else msgspec.structs.replace(card, id=name)
    return tuple(taken.values())


def _offers(card: ModelCard) -> Iterable[str]:
    wire = card.wire_name
    if wire.split("/")[0] not in RESERVED:
        yield wire
    yield f"{card.profile}/{wire}"
    port = port_of(card.base_url)
    if port is not None:
        yield f"{card.profile}:{port}/{wire}"


def port_of(base_url: str | None) -> int | None:
    """Return the port an address names."""
    return urlsplit(base_url).port if base_url else None


def place_of(card: ModelCard) -> tuple[str, str]:
    """Return what makes two cards the same model: the file, or the address and the name there."""
    return (card.local_path, "") if card.local_path else (card.base_url or "", card.wire_name)


def without_chat(card: ModelCard) -> ModelCard:
    """Return `card` as no chat model when it makes vectors, or when its name says so and its engine says nothing.

    An embedding model that joined `auto` would fail every request it is chosen for.
    """
    if card.can("chat") is not None:
        return card
    words = frozenset(_WORD.findall(card.wire_name.lower()))
    said = card.can("embedding")
    if not said and (said is False or not words & _NO_CHAT_WORDS):
        return card
    capabilities = dict(card.capabilities)
    capabilities["chat"] = Capability(value=False, origin=capabilities["embedding"].origin if said else "assumed")
    if said is None and words & EMBEDDING_WORDS:
        capabilities["embedding"] = Capability(value=True, origin="assumed")
    return msgspec.structs.replace(card, capabilities=capabilities)
