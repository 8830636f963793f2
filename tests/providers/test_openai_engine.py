"""What OpenAI-compatible engines tell of themselves: embeddings, counts, models, capabilities, health, load."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.contracts.model import Capability, ModelCard
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import ProviderMisbehaved
from prefrontal.providers.base import Target
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.openai.request import parse_chat_request

PROVIDER = OpenAIProvider()
PROFILES = load_profiles()
USER = {"role": "user", "content": "hi"}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "1"}
CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def target(name: str, **card: Any) -> Target:
    """A model called ``up`` behind the profile `name`."""
    profile = PROFILES[name]
    base = profile.base_url or "http://host:9/v1"
    return Target(
        card=ModelCard(**{"id": "m", "wire_name": "up", "profile": name, "key": "k", **card}), profile=profile, base_url=base
    )


def body(request: WireRequest | None) -> Any:
    """The JSON sent."""
    assert request is not None
    return json.loads(request.body)


def test_embeddings() -> None:
    """The request goes to the engine under its own model name, or there is none."""
    request = EmbeddingsRequest(model="auto", inputs=("a", "b"), encoding_format="base64")
    sent = PROVIDER.render_embeddings(request, target("openai"))
    assert sent is not None
    assert sent.url == "https://api.openai.com/v1/embeddings"
    assert body(sent) == {"model": "up", "input": ["a", "b"], "encoding_format": "base64"}
    assert PROVIDER.render_embeddings(request, target("deepseek")) is None
    with pytest.raises(ProviderMisbehaved) as caught:
        PROVIDER.parse_embeddings(respond({}), target("openai"))
    assert (caught.value.model, caught.value.provider) == ("m", "openai")


def respond(value: Any) -> WireResponse:
    """A 200 with a JSON body."""
    return WireResponse(status=200, headers={}, body=json.dumps(value).encode())


TOOLS = [{"type": "function", "function": {"name": "f"}}]
COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "vllm": ("http://host:9/tokenize", {"model": "up", "messages": [USER], "tools": TOOLS, "add_generation_prompt": True}),
    "sglang": ("http://host:9/v1/tokenize", {"model": "up", "prompt": "hi"}),
    "tgi": ("http://host:9/chat_tokenize", {"model": "up", "messages": [USER], "tools": TOOLS}),
    "llamacpp": ("http://host:9/v1/chat/completions/input_tokens", {"model": "up", "messages": [USER], "tools": TOOLS}),
    "moonshot": (
        "https://api.moonshot.ai/v1/tokenizers/estimate-token-count",
        {"model": "up", "messages": [USER], "tools": TOOLS},
    ),
    "openai": (
        "https://api.openai.com/v1/responses/input_tokens",
        {
            "model": "up",
            "input": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "strict": False, "name": "f"}],
        },
    ),
}


@pytest.mark.parametrize("name", [name for name in PROFILES if PROFILES[name].wire == "openai"])
def test_token_counts_are_asked_for_in_each_engines_way(name: str) -> None:
    """Engines with a counter get the conversation in their form; the others are not asked."""
    request = parse_chat_request(json.dumps({"model": "m", "messages": [USER], "tools": TOOLS}).encode())
    sent = PROVIDER.render_count(request, target(name))
    assert PROFILES[name].count_tokens == (name in COUNTED)
    if name not in COUNTED:
        assert sent is None
        return
    assert sent is not None
    assert (sent.url, body(sent)) == COUNTED[name]


def test_a_conversation_for_the_responses_counter() -> None:
    """Pictures, calls and results have their form there."""
    picture = {"type": "image_url", "image_url": {"url": "http://p"}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "see"}, picture]},
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        RESULT,
    ]
    request = parse_chat_request(json.dumps({"model": "m", "messages": messages}).encode())
    assert body(PROVIDER.render_count(request, target("openai")))["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "detail": "auto", "image_url": "http://p"},
            ],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"count": 5, "max_model_len": 10, "tokens": [1]}, 5),
        ({"input_tokens": 6}, 6),
        ({"data": {"total_tokens": 7}}, 7),
        ({"tokens": [1, 2]}, 2),
        ({"tokenize_response": [{}, {}, {}], "templated_text": "x"}, 3),
        ([{"id": 1}], 1),
    ],
)
def test_counts_in_every_shape(value: Any, count: int) -> None:
    """Each engine's answer gives the number."""
    assert PROVIDER.parse_count(respond(value), target("vllm")) == count


@pytest.mark.parametrize("value", [{}, {"count": True}, {"count": -1}, "x", None])
def test_a_counter_that_does_not_count(value: Any) -> None:
    """Anything else is the engine's fault."""
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_count(respond(value), target("vllm"))


def engine_says(**values: Any) -> dict[str, Capability]:
    """Capabilities as read from the engine."""
    return {name: Capability(value=value, origin="engine") for name, value in values.items()}


