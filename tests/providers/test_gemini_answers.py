"""Answers of generateContent, whole and streamed, built with the official SDK's own types; and its errors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types as sdk

from prefrontal.chat.blocks import Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.collect import Collector
from prefrontal.chat.request import ChatRequest, Message
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import WireResponse
from prefrontal.errors import (
    ProviderAuthFailed,
    ProviderCut,
    ProviderError,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderQuotaExhausted,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
)
from prefrontal.providers.gemini.client import render_generate_response
from prefrontal.providers.gemini.provider import GeminiProvider

PROVIDER = GeminiProvider()
USAGE = sdk.GenerateContentResponseUsageMetadata(
    prompt_token_count=20,
    cached_content_token_count=8,
    candidates_token_count=10,
    thoughts_token_count=6,
    tool_use_prompt_token_count=2,
    total_token_count=38,
)
OURS = Usage(uncached_input_tokens=14, cache_read_tokens=8, output_tokens=16, reasoning_tokens=6, source="reported")


def ok(value: Any, status: int = 200, **headers: str) -> WireResponse:
    """A response with a JSON body."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return WireResponse(status=status, headers=headers, body=body)


def dump(model: Any) -> Any:
    """An SDK model as the API writes it."""
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def answer(parts: list[Any], finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    """A whole answer, made by the SDK's own types."""
    candidate = sdk.Candidate(content=sdk.Content(role="model", parts=parts), finish_reason=finish, index=0)
    found = sdk.GenerateContentResponse(
        candidates=[candidate], usage_metadata=USAGE, model_version="gemini-x", response_id="r1", **more
    )
    return dump(found)


PARTS = [
    sdk.Part(text="Let me see", thought=True, thought_signature=b"sig/1+"),
    sdk.Part(text="One moment."),
    sdk.Part(function_call=sdk.FunctionCall(name="f", args={"a": 1, "b": "ü"}), thought_signature=b"sig2"),
    sdk.Part(function_call=sdk.FunctionCall(id="given", name="g", args={})),
]


def test_an_answer_becomes_blocks_in_wire_order(target_of):
    """Thoughts, text and calls keep their order and signatures; thoughts count as output."""
    found = PROVIDER.parse_chat(ok(answer(PARTS)), target_of("gemini"))
    first, text, call, given = found.choices[0].blocks
    assert first == Reasoning(text="Let me see", signature=base64.b64encode(b"sig/1+").decode(), provider="gemini")
    assert text == Text(text="One moment.")
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("f", {"a": 1, "b": "ü"})
    assert call.signature == base64.b64encode(b"sig2").decode()
    assert given == ToolCall(id="given", name="g", arguments="{}")
    assert (found.id, found.model, found.usage) == ("r1", "gemini-x", OURS)
    assert found.choices[0].finish_reason == "tool_calls"


def test_ids_we_give_differ_by_answer_and_place_and_repeat_for_the_same_bytes(target_of):
    """Two calls of one answer, and the same call of two answers, have different ids."""
    call = sdk.Part(function_call=sdk.FunctionCall(name="f", args={}))
    one = answer([call, call])
    other = {**one, "responseId": "r2"}
    ids = [[b.id for b in PROVIDER.parse_chat(ok(raw), target_of("gemini")).choices[0].blocks] for raw in (one, one, other)]  # type: ignore[union-attr]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4


def test_a_tool_loop_replays_signed_parts_byte_for_byte(target_of, plain):
    """The turn parsed from the answer goes back as it came; results find their calls by name."""
    raw = answer([*PARTS, sdk.Part(text="", thought_signature=b"last")])
    parts = raw["candidates"][0]["content"]["parts"]
    target = target_of("gemini")
    blocks = PROVIDER.parse_chat(ok(raw), target).choices[0].blocks
    call = next(block for block in blocks if isinstance(block, ToolCall))
    request = ChatRequest(
        model="m",
        messages=(
            Message(role="user", blocks=(Text(text="go"),)),
            Message(role="assistant", blocks=blocks, form="parts"),
            Message(role="tool", blocks=(ToolResult(call_id=call.id, blocks=(Text(text="1"),), form="text"),)),
        ),
    )
    wire = PROVIDER.render_chat(request, target, plain, stream=False)
    sent = json.loads(wire.body)["contents"]
    assert sent[1]["parts"] == parts
    assert sent[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"output": "1"}}}]
    assert wire.dropped == ()


