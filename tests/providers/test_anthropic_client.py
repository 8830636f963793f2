"""The Messages dialect from clients: parse then render is the identity, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import File, Image, Reasoning, Text, ToolCall, ToolResult
from prefrontal.errors import InvalidRequest
from prefrontal.providers.anthropic.client import parse_messages_request, render_messages_body
from prefrontal.providers.anthropic.provider import AnthropicProvider
from prefrontal.providers.anthropic.seals import seal
from prefrontal.providers.openai.request import render_chat_body

TEXT = st.text(max_size=12)
WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, JSON_VALUE, max_size=3)
MARK = st.sampled_from(
    [{}, {}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {"brand_new": [1, None]}, {"cache_control": None}]
)


def with_mark(strategy: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Blocks with or without extra fields."""
    return st.builds(lambda block, mark: {**block, **mark}, strategy, MARK)


def block(kind: str, /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A block of one kind."""
    return with_mark(st.fixed_dictionaries({"type": st.just(kind), **fields}))


DATA = st.binary(max_size=6).map(lambda raw: __import__("base64").b64encode(raw).decode())
IMAGE_SOURCE = st.one_of(
    st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.sampled_from(["image/png", "image/webp"]), "data": DATA}),
    st.fixed_dictionaries({"type": st.just("url"), "url": TEXT}),
    st.fixed_dictionaries({"type": st.just("file"), "file_id": WORD}),
)
DOCUMENT_SOURCE = st.one_of(
    st.fixed_dictionaries({"type": st.just("base64"), "media_type": st.just("application/pdf"), "data": DATA}),
    st.fixed_dictionaries({"type": st.just("text"), "media_type": st.just("text/plain"), "data": TEXT}),
    st.fixed_dictionaries({"type": st.just("url"), "url": TEXT}),
    st.fixed_dictionaries({"type": st.just("file"), "file_id": WORD}),
    st.fixed_dictionaries({"type": st.just("content"), "content": st.just([{"type": "text", "text": "x"}])}),
)
TEXT_BLOCK = block("text", text=TEXT)
IMAGE = block("image", source=IMAGE_SOURCE)
DOCUMENT = st.builds(
    lambda found, title: {**found, **title},
    block("document", source=DOCUMENT_SOURCE),
    st.sampled_from([{}, {"title": "t"}, {"title": None}]),
)
SEARCH = block("search_result", source=TEXT, title=TEXT, content=st.just([{"type": "text", "text": "y"}]))
RESULT_CONTENT = st.sampled_from([{}]) | st.builds(
    lambda found: {"content": found}, TEXT | st.lists(TEXT_BLOCK | IMAGE | SEARCH, max_size=2)
)
RESULT = st.builds(
    lambda found, content, failed: {**found, **content, **failed},
    block("tool_result", tool_use_id=WORD),
    RESULT_CONTENT,
    st.sampled_from([{}, {"is_error": True}, {"is_error": False}]),
)
CALL = block("tool_use", id=WORD, name=WORD, input=OBJECT)
SEALED = TEXT | st.builds(seal, st.none() | WORD, st.none() | TEXT)
THINKING = st.one_of(block("thinking", thinking=TEXT, signature=SEALED), block("redacted_thinking", data=SEALED))
SERVER = block("server_tool_use", id=WORD, name=st.just("web_search"), input=OBJECT)


def content(*blocks: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A string, or a list of these blocks."""
    return TEXT | st.lists(st.one_of(*blocks), max_size=3)


MESSAGE = with_mark(
    st.one_of(
        st.fixed_dictionaries({"role": st.just("user"), "content": content(TEXT_BLOCK, IMAGE, DOCUMENT, RESULT, SEARCH)}),
        st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(RESULT, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"role": st.just("assistant"), "content": content(TEXT_BLOCK, CALL, THINKING, SERVER)}),
        st.fixed_dictionaries({"role": st.just("system"), "content": content(TEXT_BLOCK)}),
    )
)
SCHEMA = st.sampled_from([{"type": "object"}, {"type": "object", "properties": {"a": {}}, "additionalProperties": False}, {}])
TOOL = with_mark(
    st.one_of(
        st.fixed_dictionaries(
            {"name": WORD, "input_schema": SCHEMA},
            optional={
                "description": TEXT,
                "strict": st.booleans(),
                "type": st.sampled_from(["custom", None]),
                "defer_loading": st.booleans(),
            },
        ),
        st.fixed_dictionaries(
            {"type": st.just("web_search_20250305"), "name": st.just("web_search"), "max_uses": st.integers(1, 3)}
        ),
        st.fixed_dictionaries({"type": st.just("browser_toolset_20260801")}),
    )
)
CHOICE = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["auto", "any"])}, optional={"disable_parallel_tool_use": st.booleans()}),
    st.fixed_dictionaries({"type": st.just("tool"), "name": WORD}, optional={"disable_parallel_tool_use": st.booleans()}),
    st.just({"type": "none"}),
)
OUTPUT = st.fixed_dictionaries(
    {},
    optional={
        "effort": st.sampled_from(["low", "max", None]),
        "format": st.none() | st.fixed_dictionaries({"type": st.just("json_schema"), "schema": OBJECT}),
        "future": JSON_VALUE,
    },
)
BODY = st.fixed_dictionaries(
    {"model": WORD, "max_tokens": st.integers(0, 9000), "messages": st.lists(MESSAGE, min_size=1, max_size=4)},
    optional={
        "system": content(TEXT_BLOCK),
        "tools": st.lists(TOOL, max_size=3),
        "tool_choice": CHOICE,
        "stop_sequences": st.lists(TEXT, max_size=2),
        "temperature": st.floats(0, 1) | st.sampled_from([0, 1]),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(1, 40),
        "thinking": st.sampled_from([{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}]),
        "output_config": OUTPUT,
        "metadata": st.fixed_dictionaries({}, optional={"user_id": st.none() | TEXT, "more": TEXT}),
        "stream": st.booleans(),
        "service_tier": st.sampled_from(["auto", "standard_only"]),
        "cache_control": st.none() | st.just({"type": "ephemeral"}),
        "context_management": OBJECT,
    },
)


