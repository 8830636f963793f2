"""The native Ollama wire as a provider."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import CapabilityMissing, ProviderError
from prefrontal.providers.base import Found, StreamParser, Target
from prefrontal.providers.common import Report, misbehaved, wire_request
from prefrontal.providers.ollama.messages import DIALECT
from prefrontal.providers.ollama.request import upstream_body
from prefrontal.providers.ollama.response import (
    parse_answer,
    parse_embeddings,
    parse_error,
    parse_models,
    parse_running,
    parse_show,
)
from prefrontal.providers.ollama.stream import OllamaStream

RUNNING = "//api/ps"


class OllamaProvider:
    """Speaks ``/api/chat``. Pure; see `prefrontal.providers.base.Provider` for what each method guarantees."""

    wire = DIALECT

    def render_chat(self, request: ChatRequest, target: Target, effort: EffortFields, *, stream: bool) -> WireRequest:
        """Return the request. Raises CapabilityMissing for an image by URL, a document or a sound in the question."""
        report = Report()
        body = upstream_body(request, target, effort, report, stream=stream)
        return wire_request(target, target.profile.paths.chat, body, dropped=report.dropped)

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        """Return the answer."""
        return parse_answer(response, target)

    def stream_parser(self, target: Target) -> StreamParser:
        """Return a fresh parser."""
        return OllamaStream(target)

    def parse_error(self, response: WireResponse, target: Target) -> ProviderError:
        """Return the classified error."""
        return parse_error(response, target)

    def render_embeddings(self, request: EmbeddingsRequest, target: Target) -> WireRequest | None:
        """Return the request. Raises CapabilityMissing for inputs that are tokens, not text."""
        path = target.profile.paths.embeddings
        if path is None:
            return None
        report = Report()
        for i, text in enumerate(request.inputs):
            if not isinstance(text, str):
                raise CapabilityMissing("The Ollama wire embeds text, not token numbers.", param=f"input[{i}]")
        body: dict[str, Any] = {"model": target.card.wire_name, "input": list(request.inputs)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.encoding_format == "base64":
            report.drop("encoding_format", "the Ollama wire sends numbers", "translated")
        for key in (*(("user",) if request.user is not None else ()), *(request.extra or ())):
            report.drop(key, "the Ollama wire has no such field")
        return wire_request(target, path, body, dropped=report.dropped)

    def parse_embeddings(self, response: WireResponse, target: Target) -> EmbeddingsResponse:
        """Return the vectors."""
        return parse_embeddings(response, target)

    def render_count(self, request: ChatRequest, target: Target) -> WireRequest | None:
        """The engine counts no tokens ahead; its answers do."""
        return None

    def parse_count(self, response: WireResponse, target: Target) -> int:
        """The engine counts no tokens ahead: raises ProviderMisbehaved."""
        raise misbehaved(target, "this wire counts no tokens ahead", response)

    def render_models(self, target: Target) -> WireRequest | None:
        """Return the request that lists the models on disk."""
        path = target.profile.paths.models
        return None if path is None else wire_request(target, path, method="GET")

    def parse_models(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models listed."""
        return parse_models(response, target)

    def render_running(self, target: Target) -> WireRequest:
        """Return the request that lists the models in memory, with the context they run with."""
        return wire_request(target, RUNNING, method="GET")

    def parse_running(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models in memory. Raises ProviderMisbehaved."""
        return parse_running(response, target)

    def render_probe(self, target: Target) -> WireRequest | None:
        """Return the request that reads one model's capabilities and context."""
        path = target.profile.paths.probe
        return None if path is None else wire_request(target, path, {"model": target.card.wire_name})

    def parse_probe(self, response: WireResponse, target: Target) -> Found:
        """Return what the engine says about the model."""
        return parse_show(response, target)

    def render_health(self, target: Target) -> WireRequest | None:
        """Return the request that shows the engine alive."""
        path = target.profile.paths.health
        return None if path is None else wire_request(target, path, method="GET")

    def render_load(self, target: Target, *, load: bool) -> WireRequest | None:
        """Return a request without a prompt: ``keep_alive`` -1 loads the model and keeps it, 0 unloads it.

        The context is the one chat requests name, so that the first of them does not load the model again.
        """
        paths = target.profile.paths
        path = paths.load if load else paths.unload or paths.load
        if path is None:
            return None
        body: dict[str, Any] = {"model": target.card.wire_name, "keep_alive": -1 if load else 0, "stream": False}
        if load and target.card.context_tokens is not None:
            body["options"] = {"num_ctx": target.card.context_tokens}
        return wire_request(target, path, body)
