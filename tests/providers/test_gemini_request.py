"""Requests to generateContent: golden bodies, and what the official SDK's own types take."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types as sdk
from msgspec.structs import replace

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import Dropped, WireRequest
from prefrontal.errors import CapabilityMissing
from prefrontal.providers.gemini.provider import GeminiProvider
from prefrontal.providers.gemini.turns import UNSIGNED

PROVIDER = GeminiProvider()
BASE = "https://generativelanguage.googleapis.com/v1beta"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="Looks it up.", parameters=SCHEMA)
HELLO = ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text="Hello"),)),))
_PARTS = {"contents": sdk.Content, "tools": sdk.Tool}
_WHOLE = {"systemInstruction": sdk.Content, "toolConfig": sdk.ToolConfig, "generationConfig": sdk.GenerationConfig}


def said(role: str, *blocks: Any) -> Message:
    """One turn."""
    return Message(role=role, blocks=blocks)  # type: ignore[arg-type]


def user(text: str) -> Message:
    """One user turn."""
    return said("user", Text(text=text))


def body_of(wire: WireRequest) -> dict[str, Any]:
    """The body, after the SDK's own types took it; they refuse fields they do not know."""
    found: dict[str, Any] = json.loads(wire.body)
    for name, value in found.items():
        if name in _PARTS:
            for item in value:
                _PARTS[name].model_validate(item)
        else:
            _WHOLE[name].model_validate(value)
    return found


def lost(wire: WireRequest) -> dict[str, str]:
    """What was reported: field to action."""
    return {item.field: item.action for item in wire.dropped}


@pytest.mark.parametrize(
    ("stream", "wire_name", "tail"),
    [
        (False, "gemini-2.5-pro", "/models/gemini-2.5-pro:generateContent"),
        (True, "models/gemini-2.5-pro", "/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (False, "tunedModels/mine", "/tunedModels/mine:generateContent"),
    ],
)
def test_the_path_names_the_model_and_whether_to_stream(stream, wire_name, tail, target_of, plain):
    """Model and streaming are in the address; the key in Google's header."""
    wire = PROVIDER.render_chat(HELLO, target_of("gemini", wire_name=wire_name), plain, stream=stream)
    assert wire.url == BASE + tail
    assert dict(wire.headers)["x-goog-api-key"] == "sk-up"
    assert body_of(wire) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    assert wire.dropped == ()


def test_a_whole_openai_request_becomes_the_golden_body(target_of, plain):
    """Instructions, tools, results, stops, sampling and schema land where the API wants them."""
    request = ChatRequest(
        model="auto",
        messages=(
            said("system", Text(text="Be brief.")),
            user("Weather in Bonn?"),
            said("assistant", ToolCall(id="c1", name="weather", arguments='{"city": "Bonn"}')),
            said("tool", ToolResult(call_id="c1", blocks=(Text(text="rain"),), form="text")),
            user("And tomorrow?"),
        ),
        tools=(WEATHER, Tool(name="now")),
        tool_choice=ToolChoice(mode="tool", name="weather"),
        sampling=Sampling(
            temperature=0.5, top_p=0.9, top_k=5, seed=3, n=2, stop=("END",), presence_penalty=0.1, frequency_penalty=0.2
        ),
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA, name="answer", strict=True),
        max_output_tokens=100,
    )
    wire = PROVIDER.render_chat(request, target_of("gemini"), plain, stream=False)
    assert body_of(wire) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Bonn?"}]},
            {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Bonn"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "weather", "response": {"output": "rain"}}}]},
            {"role": "user", "parts": [{"text": "And tomorrow?"}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "weather", "description": "Looks it up.", "parametersJsonSchema": SCHEMA},
                    {"name": "now"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 5,
            "seed": 3,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "candidateCount": 2,
            "stopSequences": ["END"],
            "maxOutputTokens": 100,
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        },
    }
    assert wire.dropped == ()


@pytest.mark.parametrize(("mode", "word"), [("auto", "AUTO"), ("none", "NONE"), ("required", "ANY")])
def test_tool_choice_has_its_word(mode, word, target_of, plain):
    """Each kind of choice is told in the wire's words; without tools it is reported."""
    request = replace(HELLO, tools=(WEATHER,), tool_choice=ToolChoice(mode=mode))
    wire = PROVIDER.render_chat(request, target_of("gemini"), plain, stream=False)
    assert body_of(wire)["toolConfig"] == {"functionCallingConfig": {"mode": word}}
    bare = PROVIDER.render_chat(replace(request, tools=()), target_of("gemini"), plain, stream=False)
    assert lost(bare) == {"tool_choice": "dropped"}


def test_media_travel_inline_or_by_reference(target_of, plain):
    """Images, sound and documents are parts; a URL is a file reference with the type its name tells."""
    blocks = (
        Image(data="aGk=", media_type="image/jpeg"),
        Image(url="https://h/i.png?x=1"),
        Audio(data="aGk=", format="mp3"),
        File(data="JVBERi0=", filename="a.pdf"),
        File(url="gs://b/c", media_type="video/mp4"),
    )
    wire = PROVIDER.render_chat(replace(HELLO, messages=(said("user", *blocks),)), target_of("gemini"), plain, stream=False)
    assert body_of(wire)["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/jpeg", "data": "aGk="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://h/i.png?x=1"}},
        {"inlineData": {"mimeType": "audio/mp3", "data": "aGk="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0="}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/c"}},
    ]
    with pytest.raises(CapabilityMissing):
        PROVIDER.render_chat(
            replace(HELLO, messages=(said("user", File(file_id="f")),)), target_of("gemini"), plain, stream=False
        )


def test_results_of_one_round_share_a_turn_and_are_named_by_their_calls(target_of, plain):
    """A result object goes as it is, a text under output, a failure under error; the name comes from the call."""
    calls = [ToolCall(id=f"c{i}", name=f"f{i}", arguments="") for i in range(3)]
    results = [
        said("tool", ToolResult(call_id="c0", blocks=(Text(text='{"a": 1.0}'),))),
        said("tool", ToolResult(call_id="c1", blocks=(Text(text="boom"),), is_error=True)),
        said("tool", ToolResult(call_id="c2", blocks=(Text(text="[1]"), Image(data="aGk=", media_type="image/png")))),
    ]
    request = replace(HELLO, messages=(user("go"), said("assistant", *calls), *results))
    body = body_of(PROVIDER.render_chat(request, target_of("gemini"), plain, stream=False))
    assert len(body["contents"]) == 3
    assert [part["functionResponse"] for part in body["contents"][2]["parts"]] == [
        {"name": "f0", "id": "c0", "response": {"a": 1.0}},
        {"name": "f1", "id": "c1", "response": {"error": "boom"}},
        {
            "name": "f2",
            "id": "c2",
            "response": {"output": "[1]"},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}],
        },
    ]


