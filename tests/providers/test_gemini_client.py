"""The generateContent dialect from clients: parse then render is the identity, and what is wrong is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.blocks import Reasoning, Text, ToolCall, ToolResult
from prefrontal.errors import InvalidRequest
from prefrontal.providers.gemini.client import parse_generate_request, render_generate_body
from prefrontal.providers.gemini.provider import GeminiProvider
from prefrontal.providers.openai.request import render_chat_body

TEXT = st.text(max_size=12)
WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
OBJECT = st.dictionaries(TEXT, JSON_VALUE, max_size=3)
SIGNED = {"thoughtSignature": TEXT}
BLOB = st.fixed_dictionaries(
    {"mimeType": st.sampled_from(["image/png", "audio/wav", "video/mp4", "application/pdf"]), "data": TEXT},
    optional={"displayName": TEXT},
)
FILE = st.fixed_dictionaries(
    {"fileUri": TEXT}, optional={"mimeType": st.sampled_from(["image/png", "text/csv"]), "displayName": TEXT}
)


def part(optional: dict[str, Any] | None = None, /, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A part of one kind, with fields any part may have."""
    more = {"videoMetadata": OBJECT, "brandNew": JSON_VALUE, **(optional or {})}
    return st.fixed_dictionaries(fields, optional=more)


