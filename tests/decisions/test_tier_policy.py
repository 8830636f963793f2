"""Where a decision begins and where it goes next: the seed's rules, made configurable, as a pure function."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from prefrontal.config.schema_tiers import EscalateBelow, Signal, Tiers
from prefrontal.contracts.decision import DecisionAnswer, DecisionContext
from prefrontal.decisions.tiers import NO_TIER_MODEL, Route, Visit, following, route, weakness, weight

RULES = Tiers(
    signals={"queue_length": Signal(above=5), "deadline_days": Signal(below=3), "dependencies": Signal(above=3, weight=2.0)}
)


@pytest.mark.parametrize(
    ("type_tier", "context", "expected"),
    [
        (1, {}, (1, "type")),
        (2, {}, (2, "type")),
        (3, {}, (3, "type")),
        (None, {}, (2, "unknown_type")),
        (1, {"creativity": True}, (3, "creativity")),
        (1, {"multi_agent": True, "novel": True}, (3, "novel_multi_agent")),
        (1, {"multi_agent": True}, (1, "type")),
        (1, {"novel": True}, (1, "type")),
        (3, {"creativity": True}, (3, "type")),
        (1, {"signals": {"queue_length": 9}}, (1, "type")),
        (1, {"signals": {"queue_length": 9, "deadline_days": 1}}, (2, "type, signals")),
        (1, {"signals": {"queue_length": 5, "deadline_days": 3}}, (1, "type")),
        (1, {"signals": {"dependencies": 4}}, (2, "type, signals")),
        (1, {"signals": {"dependencies": 4, "queue_length": 9, "deadline_days": 1}}, (2, "type, signals")),
        (1, {"signals": {"something else": 99}}, (1, "type")),
        (None, {"signals": {"dependencies": 4}}, (2, "unknown_type")),
    ],
)
def test_a_decision_begins_where_its_type_and_situation_put_it(type_tier, context, expected):
    """The seed's rules: multi-agent and novel to 3, creativity to 3, unknown to 2; and the signals count."""
    found = route(type_tier, DecisionContext(**context), RULES)
    assert (found.tier, found.reason) == expected


def test_every_rule_can_be_changed():
    """No tier of the policy is written into the code."""
    mild = msgspec.structs.replace(RULES, unknown=1, creativity=2, novel_multi_agent=1, signals_reach=3, signals_needed=1.0)
    assert route(None, DecisionContext(), mild).tier == 1
    assert route(1, DecisionContext(creativity=True), mild).tier == 2
    assert route(1, DecisionContext(multi_agent=True, novel=True), mild).tier == 1
    assert route(1, DecisionContext(signals={"dependencies": 9}), mild).tier == 3


def test_the_caller_may_name_a_tier_and_a_bound():
    """A bound holds for everything, also for what the caller asks for."""
    assert route(1, DecisionContext(), RULES, least=3).tier == 3
    assert route(1, DecisionContext(), RULES, least=3, most=2).tier == 2
    assert route(3, DecisionContext(creativity=True), RULES, most=1).tier == 1


def test_signals_weigh_what_is_configured():
    """A measure on the threshold does not count, an unknown one neither."""
    assert weight({"queue_length": 6, "deadline_days": 2.9, "dependencies": 3, "x": 9}, RULES.signals) == 2.0


@pytest.mark.parametrize(("source", "confidence", "weak"), [("native", 0.05, True), ("native", 0.2, False), ("votes", 0.2, True)])
def test_how_sure_an_answer_must_be_depends_on_its_source(source, confidence, weak):
    """The same confidence is enough for token probabilities and too little for votes."""
    answer = DecisionAnswer(
        index=0,
        id="0",
        kind="yes_no",
        values=(True, False),
        probabilities=(0.6, 0.4),
        chosen=True,
        confidence=confidence,
        source=source,
    )
    assert (weakness(answer, EscalateBelow()) is not None) == weak


def step(begun: int, visits: list[tuple[int, str, str]], barred: dict[int, str] | None = None, most: int = 3):
    found = following(
        Route(tier=begun, reason="type"), [Visit(tier=t, how=h, code=c) for t, h, c in visits], barred or {}, most=most
    )
    return found.tier, found.degraded_by


@pytest.mark.parametrize(
    ("begun", "visits", "barred", "expected"),
    [
        (1, [], {}, (1, None)),
        (3, [], {}, (3, None)),
        (3, [], {3: "agent_allowance"}, (2, "agent_allowance")),
        (3, [], {3: "agent_allowance", 2: NO_TIER_MODEL}, (1, "agent_allowance")),
        (3, [], {3: "agent_allowance", 2: "timeout", 1: NO_TIER_MODEL}, (None, "agent_allowance")),
        (3, [(3, "barred", "insufficient_quota")], {}, (2, "insufficient_quota")),
        (3, [(3, "failed", "timeout"), (2, "failed", "timeout")], {}, (1, "timeout")),
        (1, [(1, "failed", "timeout")], {}, (None, "timeout")),
        (1, [(1, "weak", "low_confidence")], {}, (2, None)),
        (1, [(1, "weak", "low_confidence"), (2, "weak", "refused")], {}, (3, None)),
        (1, [(1, "weak", "low_confidence"), (2, "weak", "refused"), (3, "weak", "refused")], {}, (None, None)),
        (2, [(2, "weak", "low_confidence")], {3: "agent_allowance"}, (None, "agent_allowance")),
        (1, [(1, "weak", "low_confidence")], {2: NO_TIER_MODEL}, (3, None)),
        (1, [(1, "weak", "low_confidence"), (2, "failed", "timeout")], {}, (None, "timeout")),
        (2, [(2, "failed", "timeout"), (1, "weak", "low_confidence")], {}, (3, "timeout")),
        (3, [(3, "barred", "insufficient_quota"), (2, "weak", "low_confidence")], {}, (None, "insufficient_quota")),
        (1, [], {1: NO_TIER_MODEL, 2: NO_TIER_MODEL}, (3, None)),
        (1, [], {1: NO_TIER_MODEL, 2: NO_TIER_MODEL, 3: NO_TIER_MODEL}, (None, NO_TIER_MODEL)),
    ],
)
def test_a_decision_goes_up_when_weak_and_down_when_barred(begun, visits, barred, expected):
    """Money, allowances and outages lead down to the rule; weak answers lead up, and the budget stops them."""
    assert step(begun, visits, barred) == expected


def test_the_caller_s_bound_stops_an_escalation():
    """A weak answer of the highest allowed tier stands."""
    assert step(1, [(1, "weak", "low_confidence")], most=1) == (None, None)


def test_a_decision_always_ends():
    """Whatever happens at each tier, no tier is asked twice and the way ends after at most three."""
    ends = [("weak", "low_confidence"), ("failed", "timeout"), ("barred", "insufficient_quota")]
    for begun, outcomes in itertools.product((1, 2, 3), itertools.product(ends, repeat=3)):
        visits: list[tuple[int, str, str]] = []
        for how, code in outcomes:
            tier, _ = step(begun, visits)
            if tier is None:
                break
            assert tier not in [visit[0] for visit in visits]
            visits.append((tier, how, code))
        assert step(begun, visits)[0] is None


def test_the_reason_tells_the_whole_way():
    """What a person reads in the answer."""
    visits = [Visit(tier=1, how="weak", code="low_confidence"), Visit(tier=2, how="failed", code="timeout")]
    assert following(Route(tier=1, reason="type, signals"), visits, {}).reason == "type, signals, low_confidence, timeout"
