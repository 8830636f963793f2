"""Requests to the Messages API: golden bodies, and what the official SDK's own request type takes."""

from __future__ import annotations

import base64
import json
from typing import Any

import anthropic.types as sdk
import pytest
from msgspec.structs import replace
from pydantic import TypeAdapter

from prefrontal.chat.blocks import Audio, File, Image, Opaque, Reasoning, Refusal, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, ResponseFormat, Sampling, Tool, ToolChoice
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import Capability
from prefrontal.contracts.wire import Dropped, WireRequest
from prefrontal.errors import CapabilityMissing
from prefrontal.providers.anthropic.provider import AnthropicProvider

PROVIDER = AnthropicProvider()
SDK_REQUEST = TypeAdapter(sdk.message_create_params.MessageCreateParams)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="weather", description="Looks it up.", parameters=SCHEMA)
HELLO = ChatRequest(model="auto", messages=(Message(role="user", blocks=(Text(text="Hello"),)),))
BUDGET = EffortFields(dialect="anthropic_budget", fields={"thinking": {"type": "enabled", "budget_tokens": 2048}}, thinking=True)


def said(role: str, *blocks: Any) -> Message:
    """One turn."""
    return Message(role=role, blocks=blocks)  # type: ignore[arg-type]


def user(text: str) -> Message:
    """One user turn."""
    return said("user", Text(text=text))


def walk(value: Any) -> Any:
    """Read all of a validated value: pydantic checks the items of an iterable only then."""
    if isinstance(value, dict):
        return {key: walk(item) for key, item in value.items()}
    if isinstance(value, str | int | float | None):
        return value
    return [walk(item) for item in value]


def body_of(wire: WireRequest) -> dict[str, Any]:
    """The body, after the SDK's own type took it; a field the type does not know would get lost on the way."""
    found: dict[str, Any] = json.loads(wire.body)
    sampling = {key: found[key] for key in ("temperature", "top_p", "top_k") if key in found}  # gone from the newest type
    assert walk(SDK_REQUEST.validate_python(found)) | sampling == found
    return found


def lost(wire: WireRequest) -> dict[str, str]:
    """What was reported: field to action."""
    return {item.field: item.action for item in wire.dropped}


def test_a_plain_question_is_one_user_turn_with_pinned_version(target_of, plain):
    """The smallest request carries key, version and the mandatory cap."""
    wire = PROVIDER.render_chat(HELLO, target_of("anthropic", max_output_tokens=64000), plain, stream=False)
    assert wire.url == "https://api.anthropic.com/v1/messages"
    assert dict(wire.headers) == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-up",
    }
    assert body_of(wire) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 64000,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    assert wire.dropped == ()


def test_a_card_may_pin_another_version(target_of, plain):
    """The card's headers win over the profile's."""
    target = target_of("anthropic", headers=(("Anthropic-Version", "2026-10-21"),))
    assert dict(PROVIDER.render_chat(HELLO, target, plain, stream=True).headers)["anthropic-version"] == "2026-10-21"


