"""The words of OpenTelemetry's GenAI conventions for what a record says. Pure."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.record import Attempt, RequestRecord

CardOf = Callable[[str], ModelCard | None]
Value = str | bool | int | float | tuple[str, ...]
Attributes = dict[str, Value]

PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure-openai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
"""Our provider → the conventions' name, where they differ (specified: the registry of gen_ai.provider.name)."""

OURSELVES = "prefrontal"
LOCAL = "127.0.0.1"


def operation_of(record: RequestRecord) -> str:
    """Return ``gen_ai.operation.name``."""
    if record.dialect == "embeddings":
        return "embeddings"
    return "text_completion" if record.dialect == "completions" else "chat"


def provider_of(attempt: Attempt) -> str:
    """Return ``gen_ai.provider.name``."""
    return PROVIDERS.get(attempt.provider, attempt.provider) or "unknown"


def sent_model(attempt: Attempt, card_of: CardOf) -> str:
    """Return the name that was sent upstream; the client's where the model is gone from the registry."""
    card = card_of(attempt.model)
    return attempt.model if card is None else card.wire_name


def server_of(attempt: Attempt, card_of: CardOf) -> Attributes:
    """Return ``server.address`` and ``server.port``; nothing for a model that is gone from the registry."""
    card = card_of(attempt.model)
    if card is None:
        return {}
    if card.base_url is None:
        return {"server.address": LOCAL}
    try:
        parts = urlsplit(card.base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return {}
    return {"server.address": parts.hostname or "", "server.port": port}


def error_of(thing: Attempt | RequestRecord) -> str | None:
    """Return ``error.type``: our error code, or that it was given up, by a client or for another attempt; None: it went well."""
    outcome = thing.outcome if isinstance(thing, Attempt) else thing.status
    if outcome == "ok":
        return None
    return outcome if outcome in ("cancelled", "hedge_lost") else thing.error_code or "unknown"


def asked_model(record: RequestRecord) -> str:
    """Return what the client asked for, where it meant something to us: other words would be labels without bound."""
    known = record.model is not None or record.plan is not None or bool(record.attempts)
    return record.requested_model if known else "unknown"
