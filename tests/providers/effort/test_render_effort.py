"""Rendering an effort: clamps, drops, caps, overrides, and what is said about each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.request import ChatRequest, Sampling, ToolChoice
from prefrontal.contracts.effort import Effort, EffortFields
from prefrontal.contracts.model import Capability, ModelCard, ThinkingRange
from prefrontal.errors import ConfigError
from prefrontal.providers.effort import Dialects, load_dialects, render_effort

GOLDEN = yaml.safe_load(Path(__file__).with_name("golden.yaml").read_text(encoding="utf-8"))
REFUTED = {"max_steps", "thinking_budget_per_step", "enable_reasoning", "reasoning_budget", "extended_thinking", "temperature"}
Make = Callable[..., ModelCard]


def card(dialect: str, **more: Any) -> ModelCard:
    """A card with nothing but a dialect."""
    return ModelCard(id="m", wire_name="m", profile="p", effort_dialect=dialect, **more)


def ask(cap: int | None = 16_384, **more: Any) -> ChatRequest:
    """A request with an output cap."""
    return ChatRequest(model="m", messages=(), max_output_tokens=cap, **more)


def rendered(
    dialects: Dialects, score: float | None, model: ModelCard, request: ChatRequest | None = None, cap: int | None = None
) -> EffortFields:
    """Render a computed score (None: nothing asked)."""
    effort = Effort() if score is None else Effort(score=score, origin="policy")
    return render_effort(effort, model, request or ask(), dialects, default_cap=cap)


def leaves(value: Any) -> set[str]:
    """Every key anywhere in a value."""
    if not isinstance(value, dict):
        return set()
    return {part for key in value for part in str(key).split(".")} | {key for item in value.values() for key in leaves(item)}


def test_no_parameter_the_reference_refuted_is_ever_sent(card_of: Make, dialects: Dialects) -> None:
    """Neither a dialect nor a known model ever sends a field that no provider has, and Claude never a bare boolean."""
    models = [card(name) for name in dialects.dialects]
    models += [card_of(row["name"], row["profile"], row.get("dialect")) for row in GOLDEN["models"]]
    seen: set[str] = set()
    for model in models:
        for step in range(101):
            fields = rendered(dialects, step / 100, model).fields
            assert not leaves(fields) & REFUTED
            assert not isinstance(fields.get("thinking"), bool)
            seen |= leaves(fields)
    assert {"budget_tokens", "thinkingLevel", "thinking_token_budget", "reasoning_effort"} <= seen


@pytest.mark.parametrize("name", sorted(load_dialects().dialects))
def test_a_default_effort_sends_no_effort_field(name: str, dialects: Dialects) -> None:
    """When nothing was asked the model's own default applies."""
    result = rendered(dialects, None, card(name))
    assert result.fields == {}
    assert result.suffix is None
    assert result.notes == ()


def test_a_default_effort_still_drops_what_an_always_thinking_model_refuses(dialects: Dialects) -> None:
    """Kimi K3 refuses a temperature whether or not an effort was asked."""
    request = ask(sampling=Sampling(temperature=0.2, seed=7))
    result = rendered(dialects, None, card("kimi_k3_effort"), request)
    assert [drop.field for drop in result.remove] == ["temperature"]
    assert result.thinking is True


def test_only_fields_the_request_carries_are_dropped_and_only_while_thinking(dialects: Dialects) -> None:
    """OpenAI's reasoning models refuse sampling while they reason, and take it at effort none."""
    request = ask(sampling=Sampling(temperature=0.2, logit_bias={"5": 1.0}, seed=3))
    thinking = rendered(dialects, 0.5, card("openai_effort"), request)
    quiet = rendered(dialects, 0.0, card("openai_effort"), request)
    assert {drop.field for drop in thinking.remove} == {"temperature", "logit_bias"}
    assert all(drop.reason for drop in thinking.remove)
    assert quiet.remove == ()


def test_a_top_p_that_claude_takes_while_thinking_is_kept(dialects: Dialects) -> None:
    """Claude up to 4.5 takes top_p from 0.95 on while it thinks."""
    kept = rendered(dialects, 0.8, card("anthropic_budget"), ask(sampling=Sampling(top_p=0.97)))
    dropped = rendered(dialects, 0.8, card("anthropic_budget"), ask(sampling=Sampling(top_p=0.5)))
    assert kept.remove == ()
    assert [drop.field for drop in dropped.remove] == ["top_p"]


@pytest.mark.parametrize("cap", [100, 1_024, 1_500])
def test_thinking_is_off_and_reported_when_the_cap_has_no_room(cap: int, dialects: Dialects) -> None:
    """A budget of at least 1,024 plus an answer does not fit a small cap."""
    result = rendered(dialects, 0.8, card("anthropic_budget"), ask(cap))
    assert result.fields == {"thinking": {"type": "disabled"}}
    assert result.thinking is False
    assert [note.action for note in result.notes] == ["clamped"]


