"""Makes the plan: path, model, effort, fallbacks, estimate, and every reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.plan import Candidate, Estimate, Plan, Reason
from prefrontal.errors import CapabilityMissing, ContextTooLong, NoModelAvailable, PrefrontalError
from prefrontal.plan.affinity import keep
from prefrontal.plan.effort import EffortInputs, effort_policy, effort_score
from prefrontal.plan.inputs import PlanInputs
from prefrontal.plan.musts import required, ruled_out, too_small
from prefrontal.plan.policies import Policy
from prefrontal.plan.scores import Scored, request_cost_usd

MAX_FALLBACKS = 4
"""How many models are tried after the first (assumed: a caller will not wait for more)."""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Models that can serve, best first, and those that cannot, with the reason."""

    ranked: list[Scored]
    ruled_out: list[tuple[str, str]]
    reasons: list[Reason]
    policy: str


def make_plan(inputs: PlanInputs, policies: Mapping[str, Policy]) -> Plan:
    """Return the plan for an automatic request.

    Raises:
        ContextTooLong, CapabilityMissing, NoModelAvailable: nothing configured can serve it; the message says what could.
    """
    if inputs.offer is not None:
        return _tool_plan(inputs)
    ranking = rank(inputs, policies)
    if not ranking.ranked:
        raise nothing_fits(inputs, ranking.ruled_out)
    first = ranking.ranked[0].model
    fallbacks, fallback_reason = choose_fallbacks(inputs, ranking.ranked)
    effort, effort_reason = choose_effort(inputs, inputs.cards[first])
    reasons = [
        Reason(rule="assessment", effect=_assessed(inputs)),
        *ranking.reasons,
        Reason(rule=f"policy {ranking.policy}", effect=_why_first(ranking.ranked, inputs)),
        effort_reason,
    ]
    if fallback_reason:
        reasons.append(fallback_reason)
    return Plan(
        path="model",
        model=first,
        role=inputs.role,
        channel=inputs.channel_name,
        policy=ranking.policy,
        effort=effort,
        fallbacks=fallbacks,
        estimate=estimate(inputs, inputs.cards[first]),
        reasons=tuple(reasons),
        candidates=candidates(ranking),
    )


def _tool_plan(inputs: PlanInputs) -> Plan:
    offer = inputs.offer
    assert offer is not None
    return Plan(
        path="tool",
        tool=offer.tool,
        tool_arguments=offer.arguments,
        channel=inputs.channel_name,
        policy="reflex",
        reasons=(Reason(rule="reflex", effect=f"'{offer.tool}' answers this without a model: {offer.reason}"),),
    )


def rank(inputs: PlanInputs, policies: Mapping[str, Policy]) -> Ranking:
    """Return the ranking under the policy, the task table, the channel and the session."""
    reasons: list[Reason] = []
    pool = _pool(inputs, reasons)
    out: list[tuple[str, str]] = []
    eligible: list[ModelCard] = []
    for card in inputs.cards.values():
        why = "it is outside the role or channel asked for" if card.id not in pool else ruled_out(card, inputs)
        if why is None:
            eligible.append(card)
        else:
            out.append((card.id, why))
    eligible = _within_cost(eligible, inputs, out)
    route = inputs.routing.task_routing.get(inputs.assessment.task_type)
    name = (route.policy if route else None) or inputs.channel.policy or inputs.routing.policy
    policy = policies.get(name)
    if policy is None:
        raise NoModelAvailable(f"No routing policy is named '{name}'.", hint=f"Known: {', '.join(sorted(policies))}.")
    ranked = policy(eligible, inputs) if eligible else []
    if route is not None and inputs.role is None:
        ranked = _routed_first(ranked, inputs, (*route.models, *inputs.roles.get(route.role or "", ())), reasons)
    if inputs.routing.affinity.enabled and name not in ("round_robin",):
        ranked, text = keep(ranked, inputs.stay, inputs.routing.affinity.min_gain)
        if text:
            reasons.append(Reason(rule="affinity", effect=text))
    return Ranking(ranked=ranked, ruled_out=out, reasons=reasons, policy=name)


