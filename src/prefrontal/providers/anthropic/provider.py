"""The Messages wire as a provider."""

from __future__ import annotations

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderError
from prefrontal.providers.anthropic.blocks import DIALECT
from prefrontal.providers.anthropic.request import BETAS, upstream_body
from prefrontal.providers.anthropic.response import parse_count, parse_error, parse_message, parse_model, parse_models
from prefrontal.providers.anthropic.stream import AnthropicStream
from prefrontal.providers.base import Found, StreamParser, Target
from prefrontal.providers.common import Report, misbehaved, wire_request

VERSION = {"anthropic-version": "2023-06-01"}
"""Specified: the version whose requests still take sampling fields. A profile or a card pins another by its headers."""

_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control")


class AnthropicProvider:
    """Speaks ``/v1/messages``. Pure; see `prefrontal.providers.base.Provider` for what each method guarantees."""

    wire = DIALECT

    def render_chat(self, request: ChatRequest, target: Target, effort: EffortFields, *, stream: bool) -> WireRequest:
        """Return the request. Raises CapabilityMissing for sound, or documents of a kind this wire does not carry."""
        report = Report()
        body = upstream_body(request, target, effort, report, stream=stream)
        path = (target.profile.paths.stream if stream else None) or target.profile.paths.chat
        return wire_request(target, path, body, defaults=_heads(request), dropped=report.dropped)

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        """Return the answer."""
        return parse_message(response, target)

    def stream_parser(self, target: Target) -> StreamParser:
        """Return a fresh parser."""
        return AnthropicStream(target)

    def parse_error(self, response: WireResponse, target: Target) -> ProviderError:
        """Return the classified error."""
        return parse_error(response, target)

    def render_embeddings(self, request: EmbeddingsRequest, target: Target) -> WireRequest | None:
        """The wire has no embeddings."""
        return None

    def parse_embeddings(self, response: WireResponse, target: Target) -> EmbeddingsResponse:
        """The wire has no embeddings: raises ProviderMisbehaved."""
        raise misbehaved(target, "this wire has no embeddings", response)

    def render_count(self, request: ChatRequest, target: Target) -> WireRequest | None:
        """Return the request to the token counter; fields it does not take are left out."""
        path = target.profile.paths.count_tokens
        if path is None:
            return None
        report = Report()
        body = upstream_body(request, target, EffortFields(dialect=target.card.effort_dialect), report, stream=False)
        counted = {key: body[key] for key in _COUNTED if key in body}
        return wire_request(target, path, counted, defaults=_heads(request), dropped=report.dropped)

    def parse_count(self, response: WireResponse, target: Target) -> int:
        """Return the count."""
        return parse_count(response, target)

    def render_models(self, target: Target) -> WireRequest | None:
        """Return the request that lists the models, with their capabilities."""
        path = target.profile.paths.models
        return None if path is None else wire_request(target, path, method="GET", defaults=VERSION)

    def parse_models(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models listed."""
        return parse_models(response, target)

    def render_probe(self, target: Target) -> WireRequest | None:
        """Return the request that reads one model."""
        path = target.profile.paths.probe
        return None if path is None else wire_request(target, path, method="GET", defaults=VERSION)

    def parse_probe(self, response: WireResponse, target: Target) -> Found:
        """Return what the API says about the model."""
        return parse_model(response, target)

    def render_health(self, target: Target) -> WireRequest | None:
        """Return the request that shows the API alive."""
        path = target.profile.paths.health
        return None if path is None else wire_request(target, path, method="GET", defaults=VERSION)

    def render_load(self, target: Target, *, load: bool) -> WireRequest | None:
        """The API loads its models itself."""
        return None


def _heads(request: ChatRequest) -> dict[str, str]:
    """Return the headers of the wire: its version, and the betas a client of this dialect asked for."""
    betas = (request.extra or {}).get(BETAS) if request.dialect == DIALECT else None
    return VERSION if betas is None else {**VERSION, BETAS: str(betas)}
