"""Requests of the Responses dialect: what is kept, what a model is asked, what is refused, and what is reported."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import response_create_params as sdk
from pydantic import TypeAdapter

from prefrontal.chat.blocks import File, Image, Opaque, Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.request import ChatRequest, Message, text_of
from prefrontal.contracts.effort import EffortFields
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import CapabilityMissing, InvalidRequest
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.registry import builtin_providers
from prefrontal.providers.responses.items import join_turns
from prefrontal.providers.responses.request import chat_request, parse_responses_request, render_responses_body
from prefrontal.providers.responses.seals import seal, unseal

WORD = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=6)
TEXT = st.text(max_size=8)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORD, inner, max_size=2),
)
OBJECT = st.dictionaries(WORD, VALUE, max_size=2)


def obj(kind: str | None = None, /, optional: dict[str, Any] | None = None, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """An object of a type with required and optional fields."""
    given_type = {} if kind is None else {"type": st.just(kind)}
    return st.fixed_dictionaries({**given_type, **fields}, optional=optional or {})


DATA_URL = st.sampled_from(["data:image/png;base64,aGk=", "http://x.example/a.png"])
STATUS = {"id": WORD, "status": st.sampled_from(["completed", "in_progress", None])}
INPUT_PART = st.one_of(
    obj("input_text", text=TEXT, optional={"prompt_cache_breakpoint": OBJECT}),
    obj("input_image", image_url=DATA_URL, optional={"detail": st.sampled_from(["low", "auto", None]), "file_id": st.none()}),
    obj("input_image", file_id=WORD),
    obj("input_file", file_data=DATA_URL, optional={"filename": WORD}),
    obj("input_file", file_url=WORD, optional={"file_id": st.none()}),
    obj("input_audio", input_audio=obj(data=WORD, format=st.sampled_from(["wav", "mp3"]))),
    obj("input_future", anything=VALUE),
)
OUTPUT_PART = st.one_of(
    obj("output_text", text=TEXT, annotations=st.just([]), optional={"logprobs": st.just([])}), obj("refusal", refusal=TEXT)
)
MESSAGE = st.one_of(
    obj(role=st.sampled_from(["user", "system", "developer", "assistant"]), content=TEXT, optional={"type": st.just("message")}),
    obj(role=st.sampled_from(["user", "system", "developer"]), content=st.lists(INPUT_PART, max_size=3), optional=STATUS),
    obj("message", role=st.just("assistant"), content=st.lists(OUTPUT_PART, max_size=2), optional={**STATUS, "phase": WORD}),
)
ITEM = st.one_of(
    MESSAGE,
    obj("function_call", call_id=WORD, name=WORD, arguments=TEXT, optional=STATUS),
    obj("function_call_output", call_id=WORD, output=TEXT | st.lists(INPUT_PART, max_size=2), optional=STATUS),
    obj(
        "reasoning",
        id=WORD,
        summary=st.lists(obj("summary_text", text=TEXT), max_size=2),
        optional={
            "content": st.none() | st.lists(obj("reasoning_text", text=TEXT), max_size=2),
            "encrypted_content": st.none() | TEXT | st.just(seal(Reasoning(text="t", signature="s", provider="p"))),
        },
    ),
    obj("web_search_call", id=WORD, optional={"action": OBJECT}),
    obj("custom_tool_call_output", call_id=WORD, output=TEXT),
    obj("item_reference", id=WORD),
)
SCHEMA = st.sampled_from([{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object"}])
TOOL = st.one_of(
    obj(
        "function",
        name=WORD,
        parameters=SCHEMA | st.none(),
        optional={"strict": st.booleans() | st.none(), "description": TEXT | st.none(), "defer_loading": st.booleans()},
    ),
    obj("web_search", optional={"search_context_size": WORD}),
    obj("custom", name=WORD, optional={"format": OBJECT}),
)
FORMAT = st.one_of(
    obj("text"),
    obj("json_object"),
    obj("json_schema", name=WORD, schema=SCHEMA, optional={"strict": st.booleans() | st.none(), "description": TEXT}),
)
BODY = st.fixed_dictionaries(
    {"model": WORD, "input": TEXT | st.lists(ITEM, min_size=1, max_size=4)},
    optional={
        "instructions": TEXT | st.none(),
        "tools": st.lists(TOOL, max_size=3) | st.none(),
        "tool_choice": st.one_of(
            st.sampled_from(["auto", "none", "required"]),
            obj("function", name=WORD),
            obj(
                "allowed_tools",
                mode=st.sampled_from(["auto", "required"]),
                tools=st.lists(obj("function", name=WORD), max_size=2),
            ),
            obj("web_search"),
        ),
        "text": st.none() | st.fixed_dictionaries({}, optional={"format": FORMAT | st.none(), "verbosity": WORD}),
        "reasoning": st.none()
        | st.fixed_dictionaries({}, optional={"effort": st.sampled_from(["low", "high", None]), "summary": WORD | st.none()}),
        "max_output_tokens": st.integers(1, 900) | st.none(),
        "temperature": st.floats(0, 2) | st.sampled_from([0, 1, None]),
        "top_p": st.floats(0, 1),
        "top_logprobs": st.integers(0, 5),
        "parallel_tool_calls": st.booleans() | st.none(),
        "stream": st.booleans() | st.none(),
        "stream_options": st.none() | obj(include_obfuscation=st.booleans()),
        "store": st.booleans() | st.none(),
        "previous_response_id": WORD | st.none(),
        "include": st.none()
        | st.lists(st.sampled_from(["reasoning.encrypted_content", "message.output_text.logprobs"]), max_size=2),
        "truncation": st.sampled_from(["auto", "disabled", None]),
        "metadata": st.dictionaries(WORD, TEXT, max_size=2) | st.none(),
        "user": WORD,
        "service_tier": WORD,
        "background": st.sampled_from([False, None]),
        "prompt_cache_key": WORD,
    },
)


def encoded(body: Any) -> bytes:
    """The bytes of a body."""
    return msgspec.json.encode(body)


def asked(**fields: Any) -> ChatRequest:
    """What a model is asked for a body with these fields."""
    return chat_request(parse_responses_request(encoded({"model": "m", "input": "Hi", **fields})))


@given(BODY)
def test_parse_then_render_is_the_identity(body):
    """Nothing a client says is lost or changed on its way through our blocks."""
    assert render_responses_body(parse_responses_request(encoded(body))) == body


@given(BODY)
def test_every_request_can_be_told_to_every_engine(body):
    """The blocks are neutral: each wire takes them, or says in an error of ours what it cannot carry."""
    request = chat_request(parse_responses_request(encoded(body)))
    for target, provider, plain in engines():
        with suppress(CapabilityMissing):
            json.loads(provider.render_chat(request, target, plain, stream=False).body)


def engines():
    """One target a wire."""
    profiles = load_profiles()
    for name in ("openai", "anthropic", "gemini", "ollama"):
        card = ModelCard(id="house/m", wire_name="m", profile=name, key="k")
        yield (
            Target(card=card, profile=profiles[name], base_url="http://host"),
            builtin_providers().for_profile(profiles[name]),
            EffortFields(dialect="none"),
        )


LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@st.composite
def broken(draw):
    """A valid body in which one value anywhere is something else."""
    body = draw(BODY)
    holder: Any = body
    while True:
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not holder[key] or not isinstance(holder[key], dict | list) or draw(st.booleans()):
            holder[key] = draw(LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(WORD, LEAVES, max_size=2))
            return body
        holder = holder[key]


@given(broken())
def test_a_wrong_value_anywhere_is_an_error_of_the_client_or_kept(body):
    """Parsing never fails in another way, and what it takes can be rendered for a model."""
    with suppress(InvalidRequest):
        request = chat_request(parse_responses_request(encoded(body)))
        for target, provider, plain in engines():
            with suppress(CapabilityMissing):
                provider.render_chat(request, target, plain, stream=False)


def test_the_sdks_own_types_are_taken():
    """What the official SDK's types describe as a request is one here."""
    body = {
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png", "detail": "low"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "done"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_object"}},
        "store": False,
    }
    TypeAdapter(sdk.ResponseCreateParamsNonStreaming).validate_python(body)
    request = parse_responses_request(encoded(body))
    assert (request.store, request.summarises, request.seals) == (False, True, False)
    assert render_responses_body(request) == body