def test_a_small_budget_is_raised_to_the_least_and_said_so(dialects: Dialects) -> None:
    """Half of 1,600 is below Claude's least budget."""
    result = rendered(dialects, 0.5, card("anthropic_budget"), ask(1_600))
    assert result.budget_tokens == 1_024
    assert any("1024" in note.reason and note.action == "clamped" for note in result.notes)


@given(score=st.floats(0, 1), cap=st.integers(1, 200_000))
def test_claude_budgets_always_stay_within_their_limits(score: float, cap: int) -> None:
    """Whatever the score and cap: no budget, or one from 1,024 up to below the cap that leaves room for the answer."""
    dialects = load_once()
    result = rendered(dialects, score, card("anthropic_budget"), ask(cap))
    budget = result.budget_tokens
    assert budget is None or (1_024 <= budget <= cap - dialects.answer_reserve_tokens)
    assert (budget is not None) == (result.fields["thinking"]["type"] == "enabled")


def load_once(cache: list[Dialects] = []) -> Dialects:  # noqa: B006  # Hypothesis does not take session fixtures per example
    """The dialects, loaded once for all examples."""
    if not cache:
        cache.append(load_dialects())
    return cache[0]


@given(low=st.floats(0, 1), high=st.floats(0, 1), name=st.sampled_from(sorted(load_dialects().dialects)))
def test_more_effort_never_thinks_less(low: float, high: float, name: str) -> None:
    """Over every dialect: thinking, level and budget rise with the score."""
    low, high = sorted((low, high))
    dialects = load_once()
    less, more = (rendered(dialects, score, card(name)) for score in (low, high))
    assert bool(less.thinking) <= bool(more.thinking)
    assert (less.budget_tokens or 0) <= (more.budget_tokens or 0)
    if less.level and more.level:
        assert dialects.ladder.index(less.level) <= dialects.ladder.index(more.level)  # type: ignore[arg-type]


def test_a_forced_tool_wins_over_thinking_where_both_cannot_be(dialects: Dialects) -> None:
    """Claude's budget form refuses a forced tool: the tool is the contract, thinking is switched off and reported."""
    forced = ask(tool_choice=ToolChoice(mode="tool", name="search"))
    result = rendered(dialects, 0.8, card("anthropic_budget"), forced)
    assert result.thinking is False
    assert "tool" in result.notes[0].reason
    assert rendered(dialects, 0.8, card("anthropic_budget"), ask(tool_choice=ToolChoice(mode="auto"))).thinking is True
    assert rendered(dialects, 0.8, card("anthropic_adaptive"), forced).thinking is True


def test_a_translated_level_is_reported(dialects: Dialects) -> None:
    """Kimi K3 has no medium."""
    result = rendered(dialects, 0.5, card("kimi_k3_effort"))
    assert result.level == "high"
    assert [(note.field, note.action) for note in result.notes] == [("effort", "translated")]
    assert "medium" in result.notes[0].reason


def test_reports_name_the_field_the_caller_used(dialects: Dialects) -> None:
    """A caller who wrote reasoning_effort reads about reasoning_effort."""
    effort = Effort(score=0.5, level="medium", origin="caller")
    result = render_effort(effort, card("kimi_k3_effort"), ask(reasoning_effort="medium"), dialects, default_cap=None)
    assert result.notes[0].field == "reasoning_effort"


def test_a_fixed_model_gets_only_the_cap_and_says_so(dialects: Dialects) -> None:
    """Llama knows no effort."""
    model = card("fixed", capabilities={"thinking": Capability(value=False, origin="facts")})
    result = rendered(dialects, 0.9, model, ask(None), cap=2_000)
    assert (result.fields, result.suffix, result.output_cap_tokens, result.thinking) == ({}, None, 2_000, False)
    assert "output cap" in result.notes[0].reason


def test_a_model_that_always_thinks_gets_room_only_when_the_cap_is_ours(card_of: Make, dialects: Dialects) -> None:
    """Kimi's guide asks for 16,000 tokens or more; a caller's own cap is left alone."""
    model = card_of("kimi-k2-thinking", "moonshot")
    assert rendered(dialects, 0.5, model, ask(None), cap=2_000).output_cap_tokens == 16_000
    assert rendered(dialects, 0.5, model, ask(None), cap=30_000).output_cap_tokens == 30_000
    assert rendered(dialects, 0.5, model, ask(300), cap=2_000).output_cap_tokens is None
    assert rendered(dialects, 0.5, model, ask(None)).output_cap_tokens is None


