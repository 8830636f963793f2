"""The rule behind a decision: proven where it is registered, harmless where it still goes wrong."""

from __future__ import annotations

import itertools

import pytest

from prefrontal.contracts.decision import NO_CONTEXT, YES_NO, DecisionContext, Option, Question
from prefrontal.decisions.rules import NOT_DETERMINISTIC, Fallback, cel_rule, function_rule, weigh
from prefrontal.errors import ConfigError

CHOICE = Question(kind="choice", instructions="?", options=(Option(value="go"), Option(value="wait"), Option(value="stop")))
SCORE = Question(kind="score", instructions="?", options=(Option(value="low"), Option(value="mid"), Option(value="high")))
YES = Question(kind="yes_no", instructions="?", options=YES_NO)


@pytest.mark.parametrize(
    ("question", "result", "weights"),
    [
        (CHOICE, "wait", (0, 1, 0)),
        (CHOICE, {"go": 3, "stop": 1}, (0.75, 0, 0.25)),
        (SCORE, "high", (0, 0, 1)),
        (SCORE, 1, (0, 1, 0)),
        (SCORE, 1.25, (0, 0.75, 0.25)),
        (SCORE, 2, (0, 0, 1)),
        (YES, True, (1, 0)),
        (YES, False, (0, 1)),
        (YES, 0.25, (0.25, 0.75)),
    ],
)
def test_a_result_is_an_option_a_number_or_weights(question, result, weights):
    """Whatever a rule finds natural to return."""
    assert weigh(question, result) == pytest.approx(weights)


@pytest.mark.parametrize(
    ("question", "result"),
    [
        (CHOICE, "run"),
        (CHOICE, None),
        (CHOICE, 1),
        (CHOICE, {"run": 1}),
        (SCORE, 3),
        (SCORE, -1),
        (SCORE, float("nan")),
        (YES, 1.5),
    ],
)
def test_any_other_result_is_none(question, result):
    """A level that is not there, a word that is no option, not a number."""
    with pytest.raises(ValueError):
        weigh(question, result)


def test_cel_reads_state_and_context():
    """An expression in YAML is a rule."""
    rule = cel_rule("novel ? 'stop' : size(state.queue) > 2 || signals['load'] > 0.5 ? 'wait' : 'go'")
    fallback = Fallback(CHOICE, rule)
    quiet = DecisionContext(signals={"load": 0.1})
    assert fallback.answer({"queue": [1]}, quiet) == ((1, 0, 0), None)
    assert fallback.answer({"queue": [1, 2, 3]}, quiet) == ((0, 1, 0), None)
    assert fallback.answer({"queue": []}, DecisionContext(novel=True, signals={"load": 0.9})) == ((0, 0, 1), None)


@pytest.mark.parametrize("expression", ["state.queue >", "queue > 5 ? 'go' : 'wait'", "now() > 1 ? 'go' : 'wait'"])
def test_wrong_cel_is_told_where_it_is_written(expression):
    """Syntax, unknown names, and a clock, which no rule may have."""
    with pytest.raises(ConfigError):
        Fallback(CHOICE, cel_rule(expression)).check([{"queue": 1}])


def test_names_of_comprehensions_are_an_expression_s_own():
    """`t` is known inside `exists`."""
    rule = cel_rule("state.tasks.exists(t, t.late) ? 'go' : 'wait'")
    assert Fallback(CHOICE, rule).answer({"tasks": [{"late": True}]}, NO_CONTEXT)[0] == (1, 0, 0)


def test_a_rule_that_is_not_deterministic_is_found_where_it_is_registered_and_where_it_is_used():
    """It runs twice on every sample, and twice on its first use."""
    turns = itertools.cycle(["go", "wait"])
    with pytest.raises(ConfigError, match="not deterministic"):
        Fallback(CHOICE, lambda _state: next(turns)).check(["s"])
    probabilities, finding = Fallback(CHOICE, lambda _state: next(turns)).answer("s", NO_CONTEXT)
    assert probabilities == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert finding == NOT_DETERMINISTIC


def test_a_rule_that_raises_is_an_error_at_load_and_a_finding_later():
    """A decision never fails of its rule."""

    def broken(state: dict) -> str:
        return state["missing"]

    with pytest.raises(ConfigError, match="fails on the sample"):
        Fallback(CHOICE, broken).check([{}])
    fallback = Fallback(CHOICE, broken)
    assert fallback.answer({}, NO_CONTEXT) == (pytest.approx((1 / 3, 1 / 3, 1 / 3)), "rule_raised: KeyError")
    assert fallback.answer({"missing": "stop"}, NO_CONTEXT) == ((0, 0, 1), None)
    assert Fallback(CHOICE, lambda _s: "nonsense").answer("s", NO_CONTEXT)[1].startswith("rule_gave_no_answer")


def test_without_a_rule_all_options_are_equal():
    """Which says that nobody knows."""
    assert Fallback(SCORE, None).answer("s", NO_CONTEXT) == (pytest.approx((1 / 3, 1 / 3, 1 / 3)), None)


def test_a_function_is_found_by_its_path():
    """And a wrong path is told."""
    assert function_rule("operator:not_")([]) is True
    for path in ("operator", "operator:nope", "no_such_module:x", "math:pi"):
        with pytest.raises(ConfigError):
            function_rule(path)
