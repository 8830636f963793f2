"""Streams: read from upstreams of every kind and cut, rendered so that the official client takes them."""

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
from openai.types.chat import ChatCompletionChunk

from prefrontal.chat.blocks import Reasoning, Text, ToolCall
from prefrontal.chat.collect import Collector
from prefrontal.chat.response import ChatResponse, Chunk, ToolCallDelta
from prefrontal.chat.usage import Usage
from prefrontal.errors import (
    ProviderCut,
    ProviderError,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.client_stream import ChatStreamRenderer, CompletionStreamRenderer
from prefrontal.providers.openai.completions import render_completion_response
from prefrontal.providers.openai.response import parse_chat_response
from prefrontal.providers.openai.stream import OpenAIStreamParser
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


def test_a_freeform_call_stays_one_on_its_way_to_a_client() -> None:
    """A streamed call of a custom tool is a custom call in the chunks, in their sum and in what the client gets."""
    call = {"index": 0, "id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    more = {"index": 0, "custom": {"input": " -l"}}
    deltas = [{"role": "assistant", "tool_calls": [call]}, {"tool_calls": [more]}]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    data = b"".join([b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]) + b"data: [DONE]\n\n"
    parser, collector = OpenAIStreamParser(load_profiles()["openai"]), Collector()
    renderer = ChatStreamRenderer(id="chatcmpl-1", model="m", created_s=1, include_usage=False)
    chunks = [*parser.feed(data), *parser.finish()]
    for chunk in chunks:
        collector.add(chunk)
    block = collector.response().choices[0].blocks[0]
    assert (block.kind, block.name, block.arguments) == ("custom", "shell", "ls -l")  # type: ignore[union-attr]  # a call
    shown = b"".join([renderer.render(chunk) for chunk in chunks])
    assert b'"type":"custom","custom":{"name":"shell","input":"ls"}' in shown
    assert b'"custom":{"input":" -l"}' in shown
