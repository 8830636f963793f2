"""Streams of the Messages API, built with the official SDK's own types: every cut, every end, every error."""

from __future__ import annotations

import json
from typing import Any

import anthropic.types as sdk
import pytest
from anthropic.types.raw_message_delta_event import Delta

from prefrontal.chat.blocks import Reasoning, Text, ToolCall
from prefrontal.chat.collect import Collector
from prefrontal.chat.usage import Usage
from prefrontal.errors import (
    ProviderCut,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderRateLimited,
)
from prefrontal.providers.anthropic.provider import AnthropicProvider

PROVIDER = AnthropicProvider()
OURS = Usage(
    uncached_input_tokens=5,
    cache_write_tokens=7,
    cache_read_tokens=11,
    output_tokens=13,
    reasoning_tokens=3,
    source="reported",
)
TURN = (
    Reasoning(text="Let me – see", signature="c2ln/+==", provider="anthropic"),
    Reasoning(redacted=True, data="b3BhcXVl", provider="anthropic"),
    Text(text="One moment."),
    ToolCall(id="toolu_1", name="f", arguments='{"a": 1}'),
)


def event(value: Any) -> bytes:
    """One event, from an SDK type or a dict."""
    data = value if isinstance(value, dict) else value.model_dump(mode="json", exclude_unset=True)
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def start(index: int, block: Any) -> Any:
    """A content_block_start."""
    return sdk.RawContentBlockStartEvent(type="content_block_start", index=index, content_block=block)


def delta(index: int, change: Any) -> Any:
    """A content_block_delta."""
    return sdk.RawContentBlockDeltaEvent(type="content_block_delta", index=index, delta=change)


def stop(index: int) -> Any:
    """A content_block_stop."""
    return sdk.RawContentBlockStopEvent(type="content_block_stop", index=index)


def opening() -> Any:
    """A message_start: input counts are known, one output token."""
    empty = sdk.Message(
        id="msg_1",
        type="message",
        role="assistant",
        model="claude-x",
        content=[],
        usage=sdk.Usage(input_tokens=5, cache_read_input_tokens=11, output_tokens=1),
    )
    return sdk.RawMessageStartEvent(type="message_start", message=empty)


def ending(reason: Any = "tool_use") -> list[Any]:
    """message_delta with cumulative usage, and message_stop."""
    usage = sdk.MessageDeltaUsage(
        output_tokens=13, cache_creation_input_tokens=7, output_tokens_details=sdk.OutputTokensDetails(thinking_tokens=3)
    )
    last = sdk.RawMessageDeltaEvent(type="message_delta", delta=Delta(stop_reason=reason), usage=usage)
    return [last, sdk.RawMessageStopEvent(type="message_stop")]


def thinking_stream() -> bytes:
    """A turn with everything that must come back unchanged, with pings."""
    events = [
        opening(),
        {"type": "ping"},
        start(0, sdk.ThinkingBlock(type="thinking", thinking="", signature="")),
        delta(0, sdk.ThinkingDelta(type="thinking_delta", thinking="Let me ")),
        delta(0, sdk.ThinkingDelta(type="thinking_delta", thinking="– see")),
        delta(0, sdk.SignatureDelta(type="signature_delta", signature="c2ln/+==")),
        stop(0),
        start(1, sdk.RedactedThinkingBlock(type="redacted_thinking", data="b3BhcXVl")),
        stop(1),
        start(2, sdk.TextBlock(type="text", text="")),
        delta(2, sdk.TextDelta(type="text_delta", text="One ")),
        delta(2, sdk.TextDelta(type="text_delta", text="moment.")),
        stop(2),
        start(3, sdk.ToolUseBlock(type="tool_use", id="toolu_1", name="f", input={})),
        delta(3, sdk.InputJSONDelta(type="input_json_delta", partial_json="")),
        delta(3, sdk.InputJSONDelta(type="input_json_delta", partial_json='{"a"')),
        delta(3, sdk.InputJSONDelta(type="input_json_delta", partial_json=": 1}")),
        stop(3),
        *ending(),
    ]
    return b"".join([event(found) for found in events])