def test_items_become_turns():
    """Thinking, text and calls of the assistant are one turn; instructions come first; the API's bookkeeping is left out."""
    turns = asked(
        instructions="S",
        input=[
            {"role": "user", "content": "Weather?"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "status": "completed"},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}],
            },
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "weather", "arguments": '{"a":1.0}'},
            {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "rain"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "sun"}]},
        ],
    ).messages
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "tool", "tool"]
    assert turns[2].blocks == (
        Reasoning(text="hm"),
        Text(text="Let me look."),
        ToolCall(id="c1", name="weather", arguments='{"a":1.0}'),
        ToolCall(id="c2", name="weather", arguments="{}"),
    )
    assert turns[3].blocks == (ToolResult(call_id="c1", blocks=(Text(text="rain"),), form="text"),)
    assert turns[4].blocks == (ToolResult(call_id="c2", blocks=(Text(text="sun"),)),)


def test_images_files_and_foreign_items():
    """A data URL is taken apart; a file's id and an item nobody knows are kept for the report."""
    (message,) = asked(
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
                    {"type": "input_file", "file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"},
                    {"type": "input_image", "file_id": "file_1"},
                ],
            }
        ]
    ).messages
    assert message.blocks[:2] == (
        Image(data="aGk=", media_type="image/png"),
        File(data="aGk=", media_type="application/pdf", filename="a.pdf"),
    )
    assert isinstance(message.blocks[2], Opaque)


