"""Which models can serve a request, and in what order: role, channel, must-haves, money, policy, task table, session. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from prefrontal.config.schema_routing import BUILTIN_POLICIES, TaskRoute
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Reason
from prefrontal.plan.affinity import keep
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import ESTIMATE_SLACK, required_by, ruled_out
from prefrontal.plan.policies import FALLBACK, Policy, capability_match
from prefrontal.plan.scores import Scored, request_cost_usd
from prefrontal.plan.spending import over_budget

ORDER_IS_LAW = frozenset({"primary_with_fallback"})
"""Policies whose order is the operator's own: a session does not bend it, and its scores measure no gain."""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Models that can serve, best first, and those that cannot, with the reason.

    put_first: the rule that put the first one before a better score (None: the score did). policy: whose order it is.
    """

    ranked: list[Scored]
    ruled_out: list[tuple[str, str]]
    reasons: list[Reason]
    policy: str
    put_first: str | None = None


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """The models a role or channel leaves, and why the others are outside."""

    models: frozenset[str]
    outside: str = ""


def rank(inputs: PlanInputs, policies: Mapping[str, Policy]) -> Ranking:
    """Return the ranking under the policy, the task table, the channel and the session. Total: it raises nothing."""
    reasons: list[Reason] = []
    scope = scope_of(inputs, reasons)
    eligible, out = _sift(inputs, scope, reasons)
    route = inputs.routing.task_routing.get(inputs.assessment.task_type)
    name, policy = _policy(inputs, policies, route, reasons)
    if not eligible:
        return Ranking(ranked=[], ruled_out=out, reasons=reasons, policy=name)
    ranked, name = _applied(name, policy, eligible, inputs, reasons)
    put_first: str | None = None
    preferred: frozenset[str] = frozenset()
    if route is not None and inputs.role is None:
        preferred = frozenset((*route.models, *inputs.roles.get(route.role or "", ())))
        ranked, put_first = _routed_first(ranked, inputs, route, preferred, reasons)
    affinity = inputs.routing.affinity
    if affinity.enabled and name not in ORDER_IS_LAW:
        before = ranked
        ranked, text = keep(ranked, inputs.stay, affinity.min_gain, preferred=preferred)
        if text:
            reasons.append(Reason(rule="affinity", effect=text))
        if ranked is not before:
            put_first = "affinity"
    return Ranking(ranked=ranked, ruled_out=out, reasons=reasons, policy=name, put_first=put_first)


def scope_of(inputs: PlanInputs, reasons: list[Reason]) -> Scope:
    """Return the models that role and channel leave.

    A role asked for by name is strict. A channel's models are strict too; its roles as long as one of its models has one.
    """
    everything = frozenset(inputs.cards)
    if inputs.role is not None:
        reasons.append(Reason(rule="role", effect=f"only models of the role '{inputs.role}'"))
        members = everything.intersection(inputs.roles.get(inputs.role, ()))
        return Scope(models=members, outside=f"it does not have the role '{inputs.role}'")
    channel, rule = inputs.channel, f"channel {inputs.channel_name}"
    if channel.models:
        everything = everything.intersection(channel.models)
        reasons.append(Reason(rule=rule, effect=f"only {', '.join(channel.models)}"))
    outside = f"the channel '{inputs.channel_name}' does not take it"
    if channel.roles:
        members = everything.intersection([name for role in channel.roles for name in inputs.roles.get(role, ())])
        if members:
            listed = " or ".join(channel.roles)
            reasons.append(Reason(rule=rule, effect=f"only models with the role {listed}"))
            return Scope(
                models=members, outside=f"it lacks the role {listed}, which the channel '{inputs.channel_name}' asks for"
            )
    return Scope(models=everything, outside=outside)


def _sift(inputs: PlanInputs, scope: Scope, reasons: list[Reason]) -> tuple[list[ModelCard], list[tuple[str, str]]]:
    """Return the models that can serve, and the others with the reason."""
    musts = required_by(inputs)
    eligible: list[ModelCard] = []
    out: list[tuple[str, str]] = []
    for card in inputs.cards.values():
        why = scope.outside if card.id not in scope.models else ruled_out(card, inputs, musts=musts)
        if why is None:
            why = _too_dear(card, inputs)
        if why is None and inputs.allowances:
            why = over_budget(card, inputs)
        if why is None:
            eligible.append(card)
        else:
            out.append((card.id, why))
    if not eligible:
        eligible = [
            card
            for card in inputs.cards.values()
            if card.id in scope.models
            and ruled_out(card, inputs, musts=musts, slack=ESTIMATE_SLACK) is None
            and _too_dear(card, inputs) is None
            and over_budget(card, inputs) is None
        ]
        if eligible:
            taken = frozenset(card.id for card in eligible)
            out = [(name, why) for name, why in out if name not in taken]
            effect = "by our estimate the input is a little too long for every model; the engine counts exactly and decides"
            reasons.append(Reason(rule="context", effect=effect))
    return eligible, out


def _too_dear(card: ModelCard, inputs: PlanInputs) -> str | None:
    ceiling = inputs.hints.max_cost_usd
    if ceiling is None:
        return None
    cost = request_cost_usd(card, inputs)
    if cost is not None and cost <= ceiling:
        return None
    spoken = "its price is unknown" if cost is None else f"it may cost ${cost:.4g}"
    return f"{spoken}, and the caller's limit is ${ceiling:g}"


def _policy(
    inputs: PlanInputs, policies: Mapping[str, Policy], route: TaskRoute | None, reasons: list[Reason]
) -> tuple[str, Policy]:
    """Return the policy that applies: the caller's preference, then the task table's, the channel's, the configuration's."""
    name = (route.policy if route else None) or inputs.channel.policy or inputs.routing.policy
    wish = inputs.hints.prefer
    if wish is not None and name != FALLBACK and name in BUILTIN_POLICIES:
        reasons.append(Reason(rule="preference", effect=f"the caller prefers {wish}, which comes before the policy '{name}'"))
        name = FALLBACK
    policy = policies.get(name)
    if policy is None:
        if name != FALLBACK:
            reasons.append(Reason(rule=f"policy {name}", effect=f"there is no such policy; {FALLBACK} stands in"))
        return FALLBACK, policies.get(FALLBACK, capability_match)
    return name, policy


def _applied(
    name: str, policy: Policy, eligible: Sequence[ModelCard], inputs: PlanInputs, reasons: list[Reason]
) -> tuple[list[Scored], str]:
    """Return the policy's ranking and its name; a policy that fails, or loses or invents a model, is replaced."""
    try:
        ranked = list(policy(eligible, inputs))
        sound = len(ranked) == len(eligible) and {s.model for s in ranked} == {card.id for card in eligible}
        trouble = "its ranking is not of the models it was given"
    except Exception as error:  # noqa: BLE001 - an edge: a policy of another package may fail in any way
        ranked, sound, trouble = [], False, f"it failed ({type(error).__name__}: {error})"
    if sound:
        return ranked, name
    reasons.append(Reason(rule=f"policy {name}", effect=f"{trouble}; {FALLBACK} stands in"))
    return capability_match(eligible, inputs), FALLBACK


def _routed_first(
    ranked: list[Scored], inputs: PlanInputs, route: TaskRoute, preferred: frozenset[str], reasons: list[Reason]
) -> tuple[list[Scored], str | None]:
    """Put first what the task table names: its models in the table's order, then those of its role in the policy's.

    With a preference of the caller the policy's order holds among all of them. Return also the rule, if it moved anything.
    """
    first = [s for s in ranked if s.model in preferred]
    if not first:
        return ranked, None
    if route.models and inputs.hints.prefer is None:
        place = {name: position for position, name in reversed(list(enumerate(route.models)))}
        first.sort(key=lambda s: place.get(s.model, len(place)))  # stable: the policy's order holds among the role's
    rule = f"task_routing.{inputs.assessment.task_type}"
    reasons.append(Reason(rule=rule, effect=f"prefers {', '.join(s.model for s in first)}"))
    reordered = first + [s for s in ranked if s.model not in preferred]
    return reordered, None if reordered[0] is ranked[0] else rule