@given(BODY)
def test_parse_then_render_is_the_identity(body):
    """Nothing a client says is lost or changed on its way through our blocks."""
    assert json.loads(render_messages_body(parse_messages_request(json.dumps(body).encode()))) == body


@given(BODY)
def test_every_request_can_be_told_to_an_openai_engine(body):
    """The blocks are neutral: another wire's renderer takes them."""
    render_chat_body(parse_messages_request(json.dumps(body).encode()), lost=[])


def test_the_fields_land_where_the_house_looks_for_them():
    """Thinking, effort, schema, user and cap are neutral fields; the rest stays in extras."""
    body = {
        "model": "auto/code",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "a"}],
            },
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1.0}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "r", "is_error": True}]},
            {"role": "system", "content": "late"},
            {
                "role": "user",
                "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}],
            },
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
        "x_prefrontal": {"prefer": "cost"},
    }
    request = parse_messages_request(json.dumps(body).encode())
    assert [message.role for message in request.messages] == [
        "system", "user", "assistant", "user", "assistant", "tool", "developer", "user",
    ]  # fmt: skip
    assert request.messages[0].blocks == (Text(text="S", extra={"cache_control": {"type": "ephemeral"}}),)
    assert request.messages[2].blocks[0] == Reasoning(text="t", signature="s", provider="anthropic")
    assert request.messages[3].blocks == (Image(data="aGk=", media_type="image/png"),)
    assert request.messages[4].blocks == (ToolCall(id="1", name="f", arguments='{"a": 1.0}'),)
    assert request.messages[5].blocks == (ToolResult(call_id="1", blocks=(Text(text="r"),), is_error=True, form="text"),)
    assert request.messages[7].blocks == (File(data="ZA==", media_type="text/plain"),)
    assert (request.reasoning_effort, request.thinking) == ("high", {"type": "enabled", "budget_tokens": 2000})
    assert request.response_format is not None
    assert request.response_format.schema == {"type": "object"}
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.parallel_tool_calls) == ("required", False)
    assert (request.user, request.metadata, request.max_output_tokens) == ("u", None, 100)
    assert (request.hints.prefer, request.dialect, request.extra) == ("cost", "anthropic", {"service_tier": "auto"})


def test_a_native_request_reaches_the_upstream_unchanged(target_of, plain):
    """Between two Messages endpoints only the model's name changes: consecutive turns, marks and unknown fields stay."""
    body = {
        "model": "auto",
        "max_tokens": 50,
        "system": "S",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "user", "content": [{"type": "text", "text": "", "cache_control": {"type": "ephemeral"}}]},
            {"role": "system", "content": "mid"},
        ],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "future": 1},
        "temperature": 1.5,
        "context_management": {"edits": []},
    }
    wire = AnthropicProvider().render_chat(
        parse_messages_request(json.dumps(body).encode()), target_of("anthropic"), plain, stream=False
    )
    assert json.loads(wire.body) == {**body, "model": "claude-sonnet-4-5"}
    assert wire.dropped == ()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text"}]}]}
                ]
            },
            "messages[0].content[0].content[0].text",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f"}]}]},
            "messages[0].content[0].input",
        ),
        ({"system": 5}, "system"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": "auto"}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"stream": "yes"}, "stream"),
        ({"stop_sequences": ["a", 5]}, "stop_sequences"),
        ({"thinking": True}, "thinking"),
        ({"metadata": []}, "metadata"),
        ({"x_prefrontal": {"prefr": "cost"}}, "x_prefrontal.prefr"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change, param):
    """The error says which field, as a path."""
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], **change}
    with pytest.raises(InvalidRequest) as found:
        parse_messages_request(json.dumps(body).encode())
    assert found.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_object_is_refused(body):
    """Any bytes give a clear error and nothing else."""
    with pytest.raises(InvalidRequest):
        parse_messages_request(body)