def test_a_whole_openai_request_becomes_the_golden_body(target_of, plain):
    """Instructions, tools, results, stops, sampling, schema and user land where the API wants them."""
    request = ChatRequest(
        model="auto",
        messages=(
            said("system", Text(text="Be brief.")),
            user("Weather in Bonn?"),
            said("assistant", ToolCall(id="c1", name="weather", arguments='{"city": "Bonn"}')),
            said("tool", ToolResult(call_id="c1", blocks=(Text(text="rain"),), form="text")),
            user("And tomorrow?"),
        ),
        tools=(replace(WEATHER, strict=True),),
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        sampling=Sampling(temperature=0.5, top_p=0.9, top_k=5, stop=("END",)),
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA, name="answer", strict=True),
        max_output_tokens=100,
        user="u-1",
    )
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=True)
    assert body_of(wire) == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Bonn?"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bonn"}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
        "tools": [{"name": "weather", "description": "Looks it up.", "input_schema": SCHEMA, "strict": True}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 5,
        "metadata": {"user_id": "u-1"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "stream": True,
    }
    assert [dropped.field for dropped in wire.dropped] == ["top_p"]  # this wire takes temperature or top_p


def test_all_results_of_one_round_share_a_user_turn(target_of, plain):
    """Parallel calls are answered in one turn, in order."""
    calls = [ToolCall(id=f"c{i}", name="f", arguments="") for i in range(2)]
    results = [said("tool", ToolResult(call_id=f"c{i}", blocks=(Text(text=str(i)),), is_error=i == 1)) for i in range(2)]
    request = replace(HELLO, messages=(user("go"), said("assistant", *calls), *results))
    turns = body_of(PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False))["messages"]
    assert [part["input"] for part in turns[1]["content"]] == [{}, {}]
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "c0", "content": [{"type": "text", "text": "0"}]},
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "1"}], "is_error": True},
    ]


def test_neighbours_of_one_role_are_merged_and_late_instructions_move(target_of, plain):
    """Roles alternate; an instruction in the middle goes to system, and that is said."""
    request = replace(HELLO, messages=(user("a"), user("b"), said("developer", Text(text="Stop joking.")), user("c")))
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False)
    body = body_of(wire)
    assert body["system"] == "Stop joking."
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": text} for text in "abc"]}]
    assert lost(wire) == {"messages[].role": "translated"}


def test_instructions_alone_become_a_question(target_of, plain):
    """The API wants a user turn even when the client sent none."""
    wire = PROVIDER.render_chat(
        replace(HELLO, messages=(said("system", Text(text="Hi")),)), target_of("anthropic"), plain, stream=False
    )
    assert body_of(wire)["messages"] == [{"role": "user", "content": "Hi"}]
    assert "system" not in body_of(wire)


def test_images_and_documents_travel_as_blocks(target_of, plain):
    """Inline data, URLs, PDFs and plain text each have their source."""
    text = base64.b64encode("Grüße".encode()).decode()
    request = replace(
        HELLO,
        messages=(
            said(
                "user",
                Image(data="aGk=", media_type="image/jpeg"),
                Image(url="https://h/i.png", detail="high"),
                File(data="JVBERi0=", media_type="application/pdf", filename="a.pdf"),
                File(data=text, media_type="text/plain"),
                File(url="https://h/b.pdf"),
                Text(text="?"),
            ),
        ),
    )
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False)
    parts = body_of(wire)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["image", "image", "document", "document", "document", "text"]
    assert [part.get("source") for part in parts[:5]] == [
        {"type": "base64", "media_type": "image/jpeg", "data": "aGk="},
        {"type": "url", "url": "https://h/i.png"},
        {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
        {"type": "text", "media_type": "text/plain", "data": "Grüße"},
        {"type": "url", "url": "https://h/b.pdf"},
    ]
    assert parts[2]["title"] == "a.pdf"
    assert lost(wire) == {"messages[].content.image_url.detail": "dropped"}


@pytest.mark.parametrize(
    "block",
    [
        Audio(data="aGk=", format="wav"),
        File(file_id="file-1"),
        File(data="aGk=", media_type="application/zip"),
        File(data="%%%", media_type="text/plain"),
    ],
)
def test_an_attachment_that_cannot_travel_is_an_error(block, target_of, plain):
    """Leaving out what the question is about would answer another question."""
    with pytest.raises(CapabilityMissing):
        PROVIDER.render_chat(replace(HELLO, messages=(said("user", block),)), target_of("anthropic"), plain, stream=False)


def test_only_signed_thinking_of_this_provider_goes_back(target_of, plain):
    """Signed and redacted blocks return unchanged and in order; thinking of others is left out and reported."""
    blocks = (
        Reasoning(text="mine", signature="sig==", provider="anthropic"),
        Reasoning(redacted=True, data="opaque", provider="anthropic"),
        Reasoning(text="of another", field="reasoning_content"),
        Text(text="ok"),
    )
    request = replace(HELLO, messages=(user("a"), said("assistant", *blocks), user("b")))
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False)
    assert body_of(wire)["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "sig=="},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "text", "text": "ok"},
    ]
    assert lost(wire) == {"messages[].reasoning": "dropped"}


