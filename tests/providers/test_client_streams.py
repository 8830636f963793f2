"""Streams for clients of the Messages and Responses dialects: however an answer is cut, the official SDKs read all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from prefrontal.chat.collect import Collector
from prefrontal.chat.response import Chunk, ToolCallDelta
from prefrontal.chat.usage import Usage
from prefrontal.errors import ProviderCut
from prefrontal.providers.anthropic.client_response import render_messages_response
from prefrontal.providers.anthropic.client_stream import MessageStreamRenderer
from prefrontal.providers.responses.request import ResponsesRequest, parse_responses_request
from prefrontal.providers.responses.response import whole_response
from prefrontal.providers.responses.stream import ResponseStreamRenderer

USAGE = Usage(uncached_input_tokens=5, cache_read_tokens=2, output_tokens=9, reasoning_tokens=4, source="reported")
EXTENSION = {"trace": "req_1"}
HEAD = {"id": "resp_abc", "model": "house", "created_s": 7}
MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

WORDS = st.text(min_size=1, max_size=5)
PIECE = st.one_of(
    st.builds(lambda text: [Chunk(text=text)], WORDS),
    st.builds(lambda text: [Chunk(reasoning=text)], WORDS),
    st.builds(lambda text: [Chunk(refusal=text)], WORDS),
    st.builds(
        lambda text, sig, who: [Chunk(reasoning=text), Chunk(signature=sig, provider=who)],
        WORDS,
        WORDS,
        st.sampled_from(["anthropic", "gemini"]),
    ),
    st.builds(lambda sig: [Chunk(signature=sig, provider="gemini")], WORDS),
    st.builds(lambda data: [Chunk(redacted=data, provider="anthropic")], WORDS),
)


@st.composite
def answers(draw) -> list[Chunk]:
    """The chunks of one answer: pieces in any order, then calls, then the finish."""
    chunks = [Chunk(role="assistant"), *[chunk for piece in draw(st.lists(PIECE, max_size=6)) for chunk in piece]]
    for index in range(draw(st.integers(0, 2))):
        arguments = json.dumps({"city": draw(st.text(max_size=3))})
        cut = draw(st.integers(0, len(arguments)))
        chunks.append(Chunk(tool_calls=(ToolCallDelta(index=index, id=f"call_{index}", name="weather"),)))
        chunks += [Chunk(tool_calls=(ToolCallDelta(index=index, arguments=part),)) for part in (arguments[:cut], arguments[cut:])]
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return [*chunks, Chunk(finish_reason=finish, raw_finish=finish)]


def events_of(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream: name and data; each must be one of each line."""
    found = []
    for event in data.decode().split("\n\n")[:-1]:
        name, value = event.split("\n")
        assert name.startswith("event: ")
        assert value.startswith("data: ")
        found.append((name[7:], json.loads(value[6:])))
    assert all(name == value["type"] for name, value in found)
    return found


def rendered(renderer: Any, chunks: Iterable[Chunk]) -> bytes:
    """A whole stream."""
    return b"".join([renderer.render(chunk) for chunk in chunks]) + renderer.finish(USAGE, EXTENSION)


def collected(chunks: Iterable[Chunk]) -> Any:
    """The whole answer the chunks add up to."""
    collector = Collector()
    for chunk in chunks:
        collector.add(chunk)
    return msgspec.structs.replace(collector.response(), usage=USAGE)


def message_of(chunks: Sequence[Chunk]) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
    """What the SDK's stream helper makes of a streamed message, and the events."""
    events = events_of(rendered(MessageStreamRenderer(**HEAD), chunks))
    snapshot, buffers = None, {}
    for name, value in events:
        if name != "ping":
            event = MESSAGE_EVENT.validate_python(value)
            snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    return snapshot, events


def request_of(**fields: Any) -> ResponsesRequest:
    """A Responses request."""
    return parse_responses_request(msgspec.json.encode({"model": "auto", "input": "Hi", "stream": True, **fields}))


@given(answers())
def test_the_sdk_puts_a_streamed_message_together(chunks):
    """The stream helper of the official SDK ends with the message that the same answer gives whole."""
    message, events = message_of(chunks)
    whole = json.loads(render_messages_response(collected(chunks), **HEAD, extension=EXTENSION))
    assert json.loads(message.to_json())["content"] == whole["content"]
    assert message.stop_reason == whole["stop_reason"]
    assert {key: value for key, value in message.usage.to_dict().items() if value is not None} == whole["usage"]
    assert [name for name, _ in events[:2]] == ["message_start", "ping"]
    assert [name for name, _ in events[-2:]] == ["message_delta", "message_stop"]
    assert events[-2][1]["x_prefrontal"] == EXTENSION
    started = [value["index"] for name, value in events if name == "content_block_start"]
    stopped = [value["index"] for name, value in events if name == "content_block_stop"]
    assert started == stopped == list(range(len(whole["content"])))


