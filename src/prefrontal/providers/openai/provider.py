"""The OpenAI wire as a provider. One translator for every engine that speaks it; engines differ by their profile only."""

from __future__ import annotations

import msgspec

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderError
from prefrontal.providers.base import Found, Target
from prefrontal.providers.common import Report, wire_request
from prefrontal.providers.openai import engine
from prefrontal.providers.openai.embeddings import parse_embeddings_response, render_embeddings_body
from prefrontal.providers.openai.faults import parse_error
from prefrontal.providers.openai.response import parse_chat_response
from prefrontal.providers.openai.stream import OpenAIStreamParser
from prefrontal.providers.openai.upstream import as_completion, upstream_body


class OpenAIProvider:
    """Speaks ``/chat/completions``. Pure; see `prefrontal.providers.base.Provider` for what each method guarantees."""

    wire = "openai"

    def render_chat(self, request: ChatRequest, target: Target, effort: EffortFields, *, stream: bool) -> WireRequest:
        """Return the request; a text completion goes to the engine's own route for those where there is one."""
        report = Report()
        body = upstream_body(request, target, effort, report, stream=stream)
        paths = target.profile.paths
        path = paths.completions if as_completion(request, target.profile) else (stream and paths.stream) or paths.chat
        return wire_request(target, path or paths.chat, body, dropped=report.dropped)

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        """Return the answer."""
        try:
            return parse_chat_response(response.body, target.profile, target.card)
        except ProviderError as error:
            raise _at(error, target) from None

    def stream_parser(self, target: Target) -> OpenAIStreamParser:
        """Return a fresh parser."""
        return OpenAIStreamParser(target.profile, target.card)

    def parse_error(self, response: WireResponse, target: Target) -> ProviderError:
        """Return the classified error."""
        key = (target.card.key or "").encode()
        if key and key in response.body:  # some upstreams repeat the key when they refuse it
            response = msgspec.structs.replace(response, body=response.body.replace(key, b"***"))
        return parse_error(response, target.profile.provider, target.card.id)

    def render_embeddings(self, request: EmbeddingsRequest, target: Target) -> WireRequest | None:
        """Return the request; None when the engine has no embeddings."""
        path = target.profile.paths.embeddings
        if path is None:
            return None
        return wire_request(target, path, {**render_embeddings_body(request), "model": target.card.wire_name})

    def parse_embeddings(self, response: WireResponse, target: Target) -> EmbeddingsResponse:
        """Return the vectors in the order of the inputs."""
        try:
            return parse_embeddings_response(response.body, target.profile)
        except ProviderError as error:
            raise _at(error, target) from None

    def render_count(self, request: ChatRequest, target: Target) -> WireRequest | None:
        """Return the request to the engine's token counter."""
        return engine.render_count(request, target)

    def parse_count(self, response: WireResponse, target: Target) -> int:
        """Return the count."""
        return engine.parse_count(response, target)

    def render_models(self, target: Target) -> WireRequest | None:
        """Return the request that lists the models."""
        path = target.profile.paths.models
        return None if path is None else wire_request(target, path, method="GET")

    def parse_models(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models listed."""
        return engine.parse_models(response, target)

    def render_probe(self, target: Target) -> WireRequest | None:
        """Return the request that reads the model's capabilities."""
        path = target.profile.paths.probe
        return None if path is None else wire_request(target, path, method="GET")

    def parse_probe(self, response: WireResponse, target: Target) -> Found:
        """Return what the engine says about the model."""
        return engine.parse_probe(response, target)

    def render_health(self, target: Target) -> WireRequest | None:
        """Return the engine's health route, or its list of models where it has none."""
        path = target.profile.paths.health or target.profile.paths.models
        return None if path is None else wire_request(target, path, method="GET")

    def render_load(self, target: Target, *, load: bool) -> WireRequest | None:
        """Return the request that loads or unloads the model."""
        return engine.render_load(target, load=load)


def _at(error: ProviderError, target: Target) -> ProviderError:
    """Name the model and the provider in an error of the parsers, which know neither."""
    error.model, error.provider = target.card.id, target.profile.provider
    return error
