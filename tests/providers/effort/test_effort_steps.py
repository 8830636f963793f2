"""One step down after thinking ate the cap, and what a refusal teaches about a model's levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort
from prefrontal.contracts.model import ModelCard, ThinkingRange
from prefrontal.providers.effort import (
    Dialects,
    load_dialects,
    nearest_level_after_400,
    render_effort,
    step_down,
    thinking_range,
    without_budget_after_400,
)

ASK = ChatRequest(model="m", messages=(), max_output_tokens=16_384)


def card(dialect: str, **more: Any) -> ModelCard:
    """A card with nothing but a dialect."""
    return ModelCard(id="m", wire_name="m", profile="p", effort_dialect=dialect, **more)


def down(effort: Effort, model: ModelCard, dialects: Dialects) -> Effort | None:
    """One step down for the fixed request."""
    return step_down(effort, model, ASK, dialects, default_cap=None)


@pytest.mark.parametrize(
    ("dialect", "score", "level"),
    [
        ("openai_effort", 0.8, "medium"),
        ("openai_effort", 0.3, "minimal"),
        ("deepseek_v4", 0.8, "low"),
        ("deepseek_v4", 0.3, "none"),
        ("anthropic_budget", 0.8, "medium"),
        ("thinking_type", 0.9, "minimal"),
        ("groq_qwen3", 0.5, "minimal"),
        ("kimi_k3_effort", 0.8, "low"),
        ("prompt_switch", 0.9, "minimal"),
        ("ollama_think", 0.1, "none"),
    ],
)
def test_the_next_lower_effort_is_one_the_model_is_told_differently(
    dialect: str, score: float, level: str, dialects: Dialects
) -> None:
    """Levels that mean the same to the model are skipped."""
    start = Effort(score=score, origin="policy")
    lower = down(start, card(dialect), dialects)
    assert lower is not None
    assert lower.level == level
    told = [render_effort(e, card(dialect), ASK, dialects, default_cap=None) for e in (start, lower)]
    assert (told[0].fields, told[0].suffix) != (told[1].fields, told[1].suffix)
    assert "stepped down" in lower.factors[-1].reason


@pytest.mark.parametrize(
    ("dialect", "score"), [("fixed", 0.9), ("kimi_k3_effort", 0.2), ("openai_effort", 0.0), ("gemini_level", 0.0)]
)
def test_there_is_no_step_below_the_least(dialect: str, score: float, dialects: Dialects) -> None:
    """A model without control, or already at its least, cannot be stepped down."""
    assert down(Effort(score=score, origin="policy"), card(dialect), dialects) is None


def test_a_models_own_default_can_be_stepped_down_too(dialects: Dialects) -> None:
    """DeepSeek thinks at high by itself, so the first word sent is low."""
    lower = down(Effort(), card("deepseek_v4"), dialects)
    assert lower is not None
    sent = render_effort(lower, card("deepseek_v4"), ASK, dialects, default_cap=None)
    assert lower.origin == "policy"
    assert sent.fields == {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}


def test_a_default_that_does_not_think_cannot_be_stepped_down(card_of: Callable[..., ModelCard], dialects: Dialects) -> None:
    """GPT-5.1 does not reason unless asked, so there is nothing below."""
    assert down(Effort(), card_of("gpt-5.1", "openai"), dialects) is None


@pytest.mark.parametrize("name", sorted(load_dialects().dialects))
def test_stepping_down_always_ends(name: str, dialects: Dialects) -> None:
    """From full effort at most six steps lead to the least, each lower than the one before."""
    effort: Effort | None = Effort(score=1.0, origin="policy")
    scores = []
    while effort is not None:
        assert effort.score is not None
        scores.append(effort.score)
        effort = down(effort, card(name), dialects)
    assert scores == sorted(set(scores), reverse=True)
    assert len(scores) <= 7


@pytest.mark.parametrize(
    ("text", "sent", "levels"),
    [
        (
            "Unsupported value: 'reasoning_effort': not 'minimal'. Supported values are: 'none', 'low', 'medium', and 'high'.",
            "minimal",
            ("none", "low", "medium", "high"),
        ),
        ("reasoning_effort must be one of low, medium, high", "max", ("low", "medium", "high")),
        ("Invalid reasoning_effort: xhigh", "xhigh", ("none", "minimal", "low", "medium", "high", "max")),
        ('reasoningEffort \'max\' is not valid. Expected "low" or "high".', "max", ("low", "high")),
    ],
)
def test_a_refusal_teaches_the_levels(text: str, sent: str, levels: tuple[str, ...], dialects: Dialects) -> None:
    """Listed levels are taken over; without a list the refused one is struck out."""
    assert nearest_level_after_400(text, sent, card("openai_effort"), dialects) == levels


def test_the_learnt_levels_snap_the_next_rendering(dialects: Dialects) -> None:
    """After the refusal of max the nearest allowed level is sent."""
    levels = nearest_level_after_400("reasoning_effort must be one of low, medium, high", "max", card("openai_effort"), dialects)
    assert levels is not None
    sent = render_effort(
        Effort(score=1.0, origin="policy"), card("openai_effort", effort_levels=levels), ASK, dialects, default_cap=None
    )
    assert sent.fields == {"reasoning_effort": "high"}


@pytest.mark.parametrize(
    ("text", "sent", "dialect"),
    [
        ("messages[0].content is required", "high", "openai_effort"),
        ("invalid reasoning_effort", None, "openai_effort"),
        ("invalid thinking budget", "high", "anthropic_budget"),
    ],
)
def test_other_refusals_teach_nothing(text: str, sent: str | None, dialect: str, dialects: Dialects) -> None:
    """Only a message about the effort field changes anything."""
    assert nearest_level_after_400(text, sent, card(dialect), dialects) is None


def test_the_field_may_be_named_apart_from_the_message(dialects: Dialects) -> None:
    """OpenAI's error object has a param of its own."""
    model = card("openai_effort")
    assert nearest_level_after_400("Unsupported value: 'max'.", "max", model, dialects) is None
    assert nearest_level_after_400("Unsupported value: 'max'.", "max", model, dialects, param="reasoning_effort") is not None


