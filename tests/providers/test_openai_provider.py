"""What is sent to each OpenAI-compatible engine, byte for byte, and what its other routes tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefrontal.chat.blocks import Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.contracts.wire import Dropped, WireRequest
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.completions import parse_completion_request
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.openai.request import parse_chat_request

PROVIDER = OpenAIProvider()
PROFILES = load_profiles()
NO_EFFORT = EffortFields(dialect="fixed")
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
WANT_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
TURNS = [
    {"role": "developer", "content": "be brief"},
    USER,
    {"role": "assistant", "content": "old", "reasoning_content": "r1", "reasoning": "r1", "refusal": None, "annotations": [1]},
    USER,
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "r2",
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "s"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]


def target(name: str, **card: Any) -> Target:
    """A model called ``up`` behind the profile `name`."""
    profile = PROFILES[name]
    base = profile.base_url or "http://host:9/v1"
    return Target(
        card=ModelCard(**{"id": "m", "wire_name": "up", "profile": name, "key": "k", **card}), profile=profile, base_url=base
    )


def send(
    name: str, fields: dict[str, Any], effort: EffortFields = NO_EFFORT, *, stream: bool = False, **card: Any
) -> WireRequest:
    """The request sent for a client's body."""
    request = parse_chat_request(json.dumps({"model": "auto", "messages": [USER], **fields}).encode())
    return PROVIDER.render_chat(request, target(name, **card), effort, stream=stream)


def body(request: WireRequest | None) -> Any:
    """The JSON sent."""
    assert request is not None
    return json.loads(request.body)


def dropped(request: WireRequest) -> dict[str, str]:
    """What the report says, field → action."""
    return {item.field: item.action for item in request.dropped}


URLS = {
    "openai": "https://api.openai.com/v1/chat/completions",
    "azure-openai": "http://host:9/v1/chat/completions",
    "deepseek": "https://api.deepseek.com/chat/completions",
    "moonshot": "https://api.moonshot.ai/v1/chat/completions",
    "dashscope": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
    "mistral": "https://api.mistral.ai/v1/chat/completions",
    "xai": "https://api.x.ai/v1/chat/completions",
    "groq": "https://api.groq.com/openai/v1/chat/completions",
    "openrouter": "https://openrouter.ai/api/v1/chat/completions",
    "vllm": "http://host:9/v1/chat/completions",
    "sglang": "http://host:9/v1/chat/completions",
    "tgi": "http://host:9/v1/chat/completions",
    "llamacpp": "http://host:9/v1/chat/completions",
    "lmstudio": "http://host:9/v1/chat/completions",
    "transformers": "http://host:9/v1/chat/completions",
    "openai-compatible": "http://host:9/v1/chat/completions",
}


def test_the_golden_tables_cover_every_profile_of_this_wire() -> None:
    """A new profile needs its row here."""
    assert set(URLS) == set(CAPS) == set(BACK) == {name for name, profile in PROFILES.items() if profile.wire == "openai"}


@pytest.mark.parametrize("name", URLS)
def test_address_and_key(name: str) -> None:
    """Each engine is called at its own address with the key in its own header."""
    sent = send(name, {})
    headers = dict(sent.headers)
    assert (sent.method, sent.url, headers["content-type"]) == ("POST", URLS[name], "application/json")
    assert headers.get("api-key" if name == "azure-openai" else "authorization") == (
        "k" if name == "azure-openai" else "Bearer k"
    )
    assert body(sent) == {"model": "up", "messages": [USER]}
    assert sent.dropped == ()


NEW, OLD = "max_completion_tokens", "max_tokens"
CAPS = {**dict.fromkeys(URLS, OLD), "openai": NEW, "azure-openai": NEW}


@pytest.mark.parametrize("name", URLS)
def test_the_cap_has_the_engines_name(name: str) -> None:
    """One cap is sent, under the engine's name; a caller's other name is reported as translated."""
    for given in (OLD, NEW):
        sent = send(name, {given: 5})
        assert body(sent) == {"model": "up", "messages": [USER], CAPS[name]: 5}
        assert dropped(sent) == ({} if given == CAPS[name] else {given: "translated"})


@pytest.mark.parametrize("name", URLS)
def test_streams_ask_for_usage_where_the_engine_can_tell(name: str) -> None:
    """include_usage is forced, the caller's other options stay; what the caller said of streaming does not decide."""
    sent = body(send(name, {"stream_options": {"x": 1}}, stream=True))
    assert sent["stream"] is True
    assert sent.get("stream_options") == (None if name == "mistral" else {"x": 1, "include_usage": True})
    whole = body(send(name, {"stream": True, "stream_options": {"include_usage": True}}))
    assert "stream" not in whole
    assert "stream_options" not in whole


