"""Requests on the native Ollama wire: golden bodies, and what has no place said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.wire import Dropped, WireRequest, WireResponse
from prefrontal.errors import (
    CapabilityMissing,
)
from prefrontal.providers.ollama.provider import OllamaProvider

PROVIDER = OllamaProvider()
BASE = "http://127.0.0.1:11434"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="Looks it up.", parameters=SCHEMA)
HELLO = ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text="Hello"),)),))


def said(role: str, *blocks: Any) -> Message:
    """One turn."""
    return Message(role=role, blocks=blocks)  # type: ignore[arg-type]


def user(text: str) -> Message:
    """One user turn."""
    return said("user", Text(text=text))


def lost(wire: WireRequest) -> dict[str, str]:
    """What was reported: field to action."""
    return {item.field: item.action for item in wire.dropped}


def ok(value: Any, status: int = 200) -> WireResponse:
    """A response with a JSON body."""
    return WireResponse(status=status, headers={}, body=value if isinstance(value, bytes) else json.dumps(value).encode())


def test_a_whole_openai_request_becomes_the_golden_body(target_of, plain):
    """Tools, results, schema, options and the context window land where the engine wants them."""
    arguments = '{"city": "Bonn", "n": 1.0}'
    request = ChatRequest(
        model="auto",
        messages=(
            said("developer", Text(text="Be brief.")),
            said("user", Text(text="What is"), Text(text="this?"), Image(data="aGk=", media_type="image/png")),
            said("assistant", Reasoning(text="hm"), ToolCall(id="c1", name="weather", arguments=arguments)),
            said("tool", ToolResult(call_id="c1", blocks=(Text(text="rain"),), form="text")),
        ),
        tools=(WEATHER, Tool(name="now")),
        tool_choice=ToolChoice(mode="auto"),
        sampling=Sampling(
            temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, seed=3, stop=("END",), presence_penalty=0.1, logprobs=True
        ),
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA, name="answer"),
        max_output_tokens=100,
    )
    wire = PROVIDER.render_chat(request, target_of("ollama", context_tokens=8192, key=None), plain, stream=True)
    assert wire.url == BASE + "/api/chat"
    assert dict(wire.headers) == {"content-type": "application/json"}
    assert json.loads(wire.body) == {
        "model": "qwen3:4b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is\nthis?", "images": ["aGk="]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": {"city": "Bonn", "n": 1.0}}}],
            },
            {"role": "tool", "content": "rain", "tool_name": "weather", "tool_call_id": "c1"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "weather", "description": "Looks it up.", "parameters": SCHEMA}},
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
        ],
        "format": SCHEMA,
        "logprobs": True,
        "options": {
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "min_p": 0.1,
            "seed": 3,
            "presence_penalty": 0.1,
            "stop": ["END"],
            "num_ctx": 8192,
            "num_predict": 100,
        },
        "stream": True,
    }
    assert arguments.encode() in wire.body
    assert wire.dropped == ()


def test_streaming_is_always_said(target_of, plain):
    """The engine streams unless told not to."""
    body = json.loads(PROVIDER.render_chat(HELLO, target_of("ollama"), plain, stream=False).body)
    assert body == {"model": "qwen3:4b", "messages": [{"role": "user", "content": "Hello"}], "stream": False}


@pytest.mark.parametrize(
    "block", [Image(url="https://h/i.png"), Audio(data="aGk=", format="wav"), File(data="aGk=", media_type="application/pdf")]
)
def test_an_attachment_that_cannot_travel_is_an_error(block, target_of, plain):
    """Images by URL, sound and documents: leaving them out would answer another question."""
    with pytest.raises(CapabilityMissing) as found:
        PROVIDER.render_chat(replace(HELLO, messages=(said("user", block),)), target_of("ollama"), plain, stream=False)
    assert found.value.param


def test_thinking_goes_back_on_tool_turns_only(target_of, plain):
    """The profile says when; thinking another provider signed never does."""
    call = ToolCall(id="c", name="f", arguments="")
    turns = (
        user("a"),
        said("assistant", Reasoning(text="one"), Text(text="x")),
        user("b"),
        said("assistant", Reasoning(text="two"), Reasoning(text="signed", signature="s", provider="anthropic"), call),
    )
    wire = PROVIDER.render_chat(replace(HELLO, messages=turns), target_of("ollama"), plain, stream=False)
    assert [turn.get("thinking") for turn in json.loads(wire.body)["messages"]] == [None, None, None, "two"]
    assert lost(wire) == {"messages[].reasoning": "dropped"}


def test_everything_without_a_place_is_reported(target_of, plain):
    """Each field the wire cannot carry is named, none is sent."""
    request = replace(
        HELLO,
        messages=(
            Message(role="user", blocks=(Text(text="x"), Opaque(dialect="openai", value={"type": "odd"})), name="Ann"),
            said("assistant", Refusal(text="No."), ToolCall(id="c", name="f", arguments="[1]", signature="s")),
            said("tool", ToolResult(call_id="c", blocks=(Text(text="r"),), is_error=True)),
        ),
        tools=(replace(WEATHER, strict=True), Tool(name="search", kind="web_search")),
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        sampling=Sampling(n=2, logit_bias={"1": 1}),
        response_format=ResponseFormat(kind="json_object"),
        thinking={"think": True},
        metadata={"k": "v"},
        user="u",
        extra={"store": True},
        max_output_tokens=900,
    )
    wire = PROVIDER.render_chat(request, target_of("ollama", max_output_tokens=500), plain, stream=False)
    body = json.loads(wire.body)
    assert lost(wire) == {
        "messages[].content.openai": "dropped",
        "messages[].name": "dropped",
        "messages[].refusal": "translated",
        "messages[].tool_calls[].arguments": "translated",
        "messages[].tool_calls[].signature": "dropped",
        "messages[].is_error": "translated",
        "tool_choice": "dropped",
        "tools[].function.strict": "dropped",
        "tools[].web_search": "dropped",
        "n": "dropped",
        "logit_bias": "dropped",
        "parallel_tool_calls": "dropped",
        "metadata": "dropped",
        "user": "dropped",
        "store": "dropped",
        "max_tokens": "clamped",
        "thinking": "dropped",
    }
    assert body["format"] == "json"
    assert body["options"] == {"num_predict": 500}
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"raw_arguments": "[1]"}
    assert {"store", "think", "tool_choice"}.isdisjoint(body)


def test_no_tools_is_told_by_leaving_them_out(target_of, plain):
    """The wire has no tool_choice."""
    request = replace(HELLO, tools=(WEATHER,), tool_choice=ToolChoice(mode="none"))
    wire = PROVIDER.render_chat(request, target_of("ollama"), plain, stream=False)
    assert "tools" not in json.loads(wire.body)
    assert lost(wire) == {"tool_choice": "translated"}


@pytest.mark.parametrize("think", [False, "low", "max"])
def test_effort_is_the_field_think(think, target_of):
    """Levels and off are written as they are; removed sampling goes by our name of it."""
    effort = EffortFields(
        dialect="ollama_think",
        fields={"think": think},
        remove=(Dropped(field="top_p", reason="r"),),
        output_cap_tokens=2048,
        suffix="/no_think",
    )
    request = replace(HELLO, sampling=Sampling(top_p=0.5, seed=1))
    body = json.loads(PROVIDER.render_chat(request, target_of("ollama"), effort, stream=False).body)
    assert body["think"] == think
    assert body["options"] == {"seed": 1, "num_predict": 2048}
    assert body["messages"][0]["content"] == "Hello /no_think"