def test_everything_without_a_place_is_reported(target_of, plain):
    """Each field the wire cannot carry is named, none is sent."""
    request = replace(
        HELLO,
        messages=(
            Message(role="user", blocks=(Text(text="x"), Opaque(dialect="openai", value={"type": "odd"})), name="Ann"),
            said("assistant", Refusal(text="No."), Audio(id="a1", transcript="hm")),
            user("y"),
        ),
        tools=(WEATHER, Tool(name="search", kind="web_search")),
        parallel_tool_calls=True,
        sampling=Sampling(temperature=1.5, seed=1, n=2, logprobs=True, min_p=0.1, stop=(" ", "x"), logit_bias={"1": 1}),
        response_format=ResponseFormat(kind="json_object"),
        thinking={"type": "enabled"},
        metadata={"k": "v"},
        extra={"store": True},
    )
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False)
    body = body_of(wire)
    assert lost(wire) == {
        "messages[].name": "dropped",
        "messages[].content.openai": "dropped",
        "messages[].refusal": "translated",
        "messages[].audio": "translated",
        "tools[].web_search": "dropped",
        "stop": "dropped",
        "temperature": "clamped",
        "min_p": "dropped",
        "seed": "dropped",
        "logit_bias": "dropped",
        "logprobs": "dropped",
        "n": "dropped",
        "metadata": "dropped",
        "response_format": "dropped",
        "thinking": "dropped",
        "store": "dropped",
    }
    assert body["temperature"] == 1.0
    assert body["stop_sequences"] == ["x"]
    assert body["messages"][1]["content"] == [{"type": "text", "text": "No."}, {"type": "text", "text": "hm"}]
    assert {"store", "thinking", "tool_choice", "output_config"}.isdisjoint(body)
    assert all(item.reason for item in wire.dropped)


def test_ids_of_calls_are_written_in_the_wire_alphabet(target_of, plain):
    """Ids such as Kimi's would be refused; call and result change alike."""
    call = ToolCall(id="functions.f:0", name="f", arguments="[1]")
    request = replace(HELLO, messages=(user("a"), said("assistant", call), said("tool", ToolResult(call_id="functions.f:0"))))
    wire = PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False)
    turns = body_of(wire)["messages"]
    assert turns[1]["content"][0]["id"] == turns[2]["content"][0]["tool_use_id"] == "functions_f_0"
    assert turns[1]["content"][0]["input"] == {"raw_arguments": "[1]"}
    assert lost(wire)["messages[].tool_calls[].id"] == "translated"
    assert lost(wire)["messages[].tool_calls[].arguments"] == "translated"


def test_arguments_keep_their_exact_text(target_of, plain):
    """Numbers and key order are the model's, not a decoder's."""
    text = '{"z": 1.0, "a": 123456789012345678901234567890, "m": 1E5}'
    request = replace(HELLO, messages=(user("a"), said("assistant", ToolCall(id="c", name="f", arguments=text))))
    assert text.encode() in PROVIDER.render_chat(request, target_of("anthropic"), plain, stream=False).body


def test_cache_marks_pass_from_any_dialect(target_of, plain):
    """`cache_control` keeps its meaning on parts of an OpenAI request; other unknown fields are reported."""
    mark = {"cache_control": {"type": "ephemeral"}}
    block = Text(text="long", extra={**mark, "odd": 1})
    wire = PROVIDER.render_chat(replace(HELLO, messages=(said("user", block),)), target_of("anthropic"), plain, stream=False)
    assert body_of(wire)["messages"][0]["content"] == [{"type": "text", "text": "long", **mark}]
    assert lost(wire) == {"messages[].content.odd": "dropped"}


