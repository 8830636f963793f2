"""One conversation, told by a client of each dialect, to upstreams of every wire: nothing disappears unsaid."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefrontal.chat.request import ChatRequest
from prefrontal.providers.anthropic.client import parse_messages_request
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.gemini.client import parse_generate_request
from prefrontal.providers.ollama.client import parse_chat_request
from prefrontal.providers.registry import builtin_providers

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
MESSAGES = {
    "model": "auto",
    "max_tokens": 77,
    "system": "Be brief-1.",
    "messages": [
        {"role": "user", "content": "Weather-2?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "secret", "signature": "sig"},
                {"type": "text", "text": "Looking-3."},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bonn-4"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "rain-5"},
                {"type": "text", "text": "And now-6?"},
            ],
        },
    ],
    "tools": [{"name": "weather", "description": "Looks-7.", "input_schema": SCHEMA}],
    "stop_sequences": ["END-8"],
    "temperature": 0.25,
    "service_tier": "auto",
}
GENERATE = {
    "systemInstruction": {"parts": [{"text": "Be brief-1."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Weather-2?"}]},
        {
            "role": "model",
            "parts": [
                {"text": "secret", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "Looking-3."},
                {"functionCall": {"name": "weather", "args": {"city": "Bonn-4"}}},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "rain-5"}}}]},
        {"role": "user", "parts": [{"text": "And now-6?"}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "weather", "description": "Looks-7.", "parametersJsonSchema": SCHEMA}]}],
    "generationConfig": {"maxOutputTokens": 77, "stopSequences": ["END-8"], "temperature": 0.25},
    "safetySettings": [],
}
CHAT = {
    "model": "auto",
    "messages": [
        {"role": "system", "content": "Be brief-1."},
        {"role": "user", "content": "Weather-2?"},
        {
            "role": "assistant",
            "content": "Looking-3.",
            "thinking": "secret",
            "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Bonn-4"}}}],
        },
        {"role": "tool", "content": "rain-5", "tool_name": "weather"},
        {"role": "user", "content": "And now-6?"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "Looks-7.", "parameters": SCHEMA}}],
    "options": {"num_predict": 77, "stop": ["END-8"], "temperature": 0.25},
    "keep_alive": "5m",
}


def requests() -> dict[str, ChatRequest]:
    """The conversation in each dialect."""
    return {
        "anthropic": parse_messages_request(json.dumps(MESSAGES).encode()),
        "gemini": parse_generate_request(json.dumps(GENERATE).encode(), model="auto"),
        "ollama": parse_chat_request(json.dumps(CHAT).encode()),
    }


def leaves(value: Any) -> list[str]:
    """All scalars of a JSON value, as text."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [str(value)]


@pytest.mark.parametrize("upstream", ["anthropic", "gemini", "ollama"])
@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "ollama"])
def test_all_content_arrives_and_the_rest_is_reported(dialect, upstream, target_of, plain):
    """Texts, calls, results, tools, stops, cap and temperature arrive; signed thinking and vendor fields only at home."""
    target = target_of(upstream)
    wire = (
        builtin_providers().for_profile(load_profiles()[upstream]).render_chat(requests()[dialect], target, plain, stream=False)
    )
    sent = " ".join(leaves(json.loads(wire.body)))
    for mark in ("Be brief-1.", "Weather-2?", "Looking-3.", "Bonn-4", "rain-5", "And now-6?", "Looks-7.", "END-8", "77", "0.25"):
        assert mark in sent, mark
    reported = {item.field for item in wire.dropped}
    assert ("secret" in sent) is (dialect == upstream)
    if dialect == upstream:
        assert reported == set()
    else:
        vendor = {"anthropic": "service_tier", "gemini": "safetySettings", "ollama": "keep_alive"}[dialect]
        assert reported == {"messages[].reasoning", vendor}
