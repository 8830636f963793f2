"""Caps, effort and thinking in requests to the Messages API: always legal, and every change said."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types as sdk
import pytest
from msgspec.structs import replace
from pydantic import TypeAdapter

from prefrontal.chat.blocks import Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import Dropped, WireRequest
from prefrontal.providers.anthropic.provider import AnthropicProvider

PROVIDER = AnthropicProvider()
SDK_REQUEST = TypeAdapter(sdk.message_create_params.MessageCreateParams)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="Looks it up.", parameters=SCHEMA)
HELLO = ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text="Hello"),)),))
BUDGET = EffortFields(dialect="anthropic_budget", fields={"thinking": {"type": "enabled", "budget_tokens": 2048}}, thinking=True)


def said(role: str, *blocks: Any) -> Message:
    """One turn."""
    return Message(role=role, blocks=blocks)  # type: ignore[arg-type]


def user(text: str) -> Message:
    """One user turn."""
    return said("user", Text(text=text))


def walk(value: Any) -> Any:
    """Read all of a validated value: pydantic checks the items of an iterable only then."""
    if isinstance(value, dict):
        return {key: walk(item) for key, item in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [walk(item) for item in value]


def body_of(wire: WireRequest) -> dict[str, Any]:
    """The body, after the SDK's own type took it; a field the type does not know would get lost on the way."""
    found: dict[str, Any] = json.loads(wire.body)
    sampling = {key: found[key] for key in ("temperature", "top_p", "top_k") if key in found}  # gone from the newest type
    assert walk(SDK_REQUEST.validate_python(found)) | sampling == found
    return found


def lost(wire: WireRequest) -> dict[str, str]:
    """What was reported: field to action."""
    return {item.field: item.action for item in wire.dropped}


@pytest.mark.parametrize(
    ("asked", "hard", "ours", "sent", "clamped"),
    [(None, None, None, 4096, False), (None, 900, None, 900, False), (5000, 900, None, 900, True), (50, 900, 70, 70, False)],
)
def test_the_cap_is_always_sent_and_never_above_the_model(asked, hard, ours, sent, clamped, target_of, plain):
    """The caller's cap, ours, the model's or the documented default, in that order."""
    effort = replace(plain, output_cap_tokens=ours)
    target = target_of("anthropic", max_output_tokens=hard)
    wire = PROVIDER.render_chat(replace(HELLO, max_output_tokens=asked), target, effort, stream=False)
    assert body_of(wire)["max_tokens"] == sent
    assert lost(wire) == ({"max_tokens": "clamped"} if clamped else {})


def test_effort_fields_are_set_and_removed_fields_are_not_sent(target_of):
    """Dotted paths are written, what the dialect refuses is taken out; the suffix stands behind the question."""
    effort = EffortFields(
        dialect="anthropic_adaptive",
        fields={"thinking": {"type": "adaptive"}, "output_config.effort": "high"},
        remove=(Dropped(field="temperature", reason="r"), Dropped(field="stop", reason="r")),
        output_cap_tokens=9000,
        suffix="/think",
    )
    request = replace(
        HELLO,
        sampling=Sampling(temperature=0.1, stop=("x",)),
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA),
    )
    body = body_of(PROVIDER.render_chat(request, target_of("anthropic"), effort, stream=False))
    assert body == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 9000,
        "messages": [{"role": "user", "content": "Hello /think"}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "high"},
        "thinking": {"type": "adaptive"},
    }


@pytest.mark.parametrize("choice", [ToolChoice(mode="required"), ToolChoice(mode="tool", name="weather")])
def test_a_budget_forbids_forced_tools(choice, target_of):
    """The API takes only auto and none while it thinks within a budget; adaptive thinking takes all."""
    request = replace(HELLO, tools=(WEATHER,), tool_choice=choice, max_output_tokens=8000)
    wire = PROVIDER.render_chat(request, target_of("anthropic"), BUDGET, stream=False)
    assert body_of(wire)["tool_choice"] == {"type": "auto"}
    assert lost(wire) == {"tool_choice": "translated"}
    adaptive = EffortFields(dialect="anthropic_adaptive", fields={"thinking": {"type": "adaptive"}})
    kept = PROVIDER.render_chat(request, target_of("anthropic"), adaptive, stream=False)
    assert body_of(kept)["tool_choice"]["type"] in ("any", "tool")
    assert kept.dropped == ()


@pytest.mark.parametrize(
    ("cap", "thinking"),
    [
        (8000, {"type": "enabled", "budget_tokens": 2048}),
        (1500, {"type": "enabled", "budget_tokens": 1499}),
        (1024, {"type": "disabled"}),
    ],
)
def test_a_budget_stays_below_the_cap(cap, thinking, target_of):
    """A budget that would be refused is clamped, or thinking is off, and that is said."""
    wire = PROVIDER.render_chat(replace(HELLO, max_output_tokens=cap), target_of("anthropic"), BUDGET, stream=False)
    assert body_of(wire)["thinking"] == thinking
    assert bool(wire.dropped) is (cap < 8000)


def test_a_tool_turn_without_signed_thinking_turns_the_budget_off(target_of):
    """A loop that another model began cannot go on thinking; it goes on without."""
    turns = (user("a"), said("assistant", ToolCall(id="c", name="f", arguments="{}")), said("tool", ToolResult(call_id="c")))
    request = replace(HELLO, messages=turns, max_output_tokens=8000)
    wire = PROVIDER.render_chat(request, target_of("anthropic"), BUDGET, stream=False)
    assert body_of(wire)["thinking"] == {"type": "disabled"}
    assert lost(wire) == {"thinking": "dropped"}
