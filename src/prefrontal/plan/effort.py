"""How hard a model should think when the caller does not say: a product of seven factors.

    score = clamp(complexity × domains × urgency × risk × budget × load × preference)

Complexity lies in [0, 1] and carries the score; each other factor is 1 when it has nothing to say. Every factor is monotone in
its input, so a harder, riskier or richer request never thinks less, and a more urgent one or a busier engine never thinks more.
The score steers thinking only: never the temperature, and never a cost on its own (the cost of a request follows from the
output cap and the price, see `prefrontal.plan.cost`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from prefrontal.contracts.effort import Effort, Factor

Philosophy = Literal["conservative", "balanced", "aggressive"]


class EffortPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of the product. The defaults are the balanced philosophy.

    gain: factor on complexity (assumed). thinking_floor: complexity of a task that needs thinking is at least this (assumed:
    above the threshold from which models that only think or not do think).
    urgency_weight: an urgency of 1 takes this share away (specified: seed 000's effort v2.0, 1 - 0.3·urgency).
    hurry_horizon_s: a deadline this far off is no hurry, at 0 s urgency is 1 (assumed: one minute is a patient wait in a chat).
    risk_weight: a risk of 1 adds this share (specified: the same, 1 + 0.5·risk).
    integration_weight: a task that lies wholly between its domains adds this share (assumed: joining them is a step of its own).
    preference_base, preference_span: factor = base + span·p with p in [0, 1] (specified: the same, 0.7 + 0.6·accuracy
    preference); prefer_shares: p of each preference (assumed; balanced is 0.5, where the factor is 1).
    ample_budget_share: with at least this share of the budget left money is no concern; below, the factor falls in
    proportion down to budget_floor (specified as a factor by seed 000; that it starts at half and ends at the floor is assumed,
    for a request that is let through should still be answered well).
    tolerable_wait_s: a queue this long counts as full load (assumed). busy_occupancy: engines are free up to this share of their
    slots (assumed). load_weight: full load takes this share away (assumed).
    floor, ceiling: bounds of the score (assumed).
    """

    gain: float = 1.0
    thinking_floor: float = 0.35
    urgency_weight: float = 0.3
    hurry_horizon_s: float = 60.0
    risk_weight: float = 0.5
    integration_weight: float = 0.3
    preference_base: float = 0.7
    preference_span: float = 0.6
    prefer_quality: float = 1.0
    prefer_balanced: float = 0.5
    prefer_cost: float = 0.2
    prefer_latency: float = 0.0
    ample_budget_share: float = 0.5
    budget_floor: float = 0.3
    tolerable_wait_s: float = 10.0
    busy_occupancy: float = 0.5
    load_weight: float = 0.4
    floor: float = 0.0
    ceiling: float = 1.0


BALANCED = EffortPolicy()
"""As hard as the task asks."""

CONSERVATIVE = EffortPolicy(gain=0.7, load_weight=0.6, ceiling=0.8)
"""Little first, more when the answer falls short: cheaper and quicker, with more second tries (constants assumed)."""

AGGRESSIVE = EffortPolicy(gain=1.3, thinking_floor=0.5, load_weight=0.2, floor=0.1)
"""Right the first time: slower and dearer (constants assumed)."""


def effort_policy(philosophy: Philosophy) -> EffortPolicy:
    """Return the constants of a philosophy."""
    if philosophy == "conservative":
        return CONSERVATIVE
    return AGGRESSIVE if philosophy == "aggressive" else BALANCED


class EffortInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the score looks at. None: nobody said.

    complexity, urgency, risk, budget_share (left of the budget that applies), occupancy (of the engine's slots), integration (how
    much of the task lies between domains, from a lens): [0, 1].
    deadline_s: seconds left; makes up for a missing urgency, and the more urgent of the two counts. queue_wait_s: how long
    requests wait now. preference: the operator's factor, 1 is neutral. prefer: what the caller or the configuration values.
    """

    complexity: float
    thinking_needed: bool = False
    urgency: float | None = None
    deadline_s: float | None = None
    risk: float | None = None
    integration: float | None = None
    budget_share: float | None = None
    queue_wait_s: float = 0.0
    occupancy: float = 0.0
    prefer: Literal["quality", "cost", "latency", "balanced"] | str = "balanced"
    preference: float = 1.0


def effort_score(inputs: EffortInputs, policy: EffortPolicy = BALANCED) -> Effort:
    """Return the computed effort: score in [policy.floor, policy.ceiling], origin ``policy``, and the factors that made it.

    The product of the factors, clamped to the policy's bounds, is the score. Inputs outside their range are taken as the
    nearest end of it.
    """
    spoken = (_domains, _urgency, _risk, _budget, _load, _preference)
    found = [rule(inputs, policy) for rule in spoken]
    factors = (_complexity(inputs, policy), *[factor for factor in found if factor is not None])
    product = 1.0
    for factor in factors:
        product *= factor.value
    score = min(policy.ceiling, max(policy.floor, product))
    return Effort(score=score, origin="policy", factors=factors)


def _unit(value: float) -> float:
    """The value brought into [0, 1]; what is not a number counts as 0."""
    return min(1.0, max(0.0, value)) if value == value else 0.0


def _complexity(inputs: EffortInputs, policy: EffortPolicy) -> Factor:
    complexity = _unit(inputs.complexity)
    reason = f"complexity {complexity:.2f}"
    if inputs.thinking_needed and complexity < policy.thinking_floor:
        complexity = policy.thinking_floor
        reason += f", raised to {complexity:.2f} because the task needs thinking"
    if policy.gain != 1.0:
        reason += f", ×{policy.gain:g} by the effort philosophy"
    return Factor(name="complexity", value=complexity * policy.gain, reason=reason)


def _domains(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    integration = _unit(inputs.integration or 0.0)
    if integration == 0.0:
        return None
    value = 1.0 + policy.integration_weight * integration
    return Factor(name="domains", value=value, reason=f"integration of domains {integration:.2f}: ×{value:.2f}")


def _urgency(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    urgency = _unit(inputs.urgency or 0.0)
    reason = f"urgency {urgency:.2f}"
    if inputs.deadline_s is not None:
        from_deadline = 1.0 - _unit(inputs.deadline_s / policy.hurry_horizon_s)
        if from_deadline > urgency:
            urgency, reason = from_deadline, f"the answer is due in {max(0.0, inputs.deadline_s):g} s"
    if urgency == 0.0:
        return None
    value = 1.0 - policy.urgency_weight * urgency
    return Factor(name="urgency", value=value, reason=f"{reason}: ×{value:.2f}")


def _risk(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    risk = _unit(inputs.risk or 0.0)
    if risk == 0.0:
        return None
    value = 1.0 + policy.risk_weight * risk
    return Factor(name="risk", value=value, reason=f"risk {risk:.2f}: ×{value:.2f}")


def _budget(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    if inputs.budget_share is None:
        return None
    left = _unit(inputs.budget_share)
    if left >= policy.ample_budget_share:
        return None
    value = policy.budget_floor + (1.0 - policy.budget_floor) * left / policy.ample_budget_share
    return Factor(name="budget", value=value, reason=f"{left:.0%} of the budget is left: ×{value:.2f}")


def _load(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    waiting = _unit(inputs.queue_wait_s / policy.tolerable_wait_s)
    crowded = _unit((_unit(inputs.occupancy) - policy.busy_occupancy) / (1.0 - policy.busy_occupancy))
    load = max(waiting, crowded)
    if load == 0.0:
        return None
    value = 1.0 - policy.load_weight * load
    cause = (
        f"requests wait {inputs.queue_wait_s:.1f} s"
        if waiting >= crowded
        else f"{_unit(inputs.occupancy):.0%} of the slots are taken"
    )
    return Factor(name="load", value=value, reason=f"{cause}: ×{value:.2f}")


def _preference(inputs: EffortInputs, policy: EffortPolicy) -> Factor | None:
    shares = {"quality": policy.prefer_quality, "cost": policy.prefer_cost, "latency": policy.prefer_latency}
    share = shares.get(inputs.prefer, policy.prefer_balanced)
    value = (policy.preference_base + policy.preference_span * share) * max(0.0, inputs.preference)
    if abs(value - 1.0) < 1e-9:  # binary rounding of 0.7 + 0.6 * 0.5
        return None
    reason = f"{inputs.prefer} is preferred"
    if inputs.preference != 1.0:
        reason += f", and the configured factor is {inputs.preference:g}"
    return Factor(name="preference", value=value, reason=f"{reason}: ×{value:.2f}")