def test_an_engine_that_refuses_budgets_keeps_its_switch(dialects: Dialects) -> None:
    """An engine such as vLLM without a reasoning parser answers 400 to the budget and takes the template's switch."""
    text = "thinking_token_budget requires a reasoning config"
    overrides = without_budget_after_400(text, card("vllm_template", effort_overrides={"key": "thinking"}), dialects)
    assert overrides == {"key": "thinking", "send_budget": False}
    model = card("vllm_template", effort_overrides=overrides)
    sent = render_effort(Effort(score=0.8, origin="policy"), model, ASK, dialects, default_cap=None)
    assert sent.fields == {"chat_template_kwargs.thinking": True}
    assert without_budget_after_400(text, model, dialects) is None
    assert without_budget_after_400("unknown model", card("vllm_template"), dialects) is None


def test_thinking_ranges_tell_what_a_model_takes(card_of: Callable[..., ModelCard], dialects: Dialects) -> None:
    """Budgets in tokens, levels in words, and whether thinking can be off."""
    assert thinking_range(card_of("gemini-2.5-pro", "gemini"), dialects) == ThinkingRange(
        min_tokens=128, max_tokens=32_768, always_on=True
    )
    claude = thinking_range(card_of("claude-sonnet-4-5", "anthropic", max_output_tokens=20_000), dialects)
    assert (claude.min_tokens, claude.max_tokens, claude.levels) == (1_024, 20_000, ())
    kimi = thinking_range(card_of("kimi-k3", "moonshot"), dialects)
    assert (kimi.levels, kimi.default_level, kimi.always_on) == (("low", "high", "max"), "max", True)
    assert thinking_range(card_of("llama3.1:8b", "ollama"), dialects) == ThinkingRange()
