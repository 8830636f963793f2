"""What is rendered fits the request types of the providers' own client libraries, for every score and four output caps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from pydantic import TypeAdapter

from prefrontal.chat.request import ChatRequest
from prefrontal.contracts.effort import Effort, EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.providers.effort import Dialects, render_effort

GOLDEN = yaml.safe_load(Path(__file__).with_name("golden.yaml").read_text(encoding="utf-8"))
CAPS = (1_600, 4_096, 16_384, 65_536)
SCORES = tuple(i / 100 for i in range(101))


Rendered = list[tuple[str, int, EffortFields]]


@pytest.fixture(scope="module")
def renderings(card_of: Callable[..., ModelCard], dialects: Dialects) -> Callable[..., Rendered]:
    """Renders every golden model of a profile at every score and cap."""

    def all_of(profile: str, dialect: str | None = None) -> Rendered:
        found: Rendered = []
        rows = [row for row in GOLDEN["models"] if row["profile"] == profile and row.get("dialect") == dialect]
        for row in rows:
            card = card_of(row["name"], profile, dialect)
            for cap in CAPS:
                request = ChatRequest(model=row["name"], messages=(), max_output_tokens=cap)
                for score in SCORES:
                    effort = Effort(score=score, origin="policy")
                    found.append((row["name"], cap, render_effort(effort, card, request, dialects, default_cap=None)))
        assert found, profile
        return found

    return all_of


def fits(typed_dict: Any, fields: dict[str, Any]) -> None:
    """The top-level fields exist in the SDK's request type and their values validate strictly."""
    hints = get_type_hints(typed_dict, include_extras=False)
    for name, value in fields.items():
        assert name in hints, name
        adapter(hints[name]).validate_python(value, strict=True)


def adapter(kind: Any, cache: dict[str, TypeAdapter[Any]] = {}) -> TypeAdapter[Any]:  # noqa: B006  # a cache for the test run
    """One adapter a type: building them is slow."""
    return cache.setdefault(repr(kind), TypeAdapter(kind))


@pytest.mark.parametrize("profile", ["openai", "xai"])
def test_chat_completions_fields_fit_the_openai_types(
    profile: str, renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]
) -> None:
    """reasoning_effort and the cap's name are those of the openai package."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    for _, cap, rendered in renderings(profile):
        body = nested(rendered.fields)
        if rendered.cap_field:
            body[rendered.cap_field] = cap
        fits(CompletionCreateParamsNonStreaming, body)


def test_responses_fields_fit_the_openai_types(
    renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]
) -> None:
    """The reasoning object is the one of the Responses API."""
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    for _, cap, rendered in renderings("openai", "openai_responses_effort"):
        assert rendered.cap_field == "max_output_tokens"
        fits(ResponseCreateParamsNonStreaming, nested(rendered.fields) | {rendered.cap_field: cap})


def test_claude_fields_fit_the_anthropic_types_and_the_budget_its_limits(
    renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]
) -> None:
    """Thinking objects validate, and a budget is at least 1,024 and below the cap."""
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    budgets = 0
    for _, cap, rendered in renderings("anthropic"):
        assert rendered.cap_field == "max_tokens"
        fits(MessageCreateParamsNonStreaming, nested(rendered.fields) | {"max_tokens": cap})
        budget = rendered.fields.get("thinking", {}).get("budget_tokens")
        if budget is not None:
            budgets += 1
            assert 1_024 <= budget < cap
    assert budgets > 250


def test_gemini_fields_fit_the_google_types(renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]) -> None:
    """ThinkingConfig validates, and level and budget never come together."""
    from google.genai.types import ThinkingConfig

    for name, _, rendered in renderings("gemini"):
        config = nested(rendered.fields)["generationConfig"]["thinkingConfig"]
        ThinkingConfig.model_validate(config)
        assert not {"thinkingLevel", "thinkingBudget"} <= set(config)
        if name == "gemini-2.5-pro":
            assert 128 <= config["thinkingBudget"] <= 32_768
        if name == "gemini-2.5-flash":
            assert 0 <= config["thinkingBudget"] <= 24_576


def test_mistral_fields_fit_the_mistral_types(renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]) -> None:
    """The request model of the mistralai package takes the level."""
    from mistralai.client.models.chatcompletionrequest import ChatCompletionRequest

    for name, _, rendered in renderings("mistral"):
        message = {"role": "user", "content": "x"}
        ChatCompletionRequest.model_validate({"model": name, "messages": [message], **rendered.fields})
        assert set(rendered.fields) <= set(ChatCompletionRequest.model_fields)


def test_groq_fields_fit_the_groq_types(renderings: Callable[..., Rendered], nested: Callable[..., dict[str, Any]]) -> None:
    """gpt-oss levels, Qwen3's none and default, and the reasoning format are known to the groq package."""
    from groq.types.chat.completion_create_params import CompletionCreateParams

    for _, _, rendered in renderings("groq"):
        fits(CompletionCreateParams, nested(rendered.fields))
