"""Makes the plan: path, model, effort, fallbacks, estimate, and every reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Candidate, Estimate, Plan, Reason
from prefrontal.plan.effort import EffortInputs, effort_policy, effort_score
from prefrontal.plan.inputs import PlanInputs, ToolOffer
from prefrontal.plan.lenses import integration_of, lens_reasons, risk_of
from prefrontal.plan.policies import Policy, configured_order, fallback_chain
from prefrontal.plan.ranking import Ranking, rank
from prefrontal.plan.refusals import nothing_fits
from prefrontal.plan.scores import Scored, request_cost_usd
from prefrontal.plan.spending import cheapest_over_budget, degraded, without_budgets
from prefrontal.plan.words import assessed, candidates, lead_of, why_first

MAX_FALLBACKS = 4
"""How many models are tried after the first when no chain is configured (assumed: a caller will not wait for more)."""


def make_plan(inputs: PlanInputs, policies: Mapping[str, Policy]) -> Plan:
    """Return the plan for an automatic request: the same for the same inputs.

    A policy that is missing, fails or ranks other models than it was given is replaced by ``capability_match``, and a reason
    says so.

    Raises:
        ContextTooLong, CapabilityMissing, NoModelAvailable: nothing configured can serve it; the message says what could.
        QuotaExceeded: no budget leaves enough for any model that could.
    """
    if inputs.offer is not None:
        return _tool_plan(inputs, inputs.offer)
    ranking = rank(inputs, policies)
    if not ranking.ranked:
        raise nothing_fits(inputs, ranking.ruled_out)
    first = ranking.ranked[0].model
    dearer = _without_budgets(inputs, policies, ranking)
    lead = lead_of(ranking.ranked[0], inputs)
    fallbacks, fallback_reason = choose_fallbacks(inputs, ranking.ranked, ranking.policy)
    effort, effort_reason = choose_effort(inputs, inputs.cards[first])
    return Plan(
        path="model",
        model=first,
        role=inputs.role,
        channel=inputs.channel_name,
        policy=ranking.policy,
        effort=effort,
        fallbacks=fallbacks,
        estimate=estimate(inputs, inputs.cards[first]),
        reasons=(
            Reason(rule="assessment", effect=assessed(inputs)),
            *lens_reasons(inputs.assessment.lens),
            *ranking.reasons,
            Reason(rule=f"policy {ranking.policy}", effect=why_first(ranking, inputs, lead)),
            effort_reason,
            fallback_reason,
        ),
        candidates=candidates(ranking, lead, inputs),
        degraded=degraded(inputs, first, dearer),
    )


def _without_budgets(inputs: PlanInputs, policies: Mapping[str, Policy], ranking: Ranking) -> str | None:
    """Return the model that would be first if no budget stood in the way; None where none does."""
    if not inputs.allowances or not cheapest_over_budget([name for name, _ in ranking.ruled_out], inputs):
        return None
    free = rank(without_budgets(inputs), policies).ranked
    return free[0].model if free else None


def _tool_plan(inputs: PlanInputs, offer: ToolOffer) -> Plan:
    lost = f"not needed, because the reflex '{offer.tool}' answers"
    return Plan(
        path="tool",
        tool=offer.tool,
        tool_arguments=offer.arguments,
        role=inputs.role,
        channel=inputs.channel_name,
        policy="reflex",
        reasons=(
            Reason(rule="assessment", effect=assessed(inputs)),
            Reason(rule="reflex", effect=f"'{offer.tool}' answers this without a model: the prompt {offer.reason}"),
        ),
        candidates=tuple([Candidate(model=name, score=0.0, eligible=False, lost=lost) for name in inputs.cards]),
    )


def choose_fallbacks(inputs: PlanInputs, ranked: Sequence[Scored], policy: str = "") -> tuple[tuple[str, ...], Reason]:
    """Return the models to try after the first of `ranked`, and why.

    That is the configured chain as far as it can serve, whole; without one, or when none of it can serve, the policy's order up
    to `MAX_FALLBACKS`. Under ``primary_with_fallback`` the primary belongs to the chain.
    """
    if not inputs.hints.fallback:
        return (), Reason(rule="fallback", effect="the caller forbids another model")
    able = [s.model for s in ranked[1:]]
    chain = fallback_chain(inputs)
    if chain and policy == "primary_with_fallback":
        chain = list(dict.fromkeys(configured_order([inputs.cards[s.model] for s in ranked], inputs)))
    order = [name for name in chain if name in able]
    listed = ", ".join(order or able[:MAX_FALLBACKS])
    if order or (able and not chain):
        effect = f"if it fails: {listed}"
    elif able:
        effect = f"none of the configured fallbacks can take this, so if it fails: {listed}"
    else:
        effect = "no other model can take this"
    order = order or able[:MAX_FALLBACKS]
    return tuple(order), Reason(rule="fallback", effect=effect)


def choose_effort(inputs: PlanInputs, card: ModelCard) -> tuple[Effort, Reason]:
    """Return the effort: the caller's word, the task table's or channel's score, the default, else the computed one."""
    if inputs.asked_effort is not None:
        return inputs.asked_effort, Reason(rule="effort", effect="as the caller asked")
    settings = inputs.routing.effort
    route = inputs.routing.task_routing.get(inputs.assessment.task_type)
    for rule, value in (
        (f"task_routing.{inputs.assessment.task_type}", route.effort if route else None),
        (f"channel {inputs.channel_name}", inputs.channel.effort),
        ("routing.effort.default", settings.default),
    ):
        if value is not None:
            return Effort(score=value, origin="policy"), Reason(rule="effort", effect=f"{value:.2f} of 1, set by {rule}")
    runtime = inputs.condition(card.id)
    deadline_s = inputs.hints.deadline_s
    effort = effort_score(
        EffortInputs(
            complexity=inputs.assessment.complexity,
            thinking_needed=inputs.assessment.needs.thinking,
            urgency=inputs.hints.urgency,
            deadline_s=inputs.channel.deadline_s if deadline_s is None else deadline_s,
            risk=risk_of(inputs.hints.risk, inputs.assessment.lens),
            integration=integration_of(inputs.assessment.lens),
            prefer=inputs.prefer,
            preference=settings.preference,
            queue_wait_s=runtime.queue_wait_ms / 1000.0,
            occupancy=runtime.occupancy,
        ),
        effort_policy(settings.philosophy),
    )
    computed = effort.score or 0.0
    score = round(min(settings.max, max(settings.min, computed)), 3)
    factors = "; ".join([factor.reason for factor in effort.factors])
    held = f"; held to {settings.min:g} to {settings.max:g} by routing.effort" if abs(score - computed) > 0.001 else ""
    return msgspec.structs.replace(effort, score=score), Reason(rule="effort", effect=f"{score:.2f} of 1: {factors}{held}")


def estimate(inputs: PlanInputs, card: ModelCard) -> Estimate:
    """Return what to reserve for the call: the estimated input, and the caller's cap or else the expected answer."""
    needs = inputs.assessment.needs
    output = needs.output_tokens if inputs.caller_cap is None else inputs.caller_cap
    if card.max_output_tokens is not None:
        output = min(output, card.max_output_tokens)
    return Estimate(input_tokens=needs.input_tokens, output_tokens=output, cost_usd=request_cost_usd(card, inputs))
