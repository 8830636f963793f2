"""What the caller asked: words, scores and thinking objects become one effort, and nonsense is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.request import ChatRequest, Hints
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import InvalidRequest
from prefrontal.providers.effort import Dialects, effort_from_caller, load_dialects, render_effort

DIALECTS = load_dialects()


def ask(**fields: Any) -> ChatRequest:
    """A request with some of the caller's effort fields."""
    return ChatRequest(model="m", messages=(), **fields)


def test_a_request_without_a_word_about_effort_asks_for_nothing(dialects: Dialects) -> None:
    """None lets the policy compute."""
    assert effort_from_caller(ask(), dialects) is None


@pytest.mark.parametrize("word", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_a_word_keeps_its_level_and_a_score_of_the_same_level(word: str, dialects: Dialects) -> None:
    """The score a word stands for leads back to the word."""
    effort = effort_from_caller(ask(reasoning_effort=word), dialects)
    assert effort is not None
    assert (effort.level, effort.origin) == (word, "caller")
    assert effort.score is not None
    assert dialects.level_of(effort.score) == word


def test_the_word_default_means_the_models_own_default(dialects: Dialects) -> None:
    """Nothing is computed and nothing is sent."""
    effort = effort_from_caller(ask(reasoning_effort="default"), dialects)
    assert effort is not None
    assert (effort.origin, effort.score, effort.level) == ("default", None, None)


def test_the_extension_score_wins_over_word_and_budget(dialects: Dialects) -> None:
    """x_prefrontal.effort is the caller's most precise word."""
    request = ask(hints=Hints(effort=0.42), reasoning_effort="max", thinking={"type": "disabled"})
    effort = effort_from_caller(request, dialects)
    assert effort is not None
    assert (effort.score, effort.level) == (0.42, None)


def test_a_zero_score_is_a_wish_and_not_an_absence(dialects: Dialects) -> None:
    """Effort 0 switches thinking off; it does not fall through to the word."""
    effort = effort_from_caller(ask(hints=Hints(effort=0.0), reasoning_effort="max"), dialects)
    assert effort is not None
    assert effort.score == 0.0


@pytest.mark.parametrize(
    ("thinking", "extra", "expected"),
    [
        ({"type": "disabled"}, None, (0.0, "none")),
        ({"type": "adaptive"}, None, (0.8, "high")),
        ({"type": "adaptive"}, {"output_config": {"effort": "low"}}, (0.3, "low")),
        ({"type": "enabled"}, None, (0.8, "high")),
        ({"type": "enabled", "budget_tokens": 8_000}, None, (0.5, None)),
        ({"type": "enabled", "budget_tokens": 15_200}, None, (1.0, None)),
    ],
)
def test_thinking_objects_become_scores(
    thinking: dict[str, Any], extra: dict[str, Any] | None, expected: tuple[float, str | None], dialects: Dialects
) -> None:
    """A budget is a share of the cap; adaptive thinking takes the word beside it, else the provider's default."""
    effort = effort_from_caller(ask(thinking=thinking, extra=extra, max_output_tokens=16_000), dialects)
    assert effort is not None
    assert (effort.score, effort.level) == (pytest.approx(expected[0]), expected[1])


@given(cap=st.integers(2_000, 100_000), share=st.floats(0.1, 0.9))
def test_a_callers_budget_reaches_claude_unchanged(cap: int, share: float) -> None:
    """The way over the score does not round a budget that the model takes as it is."""
    tokens = max(1_024, min(32_768, int(cap * share)))
    request = ask(thinking={"type": "enabled", "budget_tokens": tokens}, max_output_tokens=cap)
    effort = effort_from_caller(request, DIALECTS)
    assert effort is not None
    card = ModelCard(id="c", wire_name="c", profile="anthropic", effort_dialect="anthropic_budget")
    if effort.score is not None and effort.score < DIALECTS.toggle_enable_at:
        return  # a share this small means off to a model with a threshold
    assert render_effort(effort, card, request, DIALECTS, default_cap=None).budget_tokens == tokens


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"reasoning_effort": "extreme"}, "reasoning_effort", "xhigh"),
        ({"reasoning_effort": "High"}, "reasoning_effort", "high"),
        ({"hints": Hints(effort=1.2)}, "x_prefrontal.effort", "from 0 to 1"),
        ({"hints": Hints(effort=float("nan"))}, "x_prefrontal.effort", "from 0 to 1"),
        ({"thinking": {"type": "on"}}, "thinking.type", "adaptive"),
        ({"thinking": {}}, "thinking.type", "disabled"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens", "above 0"),
        ({"thinking": {"type": "enabled", "budget_tokens": "many"}}, "thinking.budget_tokens", "whole number"),
        ({"thinking": {"type": "enabled", "budget_tokens": True}}, "thinking.budget_tokens", "whole number"),
        ({"thinking": {"type": "enabled"}, "dialect": "anthropic"}, "thinking.budget_tokens", "required"),
        ({"thinking": {"type": "adaptive"}, "extra": {"output_config": {"effort": 3}}}, "output_config.effort", "word"),
        ({"hints": Hints(effort=0.5), "reasoning_effort": "much"}, "reasoning_effort", "medium"),
    ],
)
def test_nonsense_is_refused_with_the_field_and_what_is_allowed(
    fields: dict[str, Any], param: str, says: str, dialects: Dialects
) -> None:
    """Also a value that another field would have outranked is checked."""
    with pytest.raises(InvalidRequest) as caught:
        effort_from_caller(ask(**fields), dialects)
    assert caught.value.param == param
    assert says in caught.value.message
