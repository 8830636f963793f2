"""Distributions and what is read from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.decisions.distribution import (
    averaged,
    confidence,
    expectation,
    from_logprobs,
    from_votes,
    mode,
    normalised,
    one_hot,
    stated,
    uniform,
)

WEIGHTS = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=30).filter(lambda found: sum(found) > 0)
KINDS = st.sampled_from(["choice", "score", "yes_no"])


@given(WEIGHTS)
def test_a_normalised_distribution_sums_to_one_and_keeps_the_order(weights):
    """Whatever the scale, the result is a distribution with the same mode."""
    found = normalised(weights)
    assert math.isclose(math.fsum(found), 1.0, rel_tol=1e-9)
    assert all(0.0 <= p <= 1.0 for p in found)
    assert weights[mode(found)] == max(weights)


@given(WEIGHTS, KINDS)
def test_confidence_lies_between_nothing_and_one(weights, kind):
    """No distribution leaves the range."""
    assert 0.0 <= confidence(kind, normalised(weights)) <= 1.0


@given(st.integers(2, 50), KINDS, st.data())
def test_an_even_distribution_has_no_confidence_and_a_certain_one_has_all(count, kind, data):
    """The two ends of the scale; a yes_no has two options."""
    count = 2 if kind == "yes_no" else count
    assert confidence(kind, uniform(count)) == pytest.approx(0.0, abs=1e-9)
    place = data.draw(st.integers(0, count - 1))
    assert confidence(kind, one_hot(count, place)) == 1.0


@given(WEIGHTS)
def test_the_expected_level_lies_within_the_levels(weights):
    """A score's expectation is a mean of its levels."""
    level = expectation("score", normalised(weights))
    assert level is not None
    assert -1e-9 <= level <= len(weights) - 1 + 1e-9


def test_the_formulas_give_the_figures_of_a_recorded_engine():
    """llama.cpp's own answer to the same distributions: choice 0.019037, score 0.0, level 1.00609."""
    assert confidence("choice", (0.33961, 0.31436, 0.34602)) == pytest.approx(0.019037, abs=1e-5)
    levels = (0.33944, 0.31504, 0.34553)
    assert confidence("score", levels) == 0.0
    assert expectation("score", levels) == pytest.approx(1.00609, abs=1e-4)


def test_a_near_miss_costs_a_score_less_confidence_than_a_far_one():
    """Doubt between neighbours is less doubt than between the ends."""
    near, far = (0.6, 0.4, 0.0, 0.0), (0.6, 0.0, 0.0, 0.4)
    assert confidence("score", near) > confidence("score", far)
    assert confidence("choice", near) == confidence("choice", far)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -0.1], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_is_no_distribution_is_refused(weights):
    """Nothing, all zero, negative, and what is not a number."""
    with pytest.raises(ValueError):
        normalised(weights)


@given(st.lists(st.floats(min_value=-30, max_value=0), min_size=1, max_size=20))
def test_log_probabilities_become_the_softmax_of_the_listed_labels(logprobs):
    """With every label listed the result is exact and no bound."""
    found, mass, bounded = from_logprobs(logprobs, min(logprobs))
    weights = [math.exp(value) for value in logprobs]
    assert found == pytest.approx([weight / sum(weights) for weight in weights])
    assert mass == pytest.approx(min(1.0, sum(weights)))
    assert not bounded


def test_a_label_that_is_not_listed_gets_the_least_listed_probability_at_most():
    """The answer is marked as a bound and the mass counts only what was seen."""
    found, mass, bounded = from_logprobs([math.log(0.6), None, math.log(0.2)], math.log(0.05))
    assert bounded
    assert mass == pytest.approx(0.8)
    assert found == pytest.approx([0.6 / 0.85, 0.05 / 0.85, 0.2 / 0.85])
    with pytest.raises(ValueError):
        from_logprobs([None, None], -1.0)


@given(st.lists(st.integers(0, 20), min_size=2, max_size=10).filter(any))
def test_votes_keep_their_order_and_never_claim_certainty(counts):
    """The option with most votes leads, and none has everything or nothing."""
    found = from_votes(counts)
    assert counts[mode(found)] == max(counts)
    assert min(found) > 0.0
    assert max(found) < 1.0
    with pytest.raises(ValueError):
        from_votes([0] * len(counts))


@given(st.integers(1, 20), st.floats(0, 1), st.data())
def test_a_stated_confidence_keeps_the_chosen_option_on_top(count, said, data):
    """Even an answer stated with less than an equal share stays the most probable."""
    place = data.draw(st.integers(0, count - 1))
    found = stated(count, place, said)
    assert math.isclose(sum(found), 1.0)
    assert found[place] == max(found)


def test_the_average_of_two_orders_lies_between_them():
    """Position bias cancels in the mean."""
    assert averaged([(0.8, 0.2), (0.4, 0.6)]) == pytest.approx((0.6, 0.4))
    with pytest.raises(ValueError):
        averaged([])