def test_every_finish_reason_has_its_word(target_of):
    """Safety words are content_filter, lengths length; what went wrong is an error; all words of the SDK are covered."""
    words = {}
    for reason in sdk.FinishReason:
        found = PROVIDER.parse_chat(ok(answer([sdk.Part(text="x")], reason)), target_of("gemini"))
        words[reason.value] = found.choices[0].finish_reason
        assert found.choices[0].raw_finish == reason.value
    assert words["STOP"] == "stop"
    assert words["MAX_TOKENS"] == "length"
    filtered = {word for word, ours in words.items() if ours == "content_filter"}
    assert {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"} <= filtered
    assert {word for word, ours in words.items() if ours == "error"} >= {
        "MALFORMED_FUNCTION_CALL",
        "OTHER",
        "TOO_MANY_TOOL_CALLS",
    }


def test_a_blocked_prompt_is_a_filtered_answer(target_of):
    """No candidates and a block reason: content_filter with the explanation."""
    feedback = sdk.GenerateContentResponsePromptFeedback(block_reason="PROHIBITED_CONTENT", block_reason_message="No.")
    raw = dump(sdk.GenerateContentResponse(prompt_feedback=feedback, usage_metadata=USAGE))
    choice = PROVIDER.parse_chat(ok(raw), target_of("gemini")).choices[0]
    assert (choice.finish_reason, choice.raw_finish, choice.refusal) == ("content_filter", "PROHIBITED_CONTENT", "No.")


def test_several_candidates_are_several_choices(target_of):
    """Each candidate is a choice with its index."""
    raw = answer([sdk.Part(text="a")])
    raw["candidates"].append({"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP", "index": 1})
    found = PROVIDER.parse_chat(ok(raw), target_of("gemini"))
    assert [(choice.index, choice.text) for choice in found.choices] == [(0, "a"), (1, "b")]


def test_an_answer_served_again_is_the_same_answer(target_of):
    """Parse and render are inverse on whole answers, also on parts without neutral form."""
    raw = answer([*PARTS, sdk.Part(executable_code=sdk.ExecutableCode(code="1+1", language="PYTHON"))])
    raw["candidates"][0]["safetyRatings"] = [{"category": "X", "probability": "LOW"}]
    raw["createTime"] = "2026-01-01T00:00:00Z"
    found = PROVIDER.parse_chat(ok(raw), target_of("gemini"))
    assert isinstance(found.choices[0].blocks[-1], Opaque)
    assert json.loads(render_generate_response(found)) == raw


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"candidates":[1]}', b'{"candidates":[{"content":{"parts":5}}]}']
)
def test_a_body_that_is_no_answer_misbehaves(body, target_of):
    """Whatever came back, the error says who sent it."""
    with pytest.raises(ProviderMisbehaved) as found:
        PROVIDER.parse_chat(ok(body), target_of("gemini"))
    assert found.value.model == "house/model"


# --- streams ---------------------------------------------------------------------------------------------------------------


def event(value: Any) -> bytes:
    """One event, with Google's line ends."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\r\n\r\n"


def piece(parts: list[Any], finish: Any = None, **more: Any) -> dict[str, Any]:
    """One streamed answer, made by the SDK's own types."""
    candidate = sdk.Candidate(content=sdk.Content(role="model", parts=parts), finish_reason=finish, index=0)
    return dump(sdk.GenerateContentResponse(candidates=[candidate], model_version="gemini-x", response_id="r1", **more))


