"""Log-probabilities of chat answers as distributions."""

from __future__ import annotations

import math

import pytest

from prefrontal.contracts.decision import Option, Question
from prefrontal.decisions.asks import joined
from prefrontal.decisions.prepared import Prepared
from prefrontal.decisions.reading import PART_LISTED, Reading, answer_of, distribution_of, read_logprobs
from prefrontal.decisions.wording import load_wording
from prefrontal.errors import ProviderMisbehaved

QUESTION = Question(kind="choice", instructions="?", options=(Option(value="x"), Option(value="y"), Option(value=True)))
PREPARED = Prepared(QUESTION, load_wording("v1"))


def listed(token: str, **tokens: float) -> dict:
    names = {"_A": " A", "_B": " B"}
    top = [{"token": names.get(name, name), "logprob": math.log(p)} for name, p in tokens.items()]
    return {"token": token, "logprob": -0.1, "top_logprobs": top}


def test_codes_with_and_without_a_space_are_one():
    """The mass of an option is that of all its spellings."""
    reading = read_logprobs(PREPARED, {"content": [listed("A", A=0.4, _A=0.2, B=0.2, C=0.1, The=0.1)]})
    assert reading is not None
    assert reading.probabilities == pytest.approx((0.6 / 0.9, 0.2 / 0.9, 0.1 / 0.9))
    assert reading.label_mass == pytest.approx(0.9)
    assert reading.degraded is None


def test_probabilities_after_a_grammar_are_exact_and_their_mass_unknown():
    """llama.cpp's form: `prob` in `top_probs`, only the allowed codes."""
    top = [{"token": "B", "prob": 0.7}, {"token": "A", "prob": 0.3}, {"token": "C", "prob": 0.0}]
    reading = read_logprobs(PREPARED, {"content": [{"token": "B", "prob": 0.7, "top_probs": top}]})
    assert reading == Reading(probabilities=(0.3, 0.7, 0.0), source="logprobs")


def test_a_list_that_a_grammar_did_not_shape_is_read_as_one_without():
    """Then other tokens are in it: the mass is known, and a code that is not listed is a bound."""
    top = [{"token": "B", "prob": 0.6}, {"token": "The", "prob": 0.2}, {"token": "A", "prob": 0.1}]
    reading = read_logprobs(PREPARED, {"content": [{"token": "B", "prob": 0.6, "top_probs": top}]})
    assert reading is not None
    assert reading.label_mass == pytest.approx(0.7)
    assert reading.probabilities == pytest.approx((0.125, 0.75, 0.125))
    assert reading.degraded == PART_LISTED


def test_the_token_that_decides_is_found_behind_others():
    """Thinking before it and an end behind it do no harm."""
    entries = [listed("Hm", Hm=0.9, A=0.01), listed("B", A=0.1, B=0.8, C=0.1), listed("<end>", A=0.5)]
    reading = read_logprobs(PREPARED, {"content": entries})
    assert reading is not None
    assert reading.probabilities == pytest.approx((0.1, 0.8, 0.1))


def test_an_unlisted_code_is_a_bound_and_says_so():
    """It gets at most what the least listed token has."""
    reading = read_logprobs(PREPARED, {"content": [listed("A", A=0.8, B=0.1, The=0.05)]})
    assert reading is not None
    assert reading.degraded == PART_LISTED
    assert reading.probabilities[2] == pytest.approx(0.05 / 0.95)


def test_no_list_is_another_thing_than_a_list_without_codes():
    """The first means that the engine gives none, the second that the model did not answer."""
    assert read_logprobs(PREPARED, None) is None
    assert read_logprobs(PREPARED, {"content": []}) is None
    assert read_logprobs(PREPARED, {"content": [{"token": "A", "top_logprobs": []}]}) is None
    with pytest.raises(ProviderMisbehaved):
        read_logprobs(PREPARED, {"content": [listed("Hello", Hello=0.9, World=0.1)]})


@pytest.mark.parametrize("weights", [[math.nan, 1.0], [-1.0, 2.0], [0.0, 0.0]])
def test_probabilities_that_are_none_are_the_upstreams_fault(weights):
    """NaN in a score is refused as what it is."""
    with pytest.raises(ProviderMisbehaved):
        distribution_of(weights, "q")


def test_an_answer_is_read_off_the_distribution():
    """Chosen value with its type, and our own confidence beside the upstream's."""
    answer = answer_of(QUESTION, Reading(probabilities=(0.1, 0.2, 0.7), source="native", upstream_confidence=0.9), model="m")
    assert answer.chosen is True
    assert answer.confidence == pytest.approx((0.7 - 1 / 3) / (2 / 3))
    assert answer.upstream_confidence == 0.9
    assert answer.expectation is None


def test_groups_join_to_one_distribution():
    """Within the group that was asked its own shares, within the others equal ones."""
    outer = Reading(probabilities=(0.25, 0.75), source="logprobs", label_mass=0.9)
    inner = Reading(probabilities=(0.2, 0.8), source="logprobs", label_mass=0.6)
    whole = joined(3, 5, outer, 1, inner)
    assert whole.probabilities == pytest.approx((0.25 / 3, 0.25 / 3, 0.25 / 3, 0.15, 0.6))
    assert whole.label_mass == 0.6
    assert whole.degraded == "two_stage"
