"""Answers of the Messages API, whole and streamed, built with the official SDK's own types; and its errors."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types as sdk
import pytest

from prefrontal.chat.blocks import Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.chat.usage import Usage
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import (
    ProviderAuthFailed,
    ProviderError,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from prefrontal.providers.anthropic.client_response import render_messages_response
from prefrontal.providers.anthropic.provider import AnthropicProvider

PROVIDER = AnthropicProvider()
USAGE = sdk.Usage(
    input_tokens=5,
    cache_creation_input_tokens=7,
    cache_read_input_tokens=11,
    output_tokens=13,
    output_tokens_details=sdk.OutputTokensDetails(thinking_tokens=3),
)
OURS = Usage(
    uncached_input_tokens=5,
    cache_write_tokens=7,
    cache_read_tokens=11,
    output_tokens=13,
    reasoning_tokens=3,
    source="reported",
)


def ok(value: Any, status: int = 200, **headers: str) -> WireResponse:
    """A response with a JSON body."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return WireResponse(status=status, headers=headers, body=body)


def message(*content: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    """A message, made by the SDK's own type."""
    made = sdk.Message(
        id="msg_1",
        type="message",
        role="assistant",
        model="claude-x",
        content=list(content),
        stop_reason=stop,
        usage=USAGE,
        **more,
    )
    return made.model_dump(mode="json", exclude_unset=True)


def thinking_turn() -> dict[str, Any]:
    """A turn with everything that must come back unchanged."""
    return message(
        sdk.ThinkingBlock(type="thinking", thinking="Let me – see", signature="c2ln/+=="),
        sdk.RedactedThinkingBlock(type="redacted_thinking", data="b3BhcXVl"),
        sdk.TextBlock(type="text", text="One moment."),
        sdk.ToolUseBlock(type="tool_use", id="toolu_1", name="f", input={"a": 1}),
        stop="tool_use",
    )


def test_a_message_becomes_blocks_in_wire_order(target_of):
    """Thinking, redacted thinking, text and calls keep their order; usage is the sum of its parts."""
    answer = PROVIDER.parse_chat(ok(thinking_turn()), target_of("anthropic"))
    assert (answer.id, answer.model, answer.usage) == ("msg_1", "claude-x", OURS)
    assert answer.usage.input_tokens == 23
    assert answer.choices[0].blocks == (
        Reasoning(text="Let me – see", signature="c2ln/+==", provider="anthropic"),
        Reasoning(redacted=True, data="b3BhcXVl", provider="anthropic"),
        Text(text="One moment."),
        ToolCall(id="toolu_1", name="f", arguments='{"a": 1}'),
    )
    assert (answer.choices[0].finish_reason, answer.choices[0].raw_finish) == ("tool_calls", "tool_use")


def test_a_tool_loop_replays_signed_blocks_byte_for_byte(target_of):
    """The turn parsed from the answer goes back as it came, within an OpenAI request too."""
    turn = thinking_turn()
    target = target_of("anthropic")
    answer = PROVIDER.parse_chat(ok(turn), target)
    request = ChatRequest(
        model="m",
        messages=(
            Message(role="user", blocks=(Text(text="go"),)),
            Message(role="assistant", blocks=answer.choices[0].blocks, form="parts"),
            Message(role="tool", blocks=(ToolResult(call_id="toolu_1", blocks=(Text(text="1"),), form="text"),)),
        ),
    )
    effort = EffortFields(dialect="anthropic_budget", fields={"thinking": {"type": "enabled", "budget_tokens": 1024}})
    wire = PROVIDER.render_chat(request, target, effort, stream=False)
    sent = json.loads(wire.body)
    assert sent["messages"][1]["content"] == turn["content"]
    assert sent["thinking"]["type"] == "enabled"
    signed = json.dumps(turn["content"][:2], separators=(",", ":"), ensure_ascii=False)[1:-1]
    for block in json.loads(f"[{signed}]"):
        assert all(json.dumps(value, ensure_ascii=False).encode() in wire.body for value in block.values())


@pytest.mark.parametrize(
    ("raw", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "pause"),
    ],
)
def test_every_stop_reason_has_its_word(raw, ours, target_of):
    """All words of the SDK's type are known."""
    answer = PROVIDER.parse_chat(ok(message(stop=raw)), target_of("anthropic"))
    assert (answer.choices[0].finish_reason, answer.choices[0].raw_finish) == (ours, raw)
    assert set(sdk.StopReason.__args__) == {
        "end_turn",
        "stop_sequence",
        "max_tokens",
        "model_context_window_exceeded",
        "tool_use",
        "refusal",
        "pause_turn",
    }


def test_a_refusal_carries_its_explanation(target_of):
    """The API's explanation is shown as a refusal."""
    details = sdk.RefusalStopDetails(type="refusal", category="bio", explanation="Not this.")
    answer = PROVIDER.parse_chat(ok(message(stop="refusal", stop_details=details)), target_of("anthropic"))
    assert answer.choices[0].refusal == "Not this."


def test_server_tools_are_kept_verbatim(target_of):
    """A block without neutral form is opaque and comes back in the message we serve."""
    block = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}}
    raw = message() | {"content": [block]}
    answer = PROVIDER.parse_chat(ok(raw), target_of("anthropic"))
    assert answer.choices[0].blocks == (Opaque(dialect="anthropic", value=block),)
    assert json.loads(render_messages_response(answer, id=answer.id, model=answer.model))["content"] == [block]


def test_a_message_served_again_is_the_same_message(target_of):
    """Parse and render are inverse on whole answers, fields nobody knows included."""
    raw = thinking_turn() | {"stop_sequence": None, "container": None, "new_field": [1]}
    answer = PROVIDER.parse_chat(ok(raw), target_of("anthropic"))
    served = json.loads(render_messages_response(answer, id=answer.id, model=answer.model))
    assert served == raw
    sdk.Message.model_validate(served)


