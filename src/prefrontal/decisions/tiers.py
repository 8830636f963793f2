"""Which tier a decision begins in, and where it goes next. Pure.

A decision begins where its type and its situation put it. It goes up when an answer is not sure enough, is refused or lies
beside the options; it goes down when money, an allowance or an outage bars the way. Below the first tier stands the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from prefrontal.config.schema_tiers import EscalateBelow, Signal, Tiers
from prefrontal.contracts.decision import COMPLEX, ROUTINE, DecisionAnswer, DecisionContext

LOW_CONFIDENCE = "low_confidence"
"""Why a higher tier is asked: the answer is not sure enough for where it comes from."""

AGENT_ALLOWANCE = "agent_allowance"
"""What bars hosted models: the agent has had its questions for the day."""

NO_TIER_MODEL = "no_model"
"""What bars a tier that has no model."""

RULE_TIER = 0

How = Literal["weak", "failed", "barred"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where a decision begins, and the rule of the policy that says so."""

    tier: int
    reason: str


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A tier that was asked, or could not be. how: its answer was weak, it failed, or the way was barred; code: why."""

    tier: int
    how: How
    code: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What comes next. tier None: nothing more, the best answer there is stands, and a rule where there is none.

    reason: the whole way so far, for people. degraded_by: what kept the decision from a better tier (None: nothing did).
    """

    tier: int | None
    reason: str
    degraded_by: str | None = None


def route(type_tier: int | None, context: DecisionContext, rules: Tiers, *, least: int | None = None, most: int = 3) -> Route:
    """Return where a decision begins.

    Creativity, and what is new among several agents, lead to their tiers whatever the type; a type without a tier to that of
    unknown ones; signals lift by a tier for each `signals_needed` of weight. `least` is a tier that the caller asks for, in the
    place of all that; `most` bounds everything.
    """
    if least is not None:
        return Route(tier=min(least, most), reason="asked")
    tier, reason = (rules.unknown, "unknown_type") if type_tier is None else (type_tier, "type")
    if context.multi_agent and context.novel and tier < rules.novel_multi_agent:
        tier, reason = rules.novel_multi_agent, "novel_multi_agent"
    if context.creativity and tier < rules.creativity:
        tier, reason = rules.creativity, "creativity"
    if context.signals and rules.signals and tier < rules.signals_reach:
        lift = int(weight(context.signals, rules.signals) / rules.signals_needed)
        if lift:
            tier, reason = min(tier + lift, rules.signals_reach), f"{reason}, signals"
    return Route(tier=min(tier, most), reason=reason)


def weight(signals: Mapping[str, float], known: Mapping[str, Signal]) -> float:
    """Return the weight of the signals that count; measures nobody configured weigh nothing."""
    total = 0.0
    for name, signal in known.items():
        value = signals.get(name)
        if value is None:
            continue
        if (signal.above is not None and value > signal.above) or (signal.below is not None and value < signal.below):
            total += signal.weight
    return total


def weakness(answer: DecisionAnswer, below: EscalateBelow) -> str | None:
    """Return why an answer calls for a higher tier; None: it does not."""
    if answer.source == "rule":
        return None
    least = {"native": below.native, "logprobs": below.logprobs, "votes": below.votes, "self_report": below.self_report}
    return LOW_CONFIDENCE if answer.confidence < least[answer.source] else None


def following(begun: Route, visits: Sequence[Visit], barred: Mapping[int, str], *, most: int = COMPLEX) -> Step:
    """Return the next step of a decision.

    barred: tiers that may not be asked now, and why. A weak answer leads up, never down again; a tier that failed or is barred
    leads to the next lower one that was not asked yet.
    """
    seen = {visit.tier for visit in visits}
    reason = ", ".join([begun.reason, *[visit.code for visit in visits]])
    last = visits[-1] if visits else None
    degraded = next((visit.code for visit in visits if visit.how != "weak"), None)
    if last is not None and any(visit.how == "weak" for visit in visits):
        if last.how != "weak" or any(visit.how == "barred" for visit in visits):  # nothing better is to be had
            return Step(tier=None, reason=reason, degraded_by=degraded)
        above = [tier for tier in range(last.tier + 1, most + 1) if tier not in seen and barred.get(tier) != NO_TIER_MODEL]
        if not above:
            return Step(tier=None, reason=reason, degraded_by=degraded)
        stop = barred.get(above[0])
        return Step(tier=None if stop else above[0], reason=reason, degraded_by=degraded or stop)
    start = begun.tier if last is None else last.tier - 1
    if last is None and all(barred.get(tier) == NO_TIER_MODEL for tier in range(ROUTINE, start + 1)):
        start = next((tier for tier in range(start + 1, most + 1) if barred.get(tier) != NO_TIER_MODEL), start)
    for tier in range(start, ROUTINE - 1, -1):
        if tier in seen:
            continue
        why = barred.get(tier)
        if why is None:
            return Step(tier=tier, reason=reason, degraded_by=degraded)
        degraded = degraded or why
    return Step(tier=None, reason=reason, degraded_by=degraded)