def answer_with(thinking: str, **fields: Any) -> dict[str, Any]:
    """An assistant turn of Mistral's form."""
    content = fields.pop("content")
    rest = [{"type": "text", "text": content}] if content else []
    return {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": thinking}]}, *rest],
        **fields,
    }


CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
PLAIN = [{"role": "assistant", "content": "old"}, {"role": "assistant", "content": None, "tool_calls": CALLS}]
ON_TOOLS = [PLAIN[0], {**PLAIN[1], "reasoning_content": "r2"}]
BACK: dict[str, list[dict[str, Any]]] = {
    **dict.fromkeys(URLS, PLAIN),
    "deepseek": ON_TOOLS,
    "moonshot": ON_TOOLS,
    "mistral": [answer_with("r1", content="old"), answer_with("r2", content="", tool_calls=CALLS)],
    "openrouter": [{**PLAIN[0], "reasoning": "r1"}, {**PLAIN[1], "reasoning": "r2"}],
    "llamacpp": [{**PLAIN[0], "reasoning_content": "r1"}, {**PLAIN[1], "reasoning_content": "r2"}],
}
KEEPS_ANNOTATIONS = {"openrouter", "vllm", "sglang", "tgi", "llamacpp", "lmstudio", "transformers", "openai-compatible"}


@pytest.mark.parametrize("name", URLS)
def test_thinking_goes_back_as_the_engine_wants_it(name: str) -> None:
    """Earlier thinking returns under the engine's field on the turns that need it, and nowhere else; foreign fields stay out."""
    sent = body(send(name, {"messages": TURNS}))
    first, second = [message for message in sent["messages"] if message["role"] == "assistant"]
    assert first.pop("annotations", None) == ([1] if name in KEEPS_ANNOTATIONS else None)
    if name == "openai-compatible":
        assert second["tool_calls"][0].pop("extra_content") == {"google": {"thought_signature": "s"}}
    assert [first, second] == BACK[name]
    assert sent["messages"][-1] == TURNS[-1]
    assert sent["messages"][0]["role"] == ("developer" if name in ("openai", "azure-openai", "vllm") else "system")


@pytest.mark.parametrize("name", URLS)
def test_a_schema_is_asked_for_as_far_as_the_engine_goes(name: str) -> None:
    """A schema travels as it is, becomes a plain JSON object, or is left out; the last two are reported."""
    sent = send(name, {"response_format": WANT_SCHEMA})
    expected: Any = WANT_SCHEMA
    if name in ("deepseek", "moonshot"):
        expected = {"type": "json_object"}
        assert dropped(sent) == {"response_format": "translated"}
    elif name == "transformers":
        expected = None
        assert dropped(sent) == {"response_format": "dropped"}
    assert body(sent).get("response_format") == expected


def test_the_engines_own_field_for_structured_output() -> None:
    """A profile may name vLLM's own field; a plain JSON object has its form there too."""
    own = PROFILES["vllm"].__class__(title="t", wire="openai", provider="p", structured_output="structured_outputs")
    where = Target(card=target("vllm").card, profile=own, base_url="http://h")
    for kind, expected in (("json_schema", {"json": SCHEMA}), ("json_object", {"json_object": True})):
        form = ResponseFormat(kind=kind, schema=SCHEMA if kind == "json_schema" else None)  # type: ignore[arg-type]
        request = ChatRequest(model="m", messages=(Message(role="user", blocks=(Text(text="x"),)),), response_format=form)
        sent = body(PROVIDER.render_chat(request, where, NO_EFFORT, stream=False))
        assert (sent["structured_outputs"], sent.get("response_format")) == (expected, None)


@pytest.mark.parametrize("name", URLS)
def test_fields_the_engine_refuses_are_dropped_and_said(name: str) -> None:
    """Each field of the profile's drop list stays at home and in the report."""
    fields = {field: 1 for field in PROFILES[name].drop if field not in ("stream_options", "tool_choice", "reasoning_effort")}
    fields = {key: {} if key == "logit_bias" else True if key == "logprobs" else "u" if key == "user" else 1 for key in fields}
    sent = send(name, fields)
    assert set(dropped(sent)) == set(fields)
    assert body(sent) == {"model": "up", "messages": [USER]}