def test_an_answer_of_another_wire_is_served_as_a_message():
    """Unsigned thinking is shown under a seal that says whose it is; the SDK takes it all."""
    blocks = (Reasoning(text="hm", provider="deepseek"), Text(text="Hi"), ToolCall(id="c", name="f", arguments='{"a":1}'))
    answer = ChatResponse(id="x", model="gpt", choices=(Choice(blocks=blocks, finish_reason="tool_calls"),), usage=OURS)
    found = sdk.Message.model_validate_json(render_messages_response(answer, id=answer.id, model=answer.model))
    assert [block.type for block in found.content] == ["thinking", "text", "tool_use"]
    assert found.content[0].signature == "prefrontal:deepseek:"
    assert found.stop_reason == "tool_use"
    assert found.usage.output_tokens_details is not None
    assert found.usage.output_tokens_details.thinking_tokens == 3


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"type":"message"}', b'{"content":[1]}', b'{"content":[{"type":"text"}]}']
)
def test_a_body_that_is_no_message_misbehaves(body, target_of):
    """Whatever came back, the error says who sent it."""
    with pytest.raises(ProviderMisbehaved) as found:
        PROVIDER.parse_chat(ok(body), target_of("anthropic"))
    assert found.value.provider == "anthropic"
    assert found.value.model == "house/model"


# --- errors, counts, models ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "message_", "expected"),
    [
        (400, "invalid_request_error", "bad", ProviderRejected),
        (400, "invalid_request_error", "Your credit balance is too low to access the API.", ProviderQuotaExhausted),
        (401, "authentication_error", "x", ProviderAuthFailed),
        (402, "billing_error", "x", ProviderQuotaExhausted),
        (403, "permission_error", "x", ProviderAuthFailed),
        (404, "not_found_error", "x", ProviderRejected),
        (413, "request_too_large", "x", ProviderRejected),
        (429, "rate_limit_error", "x", ProviderRateLimited),
        (429, "rate_limit_error", "You have reached your specified API usage limits.", ProviderQuotaExhausted),
        (500, "api_error", "x", ProviderError),
        (504, "timeout_error", "x", ProviderTimeout),
        (529, "overloaded_error", "x", ProviderOverloaded),
    ],
)
def test_error_bodies_are_classified(status, kind, message_, expected, target_of):
    """Type and text decide; headers give id and wait."""
    body = {"type": "error", "error": {"type": kind, "message": message_}, "request_id": "req_b"}
    response = ok(body, status, **{"request-id": "req_h", "retry-after": "7", "x-should-retry": "true"})
    error = PROVIDER.parse_error(response, target_of("anthropic"))
    assert type(error) is expected
    assert error.message == message_
    assert (error.upstream_status, error.upstream_code, error.upstream_request_id) == (status, kind, "req_h")
    assert (error.retry_after_s, error.should_retry) == (7.0, True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, ProviderRejected),
        (401, ProviderAuthFailed),
        (429, ProviderRateLimited),
        (503, ProviderOverloaded),
        (529, ProviderOverloaded),
        (500, ProviderError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>\n oops</html>", b"[1]", b'{"error": 5}'])
def test_errors_without_an_envelope_go_by_status(status, expected, body, target_of):
    """A proxy's page of HTML is classified too, and never raises."""
    error = PROVIDER.parse_error(ok(body, status), target_of("anthropic"))
    assert type(error) is expected
    assert error.message
    assert "<html>" not in error.message


def test_too_long_a_prompt_is_named(target_of):
    """The machine can tell a full context window from other rejections."""
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}
    assert PROVIDER.parse_error(ok(body, 400), target_of("anthropic")).details == {"kind": "context_length"}


def test_counts_and_their_absence(target_of):
    """The counter's answer is a number or misbehaviour."""
    counted = sdk.MessageTokensCount(input_tokens=41).model_dump()
    assert PROVIDER.parse_count(ok(counted), target_of("anthropic")) == 41
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_count(ok({"input_tokens": "many"}), target_of("anthropic"))


def model_info(name: str, lifecycle: str = "active") -> dict[str, Any]:
    """An entry of the model list with the shape of the SDK's type."""
    yes, no = {"supported": True}, {"supported": False}
    thinking = {"supported": True, "types": {"adaptive": yes, "between_tools": no, "disabled": yes, "enabled": no}}
    effort = {"supported": True, "low": yes, "medium": yes, "high": yes, "xhigh": no, "max": yes}
    capabilities = {"effort": effort, "thinking": thinking, "image_input": yes, "pdf_input": no, "structured_outputs": yes}
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": lifecycle,
        "max_input_tokens": 200000,
        "max_tokens": 64000,
        "capabilities": capabilities,
    }


def test_models_come_with_what_they_can_do(target_of):
    """Windows, caps, capabilities and effort levels are read from the list and from the probe; retired models are not listed."""
    listing = {"data": [model_info("claude-a"), model_info("claude-old", "retired")], "has_more": False}
    (found,) = PROVIDER.parse_models(ok(listing), target_of("anthropic"))
    assert found == PROVIDER.parse_probe(ok(model_info("claude-a")), target_of("anthropic"))
    assert (found.id, found.context_tokens, found.max_output_tokens) == ("claude-a", 200000, 64000)
    assert {name: said.value for name, said in found.capabilities.items()} == {
        "thinking": True,
        "vision": True,
        "files": False,
        "structured_output": True,
    }
    assert all(said.origin == "engine" for said in found.capabilities.values())
    assert found.effort_levels == ("low", "medium", "high", "max")
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_models(ok({"models": []}), target_of("anthropic"))