TEXT_PART = part({"thought": st.booleans(), **SIGNED}, text=TEXT)
CALL = part(
    SIGNED,
    functionCall=st.fixed_dictionaries({"name": WORD}, optional={"id": WORD, "args": OBJECT, "willContinue": st.booleans()}),
)
RESPONSE = st.fixed_dictionaries(
    {"name": WORD, "response": OBJECT},
    optional={"id": WORD, "parts": st.lists(st.fixed_dictionaries({"inlineData": BLOB}), max_size=2), "scheduling": WORD},
)
RESULT = part(functionResponse=RESPONSE)
MEDIA = st.one_of(part(SIGNED, inlineData=BLOB), part(fileData=FILE))
CODE = part(executableCode=OBJECT)
CONTENT = st.one_of(
    st.fixed_dictionaries({"role": st.just("user"), "parts": st.lists(st.one_of(TEXT_PART, MEDIA, RESULT), max_size=3)}),
    st.fixed_dictionaries({"parts": st.lists(TEXT_PART, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"role": st.sampled_from(["user", "function"]), "parts": st.lists(RESULT, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"role": st.just("model"), "parts": st.lists(st.one_of(TEXT_PART, CALL, CODE), max_size=3)}),
    st.fixed_dictionaries({"role": st.just("model")}),
)
DECLARATION = st.fixed_dictionaries(
    {"name": WORD},
    optional={
        "description": TEXT,
        "parametersJsonSchema": OBJECT,
        "parameters": st.just({"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}),
        "behavior": st.just("BLOCKING"),
    },
)
TOOL = st.one_of(
    st.fixed_dictionaries({"functionDeclarations": st.lists(DECLARATION, max_size=2)}),
    st.fixed_dictionaries({"googleSearch": OBJECT}),
    st.fixed_dictionaries({"codeExecution": st.just({}), "urlContext": st.just({})}),
)
CALLING = st.fixed_dictionaries(
    {},
    optional={"mode": st.sampled_from(["AUTO", "ANY", "NONE", "VALIDATED"]), "allowedFunctionNames": st.lists(WORD, max_size=2)},
)
CONFIG = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2) | st.none(),
        "topP": st.floats(0, 1),
        "topK": st.integers(1, 40) | st.just(40.0),
        "seed": st.integers(0, 9),
        "candidateCount": st.integers(1, 3),
        "presencePenalty": st.floats(-2, 2),
        "frequencyPenalty": st.integers(-2, 2),
        "responseLogprobs": st.booleans(),
        "logprobs": st.integers(0, 5),
        "maxOutputTokens": st.integers(1, 9000),
        "stopSequences": st.lists(TEXT, max_size=2),
        "responseMimeType": st.sampled_from(["text/plain", "application/json", "text/x.enum"]),
        "responseJsonSchema": OBJECT,
        "responseSchema": st.just({"type": "ARRAY", "items": {"type": "STRING"}}),
        "thinkingConfig": OBJECT,
        "responseModalities": st.just(["TEXT"]),
    },
)
BODY = st.fixed_dictionaries(
    {"contents": st.lists(CONTENT, min_size=1, max_size=4)},
    optional={
        "systemInstruction": st.fixed_dictionaries({"parts": st.lists(TEXT_PART, max_size=2)}, optional={"role": WORD}),
        "tools": st.lists(TOOL, max_size=3),
        "toolConfig": st.fixed_dictionaries({}, optional={"functionCallingConfig": CALLING, "retrievalConfig": OBJECT}),
        "generationConfig": CONFIG,
        "safetySettings": st.just([{"category": "X", "threshold": "BLOCK_NONE"}]),
        "cachedContent": WORD,
    },
)


@given(BODY)
def test_parse_then_render_is_the_identity(body):
    """Nothing a client says is lost or changed on its way through our blocks."""
    assert json.loads(render_generate_body(parse_generate_request(json.dumps(body).encode(), model="m"))) == body


@given(BODY)
def test_every_request_can_be_told_to_an_openai_engine(body):
    """The blocks are neutral: another wire's renderer takes them."""
    render_chat_body(parse_generate_request(json.dumps(body).encode(), model="m"), lost=[])


def test_the_fields_land_where_the_house_looks_for_them():
    """Instructions, calls, results without ids, schema and thinking are neutral fields; the rest stays in extras."""
    body = {
        "system_instruction": {"parts": [{"text": "S"}]},
        "contents": [
            {"parts": [{"text": "go"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "t", "thought": True, "thoughtSignature": "c2ln"},
                    {"function_call": {"name": "f", "args": {"a": 1}}},
                    {"functionCall": {"name": "f", "args": {"a": 2.0}}},
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": i}}} for i in range(2)]},
        ],
        "tools": [
            {"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}}]}
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9,
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "nullable": True},
            "thinkingConfig": {"thinkingBudget": 5},
        },
        "safetySettings": [],
    }
    request = parse_generate_request(json.dumps(body).encode(), model="gemini-x", stream=True)
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool"]
    assert request.messages[0].blocks == (Text(text="S"),)
    thought, first, second = request.messages[2].blocks
    assert thought == Reasoning(text="t", signature="c2ln", provider="gemini")
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert second.arguments == '{"a": 2.0}'
    results = request.messages[3].blocks
    assert [block.call_id for block in results if isinstance(block, ToolResult)] == [first.id, second.id]
    assert request.tools[0].parameters == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.tool_choice.name) == ("tool", "f")
    assert request.response_format is not None
    assert request.response_format.schema == {"type": ["object", "null"]}
    assert (request.max_output_tokens, request.thinking) == (9, {"thinkingBudget": 5})
    assert (request.model, request.stream, request.extra) == ("gemini-x", True, {"safetySettings": []})


def test_a_native_request_reaches_the_upstream_unchanged(target_of, plain):
    """Between two Gemini endpoints the body stays as it is."""
    body = {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "user", "parts": [{"text": ""}]}],
        "tools": [{"googleSearch": {}}],
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}, "responseMimeType": "application/json"},
        "safetySettings": [{"category": "X", "threshold": "OFF"}],
    }
    request = parse_generate_request(json.dumps(body).encode(), model="auto")
    wire = GeminiProvider().render_chat(request, target_of("gemini"), plain, stream=False)
    assert json.loads(wire.body) == body
    assert wire.dropped == ()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": [5]}, "contents[0]"),
        ({"contents": [{"role": "assistant", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": "x"}]}, "contents[0].parts"),
        ({"contents": [{"parts": ["x"]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}, "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]}, "contents[0].parts[0].functionCall.args"),
        ({"contents": [{"parts": []}], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": [{"parts": []}], "generationConfig": []}, "generationConfig"),
        ({"contents": [{"parts": []}], "systemInstruction": "S"}, "systemInstruction"),
        ({"contents": [{"parts": []}], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"contents": [{"parts": []}], "toolConfig": 5}, "toolConfig"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body, param):
    """The error says which field, as a path."""
    with pytest.raises(InvalidRequest) as found:
        parse_generate_request(json.dumps(body).encode(), model="m")
    assert found.value.param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_json_object_is_refused(body):
    """Any bytes give a clear error and nothing else."""
    with pytest.raises(InvalidRequest):
        parse_generate_request(body, model="m")
