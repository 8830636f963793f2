"""The native Ollama dialect from clients: parse then render is the identity, and what is wrong is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Image, Reasoning, Text, ToolCall, ToolResult
from prefrontal.errors import InvalidRequest
from prefrontal.providers.ollama.client import parse_chat_request, render_chat_body
from prefrontal.providers.ollama.provider import OllamaProvider
from prefrontal.providers.openai.request import render_chat_body as render_openai_body

TEXT = st.text(max_size=12)
WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, JSON_VALUE, max_size=3)
CALL = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": WORD}, optional={"arguments": OBJECT, "index": st.integers(0, 3)})},
    optional={"id": WORD, "type": st.just("function")},
)
IMAGES = st.lists(TEXT, max_size=2)
MORE = {"brand_new": JSON_VALUE}
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}, optional={"images": IMAGES, **MORE}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={"content": TEXT, "thinking": TEXT, "tool_calls": st.lists(CALL, max_size=2), "images": IMAGES, **MORE},
    ),
    st.fixed_dictionaries(
        {"role": st.just("tool"), "content": TEXT}, optional={"tool_name": WORD, "tool_call_id": WORD, "images": IMAGES, **MORE}
    ),
)
TOOL = st.fixed_dictionaries(
    {
        "function": st.fixed_dictionaries(
            {"name": WORD}, optional={"description": TEXT, "parameters": OBJECT, "strict": st.booleans()}
        )
    },
    optional={"type": st.just("function"), "items": JSON_VALUE},
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2) | st.integers(0, 2),
        "top_k": st.integers(1, 9),
        "min_p": st.floats(0, 1),
        "seed": st.integers(),
        "stop": TEXT | st.lists(TEXT, max_size=2),
        "num_predict": st.sampled_from([-1, -2, 0, 5]),
        "num_ctx": st.just(2048),
        "mirostat": st.none() | st.just(1),
    },
)
BODY = st.fixed_dictionaries(
    {"model": WORD, "messages": st.lists(MESSAGE, max_size=4)},
    optional={
        "tools": st.lists(TOOL, max_size=2),
        "format": st.sampled_from(["", "json", None]) | OBJECT,
        "options": OPTIONS,
        "think": st.sampled_from([True, False, None, "low", "max"]),
        "keep_alive": st.sampled_from(["5m", 0, -1]),
        "stream": st.booleans(),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 3),
        "truncate": st.booleans(),
    },
)


@given(BODY)
def test_parse_then_render_is_the_identity(body):
    """Nothing a client says is lost or changed on its way through our blocks."""
    assert json.loads(render_chat_body(parse_chat_request(json.dumps(body).encode()))) == body


@given(BODY)
def test_every_request_can_be_told_to_an_openai_engine(body):
    """The blocks are neutral: another wire's renderer takes them."""
    render_openai_body(parse_chat_request(json.dumps(body).encode()), lost=[])


def test_the_fields_land_where_the_house_looks_for_them():
    """Calls and results without ids are linked; the cap, thinking and format are neutral fields; the rest stays in extras."""
    body = {
        "model": "auto",
        "messages": [
            {"role": "user", "content": "go", "images": ["aGk="]},
            {"role": "assistant", "thinking": "t", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.0}}}]},
            {"role": "tool", "content": "r"},
        ],
        "format": {"type": "object"},
        "options": {"num_predict": 9, "num_ctx": 5, "stop": "x"},
        "think": "high",
        "keep_alive": "5m",
    }
    request = parse_chat_request(json.dumps(body).encode())
    assert request.messages[0].blocks == (Text(text="go"), Image(data="aGk="))
    thinking, call = request.messages[1].blocks
    assert thinking == Reasoning(text="t", provider="ollama")
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"a": 1.0}'
    assert request.messages[2].blocks == (ToolResult(call_id=call.id, blocks=(Text(text="r"),), form="text"),)
    assert request.response_format is not None
    assert request.response_format.schema == {"type": "object"}
    assert (request.max_output_tokens, request.sampling.stop, request.reasoning_effort) == (9, ("x",), "high")
    assert (request.stream, request.stream_given) == (True, False)
    assert request.extra == {"options": {"num_ctx": 5}, "keep_alive": "5m"}


def test_a_native_request_reaches_the_upstream_unchanged(target_of, plain):
    """Between two Ollama endpoints only the name changes; the caller's own context window wins."""
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": ""}, {"role": "assistant", "thinking": "t", "content": "x"}],
        "options": {"num_ctx": 5, "mirostat": 1, "num_predict": 3},
        "think": True,
        "keep_alive": "5m",
        "stream": False,
    }
    request = parse_chat_request(json.dumps(body).encode())
    wire = OllamaProvider().render_chat(request, target_of("ollama", context_tokens=9000), plain, stream=False)
    assert json.loads(wire.body) == {**body, "model": "qwen3:4b"}
    assert wire.dropped == ()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": 5}, "model"),
        ({"messages": "x"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function.name"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"options": 5}, "options"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        ({"tools": 5}, "tools"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change, param):
    """The error says which field, as a path."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **change}
    with pytest.raises(InvalidRequest) as found:
        parse_chat_request(json.dumps(body).encode())
    assert found.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_object_is_refused(body):
    """Any bytes give a clear error and nothing else."""
    with pytest.raises(InvalidRequest):
        parse_chat_request(body)
