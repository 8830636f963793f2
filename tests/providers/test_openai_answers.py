"""Answers, whole and streamed: read from upstreams of every kind, rendered so that the official SDK takes them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from prefrontal.chat.blocks import Audio, Reasoning, Refusal, Text, ToolCall
from prefrontal.chat.collect import Collector
from prefrontal.chat.response import ChatResponse, Choice, Chunk, ToolCallDelta
from prefrontal.chat.usage import Usage
from prefrontal.errors import (
    AllAttemptsFailed,
    InvalidRequest,
    ProviderCut,
    ProviderError,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from prefrontal.providers.openai.client_stream import ChatStreamRenderer, CompletionStreamRenderer
from prefrontal.providers.openai.completions import render_completion_response
from prefrontal.providers.openai.response import parse_chat_response, render_chat_response, render_error
from prefrontal.providers.openai.stream import OpenAIStreamParser
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


def sse(*events: Any, done: bool = True) -> bytes:
    """A stream of `events`, strings as they are."""
    texts = [event if isinstance(event, str) else f"data: {json.dumps(event)}" for event in events]
    return "".join([text + "\n\n" for text in [*texts, *(["data: [DONE]"] if done else [])]]).encode()


def piece(finish: Any = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "u1", "object": "chat.completion.chunk", "created": 17, "model": "up", "choices": [choice]}


def read(data: bytes, cuts: list[int] | None = None, profile: Profile = PROFILE) -> list[Chunk]:
    """All chunks of a stream cut at `cuts`."""
    parser = OpenAIStreamParser(profile)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    chunks = [chunk for a, b in pairwise(edges) for chunk in parser.feed(data[a:b])]
    return chunks + parser.finish()


def collect(chunks: list[Chunk]) -> ChatResponse:
    """The answer the chunks add up to."""
    collector = Collector()
    for chunk in chunks:
        collector.add(chunk)
    return collector.response()


def rendered(chunks: list[Chunk], *, include_usage: bool = True, extension: dict[str, Any] | None = None) -> list[Any]:
    """The events a client of our stream gets; the end mark as a string."""
    renderer = ChatStreamRenderer(id="pf-1", model="auto", created_s=9, include_usage=include_usage)
    data = b"".join([renderer.render(chunk) for chunk in chunks]) + renderer.finish(USAGE, extension)
    lines = [line.removeprefix("data: ") for line in data.decode().split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


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


RICH = sse(
    ": keep-alive",
    piece(role="assistant", content=""),
    piece(reasoning_content="h", reasoning="h"),
    piece(reasoning="m"),
    piece(content="Hel"),
    piece(content="lo <think>"),
    piece(index=1, role="assistant", content="zwei"),
    piece(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}]),
    piece(tool_calls=[{"index": 0, "function": {"arguments": '{"a": 1}'}}]),
    "",
    piece("tool_calls"),
    piece("length", index=1),
    {"id": "u1", "created": 17, "model": "up", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5}},
)


@given(st.lists(st.integers(0, len(RICH)), max_size=15))
def test_a_stream_adds_up_whatever_the_cut(cuts: list[int]) -> None:
    """Two choices, thinking, tags as text, tool calls in pieces, comments and usage: the same answer for every cut."""
    response = collect(read(RICH, cuts))
    first, second = response.choices
    assert first.blocks == (Reasoning(text="hm"), Text(text="Hello <think>"), ToolCall(id="c1", name="f", arguments='{"a": 1}'))
    assert (first.finish_reason, second.finish_reason, second.text) == ("tool_calls", "length", "zwei")
    assert (response.id, response.model, response.created_s) == ("u1", "up", 17)
    assert response.usage == Usage(uncached_input_tokens=10, output_tokens=5, source="reported")


def test_tags_over_chunks_end_in_two_blocks() -> None:
    """A tag cut over four deltas, and the white space around it, are taken out of the stream."""
    data = sse(*[piece(content=text) for text in ("<th", "ink>\nwhy", " \n</thi", "nk>\n\nbecause")], piece("stop"))
    assert collect(read(data)).choices[0].blocks == (Reasoning(text="why"), Text(text="because"))


def test_calls_without_an_index_are_told_apart_by_id() -> None:
    """Engines that send whole calls at once give no index; two calls stay two."""
    calls = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
        {
            "id": "b",
            "type": "function",
            "function": {"name": "g", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "s"}},
        },
    ]
    chunks = read(sse(piece(tool_calls=calls), piece("stop")))
    assert chunks[0].tool_calls == (
        ToolCallDelta(index=0, id="a", name="f", arguments='{"x":1}'),
        ToolCallDelta(index=1, id="b", name="g", arguments="{}", signature="s"),
    )


def test_usage_in_a_chunk_with_choices_is_read() -> None:
    """Some engines send usage beside the last choice; cumulative usage in each chunk is fine too."""
    last = {**piece("stop"), "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.1}, "x_groq": {"id": "r"}}
    chunks = read(sse(piece(content="a"), last))
    assert chunks[-1].usage == Usage(uncached_input_tokens=1, output_tokens=2, source="reported")
    assert chunks[-1].extra == {"x_groq": {"id": "r"}, "usage": {"cost": 0.1}}


def test_a_text_completion_stream_is_read() -> None:
    """The legacy form of chunks gives the same text."""
    events = [
        {"id": "u", "choices": [{"index": 0, "text": text, "finish_reason": end}]} for text, end in (("a", None), ("b", "stop"))
    ]
    assert collect(read(sse(*events))).text == "ab"
    whole = {"choices": [{"index": 0, "text": "<think>x</think>ab", "finish_reason": "stop", "logprobs": None}]}
    assert parse_chat_response(json.dumps(whole).encode(), PROFILE).text == "ab"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (sse(piece(content="a"), done=False), ProviderCut),
        (sse(piece("stop"), piece(index=1, content="b"), done=False), ProviderCut),
        (b"", ProviderCut),
        (sse(piece(content="a"), done=False)[:-20], ProviderCut),
        (sse(piece(content="a"), piece("stop"), done=False)[:-40], ProviderCut),
        (b'\n {"error": {"message": "slow", "code": "rate_limit_exceeded"}}', ProviderRateLimited),
        (b'{"choices": [', ProviderMisbehaved),
        (
            sse(piece(content="a"), {"error": {"message": "busy", "type": "server_error", "code": "rate_limit_exceeded"}}),
            ProviderRateLimited,
        ),
        (sse({"error": {"message": "no", "type": "BadRequestError", "code": 400}}), ProviderRejected),
        (sse({"error": "Request failed", "error_type": "overloaded"}), ProviderOverloaded),
        (sse('event: error\ndata: {"message": "boom"}'), ProviderError),
        (sse('error: {"code": 500, "message": "boom"}'), ProviderError),
        (sse('data: {"error": {"message": "boom"}}'), ProviderError),
        (sse("data: garbage"), ProviderMisbehaved),
        (sse("data: 5"), ProviderMisbehaved),
        (sse({"choices": [7]}), ProviderMisbehaved),
        (sse({"choices": 7}), ProviderMisbehaved),
    ],
)
def test_a_broken_stream_raises(data: bytes, kind: type[ProviderError]) -> None:
    """A cut, an error event in any shape, and garbage each raise their own class, naming the provider."""
    with pytest.raises(kind) as caught:
        read(data)
    assert caught.value.provider == "engine"


def test_a_whole_answer_in_place_of_a_stream_is_read() -> None:
    """An engine that does not stream answers with one object; its text, calls and usage come out all the same."""
    data = answer({"content": "hi", "reasoning": "hm", "tool_calls": [CALL]}, usage={"prompt_tokens": 1, "completion_tokens": 2})
    response = collect(read(data, [5, 17, 40]))
    assert response.choices[0].blocks == (
        Reasoning(text="hm"),
        Text(text="hi"),
        ToolCall(id="c1", name="f", arguments='{"a": 1}'),
    )
    assert response.usage.output_tokens == 2


def test_what_came_before_an_error_is_not_lost() -> None:
    """Chunks in the same bytes as the error are returned; the error follows with the next call, every time."""
    parser = OpenAIStreamParser(PROFILE)
    chunks = parser.feed(sse(piece(content="a"), {"error": {"message": "boom"}}, done=False))
    assert [chunk.text for chunk in chunks] == ["a"]
    for call in (lambda: parser.feed(b""), parser.finish):
        with pytest.raises(ProviderError, match="boom"):
            call()


def test_a_finish_reason_is_end_enough() -> None:
    """Engines that forget the end mark are forgiven once every choice has its finish reason."""
    assert collect(read(sse(piece(content="a"), piece("stop"), done=False))).text == "a"


@pytest.mark.parametrize("include_usage", [True, False])
def test_the_sdk_takes_our_stream(include_usage: bool) -> None:
    """Each event is a ChatCompletionChunk to the official type; the last carries ours, and usage only when asked for."""
    events = rendered(read(RICH), include_usage=include_usage, extension={"trace": "t"})
    assert events.pop() == "[DONE]"
    for event in events:
        chunk = ChatCompletionChunk.model_validate(event, strict=True)
        assert (chunk.id, chunk.model, chunk.created) == ("pf-1", "auto", 9)
    assert events[-1]["x_prefrontal"] == {"trace": "t"}
    assert all("x_prefrontal" not in event for event in events[:-1])
    if include_usage:
        assert events[-1]["choices"] == []
        assert events[-1]["usage"]["total_tokens"] == 15
        assert all(event["usage"] is None for event in events[:-1])
    else:
        assert all(event["choices"] and "usage" not in event for event in events)
    assert [event["choices"][0]["finish_reason"] for event in events if event["choices"]].count("tool_calls") == 1


def test_our_stream_read_again_says_the_same() -> None:
    """What we render, parsed as an upstream's, adds up to the answer it was rendered from."""
    chunks = read(RICH)
    renderer = ChatStreamRenderer(id="pf-1", model="auto", created_s=9, include_usage=True)
    data = b"".join([renderer.render(chunk) for chunk in chunks]) + renderer.finish(USAGE, None)
    again = collect(read(data))
    assert again.choices == collect(chunks).choices
    assert again.usage == USAGE


