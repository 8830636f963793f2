"""The provider contract: pure pairs of functions between blocks and one wire.

A provider holds no connection, no clock and no key of its own. It turns a request into bytes to send (and says what it left
out) and the bytes that come back into blocks. Transport, retries, budgets, caches and traces live elsewhere.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse, Chunk
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderError
from prefrontal.providers.profile import Profile


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request goes: the model's card, the profile of its engine, and the resolved base URL (no trailing slash)."""

    card: ModelCard
    profile: Profile
    base_url: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One model an engine lists, or what a probe learned about one. None / empty: the engine did not say."""

    id: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    capabilities: dict[str, Capability] = {}
    effort_levels: tuple[str, ...] = ()
    owned_by: str | None = None
    size_bytes: int | None = None
    loaded: bool | None = None
    extra: dict[str, Any] | None = None


class StreamParser(Protocol):
    """Turns the bytes of one streamed answer into chunks, whatever way the bytes are cut."""

    def feed(self, data: bytes) -> list[Chunk]:
        """Return the chunks completed by `data`.

        Raises:
            ProviderError: the stream carried an error event, or bytes that are not of this wire.
        """
        ...

    def finish(self) -> list[Chunk]:
        """Return what is left at the end of the bytes.

        Raises:
            ProviderCut: the stream ended before its own end mark.
        """
        ...


@runtime_checkable
class Provider(Protocol):
    """One wire. All methods are pure; a None from a ``render_`` method means that the engine has no such route."""

    @property
    def wire(self) -> str:
        """The name profiles refer to."""
        ...

    def render_chat(self, request: ChatRequest, target: Target, effort: EffortFields, *, stream: bool) -> WireRequest:
        """Return the HTTP request; what could not be carried is listed in its `dropped`."""
        ...

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        """Return the answer. Raises ProviderMisbehaved when the body is not one."""
        ...

    def stream_parser(self, target: Target) -> StreamParser:
        """Return a fresh parser for one streamed answer."""
        ...

    def parse_error(self, response: WireResponse, target: Target) -> ProviderError:
        """Return the error a non-2xx response stands for, classified; never raises."""
        ...

    def render_embeddings(self, request: EmbeddingsRequest, target: Target) -> WireRequest | None:
        """Return the HTTP request for embeddings."""
        ...

    def parse_embeddings(self, response: WireResponse, target: Target) -> EmbeddingsResponse:
        """Return the vectors in the order of the inputs."""
        ...

    def render_count(self, request: ChatRequest, target: Target) -> WireRequest | None:
        """Return the request that counts the input tokens of a chat request on the engine."""
        ...

    def parse_count(self, response: WireResponse, target: Target) -> int:
        """Return the count. Raises ProviderMisbehaved."""
        ...

    def render_models(self, target: Target) -> WireRequest | None:
        """Return the request that lists the engine's models."""
        ...

    def parse_models(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models listed. Raises ProviderMisbehaved."""
        ...

    def render_probe(self, target: Target) -> WireRequest | None:
        """Return the request that reads one model's capabilities from the engine (``/props``, ``/api/show`` …)."""
        ...

    def parse_probe(self, response: WireResponse, target: Target) -> Found:
        """Return what the engine says about the model. Raises ProviderMisbehaved."""
        ...

    def render_health(self, target: Target) -> WireRequest | None:
        """Return the cheapest request that shows the engine alive."""
        ...

    def render_load(self, target: Target, *, load: bool) -> WireRequest | None:
        """Return the request that loads (or unloads) the model on the engine."""
        ...
