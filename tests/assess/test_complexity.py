"""The complexity score orders requests and keeps what it promises."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.assess.complexity import Factors, complexity
from prefrontal.contracts.assessment import TASK_TYPES

LIMITER = (
    "Design a distributed rate limiter in Go. It must tolerate clock skew, avoid deadlock and never admit more than the limit. "
    "First outline the architecture, then analyze the trade-offs, and finally write the code with unit tests."
)
RISING = ("n_chars", "numbers", "hard_words", "constraints", "formal_terms", "steps", "questions", "earlier_turns", "tools")
counts = st.integers(min_value=0, max_value=50)
factors = st.builds(
    Factors,
    task_type=st.sampled_from(TASK_TYPES),
    n_chars=st.integers(min_value=0, max_value=10_000_000),
    symbols=st.booleans(),
    easy_words=counts,
    **{name: counts for name in RISING if name != "n_chars"},
)


@given(factors)
def test_the_score_lies_in_the_unit_interval(found):
    """Whatever is counted, the score is in [0, 1]."""
    assert 0.0 <= complexity(found) <= 1.0


@given(factors, st.sampled_from(RISING), st.integers(min_value=1, max_value=10_000))
def test_more_of_anything_never_lowers_the_score(found, name, more):
    """Every factor but the easy words can only raise the score."""
    raised = msgspec.structs.replace(found, **{name: getattr(found, name) + more})
    assert complexity(raised) >= complexity(found) - 1e-12


@given(factors, st.integers(min_value=1, max_value=10))
def test_easy_words_never_raise_the_score(found, more):
    """Words that ask for little can only lower it."""
    assert complexity(msgspec.structs.replace(found, easy_words=found.easy_words + more)) <= complexity(found) + 1e-12


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        ("Hi!", "Plan a trip to Rome for me."),
        ("What is 3 + 4?", "Prove that every bounded sequence of real numbers has a convergent subsequence."),
        (
            "Write a function that adds two numbers.",
            LIMITER,
        ),
        (
            "Who wrote Faust?",
            "Compare the legal theories behind strict liability and negligence, and evaluate which is optimal and why.",
        ),
    ],
)
def test_a_harder_request_scores_higher(read, easier, harder):
    """Pairs a person would order the same way come out in that order, clearly apart."""
    assert read(easier).complexity + 0.05 < read(harder).complexity