def test_the_room_for_a_trace_leaves_half_the_window_to_the_prompt(card_of: Make, dialects: Dialects) -> None:
    """A distilled model on a small context must not be sent a cap the engine refuses."""
    model = card_of("deepseek-r1:14b", "ollama", context_tokens=8_192)
    assert rendered(dialects, 0.5, model, ask(None), cap=2_000).output_cap_tokens == 4_096
    small = card_of("deepseek-r1:14b", "ollama", context_tokens=131_072, max_output_tokens=6_000)
    assert rendered(dialects, 0.5, small, ask(None), cap=2_000).output_cap_tokens == 6_000


def test_a_wire_that_demands_a_cap_gets_one(dialects: Dialects) -> None:
    """Claude's Messages API has no default for max_tokens, so the budget and the cap come together."""
    result = rendered(dialects, 0.5, card("anthropic_budget"), ask(None))
    assert (result.output_cap_tokens, result.cap_field, result.budget_tokens) == (16_384, "max_tokens", 8_192)
    small = rendered(dialects, 0.5, card("anthropic_budget", max_output_tokens=8_000), ask(None))
    assert (small.output_cap_tokens, small.budget_tokens) == (8_000, 4_000)


def test_dashscope_thinks_only_streamed(dialects: Dialects) -> None:
    """Thinking makes the upstream call a stream; without thinking it need not be."""
    assert rendered(dialects, 0.8, card("dashscope_budget")).stream_only is True
    assert rendered(dialects, 0.0, card("dashscope_budget")).stream_only is False
    assert rendered(dialects, None, card("dashscope_budget", effort_overrides={"thinks_by_default": True})).stream_only is True


def test_a_field_the_caller_wrote_itself_stays_as_written(dialects: Dialects) -> None:
    """An engine field among the unknown ones is the caller's decision."""
    request = ask(extra={"chat_template_kwargs": {"enable_thinking": False}})
    result = rendered(dialects, 0.8, card("vllm_template"), request)
    assert "chat_template_kwargs.enable_thinking" not in result.fields
    assert any(note.field == "chat_template_kwargs.enable_thinking" for note in result.notes)


@pytest.mark.parametrize(
    ("overrides", "score", "expected"),
    [
        ({"key": "thinking"}, 0.0, {"chat_template_kwargs.thinking": False}),
        ({"send_budget": False}, 0.8, {"chat_template_kwargs.enable_thinking": True}),
        ({"budget_max_tokens": 2_000}, 0.8, {"chat_template_kwargs.enable_thinking": True, "thinking_token_budget": 2_000}),
        ({"budget_min_tokens": 9_000}, 0.3, {"chat_template_kwargs.enable_thinking": True, "thinking_token_budget": 9_000}),
    ],
)
def test_a_card_overrides_its_dialect(
    overrides: dict[str, Any], score: float, expected: dict[str, Any], dialects: Dialects
) -> None:
    """Key, budget range and whether a budget is sent at all belong to the model."""
    assert rendered(dialects, score, card("vllm_template", effort_overrides=overrides)).fields == expected


def test_a_cards_declared_range_bounds_the_budget(dialects: Dialects) -> None:
    """What an engine reported counts like an override."""
    model = card("gemini_budget", thinking=ThinkingRange(min_tokens=128, max_tokens=4_000, always_on=True))
    assert rendered(dialects, 1.0, model).budget_tokens == 4_000
    assert rendered(dialects, 0.0, model).budget_tokens == 128


def test_levels_and_aliases_of_a_card_win(dialects: Dialects) -> None:
    """The subset a model takes decides, and an alias may be the engine's own word."""
    subset = card("openai_effort", effort_levels=("high", "low"))
    assert rendered(dialects, 0.0, subset).fields == {"reasoning_effort": "low"}
    assert rendered(dialects, 0.5, subset).fields == {"reasoning_effort": "low"}
    alias = card("openai_effort", effort_overrides={"alias": {"medium": "high", "max": "ultra"}})
    assert rendered(dialects, 0.5, alias).fields == {"reasoning_effort": "high"}
    assert rendered(dialects, 1.0, alias).fields == {"reasoning_effort": "ultra"}


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (card("vllm_templat"), "vllm_template"),
        (card("openai_effort", effort_levels=("tiny",)), "tiny"),
        (card("vllm_template", effort_overrides={"bugdet": 1}), "bugdet"),
    ],
)
def test_a_wrong_card_is_a_configuration_error_that_names_the_fault(model: ModelCard, word: str, dialects: Dialects) -> None:
    """Unknown dialects, levels and override names do not pass silently."""
    with pytest.raises(ConfigError) as caught:
        rendered(dialects, 0.5, model)
    assert word in caught.value.text


def test_the_shared_data_cannot_be_changed_through_a_result(dialects: Dialects) -> None:
    """Each rendering hands out its own objects."""
    rendered(dialects, 0.8, card("deepseek_v4")).fields["thinking"]["type"] = "spoiled"
    assert rendered(dialects, 0.8, card("deepseek_v4")).fields["thinking"] == {"type": "enabled"}
