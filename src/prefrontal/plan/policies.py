"""Routing policies: each ranks the models that can do the task. Pure functions by name; others come by entry point.

A policy is ``(eligible cards, PlanInputs) -> list[Scored]``, best first, with every eligible card in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefrontal.contracts.model import ModelCard
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.scores import Scored, best_first, latency_ms, request_cost_usd, score

Policy = Callable[[Sequence[ModelCard], PlanInputs], list[Scored]]


def capability_match(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by strengths, weaknesses, quality, cost, latency, load and priority."""
    return best_first([score(card, inputs) for card in eligible])


def primary_with_fallback(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Take `routing.primary` first, then `routing.fallback` in order, then the rest by priority."""
    routing = inputs.routing
    wanted: list[str] = [routing.primary] if routing.primary else []
    for name in routing.fallback:
        wanted.extend(inputs.roles.get(name.removeprefix("role/"), ()) if name.startswith("role/") else (name,))
    place = {name: position for position, name in reversed(list(enumerate(wanted)))}
    last = len(wanted)
    ordered = sorted(eligible, key=lambda card: (place.get(card.id, last), -card.priority, card.id))
    return _by_place(ordered, lambda card: {"place": float(place.get(card.id, last)), "priority": float(card.priority)})


def round_robin(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Take turns over the models in order of name; the next ones are the fallbacks."""
    ordered = sorted(eligible, key=lambda card: card.id)
    start = inputs.turn % len(ordered) if ordered else 0
    return _by_place(ordered[start:] + ordered[:start], lambda card: {"turn": float(inputs.turn)})


def cheapest(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by what this request costs at most; an unknown price is last; equal costs by the full score."""

    def key(card: ModelCard) -> tuple[float, float, str]:
        cost = request_cost_usd(card, inputs)
        return (float("inf") if cost is None else cost, -score(card, inputs).score, card.id)

    ordered = sorted(eligible, key=key)
    return _by_place(ordered, lambda card: {"cost_usd": _known(request_cost_usd(card, inputs))})


def fastest(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by the expected time to the first token; an unknown latency is last; equal ones by the full score."""

    def key(card: ModelCard) -> tuple[float, float, str]:
        latency = latency_ms(card, inputs.condition(card.id))
        return (float("inf") if latency is None else latency, -score(card, inputs).score, card.id)

    ordered = sorted(eligible, key=key)
    return _by_place(ordered, lambda card: {"latency_ms": _known(latency_ms(card, inputs.condition(card.id)))})


def _by_place(ordered: Sequence[ModelCard], parts: Callable[[ModelCard], dict[str, float]]) -> list[Scored]:
    count = max(1, len(ordered))
    return [
        Scored(model=card.id, score=round(1.0 - position / count, 4), parts=parts(card)) for position, card in enumerate(ordered)
    ]


def _known(value: float | None) -> float:
    """Return the value, or -1 for unknown: a part is a number."""
    return -1.0 if value is None else round(value, 6)


def builtin_policies() -> Mapping[str, Policy]:
    """Return the shipped policies by name."""
    return {
        "capability_match": capability_match,
        "primary_with_fallback": primary_with_fallback,
        "round_robin": round_robin,
        "cheapest": cheapest,
        "fastest": fastest,
    }