def stream() -> bytes:
    """Thoughts, text over several events, a signed call, a signature alone, usage at the end."""
    return b"".join(
        [
            event(piece([sdk.Part(text="Let me ", thought=True)])),
            event(piece([sdk.Part(text="see", thought=True, thought_signature=b"sig/1+")])),
            event(piece([sdk.Part(text="One ")])),
            event(piece([sdk.Part(text="moment – ü.")])),
            event(piece([sdk.Part(function_call=sdk.FunctionCall(name="f", args={"a": 1}), thought_signature=b"sig2")])),
            event(piece([sdk.Part(text="", thought_signature=b"last")], "STOP", usage_metadata=USAGE)),
        ]
    )


def test_a_stream_however_cut_gives_the_blocks_of_the_answer(target_of, same_however_cut, plain):
    """The chunks do not depend on the cuts; collected, the turn replays its signatures where they came."""
    target = target_of("gemini")
    collector = Collector()
    for chunk in same_however_cut(lambda: PROVIDER.stream_parser(target), stream()):
        collector.add(chunk)
    found = collector.response()
    assert (found.id, found.model, found.usage, found.choices[0].finish_reason) == ("r1", "gemini-x", OURS, "tool_calls")
    request = ChatRequest(
        model="m",
        messages=(
            Message(role="user", blocks=(Text(text="go"),)),
            Message(role="assistant", blocks=found.choices[0].blocks, form="parts"),
        ),
    )
    wire = PROVIDER.render_chat(request, target, plain, stream=False)
    assert json.loads(wire.body)["contents"][1]["parts"] == [
        {"text": "Let me see", "thought": True, "thoughtSignature": base64.b64encode(b"sig/1+").decode()},
        {"text": "One moment – ü."},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": base64.b64encode(b"sig2").decode()},
        {"text": "", "thoughtSignature": base64.b64encode(b"last").decode()},
    ]


def test_usage_after_the_finish_reason_still_counts(target_of, read_stream):
    """Some answers send their counts in an event of their own."""
    data = event(piece([sdk.Part(text="x")], "STOP")) + event({"usageMetadata": dump(USAGE)})
    chunks = read_stream(PROVIDER.stream_parser(target_of("gemini")), [data])
    assert chunks[-1].usage == OURS


def test_a_blocked_prompt_ends_a_stream(target_of, read_stream):
    """A block is an end, not a cut."""
    chunks = read_stream(PROVIDER.stream_parser(target_of("gemini")), [event({"promptFeedback": {"blockReason": "SAFETY"}})])
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["content_filter"]


def test_a_stream_without_finish_reason_is_cut(target_of, read_stream):
    """Wherever it ends before the last event, the answer is not whole; each candidate must end."""
    data = stream()
    last = data.rindex(b"data:")
    for end in range(0, last, 61):
        with pytest.raises(ProviderCut):
            read_stream(PROVIDER.stream_parser(target_of("gemini")), [data[:end]])
    two = {"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "b"}]}}]}
    with pytest.raises(ProviderCut):
        read_stream(PROVIDER.stream_parser(target_of("gemini")), [event(two)])


@pytest.mark.parametrize(
    "data", [b"<html>Bad gateway</html>", b"\x00\xff\xfe", b"data: {oops\n\n", b'data: {"unexpected": true}\n\n']
)
def test_garbage_misbehaves(data, target_of, read_stream):
    """Bytes that are not of this wire are told from a cut."""
    with pytest.raises(ProviderMisbehaved):
        read_stream(PROVIDER.stream_parser(target_of("gemini")), [data])


def test_errors_in_place_of_a_stream_and_inside_are_classified(target_of, read_stream):
    """As an event, as a body, and as the list the API sends without alt=sse."""
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}}
    for data in (event(piece([sdk.Part(text="x")])) + event(error), json.dumps(error).encode(), json.dumps([error]).encode()):
        with pytest.raises(ProviderOverloaded, match="overloaded"):
            read_stream(PROVIDER.stream_parser(target_of("gemini")), [data])


