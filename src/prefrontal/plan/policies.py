"""Routing policies: each ranks the models that can do the task. Pure functions by name; others come by entry point.

A policy is ``(eligible cards, PlanInputs) -> list[Scored]``, best first, with every eligible card in the result exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefrontal.contracts.model import ModelCard
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.scores import (
    COST_HALF_USD,
    LATENCY_HALF_MS,
    Scored,
    best_first,
    falling,
    latency_ms,
    request_cost_usd,
    scores,
)

Policy = Callable[[Sequence[ModelCard], PlanInputs], list[Scored]]

FALLBACK = "capability_match"
"""The policy that stands in when another is missing or broken."""

UNKNOWN = float("inf")
"""Sorts what nobody knows behind everything known."""


def capability_match(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by strengths, weaknesses, quality, cost, latency, load and priority."""
    return best_first(scores(eligible, inputs), inputs)


def primary_with_fallback(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Take the primary first, then `routing.fallback` in order, then the rest by priority; see `configured_order`."""
    order = configured_order(eligible, inputs)
    place = {name: position for position, name in reversed(list(enumerate(order)))}
    last = len(order)
    ordered = sorted(eligible, key=lambda card: (place.get(card.id, last), -card.priority, card.id))
    count = max(1, len(ordered))
    return [
        Scored(
            model=card.id,
            score=1.0 - position / count,
            parts={"place": float(place.get(card.id, last)), "priority": float(card.priority)},
            note=f"place {position + 1} in the configured order",
        )
        for position, card in enumerate(ordered)
    ]


def configured_order(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[str]:
    """Return `routing.primary` and the models of `routing.fallback`, roles spelled out.

    Without a primary, the eligible model of the highest priority is it; among equals, one the fallbacks do not name.
    """
    chain = fallback_chain(inputs)
    primary = inputs.routing.primary
    if primary is None and eligible:
        named = frozenset(chain)
        primary = min(eligible, key=lambda card: (-card.priority, card.id in named, card.id)).id
    return chain if primary is None else [primary, *chain]


def fallback_chain(inputs: PlanInputs) -> list[str]:
    """Return the models of `routing.fallback` in order, each once; ``role/NAME`` stands for the role's models, best first."""
    chain: list[str] = []
    for name in inputs.routing.fallback:
        chain.extend(inputs.roles.get(name.removeprefix("role/"), ()) if name.startswith("role/") else (name,))
    return list(dict.fromkeys(chain))


def round_robin(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Take turns over the models in order of name; the next ones are the fallbacks. All score the same: they are equals."""
    ordered = sorted(eligible, key=lambda card: card.id)
    start = inputs.turn % len(ordered) if ordered else 0
    return [
        Scored(
            model=card.id,
            score=1.0,
            parts={"turn": float(position)},
            note=f"a turn after {position} other{'' if position == 1 else 's'}" if position else "the turn",
        )
        for position, card in enumerate(ordered[start:] + ordered[:start])
    ]


def cheapest(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by what this request costs at most; an unknown price is last; equal costs by the full score."""
    costs = {card.id: request_cost_usd(card, inputs) for card in eligible}
    return [
        Scored(
            model=name,
            score=0.0 if costs[name] is None else falling(costs[name], COST_HALF_USD),
            parts={"cost_usd": _known(costs[name])},
            note="an unknown cost" if costs[name] is None else f"a cost of at most ${costs[name]:.4g}",
        )
        for name in _by(costs, eligible, inputs)
    ]


def fastest(eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[Scored]:
    """Rank by the expected time to the first token; an unknown latency is last; equal ones by the full score."""
    waits = {card.id: latency_ms(card, inputs.condition(card.id)) for card in eligible}
    return [
        Scored(
            model=name,
            score=0.0 if waits[name] is None else falling(waits[name], LATENCY_HALF_MS),
            parts={"latency_ms": _known(waits[name])},
            note="an unknown latency" if waits[name] is None else f"its first token after about {waits[name]:.0f} ms",
        )
        for name in _by(waits, eligible, inputs)
    ]


def _by(values: Mapping[str, float | None], eligible: Sequence[ModelCard], inputs: PlanInputs) -> list[str]:
    """Return the models by rising value, unknown last; the full score is computed only where it breaks a tie."""
    seen: dict[float | None, int] = {}
    for value in values.values():
        seen[value] = seen.get(value, 0) + 1
    tied = [card for card in eligible if seen[values[card.id]] > 1]
    full = {s.model: s.score for s in scores(tied, inputs)} if tied else {}

    def key(name: str) -> tuple[float, float, str]:
        value = values[name]
        return (UNKNOWN if value is None else value, -full.get(name, 0.0), name)

    return sorted(values, key=key)


def _known(value: float | None) -> float:
    """Return the value for people, or -1 for unknown: a part is a number."""
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
