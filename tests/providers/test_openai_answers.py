"""Whole answers and errors: read from upstreams of every kind, rendered so that the official SDK takes them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from prefrontal.chat.blocks import Audio, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.chat.usage import Usage
from prefrontal.errors import (
    AllAttemptsFailed,
    InvalidRequest,
    ProviderError,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from prefrontal.providers.openai.response import parse_chat_response, render_chat_response, render_error
from prefrontal.providers.openai.usage import parse_usage, render_usage
from prefrontal.providers.profile import Profile

PROFILE = Profile(title="Engine", wire="openai", provider="engine")
USAGE = Usage(uncached_input_tokens=7, cache_read_tokens=3, output_tokens=5, reasoning_tokens=2, source="reported")
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def answer(message: dict[str, Any], finish: Any = "stop", **more: Any) -> bytes:
    """An upstream's body with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps(
        {"id": "u1", "object": "chat.completion", "created": 17, "model": "up", "choices": [choice], **more}
    ).encode()


def test_a_whole_answer_becomes_blocks() -> None:
    """Thinking, text, refusal, tool calls, audio, usage and unknown fields are all read."""
    body = answer(
        {
            "content": "hi",
            "reasoning": "hm",
            "refusal": "no",
            "tool_calls": [CALL],
            "audio": {"id": "a", "data": "QQ=="},
            "x_m": 1,
        },
        "tool_calls",
        usage={
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 2},
            "cost": 0.5,
        },
        system_fingerprint="fp",
        nothing=None,
    )
    response = parse_chat_response(body, PROFILE)
    assert response == ChatResponse(
        id="u1",
        model="up",
        created_s=17,
        choices=(
            Choice(
                blocks=(
                    Reasoning(text="hm", provider="engine", field="reasoning"),
                    Text(text="hi"),
                    Refusal(text="no"),
                    ToolCall(id="c1", name="f", arguments='{"a": 1}'),
                    Audio(id="a", data="QQ=="),
                ),
                finish_reason="tool_calls",
                raw_finish="tool_calls",
                extra={"message": {"x_m": 1}},
            ),
        ),
        usage=USAGE,
        extra={"system_fingerprint": "fp", "usage": {"cost": 0.5}},
    )


@pytest.mark.parametrize("extension", [None, {"trace": "t", "cost_usd": 0.1}])
def test_the_sdk_takes_our_whole_answer(extension: dict[str, Any] | None) -> None:
    """Our body is a ChatCompletion to the official type, with thinking under both names and unknown fields passed on."""
    source = answer({"content": "hi", "reasoning_content": "hm", "tool_calls": [CALL]}, "tool_calls", service_tier="flex")
    source = source.replace(b'"choices"', b'"usage": {"prompt_tokens": 10, "completion_tokens": 5, "cost": 2}, "choices"')
    response = parse_chat_response(source, PROFILE)
    body = json.loads(render_chat_response(response, id="pf-1", model="auto", created_s=9, extension=extension))
    completion = ChatCompletion.model_validate(body, strict=True)
    assert (completion.id, completion.model, completion.created, completion.service_tier) == ("pf-1", "auto", 9, "flex")
    message = body["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_content"] == "hm"
    assert (message["content"], message["refusal"], message["tool_calls"]) == ("hi", None, [CALL])
    assert body["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "cost": 2,
    }
    assert body.get("x_prefrontal") == extension


def test_content_is_null_only_without_text() -> None:
    """An empty answer is an empty string; an answer of tool calls or a refusal alone has null content."""
    for message, expected in (({"content": ""}, ""), ({"content": None, "tool_calls": [CALL]}, None), ({"refusal": "no"}, None)):
        response = parse_chat_response(answer(message), PROFILE)
        body = json.loads(render_chat_response(response, id="i", model="m", created_s=1, extension=None))
        assert body["choices"][0]["message"]["content"] == expected
        assert "usage" not in body