# --- errors, counts, models, embeddings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "word", "expected"),
    [
        (400, "INVALID_ARGUMENT", ProviderRejected),
        (400, "FAILED_PRECONDITION", ProviderRejected),
        (401, "UNAUTHENTICATED", ProviderAuthFailed),
        (403, "PERMISSION_DENIED", ProviderAuthFailed),
        (404, "NOT_FOUND", ProviderRejected),
        (429, "RESOURCE_EXHAUSTED", ProviderRateLimited),
        (500, "INTERNAL", ProviderError),
        (503, "UNAVAILABLE", ProviderOverloaded),
        (504, "DEADLINE_EXCEEDED", ProviderTimeout),
    ],
)
def test_error_bodies_are_classified(status, word, expected, target_of):
    """The status word decides; a list around the object changes nothing."""
    body = {"error": {"code": status, "status": word, "message": "said"}}
    for value in (body, [body]):
        error = PROVIDER.parse_error(ok(value, status), target_of("gemini"))
        assert type(error) is expected
        assert (error.message, error.upstream_code, error.upstream_status) == ("said", word, status)


def test_a_bad_key_is_ours_not_the_callers(target_of):
    """Google answers 400 to a bad key."""
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    body = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid.", "details": [info]}}
    error = PROVIDER.parse_error(ok(body, 400), target_of("gemini"))
    assert type(error) is ProviderAuthFailed
    assert error.upstream_code == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("GenerateRequestsPerMinutePerProject", ProviderRateLimited), ("GenerateRequestsPerDay", ProviderQuotaExhausted)],
)
def test_exhausted_resources_say_when_to_come_back(quota, expected, target_of):
    """RetryInfo gives the wait; a quota of the day is not worth waiting for."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"},
    ]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": details}}
    error = PROVIDER.parse_error(ok(body, 429), target_of("gemini"))
    assert type(error) is expected
    assert error.retry_after_s == 34.5


@pytest.mark.parametrize("body", [b"", b"<html>oops</html>", b"[]", b'{"error":"x"}', b'{"error":{"details":5}}'])
def test_errors_without_an_envelope_go_by_status(body, target_of):
    """A proxy's page is classified too, and never raises."""
    assert type(PROVIDER.parse_error(ok(body, 503), target_of("gemini"))) is ProviderOverloaded
    assert PROVIDER.parse_error(ok(body, 418), target_of("gemini")).message


def test_counts_models_and_vectors(target_of):
    """The side routes are read, and their absence is misbehaviour."""
    target = target_of("gemini")
    assert PROVIDER.parse_count(ok(dump(sdk.CountTokensResponse(total_tokens=41))), target) == 41
    model = {
        "name": "models/gemini-2.5-pro",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "thinking": True,
    }
    other = {"name": "models/imagen", "supportedGenerationMethods": ["predict"]}
    (found,) = PROVIDER.parse_models(ok({"models": [model, other]}), target)
    assert (found.id, found.context_tokens, found.max_output_tokens) == ("gemini-2.5-pro", 1048576, 65536)
    assert {name: said.value for name, said in found.capabilities.items()} == {
        "chat": True,
        "count_tokens": True,
        "thinking": True,
    }
    assert PROVIDER.parse_probe(ok(model), target) == found
    vectors = dump(
        sdk.EmbedContentResponse(embeddings=[sdk.ContentEmbedding(values=[1.0, 2.5]), sdk.ContentEmbedding(values=[0.0])])
    )
    assert PROVIDER.parse_embeddings(ok(vectors), target).vectors == ((1.0, 2.5), (0.0,))
    for read in (PROVIDER.parse_count, PROVIDER.parse_models, PROVIDER.parse_probe, PROVIDER.parse_embeddings):
        with pytest.raises(ProviderMisbehaved):
            read(ok({"odd": 1}), target)
