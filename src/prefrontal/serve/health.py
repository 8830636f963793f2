"""How each model and each of its deployments stands: what GET /v1/health shows. Contacts nobody."""

from __future__ import annotations

from typing import Any

from prefrontal.app.library import Prefrontal
from prefrontal.contracts.model import ModelCard
from prefrontal.execute import breaker


def health_of(pf: Prefrontal) -> dict[str, Any]:
    """Return the state of every enabled model, with its deployments where it has several, and of the way in."""
    door = pf.machine.parts.door
    admission = None if door is None else {"in_flight": door.slots.held, "limit": door.slots.limit, "waiting": door.slots.waiting}
    models = [_model(pf, card) for card in pf.registry.enabled]
    able = sum(model["state"] in ("ok", "full") for model in models)
    return {"object": "health", "models": models, "able": able, "admission": admission}


def _model(pf: Prefrontal, card: ModelCard) -> dict[str, Any]:
    if not card.deployments:
        return {"model": card.id, **_place(pf, card)}
    condition = pf.runtime.snapshot(card, pf.clock.monotonic())
    return {
        "model": card.id,
        "state": "resting" if condition.open else "full" if condition.full else "ok",
        "in_flight": condition.in_flight,
        "waiting": condition.waiting,
        "balance": card.balance,
        "deployments": [{"deployment": one.deployment, **_place(pf, one)} for one in card.deployments],
    }


def _place(pf: Prefrontal, card: ModelCard) -> dict[str, Any]:
    """Return how one place stands: ``ok``, ``full``, ``resting`` (its breaker is open) or ``parked`` (its upstream refuses)."""
    now, state = pf.clock.monotonic(), pf.runtime.find(card.place)
    parked = pf.runtime.parking.of(card, now) if card.deployment is not None else None
    shown: dict[str, Any] = {"state": "ok", "in_flight": 0, "waiting": 0, "latency_ms": None, "calls": 0, "failures": 0}
    if state is not None:
        slots = state.slots
        shown |= {"in_flight": slots.held, "waiting": slots.waiting, "latency_ms": state.first_token_ms}
        shown |= {"calls": state.calls, "failures": state.failures, "last_error": state.last_error}
        if slots.held >= slots.limit and slots.waiting >= slots.queue:
            shown["state"] = "full"
        if not breaker.admits(state.breaker, now):
            shown |= {"state": "resting", "back_s": round(breaker.reopens_in_s(state.breaker, now), 1)}
    if parked is not None:
        back_s = parked.back_s(now)
        shown |= {"state": "parked", "reason": parked.why, "back_s": None if back_s is None else round(back_s, 1)}
    return shown