def test_unknown_fields_of_chunks_travel_on() -> None:
    """Fields of the chunk, of its choice and of its delta come out where they were."""
    event = {**piece("stop", content="a", x_d=1), "system_fingerprint": "fp"}
    event["choices"][0]["x_c"] = 2
    [out, _] = rendered(read(sse(event)), include_usage=False)
    assert (out["system_fingerprint"], out["choices"][0]["x_c"], out["choices"][0]["delta"]["x_d"]) == ("fp", 2, 1)


def sdk_events(data: bytes) -> list[ChatCompletionChunk]:
    """What the official client makes of a streamed body."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=data, headers={"content-type": "text/event-stream"}))
    client = openai.OpenAI(api_key="k", base_url="http://test", http_client=httpx.Client(transport=transport), max_retries=0)
    return list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True))


def test_the_official_client_reads_our_stream() -> None:
    """The SDK itself, over our bytes, sees the text and stops at the end mark."""
    renderer = ChatStreamRenderer(id="i", model="m", created_s=1, include_usage=True)
    data = renderer.render(Chunk(text="a")) + renderer.render(Chunk(text="b", finish_reason="stop")) + renderer.finish(USAGE, {})
    chunks = sdk_events(data)
    assert "".join([c.choices[0].delta.content or "" for c in chunks if c.choices]) == "ab"
    assert chunks[-1].usage is not None


def test_the_official_client_raises_on_our_error_event() -> None:
    """A broken stream ends in an error event, which the SDK raises as APIError with our message."""
    renderer = ChatStreamRenderer(id="i", model="m", created_s=1, include_usage=False)
    data = renderer.render(Chunk(text="a")) + renderer.error(ProviderCut("The engine went away.", model="m"))
    assert b"[DONE]" not in data
    with pytest.raises(openai.APIError, match="engine went away"):
        sdk_events(data)


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


def test_the_sdk_takes_our_text_completions() -> None:
    """Whole and streamed text completions have the official type; thinking is not in them."""
    response = parse_chat_response(answer({"content": "hi", "reasoning": "hm"}), PROFILE)
    body = json.loads(render_completion_response(response, id="i", model="m", created_s=1, extension={"a": 1}))
    assert Completion.model_validate(body, strict=True).choices[0].text == "hi"
    renderer = CompletionStreamRenderer(id="i", model="m", created_s=1, include_usage=True)
    data = b"".join([renderer.render(chunk) for chunk in read(sse(piece(reasoning="hm"), piece(content="hi"), piece("stop")))])
    data += renderer.finish(USAGE, None)
    events = [json.loads(line[6:]) for line in data.decode().split("\n\n") if line[6:7] == "{"]
    for event in events:
        for choice in event["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"  # null until the end, which the SDK's type does not know
    chunks = [Completion.model_validate(event, strict=True) for event in events]
    assert "".join([chunk.choices[0].text for chunk in chunks if chunk.choices]) == "hi"