def test_a_model_known_not_to_take_schemas_gets_none(target_of, plain):
    """What the engine said about itself wins over the profile."""
    target = target_of("anthropic", capabilities={"structured_output": Capability(value=False, origin="engine")})
    request = replace(HELLO, response_format=ResponseFormat(kind="json_schema", schema=SCHEMA))
    wire = PROVIDER.render_chat(request, target, plain, stream=False)
    assert "output_config" not in body_of(wire)
    assert lost(wire) == {"response_format": "dropped"}


def test_the_cards_extra_body_and_the_profiles_drops_hold(target_of, plain):
    """Configuration has the last word."""
    target = target_of("anthropic", extra_body={"service_tier": "standard_only"})
    target = replace(target, profile=replace(target.profile, drop={"top_k": "not here"}))
    wire = PROVIDER.render_chat(replace(HELLO, sampling=Sampling(top_k=3)), target, plain, stream=False)
    assert body_of(wire)["service_tier"] == "standard_only"
    assert "top_k" not in body_of(wire)
    assert wire.dropped == (Dropped(field="top_k", reason="not here"),)


def test_counting_sends_what_the_counter_takes(target_of):
    """The token counter gets the same turns and tools, and no cap."""
    request = replace(HELLO, tools=(WEATHER,), max_output_tokens=9, sampling=Sampling(temperature=0.1))
    wire = PROVIDER.render_count(request, target_of("anthropic"))
    assert wire is not None
    assert wire.url.endswith("/v1/messages/count_tokens")
    found = json.loads(wire.body)
    TypeAdapter(sdk.message_count_tokens_params.MessageCountTokensParams).validate_python(found)
    assert set(found) == {"model", "messages", "tools"}


def test_the_request_itself_is_never_changed(target_of):
    """A fallback renders the same request again: nothing of it may be touched."""
    request = replace(HELLO, extra={"output_config": {"x": 1}}, dialect="anthropic", thinking={"type": "adaptive"})
    before = json.dumps(request.extra)
    effort = EffortFields(dialect="anthropic_adaptive", fields={"output_config.effort": "low", "thinking": {"type": "disabled"}})
    body = json.loads(PROVIDER.render_chat(request, target_of("anthropic"), effort, stream=False).body)
    assert body["output_config"] == {"x": 1, "effort": "low"}
    assert json.dumps(request.extra) == before


def test_routes_the_wire_lacks_are_none(target_of):
    """No embeddings, no load; models and probe by GET."""
    target = target_of("anthropic")
    assert PROVIDER.render_load(target, load=True) is None
    assert PROVIDER.render_health(target) is None
    listing, probe = PROVIDER.render_models(target), PROVIDER.render_probe(target)
    assert listing is not None
    assert probe is not None
    assert (listing.method, probe.method, probe.body) == ("GET", "GET", b"")
    assert probe.url == "https://api.anthropic.com/v1/models/claude-sonnet-4-5"
    assert "content-type" not in dict(probe.headers)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        ("iVBORw0KGgoAAA==", "image/png"),
        ("/9j/4AAQ", "image/jpeg"),
        ("R0lGODlh", "image/gif"),
        ("UklGRg==", "image/webp"),
        ("aGk=", "image/png"),
    ],
)
def test_an_image_without_a_type_tells_it_by_its_first_bytes(data, media_type, target_of, plain):
    """Ollama clients name no media type; the API wants one."""
    wire = PROVIDER.render_chat(
        replace(HELLO, messages=(said("user", Image(data=data)),)), target_of("anthropic"), plain, stream=False
    )
    assert body_of(wire)["messages"][0]["content"][0]["source"]["media_type"] == media_type