def test_models_in_every_shape() -> None:
    """Context, output cap, capabilities and whether it is loaded are read wherever engines put them."""
    rows = [
        {"id": "vllm", "max_model_len": 32768, "owned_by": "vllm"},
        {"id": "groq", "context_window": 131072, "max_completion_tokens": 8192},
        {
            "id": "mistral",
            "max_context_length": 262144,
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
        },
        {
            "id": "openrouter",
            "context_length": 200000,
            "top_provider": {"max_completion_tokens": 64000},
            "supported_parameters": ["tools", "reasoning", "top_k"],
            "architecture": {"input_modalities": ["text", "image"]},
        },
        {"id": "llamacpp", "meta": {"n_ctx_train": 4096, "size": 1000}, "status": {"value": "unloaded"}},
        {"no": "name"},
    ]
    found = {model.id: model for model in PROVIDER.parse_models(respond({"object": "list", "data": rows}), target("vllm"))}
    assert list(found) == ["vllm", "groq", "mistral", "openrouter", "llamacpp"]
    assert (found["vllm"].context_tokens, found["vllm"].owned_by) == (32768, "vllm")
    assert (found["groq"].context_tokens, found["groq"].max_output_tokens) == (131072, 8192)
    assert found["mistral"].capabilities == engine_says(chat=True, tools=True, vision=False)
    assert found["openrouter"].capabilities == engine_says(tools=True, thinking=True, vision=True)
    assert found["openrouter"].max_output_tokens == 64000
    assert (found["llamacpp"].context_tokens, found["llamacpp"].size_bytes, found["llamacpp"].loaded) == (4096, 1000, False)
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_models(respond({"data": 5}), target("vllm"))


def test_probe_of_llamacpp() -> None:
    """Its properties tell the context of a slot, the modalities, and what the template can do."""
    props = {
        "default_generation_settings": {"n_ctx": 2048},
        "modalities": {"vision": True, "audio": False},
        "chat_template": "{% if tools %}{% endif %}{% if enable_thinking %}",
        "total_slots": 2,
    }
    sent = PROVIDER.render_probe(target("llamacpp"))
    assert sent is not None
    assert (sent.method, sent.url, sent.body) == ("GET", "http://host:9/props", b"")
    found = PROVIDER.parse_probe(respond(props), target("llamacpp"))
    assert found.context_tokens == 2048
    assert found.capabilities == engine_says(vision=True, audio=False, tools=True, thinking=True)


def test_probe_of_lmstudio_and_vllm() -> None:
    """The model is looked up in the list; LM Studio also tells the levels of effort."""
    row = {
        "key": "up",
        "type": "llm",
        "max_context_length": 4096,
        "loaded_instances": [{}],
        "capabilities": {"vision": False, "trained_for_tool_use": True, "reasoning": {"allowed_options": ["low", "high"]}},
    }
    found = PROVIDER.parse_probe(respond({"models": [{"key": "other"}, row]}), target("lmstudio"))
    assert (found.context_tokens, found.loaded, found.effort_levels) == (4096, True, ("low", "high"))
    assert found.capabilities == engine_says(vision=False, tools=True, thinking=True)
    assert PROVIDER.parse_probe(respond({"data": [{"id": "x", "max_model_len": 9}]}), target("vllm")).context_tokens == 9
    with pytest.raises(ProviderMisbehaved, match="up"):
        PROVIDER.parse_probe(respond({"data": [{"id": "x"}, {"id": "y"}]}), target("vllm"))
    assert PROVIDER.parse_probe(respond({"max_total_tokens": 8}), target("tgi")).context_tokens == 8


@pytest.mark.parametrize(
    ("name", "load", "url", "sent"),
    [
        ("vllm", True, "http://host:9/wake_up", None),
        ("vllm", False, "http://host:9/sleep?level=1", None),
        ("llamacpp", True, "http://host:9/models/load", {"model": "up"}),
        ("llamacpp", False, "http://host:9/models/unload", {"model": "up"}),
        ("lmstudio", True, "http://host:9/api/v1/models/load", {"model": "up"}),
        ("lmstudio", False, "http://host:9/api/v1/models/unload", {"instance_id": "up"}),
        ("transformers", False, None, None),
        ("openai", True, None, None),
    ],
)
def test_load_and_unload(name: str, load: bool, url: str | None, sent: Any) -> None:
    """Engines that can load a model are told so in their own way; the others are not."""
    request = PROVIDER.render_load(target(name), load=load)
    assert (request.url if request else None) == url
    if request is not None:
        assert (json.loads(request.body) if request.body else None) == sent


def test_health_falls_back_to_the_list_of_models() -> None:
    """Hosted APIs without a health route are asked for their models."""
    for name, url in (("vllm", "http://host:9/health"), ("openai", "https://api.openai.com/v1/models")):
        sent = PROVIDER.render_health(target(name))
        assert sent is not None
        assert (sent.method, sent.url) == ("GET", url)
