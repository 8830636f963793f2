"""What lens readings change in a plan, as pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from prefrontal.contracts.assessment import Assessment, Needs
from prefrontal.contracts.lens import LensEffects, LensReading
from prefrontal.plan.effort import EffortInputs, effort_score
from prefrontal.plan.lenses import integration_of, lens_reasons, refined, risk_of

RULES = Assessment(task_type="code", complexity=0.4, needs=Needs(tools=True, output_tokens=300), confidence=0.5)


def reading(source: Any = "model", finding: str | None = None, **effects: Any) -> LensReading:
    made = LensEffects(**effects)
    return LensReading(name="task", version="v1", state={}, summary="s", effects=made, source=source, model="m", finding=finding)


def test_a_models_word_replaces_the_rules_and_facts_stay() -> None:
    """Type, complexity and thinking change; that tools are needed is a fact of the request."""
    found = refined(RULES, [reading(task_type="math", complexity=0.9, thinking=True, long_answer=True)])
    assert (found.task_type, found.complexity, found.origin) == ("math", 0.9, "lens")
    assert (found.needs.tools, found.needs.thinking, found.needs.output_tokens) == (True, True, 2048)
    assert found.signals[-1] == "lens task"


def test_a_formula_and_an_unknown_type_change_nothing_of_the_task() -> None:
    """The formula of the task is the rules; a type nobody knows is ignored."""
    fallen = refined(RULES, [reading("fallback", task_type="math", complexity=0.9)])
    assert (fallen.task_type, fallen.complexity, fallen.origin, len(fallen.lens)) == ("code", 0.4, "rules", 1)
    assert refined(RULES, [reading(task_type="cooking")]).task_type == "code"
    assert refined(RULES, []).lens == ()


def test_the_highest_risk_and_integration_count() -> None:
    """The caller's hint, or a lens, whichever is higher; None where nobody says."""
    assert risk_of(None, []) is None
    assert risk_of(0.4, [reading(risk=0.2), reading(risk=0.7)]) == 0.7
    assert risk_of(0.9, [reading(risk=0.2)]) == 0.9
    assert integration_of([reading()]) is None
    assert integration_of([reading(integration=0.0), reading(integration=0.5)]) == 0.5


@pytest.mark.parametrize("integration", [None, 0.0, float("nan"), -1.0])
def test_nothing_between_domains_leaves_the_score_as_it_was(integration: float | None) -> None:
    """No factor at all, so plans without a lens are what they were."""
    plain = effort_score(EffortInputs(complexity=0.5))
    assert effort_score(EffortInputs(complexity=0.5, integration=integration)) == plain


def test_more_between_domains_never_means_less_effort() -> None:
    """Monotone, logged, and at most the weight."""
    scores = [effort_score(EffortInputs(complexity=0.5, integration=n / 10)).score for n in range(11)]
    assert scores == sorted(scores)
    assert scores[-1] == pytest.approx(0.65)
    (factor,) = [one for one in effort_score(EffortInputs(complexity=0.5, integration=0.5)).factors if one.name == "domains"]
    assert factor.reason == "integration of domains 0.50: ×1.15"


def test_reasons_say_who_read_and_why_a_formula_had_to() -> None:
    """One line a lens, for people."""
    told = lens_reasons([reading(), reading("cache"), reading("fallback", finding="timeout")])
    assert [one.effect for one in told] == [
        "'m' in 0 ms: s",
        "'m', read before: s",
        "its formula, as no model answers (timeout): s",
    ]