def test_a_stream_however_cut_adds_up_to_the_whole_answer(target_of, same_however_cut):
    """The chunks do not depend on the cuts, and collected they are the blocks of the unstreamed answer."""
    target = target_of("anthropic")
    chunks = same_however_cut(lambda: PROVIDER.stream_parser(target), thinking_stream())
    collector = Collector()
    for chunk in chunks:
        collector.add(chunk)
    streamed = collector.response()
    assert streamed.choices[0].blocks == TURN
    assert streamed.choices[0].finish_reason == "tool_calls"
    assert (streamed.id, streamed.model, streamed.usage) == ("msg_1", "claude-x", OURS)


def test_a_call_without_arguments_streams_an_empty_object(target_of, read_stream):
    """The API sends no JSON for a call without arguments; a compatible engine may send all of it at the start."""
    for given, expected in (({}, "{}"), ({"b": 2}, '{"b":2}')):
        block = start(0, sdk.ToolUseBlock(type="tool_use", id="t", name="f", input=given))
        data = b"".join([event(found) for found in [opening(), block, stop(0), *ending()]])
        chunks = read_stream(PROVIDER.stream_parser(target_of("anthropic")), [data])
        assert "".join([call.arguments for chunk in chunks for call in chunk.tool_calls]) == expected


def test_unknown_events_and_blocks_pass_without_harm(target_of, read_stream):
    """Kinds added later do not break a stream; what they carry is kept verbatim."""
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    citation = {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {}}}
    events = [opening(), {"type": "brand_new"}, {"type": "content_block_start", "index": 0, "content_block": block}]
    events += [stop(0), start(1, sdk.TextBlock(type="text", text="pre")), citation, stop(1), *ending("end_turn")]
    chunks = read_stream(PROVIDER.stream_parser(target_of("anthropic")), [b"".join([event(found) for found in events])])
    assert "".join([chunk.text for chunk in chunks]) == "pre"
    assert [chunk.extra["anthropic"]["type"] for chunk in chunks if chunk.extra] == ["content_block_start", "content_block_delta"]


def test_a_stream_cut_before_its_end_mark_is_cut(target_of, read_stream):
    """Without message_stop the answer is not whole, wherever it ends."""
    data = thinking_stream()
    last = data.index(b"event: message_stop")
    for end in range(1, last, 97):
        with pytest.raises(ProviderCut):
            read_stream(
                PROVIDER.stream_parser(target_of("anthropic")), [data[:end]] if b"\n\n" in data[:end] else [b": hi\n\n", b""]
            )
    with pytest.raises(ProviderCut):
        read_stream(PROVIDER.stream_parser(target_of("anthropic")), [data[:last]])
    with pytest.raises(ProviderCut):
        read_stream(PROVIDER.stream_parser(target_of("anthropic")), [])


def test_an_end_mark_without_its_blank_line_counts(target_of, read_stream):
    """Some engines leave out the last blank line."""
    assert read_stream(PROVIDER.stream_parser(target_of("anthropic")), [thinking_stream().rstrip(b"\n")])


@pytest.mark.parametrize(
    "data", [b"<html>Bad gateway</html>", b"\x00\xff\xfe", b"data: {oops\n\n", b'data: {"unexpected": true}\n\n', b"data: 7\n\n"]
)
def test_garbage_misbehaves(data, target_of, read_stream):
    """Bytes that are not of this wire are told from a cut."""
    with pytest.raises(ProviderMisbehaved):
        read_stream(PROVIDER.stream_parser(target_of("anthropic")), [data])


def test_an_error_event_is_classified(target_of):
    """Overload in the middle of a stream is overload."""
    parser = PROVIDER.stream_parser(target_of("anthropic"))
    parser.feed(event(opening()))
    with pytest.raises(ProviderOverloaded, match="Overloaded"):
        parser.feed(event({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))


def test_an_error_body_in_place_of_a_stream_is_classified(target_of, read_stream):
    """A 200 whose body is an error object is that error."""
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow"}}).encode()
    with pytest.raises(ProviderRateLimited):
        read_stream(PROVIDER.stream_parser(target_of("anthropic")), [body])


def test_refusals_streamed_carry_their_explanation(target_of, read_stream):
    """The explanation in the last delta is a refusal."""
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    last = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {"output_tokens": 2}}
    data = b"".join([event(found) for found in [opening(), last, {"type": "message_stop"}]])
    chunks = read_stream(PROVIDER.stream_parser(target_of("anthropic")), [data])
    assert [chunk.refusal for chunk in chunks if chunk.finish_reason] == ["Not this."]
