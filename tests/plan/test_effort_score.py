"""The effort score: monotone in each input, clamped, and made of factors a person can read."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from prefrontal.plan.effort import AGGRESSIVE, BALANCED, CONSERVATIVE, EffortInputs, EffortPolicy, effort_policy, effort_score

UNIT = st.floats(0, 1)
POLICIES = st.sampled_from([CONSERVATIVE, BALANCED, AGGRESSIVE])
INPUTS = st.builds(
    EffortInputs,
    complexity=UNIT,
    thinking_needed=st.booleans(),
    urgency=st.none() | UNIT,
    deadline_s=st.none() | st.floats(0, 600),
    risk=st.none() | UNIT,
    budget_share=st.none() | UNIT,
    queue_wait_s=st.floats(0, 100),
    occupancy=UNIT,
    prefer=st.sampled_from(["quality", "cost", "latency", "balanced"]),
    preference=st.floats(0.25, 4),
)


def score(inputs: EffortInputs, policy: EffortPolicy = BALANCED) -> float:
    """The score alone."""
    found = effort_score(inputs, policy).score
    assert found is not None
    return found


def factors(inputs: EffortInputs, policy: EffortPolicy = BALANCED) -> dict[str, float]:
    """The factors by name."""
    return {factor.name: factor.value for factor in effort_score(inputs, policy).factors}


@pytest.mark.parametrize(
    ("field", "values", "sign"),
    [
        ("complexity", UNIT, 1),
        ("thinking_needed", st.booleans(), 1),
        ("urgency", UNIT, -1),
        ("deadline_s", st.floats(0, 600), 1),
        ("risk", UNIT, 1),
        ("budget_share", UNIT, 1),
        ("queue_wait_s", st.floats(0, 100), -1),
        ("occupancy", UNIT, -1),
        ("preference", st.floats(0.25, 4), 1),
    ],
)
def test_the_score_is_monotone(field: str, values: st.SearchStrategy[Any], sign: int) -> None:
    """Whatever the other inputs: more of one never turns the score the wrong way."""

    @given(inputs=INPUTS, pair=st.tuples(values, values), policy=POLICIES)
    def check(inputs: EffortInputs, pair: tuple[Any, Any], policy: EffortPolicy) -> None:
        low, high = sorted(pair)
        less, more = (score(replace(inputs, **{field: value}), policy) for value in (low, high))
        assert sign * (more - less) >= -1e-12

    check()


@given(inputs=INPUTS)
def test_preferences_are_ordered(inputs: EffortInputs) -> None:
    """Latency thinks least, then cost, then balanced, then quality."""
    scores = [score(replace(inputs, prefer=prefer)) for prefer in ("latency", "cost", "balanced", "quality")]
    assert scores == sorted(scores)


@given(inputs=INPUTS)
def test_philosophies_are_ordered(inputs: EffortInputs) -> None:
    """Conservative never thinks harder than balanced, nor balanced harder than aggressive."""
    scores = [score(inputs, effort_policy(name)) for name in ("conservative", "balanced", "aggressive")]  # type: ignore[arg-type]
    assert scores == sorted(scores)


@given(inputs=INPUTS, policy=POLICIES)
def test_the_score_is_the_clamped_product_of_its_factors(inputs: EffortInputs, policy: EffortPolicy) -> None:
    """What a person reads is what was computed."""
    effort = effort_score(inputs, policy)
    product = math.prod(factor.value for factor in effort.factors)
    assert effort.score == pytest.approx(min(policy.ceiling, max(policy.floor, product)))
    assert 0.0 <= effort.score <= 1.0
    assert effort.origin == "policy"
    assert all(factor.reason for factor in effort.factors)


@pytest.mark.parametrize("value", [-5.0, 7.0, math.nan, math.inf, -math.inf])
def test_inputs_outside_their_range_count_as_its_end(value: float) -> None:
    """A wild sensor reading cannot push the score out of [0, 1]."""
    wild = EffortInputs(complexity=value, urgency=value, risk=value, budget_share=value, queue_wait_s=value, occupancy=value)
    assert 0.0 <= score(wild) <= 1.0


def test_a_plain_task_is_its_complexity() -> None:
    """With nothing else to say there is one factor, and the score is the complexity."""
    effort = effort_score(EffortInputs(complexity=0.4))
    assert effort.score == 0.4
    assert [(factor.name, factor.reason) for factor in effort.factors] == [("complexity", "complexity 0.40")]


@pytest.mark.parametrize(
    ("inputs", "name", "value"),
    [
        (EffortInputs(complexity=0.5, urgency=1.0), "urgency", 0.7),
        (EffortInputs(complexity=0.5, urgency=0.5), "urgency", 0.85),
        (EffortInputs(complexity=0.5, deadline_s=30.0), "urgency", 0.85),
        (EffortInputs(complexity=0.5, urgency=0.2, deadline_s=0.0), "urgency", 0.7),
        (EffortInputs(complexity=0.5, risk=1.0), "risk", 1.5),
        (EffortInputs(complexity=0.5, prefer="quality"), "preference", 1.3),
        (EffortInputs(complexity=0.5, prefer="latency"), "preference", 0.7),
        (EffortInputs(complexity=0.5, preference=2.0), "preference", 2.0),
        (EffortInputs(complexity=0.5, budget_share=0.0), "budget", 0.3),
        (EffortInputs(complexity=0.5, budget_share=0.25), "budget", 0.65),
        (EffortInputs(complexity=0.5, queue_wait_s=10.0), "load", 0.6),
        (EffortInputs(complexity=0.5, occupancy=1.0), "load", 0.6),
        (EffortInputs(complexity=0.5, occupancy=0.75), "load", 0.8),
    ],
)
def test_each_factor_has_its_documented_size(inputs: EffortInputs, name: str, value: float) -> None:
    """The constants are those of the policy's docstring."""
    assert factors(inputs)[name] == pytest.approx(value)


@pytest.mark.parametrize(
    "inputs",
    [
        EffortInputs(complexity=0.5, urgency=0.0, risk=0.0),
        EffortInputs(complexity=0.5, deadline_s=60.0),
        EffortInputs(complexity=0.5, budget_share=0.5),
        EffortInputs(complexity=0.5, occupancy=0.5),
        EffortInputs(complexity=0.5, prefer="balanced"),
        EffortInputs(complexity=0.5, prefer="something else"),
    ],
)
def test_what_says_nothing_is_not_listed(inputs: EffortInputs) -> None:
    """Neutral inputs leave no factor behind."""
    assert set(factors(inputs)) == {"complexity"}


def test_a_task_that_needs_thinking_reaches_models_that_only_switch() -> None:
    """Its score is above the threshold of binary models even when it looks simple."""
    effort = effort_score(EffortInputs(complexity=0.05, thinking_needed=True))
    assert effort.score == 0.35
    assert "needs thinking" in effort.factors[0].reason
    assert score(EffortInputs(complexity=0.9, thinking_needed=True)) == 0.9


def test_a_money_or_load_factor_never_reaches_zero() -> None:
    """A request that is let through is still answered with some care."""
    worst = EffortInputs(complexity=1.0, urgency=1.0, budget_share=0.0, queue_wait_s=1e9, occupancy=1.0, prefer="latency")
    assert score(worst) > 0.05