def test_a_result_nobody_asked_for_is_named_by_its_id(target_of, plain):
    """Without a call the id stands in, and that is said."""
    request = replace(HELLO, messages=(user("go"), said("tool", ToolResult(call_id="lost"))))
    wire = PROVIDER.render_chat(request, target_of("gemini"), plain, stream=False)
    assert body_of(wire)["contents"][1]["parts"][0]["functionResponse"]["name"] == "lost"
    assert lost(wire) == {"messages[].tool_call_id": "translated"}


def test_signatures_go_back_on_the_part_they_came_with(target_of, plain):
    """On thoughts, on calls, and alone; thinking of others is left out and reported."""
    blocks = (
        Reasoning(text="mine", signature="c2ln", provider="gemini"),
        Reasoning(text="plain thought", provider="gemini"),
        Text(text="ok", extra={"thoughtSignature": "dGV4dA=="}),
        ToolCall(id="gemini_call_x", name="f", arguments="{}", signature="Y2FsbA=="),
        Reasoning(signature="YWxvbmU=", provider="gemini"),
        Reasoning(text="of another", signature="s", provider="anthropic"),
    )
    request = replace(HELLO, messages=(user("a"), said("assistant", *blocks), user("b")))
    wire = PROVIDER.render_chat(request, target_of("gemini"), plain, stream=False)
    assert body_of(wire)["contents"][1]["parts"] == [
        {"text": "mine", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "plain thought", "thought": True},
        {"text": "ok", "thoughtSignature": "dGV4dA=="},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "Y2FsbA=="},
        {"text": "", "thoughtSignature": "YWxvbmU="},
    ]
    assert lost(wire) == {"messages[].reasoning": "dropped"}


def test_calls_of_another_model_get_the_placeholder_where_signatures_are_demanded(target_of, plain):
    """Gemini 3 refuses unsigned calls in the round in progress; only the first of each turn since the question needs one."""
    old = said("assistant", ToolCall(id="c0", name="f", arguments="{}"))
    calls = said("assistant", ToolCall(id="c1", name="f", arguments="{}"), ToolCall(id="c2", name="f", arguments="{}"))
    results = [said("tool", ToolResult(call_id=f"c{i}", name="f")) for i in range(3)]
    request = replace(HELLO, messages=(user("a"), old, results[0], user("b"), calls, results[1], results[2]))
    wire = PROVIDER.render_chat(request, target_of("gemini", effort_dialect="gemini_level"), plain, stream=False)
    signed = [
        part.get("thoughtSignature")
        for turn in json.loads(wire.body)["contents"]
        for part in turn["parts"]
        if "functionCall" in part
    ]
    assert signed == [None, UNSIGNED, None]
    assert lost(wire) == {"messages[].tool_calls[].signature": "translated"}
    older = PROVIDER.render_chat(request, target_of("gemini", effort_dialect="gemini_budget"), plain, stream=False)
    assert UNSIGNED.encode() not in older.body