FIELDS = st.sampled_from([{}, {"include": ["reasoning.encrypted_content"]}, {"reasoning": {"summary": "auto"}}])


@given(answers(), FIELDS)
def test_the_last_event_is_the_whole_response(chunks, fields):
    """The final object equals the one the same answer gives whole; the SDK's state takes every event; numbers have no gap."""
    request = request_of(**fields)
    renderer = ResponseStreamRenderer(request, **HEAD)
    events = events_of(rendered(renderer, chunks))
    assert events[-1][1]["response"] == whole_response(request, collected(chunks), **HEAD, extension=EXTENSION)
    assert tuple(renderer.blocks) == (collected(chunks).choices[0].blocks)
    assert [value["sequence_number"] for _, value in events] == list(range(len(events)))
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for _, value in events:
        state.handle_event(RESPONSE_EVENT.validate_python(value))


@given(answers(), FIELDS)
def test_the_deltas_of_a_response_add_up_to_its_items(chunks, fields):
    """A client that reads only deltas and item ends sees the same items, each announced before and done after its pieces."""
    events = events_of(rendered(ResponseStreamRenderer(request_of(**fields), **HEAD), chunks))
    output = events[-1][1]["response"]["output"]
    assert [value["item"] for name, value in events if name == "response.output_item.done"] == output
    assert [value["item"]["id"] for name, value in events if name == "response.output_item.added"] == [
        item["id"] for item in output
    ]
    pieces: dict[str, str] = {}
    for name, value in events:
        if name.endswith(".delta"):
            pieces[value["item_id"]] = pieces.get(value["item_id"], "") + value["delta"]
    for item in output:
        shown = item.get("arguments") or "".join(
            [part.get("text", part.get("refusal", "")) for part in [*item.get("summary", []), *(item.get("content") or [])]]
        )
        assert pieces.get(item["id"], "") == shown


def test_the_events_of_a_message_in_order():
    """Thinking with its signature, text, a call: each block starts, grows and stops before the next."""
    chunks = [
        Chunk(role="assistant"),
        Chunk(reasoning="hm"),
        Chunk(signature="sig", provider="anthropic"),
        Chunk(text="Hi"),
        Chunk(tool_calls=(ToolCallDelta(index=0, id="c", name="f"),)),
        Chunk(tool_calls=(ToolCallDelta(index=0, arguments="{}"),)),
        Chunk(finish_reason="tool_calls", raw_finish="tool_use"),
    ]
    _, events = message_of(chunks)
    shown = [
        (name, value.get("index"), (value.get("delta") or value.get("content_block") or {}).get("type")) for name, value in events
    ]
    assert shown == [
        ("message_start", None, None),
        ("ping", None, None),
        ("content_block_start", 0, "thinking"),
        ("content_block_delta", 0, "thinking_delta"),
        ("content_block_delta", 0, "signature_delta"),
        ("content_block_stop", 0, None),
        ("content_block_start", 1, "text"),
        ("content_block_delta", 1, "text_delta"),
        ("content_block_stop", 1, None),
        ("content_block_start", 2, "tool_use"),
        ("content_block_delta", 2, "input_json_delta"),
        ("content_block_stop", 2, None),
        ("message_delta", None, None),
        ("message_stop", None, None),
    ]
    assert events[-2][1]["delta"]["stop_reason"] == "tool_use"


def test_calls_that_an_engine_interleaves_stay_whole():
    """Pieces of a call that has closed still go to that call, in both dialects."""

    def piece(index: int, arguments: str, **head: str) -> Chunk:
        return Chunk(tool_calls=(ToolCallDelta(index=index, arguments=arguments, **head),))

    chunks = [
        piece(0, '{"a":', id="c0", name="f"),
        piece(1, '{"b":', id="c1", name="g"),
        piece(0, "1}"),
        piece(1, "2}"),
        Chunk(finish_reason="tool_calls"),
    ]
    message, _ = message_of(chunks)
    assert [(block.id, block.input) for block in message.content] == [("c0", {"a": 1}), ("c1", {"b": 2})]
    renderer = ResponseStreamRenderer(request_of(), **HEAD)
    last = events_of(rendered(renderer, chunks))[-1][1]["response"]
    assert [item["arguments"] for item in last["output"]] == ['{"a":1}', '{"b":2}']
    assert [block.arguments for block in renderer.blocks] == ['{"a":1}', '{"b":2}']


