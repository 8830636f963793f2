"""The generateContent wire as a provider."""

from __future__ import annotations

from typing import Any

from prefrontal.chat.embeddings import EmbeddingsRequest, EmbeddingsResponse
from prefrontal.chat.request import ChatRequest
from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import CapabilityMissing, ProviderError
from prefrontal.providers.base import Found, StreamParser, Target
from prefrontal.providers.common import Report, wire_request
from prefrontal.providers.gemini.errors import parse_error
from prefrontal.providers.gemini.parts import DIALECT
from prefrontal.providers.gemini.request import upstream_body
from prefrontal.providers.gemini.response import parse_answer, parse_count, parse_embeddings, parse_model, parse_models
from prefrontal.providers.gemini.stream import GeminiStream


class GeminiProvider:
    """Speaks ``:generateContent``. Pure; see `prefrontal.providers.base.Provider` for what each method guarantees."""

    wire = DIALECT

    def render_chat(self, request: ChatRequest, target: Target, effort: EffortFields, *, stream: bool) -> WireRequest:
        """Return the request. Raises CapabilityMissing for a file this wire cannot carry."""
        report = Report()
        body = upstream_body(request, target, effort, report)
        paths = target.profile.paths
        path = (paths.stream or _streaming(paths.chat)) if stream else paths.chat
        return wire_request(target, _named(path, target), body, dropped=report.dropped)

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        """Return the answer."""
        return parse_answer(response, target)

    def stream_parser(self, target: Target) -> StreamParser:
        """Return a fresh parser."""
        return GeminiStream(target)

    def parse_error(self, response: WireResponse, target: Target) -> ProviderError:
        """Return the classified error."""
        return parse_error(response, target)

    def render_embeddings(self, request: EmbeddingsRequest, target: Target) -> WireRequest | None:
        """Return the request. Raises CapabilityMissing for inputs that are tokens, not text."""
        path = target.profile.paths.embeddings
        if path is None:
            return None
        report = Report()
        requests = []
        for i, text in enumerate(request.inputs):
            if not isinstance(text, str):
                raise CapabilityMissing("The Gemini wire embeds text, not token numbers.", param=f"input[{i}]")
            item: dict[str, Any] = {"model": _resource(target), "content": {"parts": [{"text": text}]}}
            if request.dimensions is not None:
                item["outputDimensionality"] = request.dimensions
            requests.append(item)
        if request.encoding_format == "base64":
            report.drop("encoding_format", "the Gemini wire sends numbers", "translated")
        for key in (*(("user",) if request.user is not None else ()), *(request.extra or ())):
            report.drop(key, "the Gemini wire has no such field")
        return wire_request(target, _named(path, target), {"requests": requests}, dropped=report.dropped)

    def parse_embeddings(self, response: WireResponse, target: Target) -> EmbeddingsResponse:
        """Return the vectors."""
        return parse_embeddings(response, target)

    def render_count(self, request: ChatRequest, target: Target) -> WireRequest | None:
        """Return the request to the token counter, which takes a whole chat request."""
        path = target.profile.paths.count_tokens
        if path is None:
            return None
        report = Report()
        body = upstream_body(request, target, EffortFields(dialect=target.card.effort_dialect), report)
        counted = {"generateContentRequest": {"model": _resource(target), **body}}
        return wire_request(target, _named(path, target), counted, dropped=report.dropped)

    def parse_count(self, response: WireResponse, target: Target) -> int:
        """Return the count."""
        return parse_count(response, target)

    def render_models(self, target: Target) -> WireRequest | None:
        """Return the request that lists the models."""
        path = target.profile.paths.models
        return None if path is None else wire_request(target, path, method="GET")

    def parse_models(self, response: WireResponse, target: Target) -> tuple[Found, ...]:
        """Return the models listed."""
        return parse_models(response, target)

    def render_probe(self, target: Target) -> WireRequest | None:
        """Return the request that reads one model."""
        path = target.profile.paths.probe
        return None if path is None else wire_request(target, _named(path, target), method="GET")

    def parse_probe(self, response: WireResponse, target: Target) -> Found:
        """Return what the API says about the model."""
        return parse_model(response, target)

    def render_health(self, target: Target) -> WireRequest | None:
        """Return the request that shows the API alive."""
        path = target.profile.paths.health
        return None if path is None else wire_request(target, path, method="GET")

    def render_load(self, target: Target, *, load: bool) -> WireRequest | None:
        """The API loads its models itself."""
        return None


def _resource(target: Target) -> str:
    name = target.card.wire_name
    return name if "/" in name else f"models/{name}"


def _named(path: str, target: Target) -> str:
    """The path with the model's resource name in it: wire names may come with or without their collection."""
    return path.replace("models/{model}", _resource(target))


def _streaming(path: str) -> str:
    return path.replace(":generateContent", ":streamGenerateContent") + "?alt=sse"