def test_everything_without_a_place_is_reported(target_of, plain):
    """Each field the wire cannot carry is named, none is sent."""
    request = replace(
        HELLO,
        messages=(
            Message(role="user", blocks=(Text(text="x"), Opaque(dialect="openai", value={"type": "odd"})), name="Ann"),
            said("developer", Text(text="late")),
            user("y"),
        ),
        tools=(replace(WEATHER, strict=True), Tool(name="search", kind="web_search")),
        parallel_tool_calls=False,
        sampling=Sampling(min_p=0.1, logit_bias={"1": 1}),
        response_format=ResponseFormat(kind="json_schema", schema={}, strict=False, description="d"),
        thinking={"type": "enabled"},
        metadata={"k": "v"},
        user="u",
        extra={"store": True},
        max_output_tokens=900,
    )
    wire = PROVIDER.render_chat(request, target_of("gemini", max_output_tokens=500), plain, stream=False)
    body = body_of(wire)
    assert lost(wire) == {
        "messages[].name": "dropped",
        "messages[].content.openai": "dropped",
        "messages[].role": "translated",
        "tools[].function.strict": "dropped",
        "tools[].web_search": "dropped",
        "parallel_tool_calls": "dropped",
        "min_p": "dropped",
        "logit_bias": "dropped",
        "metadata": "dropped",
        "user": "dropped",
        "max_tokens": "clamped",
        "response_format.json_schema.description": "dropped",
        "response_format.json_schema.strict": "translated",
        "thinking": "dropped",
        "store": "dropped",
    }
    assert body["generationConfig"]["maxOutputTokens"] == 500
    assert body["systemInstruction"] == {"parts": [{"text": "late"}]}


def test_effort_fields_are_set_by_path_and_removed_fields_are_not_sent(target_of):
    """The object thinkingConfig is made on the way; sampling the model refuses goes by our name of it."""
    effort = EffortFields(
        dialect="gemini_budget",
        fields={"generationConfig.thinkingConfig.thinkingBudget": 512, "generationConfig.thinkingConfig.includeThoughts": True},
        remove=(Dropped(field="top_p", reason="r"),),
        output_cap_tokens=2048,
        suffix="/think",
    )
    wire = PROVIDER.render_chat(replace(HELLO, sampling=Sampling(top_p=0.5)), target_of("gemini"), effort, stream=False)
    assert body_of(wire) == {
        "contents": [{"role": "user", "parts": [{"text": "Hello /think"}]}],
        "generationConfig": {"maxOutputTokens": 2048, "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True}},
    }


def test_a_model_known_not_to_take_schemas_gets_none(target_of, plain):
    """What the engine said about itself wins over the wire."""
    target = target_of("gemini", capabilities={"structured_output": Capability(value=False, origin="engine")})
    wire = PROVIDER.render_chat(
        replace(HELLO, response_format=ResponseFormat(kind="json_schema", schema=SCHEMA)), target, plain, stream=False
    )
    assert "generationConfig" not in body_of(wire)
    assert lost(wire) == {"response_format": "dropped"}
    plain_json = replace(HELLO, response_format=ResponseFormat(kind="json_object"))
    assert body_of(PROVIDER.render_chat(plain_json, target, plain, stream=False))["generationConfig"] == {
        "responseMimeType": "application/json"
    }


def test_counting_sends_the_whole_request(target_of):
    """Instructions and tools count too."""
    request = replace(HELLO, messages=(said("system", Text(text="S")), user("x")), tools=(WEATHER,))
    wire = PROVIDER.render_count(request, target_of("gemini"))
    assert wire is not None
    assert wire.url == BASE + "/models/gemini-2.5-pro:countTokens"
    inner = json.loads(wire.body)["generateContentRequest"]
    assert set(inner) == {"model", "systemInstruction", "contents", "tools"}
    assert inner["model"] == "models/gemini-2.5-pro"


def test_embeddings_are_one_batch(target_of):
    """One request a text, in order; what is not text is refused."""
    request = EmbeddingsRequest(model="m", inputs=("a", "b"), dimensions=8, encoding_format="base64", user="u")
    wire = PROVIDER.render_embeddings(request, target_of("gemini", wire_name="gemini-embedding-001"))
    assert wire is not None
    assert wire.url == BASE + "/models/gemini-embedding-001:batchEmbedContents"
    items = json.loads(wire.body)["requests"]
    assert [item["content"]["parts"][0]["text"] for item in items] == ["a", "b"]
    assert items[0]["model"] == "models/gemini-embedding-001"
    assert items[0]["outputDimensionality"] == 8
    assert lost(wire) == {"encoding_format": "translated", "user": "dropped"}
    with pytest.raises(CapabilityMissing):
        PROVIDER.render_embeddings(EmbeddingsRequest(model="m", inputs=((1, 2),)), target_of("gemini"))


def test_other_routes(target_of):
    """Models and probe by GET; nothing to load."""
    target = target_of("gemini")
    listing, probe = PROVIDER.render_models(target), PROVIDER.render_probe(target)
    assert listing is not None
    assert probe is not None
    assert (listing.method, listing.url) == ("GET", BASE + "/models?pageSize=1000")
    assert probe.url == BASE + "/models/gemini-2.5-pro"
    assert PROVIDER.render_load(target, load=True) is None
