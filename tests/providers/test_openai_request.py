"""Chat requests: strict and helpful on bad input, the identity on good input."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import Hints, Message
from prefrontal.errors import InvalidRequest
from prefrontal.providers.openai.request import parse_chat_request, render_chat_body

USER: dict[str, Any] = {"role": "user", "content": "hello"}


def body(**fields: Any) -> bytes:
    """A request with `fields` over a small valid one; a field set to ... is taken out."""
    whole = {"model": "m", "messages": [USER], **fields}
    return json.dumps({key: value for key, value in whole.items() if value is not ...}).encode()


def around(value: dict[str, Any]) -> Any:
    """The JSON value that comes out for the one that goes in."""
    return json.loads(msgspec.json.encode(render_chat_body(parse_chat_request(json.dumps(value).encode()))))


scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
unknown = st.dictionaries(st.sampled_from(["x_a", "x_b", "cache_control", "vendor"]), json_values, max_size=2)


def with_unknown(known: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of `known`, sometimes with fields nobody knows."""
    return st.builds(lambda a, b: {**b, **a}, known, unknown | st.just({}))


def one(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A tagged object with required fields and unknown ones."""
    return with_unknown(st.fixed_dictionaries({"type": st.just(kind), **fields}))


urls = st.sampled_from(["https://a.example/b.png", "data:image/png;base64,QUJD", "data:;base64,QQ==", "data:text/plain,hi"])
text_part = one("text", text=st.text(max_size=8))
detail = {"detail": st.sampled_from(["auto", "high", None])}
parts = st.one_of(
    text_part,
    one("image_url", image_url=with_unknown(st.fixed_dictionaries({"url": urls}, optional=detail))),
    one(
        "input_audio",
        input_audio=with_unknown(st.fixed_dictionaries({"data": st.just("QQ=="), "format": st.sampled_from(["wav", "mp3"])})),
    ),
    one("file", file=with_unknown(st.fixed_dictionaries({"file_data": urls}, optional={"filename": st.just("a.pdf")}))),
    one("file", file=with_unknown(st.fixed_dictionaries({"file_id": st.just("file-1")}, optional={"filename": st.none()}))),
    one("video_url", video_url=json_values),
)
call = st.one_of(
    one(
        "function",
        id=st.text(min_size=1, max_size=4),
        function=with_unknown(st.fixed_dictionaries({"name": st.just("f"), "arguments": st.text(max_size=6)})),
    ),
    one(
        "custom",
        id=st.just("c"),
        custom=with_unknown(st.fixed_dictionaries({"name": st.just("g"), "input": st.text(max_size=6)})),
    ),
    st.just(
        {
            "id": "s",
            "type": "function",
            "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "sig"}},
        }
    ),
)
content = st.text(max_size=10) | st.lists(parts, max_size=3)
names = {"name": st.sampled_from(["ann", None])}
asked = with_unknown(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": content}, optional=names)
)
answered = with_unknown(
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": st.none()
            | st.text(max_size=10)
            | st.lists(text_part | one("refusal", refusal=st.text(max_size=5)), max_size=2),
            "refusal": st.none() | st.text(max_size=5),
            "reasoning_content": st.none() | st.sampled_from(["", "same"]),
            "reasoning": st.none() | st.sampled_from(["same", "other"]),
            "tool_calls": st.none() | st.lists(call, max_size=2),
            "audio": st.none() | with_unknown(st.just({"id": "audio_1"})),
            **names,
        },
    )
)
returned = with_unknown(
    st.fixed_dictionaries(
        {
            "role": st.just("tool"),
            "tool_call_id": st.text(max_size=3),
            "content": st.text(max_size=5) | st.lists(text_part, max_size=2),
        }
    )
)
schema = st.sampled_from(
    [{}, {"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object", "$schema": "http://a.example/x"}]
)
function = with_unknown(
    st.fixed_dictionaries(
        {"name": st.just("f")},
        optional={
            "description": st.none() | st.text(max_size=5),
            "parameters": st.none() | schema,
            "strict": st.none() | st.booleans(),
        },
    )
)
tools = st.lists(one("function", function=function) | one("custom", custom=with_unknown(st.just({"name": "g"}))), max_size=3)
choices = st.sampled_from(
    [
        "auto",
        "none",
        "required",
        {"type": "function", "function": {"name": "f"}},
        {"type": "function", "function": {"name": "f", "x": 1}},
        {"type": "custom", "custom": {"name": "g"}},
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
    ]
)
formats = st.one_of(
    one("text"),
    one("json_object"),
    one(
        "json_schema",
        json_schema=with_unknown(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.just("n"),
                    "schema": schema,
                    "strict": st.none() | st.booleans(),
                    "description": st.just("d"),
                },
            )
        ),
    ),
    one("grammar", grammar=st.text(max_size=4)),
)
numbers = st.integers(-2, 2) | st.floats(-2, 2)
requests = with_unknown(
    st.fixed_dictionaries(
        {"model": st.text(min_size=1, max_size=5), "messages": st.lists(asked | answered | returned, min_size=1, max_size=4)},
        optional={
            "stream": st.booleans() | st.none(),
            "stream_options": with_unknown(st.fixed_dictionaries({}, optional={"include_usage": st.booleans() | st.none()}))
            | st.none(),
            "max_tokens": st.integers(1, 9) | st.none() | st.just(-1),
            "max_completion_tokens": st.integers(1, 9) | st.none(),
            "temperature": numbers | st.none(),
            "top_p": numbers,
            "top_k": st.integers(-1, 9),
            "seed": st.integers(),
            "n": st.integers(1, 4) | st.none(),
            "stop": st.none() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3),
            "logit_bias": st.dictionaries(st.text(max_size=3), numbers, max_size=2) | st.none(),
            "logprobs": st.booleans(),
            "top_logprobs": st.integers(0, 5) | st.none(),
            "tools": tools | st.none(),
            "tool_choice": choices | st.none(),
            "parallel_tool_calls": st.booleans() | st.none(),
            "response_format": formats | st.none(),
            "reasoning_effort": st.sampled_from(["none", "high", None]),
            "thinking": st.none() | st.just({"type": "enabled", "budget_tokens": 2048}),
            "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | st.none(),
            "user": st.text(max_size=3) | st.none(),
        },
    )
)


@settings(max_examples=300)
@given(requests)
def test_parse_then_render_is_the_identity(value: dict[str, Any]) -> None:
    """Whatever valid request comes in, the same JSON value goes out: unknown fields at every level, nulls and all."""
    assert around(value) == value


def test_blocks_of_a_rich_conversation() -> None:
    """Each kind of part and turn becomes the block that says the same."""
    request = parse_chat_request(
        body(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "look"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
                        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}},
                        {"type": "video_url", "video_url": {"url": "u"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning": "hm",
                    "reasoning_content": "hm",
                    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
            ]
        )
    )
    user, assistant, tool = request.messages
    assert user.blocks == (
        Text(text="look"),
        Image(data="QUJD", media_type="image/png", detail="low"),
        Audio(data="QQ==", format="wav"),
        File(data="QQ==", media_type="application/pdf", filename="a.pdf"),
        Opaque(dialect="openai", value={"type": "video_url", "video_url": {"url": "u"}}),
    )
    assert assistant == Message(
        role="assistant",
        form="none",
        blocks=(Reasoning(text="hm", field="reasoning_content+reasoning"), ToolCall(id="c1", name="f", arguments='{"a":1}')),
    )
    assert tool.blocks == (ToolResult(call_id="c1", blocks=(Text(text="42"),), form="text"),)


def test_the_newer_name_of_the_cap_counts() -> None:
    """With both names the newer one caps, in either order; -1, which means no cap to some engines, caps nothing."""
    for fields in ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7, "max_tokens": 5}):
        request = parse_chat_request(body(**fields))
        assert (request.max_output_tokens, request.cap_field, request.extra) == (7, "max_completion_tokens", {"max_tokens": 5})
    assert parse_chat_request(body(max_tokens=5)).cap_field == "max_tokens"
    assert parse_chat_request(body(max_tokens=-1)).max_output_tokens is None


def test_hints_are_read_and_never_rendered() -> None:
    """x_prefrontal is for us: it becomes hints and does not travel on."""
    request = parse_chat_request(body(x_prefrontal={"prefer": "cost", "effort": 0.5, "needs": ["law"]}))
    assert request.hints == Hints(prefer="cost", effort=0.5, needs=("law",))
    assert "x_prefrontal" not in render_chat_body(request)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("raw", "param", "words"),
    [
        (b"{", None, "not valid JSON"),
        (b"[1]", None, "an array"),
        (b'{"model": "\xff"}', None, "not valid JSON"),
        (b"[" * 100_000, None, "not valid JSON"),
        (body(model=...), "model", "auto"),
        (body(model=5), "model", "a string, but got an integer"),
        (body(messages=...), "messages", "Missing"),
        (body(messages=[]), "messages", "empty"),
        (body(messages="hi"), "messages", "an array"),
        (body(messages=["hi"]), "messages[0]", "an object"),
        (body(messages=[{"content": "x"}]), "messages[0].role", "Missing"),
        (body(messages=[USER, {"role": "robot", "content": "x"}]), "messages[1].role", "'developer'"),
        (body(messages=[{"role": "user"}]), "messages[0].content", "Missing"),
        (body(messages=[{"role": "user", "content": None}]), "messages[0].content", "null"),
        (body(messages=[{"role": "user", "content": 3}]), "messages[0].content", "an integer"),
        (body(messages=[{"role": "user", "content": [{"text": "x"}]}]), "messages[0].content[0].type", "Missing"),
        (body(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0].text", "Missing"),
        (
            body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": "u"}]}]),
            "messages[0].content[0].image_url",
            "an object",
        ),
        (
            body(messages=[{"role": "user", "content": [{"type": "file", "file": {}}]}]),
            "messages[0].content[0].file.file_data",
            "file_id",
        ),
        (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].tool_call_id", "Missing"),
        (body(messages=[{"role": "assistant", "tool_calls": [{**CALL, "id": None}]}]), "messages[0].tool_calls[0].id", "Missing"),
        (
            body(messages=[{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}]),
            "messages[0].tool_calls[0].function.arguments",
            "a string",
        ),
        (body(temperature="hot"), "temperature", "a number"),
        (body(temperature=True), "temperature", "a boolean"),
        (body(n=0), "n", "at least 1"),
        (body(max_tokens=0), "max_tokens", "at least 1"),
        (body(max_tokens=1.5), "max_tokens", "an integer"),
        (body(stream="yes"), "stream", "a boolean"),
        (body(stop=[1]), "stop[0]", "a string"),
        (body(tools={}), "tools", "an array"),
        (body(tools=[{"type": "function", "function": {}}]), "tools[0].function.name", "Missing"),
        (
            body(tools=[{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "strin"}}}}}]),
            "tools[0].function.parameters",
            ".properties.a.type",
        ),
        (body(tool_choice="always"), "tool_choice", "'required'"),
        (body(response_format={"type": "json_schema"}), "response_format.json_schema", "Missing"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {"type": 1}}}),
            "response_format.json_schema.schema",
            "schema",
        ),
        (body(x_prefrontal={"prefr": "cost"}), "x_prefrontal.prefr", "'prefer'"),
        (body(x_prefrontal={"prefer": "money"}), "x_prefrontal.prefer", "money"),
        (body(x_prefrontal={"effort": 2}), "x_prefrontal.effort", "between 0 and 1"),
        (body(x_prefrontal=[]), "x_prefrontal", "an object"),
    ],
)
def test_bad_input_names_the_field(raw: bytes, param: str | None, words: str) -> None:
    """Each mistake is a client error whose param is the path of the field, and whose text helps."""
    with pytest.raises(InvalidRequest) as caught:
        parse_chat_request(raw)
    assert caught.value.param == param
    assert words in caught.value.text


def test_a_schema_address_is_never_fetched() -> None:
    """A $schema that names a foreign address is ignored: validating a tool must not open a connection for a client."""
    parameters = {"$schema": "http://127.0.0.1:9/never", "type": "object"}
    request = parse_chat_request(body(tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}]))
    assert request.tools[0].parameters == parameters


def test_what_the_official_sdk_sends_is_understood() -> None:
    """A request built to the SDK's own types goes around unchanged."""
    value = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}},
        "reasoning_effort": "high",
        "stop": ["a"],
        "verbosity": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    TypeAdapter(completion_create_params.CompletionCreateParamsStreaming).validate_python(value)
    assert around(value) == value
