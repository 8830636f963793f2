"""Every shipped profile keeps the provider contract, and the contract catches a provider that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefrontal.chat.response import ChatResponse
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderCut, ProviderError
from prefrontal.providers.base import StreamParser, Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.registry import builtin_providers
from prefrontal.testing.provider_contract import (
    CONTRACT,
    Check,
    Sample,
    check_answers,
    check_broken_streams,
    check_errors,
    check_garbage,
    check_requests,
    check_streams,
)

PROFILES = load_profiles()
PROVIDERS = builtin_providers()


def sse(*events: Any, names: bool = False, done: bool = False) -> bytes:
    """Server-sent events."""
    lines = [(f"event: {event['type']}\n" if names else "") + f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def whole(value: Any) -> bytes:
    """A JSON body."""
    return json.dumps(value).encode()


ARGUMENTS = '{"q": "x"}'
TEXT, REASONING = "Grüße 日本", "because"


def openai_sample() -> Sample:
    """Chat completions."""
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": ARGUMENTS}}
    head = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    message = {"role": "assistant", "content": TEXT, "reasoning_content": REASONING, "tool_calls": [call]}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": REASONING[:3]},
        {"reasoning_content": REASONING[3:]},
        {"content": TEXT[:3]},
        {"content": TEXT[3:]},
        {"tool_calls": [{**call, "index": 0, "function": {"name": "look_up", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ARGUMENTS}}]},
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    return Sample(
        whole=whole({**head, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": usage}),
        stream=sse(*chunks, last, {**head, "choices": [], "usage": usage}, done=True),
        text=TEXT,
        reasoning=REASONING,
        calls=(("look_up", ARGUMENTS),),
        input_tokens=7,
        output_tokens=5,
        errors=(
            whole({"error": {"message": "m", "type": "invalid_request_error", "param": None, "code": None}}),
            whole({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}),
            whole({"error": "m", "error_type": "validation"}),
        ),
    )


def anthropic_sample() -> Sample:
    """Messages."""
    usage = {"input_tokens": 7, "output_tokens": 5}
    thinking = {"type": "thinking", "thinking": REASONING, "signature": "sig"}
    tool = {"type": "tool_use", "id": "c1", "name": "look_up", "input": json.loads(ARGUMENTS)}
    message = {"id": "u", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "usage": usage}

    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *[{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas],
            {"type": "content_block_stop", "index": index},
        ]

    events = [
        {
            "type": "message_start",
            "message": {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}},
        },
        {"type": "ping"},
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": REASONING},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(
            1, {"type": "text", "text": ""}, {"type": "text_delta", "text": TEXT[:3]}, {"type": "text_delta", "text": TEXT[3:]}
        ),
        *block(2, {**tool, "input": {}}, {"type": "input_json_delta", "partial_json": ARGUMENTS}),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return Sample(
        whole=whole({**message, "content": [thinking, {"type": "text", "text": TEXT}, tool]}),
        stream=sse(*events, names=True),
        text=TEXT,
        reasoning=REASONING,
        calls=(("look_up", ARGUMENTS),),
        input_tokens=7,
        output_tokens=5,
        errors=(whole({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}, "request_id": "r"}),),
    )


def gemini_sample() -> Sample:
    """GenerateContent."""
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 12}
    call = {"functionCall": {"name": "look_up", "args": json.loads(ARGUMENTS)}}
    parts = [{"text": REASONING, "thought": True}, {"text": TEXT}, call]

    def answer(parts: list[Any], **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}], "responseId": "u"}

    return Sample(
        whole=whole({**answer(parts, finishReason="STOP"), "usageMetadata": usage}),
        stream=sse(answer(parts[:1]), answer(parts[1:2]), {**answer(parts[2:], finishReason="STOP"), "usageMetadata": usage}),
        text=TEXT,
        reasoning=REASONING,
        calls=(("look_up", ARGUMENTS),),
        input_tokens=7,
        output_tokens=5,
        errors=(whole({"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}),),
    )


def ollama_sample() -> Sample:
    """/api/chat."""
    call = {"function": {"name": "look_up", "arguments": json.loads(ARGUMENTS)}}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 5}
    head = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
    message = {"role": "assistant", "content": TEXT, "thinking": REASONING, "tool_calls": [call]}
    lines: list[dict[str, Any]] = [
        {**head, "message": {"role": "assistant", "content": "", "thinking": REASONING}, "done": False},
        {**head, "message": {"role": "assistant", "content": TEXT[:3]}, "done": False},
        {**head, "message": {"role": "assistant", "content": TEXT[3:]}, "done": False},
        {**head, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        {**head, "message": {"role": "assistant", "content": ""}, **end},
    ]
    return Sample(
        whole=whole({**head, "message": message, **end}),
        stream="".join([json.dumps(line) + "\n" for line in lines]).encode(),
        text=TEXT,
        reasoning=REASONING,
        calls=(("look_up", ARGUMENTS),),
        input_tokens=7,
        output_tokens=5,
        errors=(whole({"error": "m"}),),
    )


SAMPLES = {"openai": openai_sample(), "anthropic": anthropic_sample(), "gemini": gemini_sample(), "ollama": ollama_sample()}


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", PROFILES)
def test_every_shipped_profile_keeps_the_contract(name: str, check: Check) -> None:
    """Each check of the shipped suite holds for each profile of each wire."""
    profile = PROFILES[name]
    check(PROVIDERS.for_profile(profile), profile, SAMPLES[profile.wire])


class Leaky(OpenAIProvider):
    """Puts the key into the address."""

    def render_chat(self, request: Any, target: Target, effort: Any, *, stream: bool) -> WireRequest:
        sent = super().render_chat(request, target, effort, stream=stream)
        return WireRequest(url=f"{sent.url}?key={target.card.key}", headers=sent.headers, body=sent.body)


class Deaf(OpenAIProvider):
    """Takes anything for an empty answer."""

    def parse_chat(self, response: WireResponse, target: Target) -> ChatResponse:
        return ChatResponse()


class Patient(OpenAIProvider):
    """Never notices that a stream was cut, nor that its pieces are cut in two."""

    def stream_parser(self, target: Target) -> Any:
        inner: StreamParser = super().stream_parser(target)

        class Parser:
            def feed(self, data: bytes) -> Any:
                return inner.feed(data.rstrip(b"\n") + b"\n\n")

            def finish(self) -> Any:
                try:
                    return inner.finish()
                except ProviderCut:
                    return []

        return Parser()


class Raw(OpenAIProvider):
    """Lets every error through as another."""

    def parse_error(self, response: WireResponse, target: Target) -> Any:
        return ValueError("no")


@pytest.mark.parametrize(
    ("provider", "check"),
    [
        (Leaky(), check_requests),
        (Deaf(), check_answers),
        (Deaf(), check_garbage),
        (Patient(), check_streams),
        (Patient(), check_broken_streams),
        (Raw(), check_errors),
    ],
)
def test_a_provider_that_breaks_the_contract_is_caught(provider: OpenAIProvider, check: Check) -> None:
    """Each kind of breach fails its check."""
    with pytest.raises((AssertionError, ProviderError)):
        check(provider, PROFILES["vllm"], SAMPLES["openai"])