def test_thinking_comes_back_as_it_was_sealed():
    """What we sealed returns with its signature, whatever the client left of the item; what another sealed stays its own."""
    whole = Reasoning(text="deep", signature="sig", provider="anthropic")
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal(whole)}
    assert asked(input=[item]).messages[0].blocks == (whole,)
    foreign = asked(input=[{**item, "encrypted_content": "gAAAA"}]).messages[0].blocks
    assert foreign == (Reasoning(redacted=True, data="gAAAA", provider="openai"),)
    assert unseal("pf1.not base64!") is None


def test_history_comes_between_the_instructions_and_the_input():
    """Turns of earlier responses stand before the new input; their instructions are not inherited."""
    request = parse_responses_request(encoded({"model": "m", "input": "And?", "instructions": "S", "previous_response_id": "r"}))
    history = (Message(role="user", blocks=(Text(text="Q"),)), Message(role="assistant", blocks=(Text(text="A"),)))
    assert [text_of(message) for message in chat_request(request, history).messages] == ["S", "Q", "A", "And?"]
    assert join_turns(history) == history


def test_the_fields_land_where_the_house_looks_for_them():
    """Schema, effort, caps, log-probabilities and the cache key are neutral fields; nothing of them is reported."""
    request = asked(
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=50,
        temperature=0.5,
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        top_logprobs=2,
        prompt_cache_key="tea",
        truncation="disabled",
        store=True,
        metadata={"a": "b"},
        parallel_tool_calls=False,
        x_prefrontal={"prefer": "cost"},
    )
    assert request.response_format is not None
    assert (request.response_format.kind, request.response_format.name, request.response_format.strict) == (
        "json_schema",
        "n",
        True,
    )
    assert (request.reasoning_effort, request.max_output_tokens, request.sampling.temperature) == ("high", 50, 0.5)
    assert (request.sampling.logprobs, request.sampling.top_logprobs) == (True, 2)
    assert (request.hints.session, request.hints.prefer, request.metadata) == ("tea", "cost", {"a": "b"})
    assert (request.parallel_tool_calls, request.dialect, request.extra) == (False, "responses", None)


def test_a_narrowed_choice_leaves_those_tools_alone():
    """The tools a request allows are the ones a model sees."""
    tools = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in ("f", "g", "h")]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    request = asked(tools=tools, tool_choice=allowed)
    assert [tool.name for tool in request.tools] == ["g"]
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.tool_choice.extra) == ("required", None)


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"truncation": "auto"}, {"truncation"}),
        ({"service_tier": "flex", "max_tool_calls": 3}, {"service_tier", "max_tool_calls"}),
        ({"text": {"verbosity": "low"}}, {"text.verbosity"}),
        ({"reasoning": {"mode": "pro"}}, {"reasoning.mode"}),
        ({"include": ["web_search_call.action.sources"]}, {"include.web_search_call.action.sources"}),
        ({"tool_choice": {"type": "web_search"}}, {"tool_choice"}),
        ({"top_logprobs": 3}, {"top_logprobs"}),
        ({"stream_options": {"include_obfuscation": True}}, {"stream_options.include_obfuscation"}),
        ({"tools": [{"type": "web_search"}]}, {"tools[].web_search"}),
        ({"input": [{"role": "user", "content": "x"}, {"type": "computer_call", "id": "1"}]}, {"messages[].content.responses"}),
    ],
)
def test_what_nothing_here_can_do_is_reported(fields, reported):
    """Each upstream's translation names what was asked for in vain."""
    for target, provider, plain in engines():
        wire = provider.render_chat(asked(**fields), target, plain, stream=False)
        found = {dropped.field for dropped in wire.dropped}
        assert reported <= found, (target.profile.name, found)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "reasoning", "summary": "s"}]}, "input[0].summary"),
        ({"instructions": ["x"]}, "instructions"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"name": "f"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": {"type": "thing"}}]}, "tools[0].parameters"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": "high"}, "reasoning"),
        ({"stream": "yes"}, "stream"),
        ({"store": "no"}, "store"),
        ({"include": "all"}, "include"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"metadata": []}, "metadata"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"x_prefrontal": {"prefr": "cost"}}, "x_prefrontal.prefr"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change, param):
    """The error says which field, as a path."""
    with pytest.raises(InvalidRequest) as found:
        parse_responses_request(encoded({"model": "m", "input": "x", **change}))
    assert found.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_object_is_refused(body):
    """Any bytes give a clear error and nothing else."""
    with pytest.raises(InvalidRequest):
        parse_responses_request(body)