def _pool(inputs: PlanInputs, reasons: list[Reason]) -> frozenset[str]:
    """Return the models that role and channel leave: a role asked for by name is strict, a channel's is a preference."""
    everything = frozenset(inputs.cards)
    if inputs.role is not None:
        reasons.append(Reason(rule="role", effect=f"only models of the role '{inputs.role}'"))
        return frozenset(inputs.roles.get(inputs.role, ())) & everything
    channel = inputs.channel
    wanted = frozenset(channel.models) & everything if channel.models else everything
    if channel.roles:
        members = frozenset(name for role in channel.roles for name in inputs.roles.get(role, ())) & wanted
        if members:
            reasons.append(Reason(rule=f"channel {inputs.channel_name}", effect=f"prefers the roles {', '.join(channel.roles)}"))
            return members
    return wanted


def _within_cost(eligible: list[ModelCard], inputs: PlanInputs, out: list[tuple[str, str]]) -> list[ModelCard]:
    ceiling = inputs.hints.max_cost_usd
    if ceiling is None:
        return eligible
    kept = []
    for card in eligible:
        cost = request_cost_usd(card, inputs)
        if cost is not None and cost <= ceiling:
            kept.append(card)
        else:
            spoken = "its price is unknown" if cost is None else f"it may cost ${cost:.4f}"
            out.append((card.id, f"{spoken}, and the caller's limit is ${ceiling:g}"))
    return kept


def _routed_first(ranked: list[Scored], inputs: PlanInputs, wanted: Sequence[str], reasons: list[Reason]) -> list[Scored]:
    """Put the models that the task table names first; the policy's order holds inside both groups."""
    named = frozenset(wanted)
    first = [s for s in ranked if s.model in named]
    if not first:
        return ranked
    reasons.append(
        Reason(
            rule=f"task_routing.{inputs.assessment.task_type}",
            effect=f"prefers {', '.join(s.model for s in first)}",
        )
    )
    return first + [s for s in ranked if s.model not in named]


def choose_fallbacks(inputs: PlanInputs, ranked: Sequence[Scored]) -> tuple[tuple[str, ...], Reason | None]:
    """Return the models to try after the first: the configured chain where it can serve, else the policy's order."""
    if not inputs.hints.fallback:
        return (), Reason(rule="fallback", effect="the caller forbids another model")
    able = [s.model for s in ranked[1:]]
    chain: list[str] = []
    for name in inputs.routing.fallback:
        chain.extend(inputs.roles.get(name.removeprefix("role/"), ()) if name.startswith("role/") else (name,))
    order = [name for name in dict.fromkeys(chain) if name in able] if chain else able
    order = order[:MAX_FALLBACKS]
    text = f"if it fails: {', '.join(order)}" if order else "no other model could take over"
    return tuple(order), Reason(rule="fallback", effect=text)


def choose_effort(inputs: PlanInputs, card: ModelCard) -> tuple[Effort, Reason]:
    """Return the effort: the caller's word, the task table's or channel's score, the default, else the computed one."""
    if inputs.asked_effort is not None:
        return inputs.asked_effort, Reason(rule="effort", effect="as the caller asked")
    settings = inputs.routing.effort
    route = inputs.routing.task_routing.get(inputs.assessment.task_type)
    fixed = (
        ("task_routing", route.effort if route else None),
        (f"channel {inputs.channel_name}", inputs.channel.effort),
        ("routing.effort.default", settings.default),
    )
    for rule, value in fixed:
        if value is not None:
            return Effort(score=value, origin="policy"), Reason(rule="effort", effect=f"{value:.2f}, set by {rule}")
    runtime = inputs.condition(card.id)
    effort = effort_score(
        EffortInputs(
            complexity=inputs.assessment.complexity,
            thinking_needed=inputs.assessment.needs.thinking,
            urgency=inputs.hints.urgency,
            deadline_s=inputs.hints.deadline_s or inputs.channel.deadline_s,
            risk=inputs.hints.risk,
            prefer=inputs.prefer,
            preference=settings.preference,
            queue_wait_s=runtime.queue_wait_ms / 1000.0,
            occupancy=runtime.occupancy,
        ),
        effort_policy(settings.philosophy),
    )
    score = min(settings.max, max(settings.min, effort.score or 0.0))
    effort = msgspec.structs.replace(effort, score=round(score, 3))
    factors = "; ".join(factor.reason for factor in effort.factors)
    return effort, Reason(rule="effort", effect=f"{score:.2f}: {factors}")