@pytest.mark.parametrize(
    ("word", "calls", "reason", "shown"),
    [
        ("stop", [], "stop", "stop"),
        ("function_call", [CALL], "tool_calls", "function_call"),
        ("", [CALL], "tool_calls", "tool_calls"),
        ("eos_token", [], "stop", "stop"),
        ("model_length", [], "length", "length"),
        ("insufficient_system_resource", [], "error", "length"),
        ("something_new", [], "stop", "stop"),
        (None, [], None, "stop"),
    ],
)
def test_finish_reasons(word: Any, calls: list[Any], reason: Any, shown: str) -> None:
    """Every engine's word is understood; the client gets one its SDK knows."""
    response = parse_chat_response(answer({"content": "x", "tool_calls": calls}, word), PROFILE)
    assert response.choices[0].finish_reason == reason
    body = json.loads(render_chat_response(response, id="i", model="m", created_s=1, extension=None))
    assert body["choices"][0]["finish_reason"] == shown


@pytest.mark.parametrize(
    ("raw", "shape", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, "deepseek", (6, 4, 0, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 4}, "openai", (6, 4, 0, 5, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 3}, "sglang", (10, 0, 0, 5, 3)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 18,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            "xai",
            (10, 0, 0, 8, 3),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            "xai",
            (10, 0, 0, 5, 3),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 99}},
            "openai",
            (0, 10, 0, 5, 0),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
            "openai",
            (1, 4, 5, 5, 0),
        ),
        ({"prompt_tokens": 10, "completion_tokens": None, "prompt_tokens_details": None}, "openai", (10, 0, 0, 0, 0)),
    ],
)
def test_usage_shapes(raw: dict[str, Any], shape: str, expected: tuple[int, ...]) -> None:
    """Each engine's accounting comes out as the same five counts, reported."""
    usage = parse_usage(raw, shape)
    counts = (
        usage.uncached_input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    assert (counts, usage.source) == (expected, "reported")
    assert parse_usage(render_usage(usage)) == usage


@pytest.mark.parametrize("raw", [None, {}, [], {"total_tokens": 5}, {"prompt_tokens": "5"}])
def test_usage_nobody_gave_is_unknown(raw: Any) -> None:
    """Absent or senseless usage is unknown, not zero."""
    assert parse_usage(raw).source == "unknown"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", ProviderMisbehaved),
        (b"[]", ProviderMisbehaved),
        (b'{"choices": []}', ProviderMisbehaved),
        (b'{"choices": [{"index": 0}]}', ProviderMisbehaved),
        (b'{"choices": [5]}', ProviderMisbehaved),
        (answer({"tool_calls": [{"id": "x"}]}), ProviderMisbehaved),
        (b'{"error": {"message": "busy", "type": "overloaded_error"}}', ProviderOverloaded),
        (b'{"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}', ProviderRejected),
    ],
)
def test_a_bad_whole_answer_is_an_error(body: bytes, kind: type[ProviderError]) -> None:
    """What is no answer raises; an error object behind a 200 is classified by its words."""
    with pytest.raises(kind):
        parse_chat_response(body, PROFILE)


def test_error_envelope_has_exactly_the_four_keys() -> None:
    """message, type, param, code; whatever is ours lies beside it."""
    body = render_error(InvalidRequest("Wrong.", param="messages[0]", hint="Mend it."))
    assert body["error"] == {
        "message": "Wrong. Mend it.",
        "type": "invalid_request_error",
        "param": "messages[0]",
        "code": "invalid_request",
    }
    assert set(body) == {"error", "x_prefrontal"}


def test_error_envelope_of_several_attempts_shows_the_last() -> None:
    """When every attempt failed, type and code are the last one's, and each attempt is listed."""
    first = ProviderRateLimited("a: slow down", model="a", retry_after_s=2.0)
    last = ProviderOverloaded("b: busy", model="b", provider="p", upstream_status=503)
    body = render_error(AllAttemptsFailed([first, last]))
    assert (body["error"]["type"], body["error"]["code"]) == ("overloaded_error", "upstream_overloaded")
    assert [attempt["model"] for attempt in body["x_prefrontal"]["attempts"]] == ["a", "b"]
    assert body["x_prefrontal"]["upstream_status"] == 503
