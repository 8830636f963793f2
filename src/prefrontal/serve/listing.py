"""What GET /v1/models says of each model."""

from __future__ import annotations

from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.config.registry import Registry
from prefrontal.contracts.access import Grant
from prefrontal.contracts.model import ModelCard, ThinkingRange
from prefrontal.errors import UnknownModel
from prefrontal.machine.names import AUTO, REFLEX
from prefrontal.providers.effort import thinking_range


def list_models(pf: Prefrontal, grant: Grant | None = None) -> dict[str, Any]:
    """Return the list in OpenAI's form: `auto`, `reflex`, roles, channels, then every enabled model.

    grant: what a virtual key opens; models that do not exist for it are not listed.
    """
    registry = pf.world(grant).registry
    return {"object": "list", "data": [*_virtual(pf, registry), *[_shown(pf, card) for card in registry.enabled]]}


def describe_model(pf: Prefrontal, name: str, grant: Grant | None = None) -> dict[str, Any]:
    """Return one entry of the list. Raises UnknownModel."""
    registry = pf.world(grant).registry
    for entry in _virtual(pf, registry):
        if entry["id"] == name:
            return entry
    if name.startswith(("role/", "auto/")):
        raise UnknownModel(f"The model '{name}' does not exist here.", param="model")
    return _shown(pf, registry.require(name))


def _virtual(pf: Prefrontal, registry: Registry) -> list[dict[str, Any]]:
    created = int(pf.holder.current.loaded_at_s)
    entries = [
        (AUTO, "Chooses the model, or none, and the effort for each request."),
        (REFLEX, "Answers without a model or not at all."),
        *[(f"auto/{name}", channel.description) for name, channel in sorted(pf.config.routing.channels.items())],
        *[(f"role/{name}", f"One of: {', '.join(models)}.") for name, models in sorted(registry.roles.items()) if models],
    ]
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "prefrontal", "description": text}
        for name, text in entries
    ]


def _thinking(pf: Prefrontal, card: ModelCard) -> ThinkingRange | None:
    """Return what the model takes; None where nobody knows that it thinks, and the profile's usual way would be a guess."""
    if card.can("thinking") is None and not card.effort_levels and not card.effort_overrides:
        return None
    return thinking_range(card, pf.machine.parts.dialects)


def _roles(pf: Prefrontal, card: ModelCard) -> list[str]:
    """Return the roles the model has: by its own entry, and by lists under `roles`."""
    listed = [name for name, models in sorted(pf.registry.roles.items()) if card.id in models]
    return list(dict.fromkeys((*card.roles, *listed)))


def _shown(pf: Prefrontal, card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.id,
        "object": "model",
        "created": int(pf.holder.current.loaded_at_s),
        "owned_by": card.provider or card.profile,
        "provider": card.provider,
        "profile": card.profile,
        "upstream_model": card.wire_name,
        "self_hosted": card.self_hosted,
        "version": card.version,
        "licence": card.licence,
        "context_window": card.context_tokens,
        "context_origin": card.context_origin,
        "max_output_tokens": card.max_output_tokens,
        "capabilities": card.capabilities,
        "thinking": _thinking(pf, card),
        "effort_dialect": card.effort_dialect,
        "structured_output": pf.machine.parts.executor.shapes.shown(card),
        "price": card.price,
        "roles": _roles(pf, card),
        "strengths": card.strengths,
        "weaknesses": card.weaknesses,
        "tags": card.tags,
        "auto": card.auto,
        "origin": card.origin,
    }