def estimate(inputs: PlanInputs, card: ModelCard) -> Estimate:
    """Return what to reserve for the call."""
    needs = inputs.assessment.needs
    return Estimate(
        input_tokens=needs.input_tokens,
        output_tokens=inputs.caller_cap or needs.output_tokens,
        cost_usd=request_cost_usd(card, inputs),
    )


def candidates(ranking: Ranking) -> tuple[Candidate, ...]:
    """Return every model with its score and why it lost."""
    best = ranking.ranked[0] if ranking.ranked else None
    listed = [
        Candidate(
            model=s.model,
            score=s.score,
            eligible=True,
            lost=None if s is best or best is None else _why_lost(best, s),
            parts=s.parts,
        )
        for s in ranking.ranked
    ]
    return (*listed, *[Candidate(model=name, score=0.0, eligible=False, lost=why) for name, why in ranking.ruled_out])


def _why_lost(best: Scored, other: Scored) -> str:
    behind = {name: best.parts.get(name, 0.0) - value for name, value in other.parts.items() if name in best.parts}
    name = max(behind, key=lambda n: behind[n], default="")
    if other.score >= best.score:
        return f"'{best.model}' was put first by the rules above"
    if name and behind[name] > 0:
        return f"scores {other.score:.2f} against {best.score:.2f}, mostly for {name}"
    return f"scores {other.score:.2f} against {best.score:.2f}"


def _why_first(ranked: Sequence[Scored], inputs: PlanInputs) -> str:
    first = ranked[0]
    if len(ranked) == 1:
        return f"'{first.model}' is the only model that can take this"
    parts = ", ".join(f"{name} {value:g}" for name, value in sorted(first.parts.items(), key=lambda p: -p[1]))
    return f"'{first.model}' comes first of {len(ranked)} (preferring {inputs.prefer}): {parts}"


def _assessed(inputs: PlanInputs) -> str:
    seen = inputs.assessment
    needs = required(seen.needs, must_think=inputs.must_think, custom=inputs.hints.needs)
    tail = f"; needs {', '.join(needs)}" if needs else ""
    return (
        f"{seen.task_type}, complexity {seen.complexity:.2f}, about {seen.needs.input_tokens} tokens in "
        f"(confidence {seen.confidence:.2f}){tail}"
    )


def nothing_fits(inputs: PlanInputs, out: Sequence[tuple[str, str]]) -> PrefrontalError:
    """Return the error that tells the caller what stands in the way, and what would help."""
    details = {"reasons": dict(out)}
    if not inputs.cards:
        return NoModelAvailable(
            "No model is configured or found.",
            hint="Start Ollama, put a .gguf file into the models folder, set OPENAI_API_KEY, or run `prefrontal doctor`.",
        )
    if inputs.role is not None and not inputs.roles.get(inputs.role):
        return NoModelAvailable(f"No model has the role '{inputs.role}'.", hint="Add it under `roles:` or `models.*.roles`.")
    needs = inputs.assessment.needs
    usable = [card for card in inputs.cards.values() if card.enabled]
    short = [card for card in usable if too_small(card, needs, inputs.caller_cap)]
    if usable and len(short) == len(usable):
        largest = max(usable, key=lambda card: card.context_tokens or 0)
        return ContextTooLong(
            f"The input of about {needs.input_tokens} tokens fits no configured model; "
            f"the largest window is {largest.context_tokens} ('{largest.id}').",
            param="messages",
            details=details,
        )
    for name in required(needs, must_think=inputs.must_think, custom=inputs.hints.needs):
        if not any(card.can(name) or (card.can(name) is None and name in ("tools", "structured_output")) for card in usable):
            return CapabilityMissing(
                f"No configured model can serve this: the request needs '{name}'.",
                param=_CULPRIT.get(name, "x_prefrontal.needs"),
                hint=f"Add a model with the capability '{name}'.",
                details=details,
            )
    listed = "; ".join(f"{name}: {why}" for name, why in out)
    return NoModelAvailable(f"No model can take this now. {listed}", retry_after_s=5.0, details=details)


_CULPRIT = {
    "vision": "messages",
    "audio": "messages",
    "files": "messages",
    "tools": "tools",
    "structured_output": "response_format",
    "thinking": "reasoning_effort",
}