def test_blocks_only_this_wire_knows_pass_through_a_message():
    """Server tools and citations of an Anthropic upstream stay, renumbered; in another dialect they are named as lost."""
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    citation = {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "x"}}
    more = {"type": "input_json_delta", "partial_json": "{}"}
    end = {"type": "message_delta", "delta": {"stop_sequence": "END"}}
    chunks = [
        Chunk(text="Searching."),
        Chunk(extra={"anthropic": {"type": "content_block_start", "index": 5, "content_block": use}}),
        Chunk(extra={"anthropic": {"type": "content_block_delta", "index": 5, "delta": more}}),
        Chunk(text="Found."),
        Chunk(extra={"anthropic": {"type": "content_block_delta", "index": 6, "delta": citation}}),
        Chunk(finish_reason="stop", raw_finish="stop_sequence", extra={"anthropic": end}),
    ]
    renderer = MessageStreamRenderer(**HEAD)
    events = [value for _, value in events_of(rendered(renderer, chunks))]
    assert [e["content_block"]["type"] for e in events if e["type"] == "content_block_start"] == [
        "text",
        "server_tool_use",
        "text",
    ]
    assert [e["index"] for e in events if e.get("delta") == citation] == [2]
    assert events[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert renderer.lost() == ()
    other = ResponseStreamRenderer(request_of(), **HEAD)
    rendered(other, chunks)
    assert [lost.field for lost in other.lost()] == ["answer.content.anthropic"]


def test_second_choices_and_foreign_fields_are_counted():
    """What a dialect has no place for is named, once; single fields of an upstream pass on."""
    chunks = [
        Chunk(text="a", extra={"system_fingerprint": "fp", "delta": {"annotations": []}}),
        Chunk(choice=1, text="b"),
        Chunk(choice=1, text="c"),
        Chunk(finish_reason="stop", extra={"choice": {"stop_reason": 5}}),
    ]
    for renderer in (MessageStreamRenderer(**HEAD), ResponseStreamRenderer(request_of(), **HEAD)):
        data = rendered(renderer, chunks)
        assert b'"system_fingerprint":"fp"' in data
        assert sorted(lost.field for lost in renderer.lost()) == ["answer.annotations", "answer.choices", "answer.stop_reason"]


@pytest.mark.parametrize("begun", [True, False])
def test_a_broken_stream_ends_as_its_dialect_says(begun):
    """Messages: an error event. Responses: the failed response with what came so far, and the error the SDK raises on."""
    error = ProviderCut("The upstream broke off.", model="house")
    start = [Chunk(text="Half an ans")] if begun else []
    told = MessageStreamRenderer(**HEAD)
    events = events_of(b"".join([told.render(chunk) for chunk in start]) + told.error(error))
    assert events[-1][0] == "error"
    assert events[-1][1]["error"] == {"type": "api_error", "message": "The upstream broke off."}
    flow = ResponseStreamRenderer(request_of(), **HEAD)
    events = events_of(b"".join([flow.render(chunk) for chunk in start]) + flow.error(error))
    assert [name for name, _ in events[-2:]] == ["response.failed", "error"]
    response = events[-2][1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "upstream_cut")
    assert [item["content"][0]["text"] for item in response["output"]] == (["Half an ans"] if begun else [])
    assert {key: events[-1][1][key] for key in ("code", "message", "param")} == {
        "code": "upstream_cut",
        "message": "The upstream broke off.",
        "param": None,
    }


def test_log_probabilities_stand_with_their_text():
    """Those of a chat answer are the same objects in a response."""
    found = [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]
    chunks = [Chunk(text="Hi", logprobs={"content": found}), Chunk(finish_reason="stop")]
    events = events_of(rendered(ResponseStreamRenderer(request_of(), **HEAD), chunks))
    assert next(value for name, value in events if name == "response.output_text.delta")["logprobs"] == found
    assert events[-1][1]["response"]["output"][0]["content"][0]["logprobs"] == found


def test_an_empty_answer_is_a_whole_stream():
    """Without any chunk both dialects still begin and end."""
    message, _ = message_of([])
    assert (message.content, message.stop_reason) == ([], "end_turn")
    names = [name for name, _ in events_of(rendered(ResponseStreamRenderer(request_of(), **HEAD), []))]
    assert names == ["response.created", "response.in_progress", "response.completed"]