def test_a_forced_tool_call_where_there_is_none() -> None:
    """Required becomes auto on engines that cannot force a call, and stays elsewhere."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    sent = send("moonshot", {"tools": tools, "tool_choice": "required"})
    assert (body(sent)["tool_choice"], dropped(sent)) == ("auto", {"tool_choice": "translated"})
    assert body(send("vllm", {"tools": tools, "tool_choice": "required"}))["tool_choice"] == "required"


def test_effort_is_written_into_the_body() -> None:
    """Dotted paths are set, the suffix ends the last user turn, what is to go goes, and the cap is the effort's."""
    effort = EffortFields(
        dialect="d",
        fields={"chat_template_kwargs.enable_thinking": True, "thinking_token_budget": 9},
        suffix="/think",
        remove=(Dropped(field="temperature", reason="r"),),
        output_cap_tokens=100,
        cap_field="max_new",
    )
    fields = {
        "messages": [
            USER,
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "c"},
        ],
        "reasoning_effort": "high",
        "thinking": {"type": "enabled"},
        "temperature": 1,
        "max_tokens": 7,
        "chat_template_kwargs": {"other": 1},
    }
    sent = body(send("vllm", fields, effort))
    assert sent["chat_template_kwargs"] == {"other": 1, "enable_thinking": True}
    assert (sent["thinking_token_budget"], sent["max_new"]) == (9, 100)
    assert [message["content"] for message in sent["messages"]] == ["hi", "a", "b /think", "c"]
    assert not {"reasoning_effort", "thinking", "temperature", "max_tokens"} & set(sent)


def test_the_callers_own_words_for_effort_never_travel() -> None:
    """Without rendered effort nothing of reasoning_effort or thinking is sent."""
    assert body(send("openai", {"reasoning_effort": "high", "thinking": {"type": "enabled"}})) == {
        "model": "up",
        "messages": [USER],
    }


def test_no_cap_and_two_caps() -> None:
    """-1 and the older of two names are left out and said; nulls say nothing and are left out in silence."""
    sent = send("vllm", {"max_tokens": -1, "stop": None})
    assert (body(sent), dropped(sent)) == ({"model": "up", "messages": [USER]}, {"max_tokens": "translated"})
    sent = send("openai", {"max_tokens": 5, "max_completion_tokens": 6})
    assert (body(sent)["max_completion_tokens"], dropped(sent)) == (6, {"max_tokens": "dropped"})


def test_extra_body_static_fields_and_headers_of_the_card() -> None:
    """The card's own fields and headers win."""
    sent = send("openrouter", {"x": 1}, extra_body={"provider": {"sort": "price"}}, headers=(("X-Title", "t"),), key=None)
    assert body(sent)["provider"] == {"sort": "price"}
    assert dict(sent.headers) == {"content-type": "application/json", "x-title": "t"}


def test_another_dialects_request() -> None:
    """Blocks of another dialect are translated or named in the report; mixed tool results become their own turns."""
    request = ChatRequest(
        model="m",
        dialect="anthropic",
        messages=(
            Message(
                role="assistant",
                form="parts",
                blocks=(Reasoning(redacted=True, data="x"), ToolCall(id="c", name="f", arguments="{}")),
            ),
            Message(
                role="user",
                form="parts",
                blocks=(
                    ToolResult(call_id="c", blocks=(Text(text="1"),), form="text"),
                    Text(text="and", extra={"cache_control": {}}),
                    Image(data="QQ==", media_type="image/png"),
                    Opaque(dialect="anthropic", value={"type": "search_result"}),
                ),
            ),
        ),
        tool_choice=ToolChoice(mode="tool", name="f", extra={"disable": True}),
        extra={"container": "x"},
    )
    sent = PROVIDER.render_chat(request, target("vllm"), NO_EFFORT, stream=False)
    assert body(sent) == {
        "model": "up",
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
                ],
            },
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    }
    lost = {"messages[].redacted_thinking", "messages[].content.anthropic", "messages[].content.cache_control", "container"}
    assert set(dropped(sent)) == lost


def test_text_completions_go_to_their_own_route_or_to_chat() -> None:
    """With a route for them the prompt travels as it is; without one it becomes a chat, and what is lost is said."""
    request = parse_completion_request(b'{"model": "m", "prompt": "x", "suffix": "s", "echo": true, "max_tokens": 3}')
    own = PROVIDER.render_chat(request, target("vllm"), NO_EFFORT, stream=True)
    assert own.url == "http://host:9/v1/completions"
    assert body(own) == {
        "model": "up",
        "prompt": "x",
        "suffix": "s",
        "echo": True,
        "max_tokens": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chat = PROVIDER.render_chat(request, target("deepseek"), NO_EFFORT, stream=False)
    assert body(chat) == {"model": "up", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    assert dropped(chat) == {"suffix": "dropped", "echo": "dropped"}
