"""A request and its whole answer that are neither chat nor a stream, such as embeddings and decisions."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import CapabilityMissing, PrefrontalError
from prefrontal.execute.guarded import upstream_error
from prefrontal.providers.base import Provider, Target


class Exchanged(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. usage None: the upstream did not say. model: what it calls the one that answered."""

    answer: Any
    usage: Usage | None = None
    model: str | None = None


class Exchange(Protocol):
    """How one such request is written and its answer read. Pure."""

    def render(self, provider: Provider, target: Target) -> WireRequest:
        """Return the HTTP request. Raises CapabilityMissing when this engine has no such route."""
        ...

    def refused(self, provider: Provider, reply: WireResponse, target: Target) -> PrefrontalError:
        """Return the error that a response without success stands for."""
        ...

    def parse(self, provider: Provider, reply: WireResponse, target: Target) -> Exchanged:
        """Return the answer. Raises ProviderMisbehaved."""
        ...


class Embedding:
    """Texts to vectors."""

    def __init__(self, request: EmbeddingsRequest) -> None:
        self._request = request

    def render(self, provider: Provider, target: Target) -> WireRequest:
        """See `Exchange.render`."""
        wire = provider.render_embeddings(self._request, target)
        if wire is None:
            raise CapabilityMissing(f"'{target.card.id}' cannot make embeddings: its engine has no such route.", param="model")
        return wire

    def refused(self, provider: Provider, reply: WireResponse, target: Target) -> PrefrontalError:
        """See `Exchange.refused`."""
        return upstream_error(provider, reply, target)

    def parse(self, provider: Provider, reply: WireResponse, target: Target) -> Exchanged:
        """See `Exchange.parse`."""
        answer: EmbeddingsResponse = provider.parse_embeddings(reply, target)
        return Exchanged(answer=answer, usage=answer.usage, model=answer.model or None)
