"""Tool loops with thinking models of every wire, driven by the official OpenAI client, whole and streamed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

THOUGHT, ASIDE, ANSWER = "A tool knows.", "Let me look.", "It rains in Oslo."
QUESTION = {"role": "user", "content": "Weather in Oslo?"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"rains": {"type": "boolean"}}, "required": ["rains"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "rain", "schema": SCHEMA}}

MODELS = {
    "deepseek": {"profile": "deepseek", "model": "deepseek-v4-pro"},
    "kimi": {"profile": "moonshot", "model": "kimi-k3"},
    "mistral": {"profile": "mistral", "model": "mistral-small-latest"},
    "qwen": {"profile": "vllm", "model": "Qwen/Qwen3-4B"},
    "llamacpp": {"profile": "llamacpp", "model": "qwen3-4b"},
    "gpt": {"profile": "openai", "model": "gpt-5.1"},
    "claude": {"profile": "anthropic", "model": "claude-sonnet-4-5"},
    "opus": {"profile": "anthropic", "model": "claude-opus-5"},
    "gemini": {"profile": "gemini", "model": "gemini-3.5-flash"},
    "ollama": {"profile": "ollama", "model": "qwen3:4b", "context_tokens": 8192},
}
"""One model a convention of giving thinking back."""


UNSIGNED = {"thoughtSignature": "skip_thought_signature_validator"}
"""What Gemini 3 wants on a call that came without a signature; the mock upstream gives none."""


def call_of(name: str, **more: Any) -> dict[str, Any]:
    """Return the tool call as it stands in OpenAI's form."""
    function = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    return {"id": f"call_{name}", "type": "function", "function": function, **more}


def expected_turns(name: str) -> list[dict[str, Any]]:
    """Return by hand the turns after the question that the second call must carry, in the wire's own form."""
    if name in ("claude", "opus"):
        thinking = {"type": "thinking", "thinking": THOUGHT, "signature": "mock-signature"}
        use = {"type": "tool_use", "id": f"call_{name}", "name": "weather", "input": {"city": "Oslo"}}
        result = {"type": "tool_result", "tool_use_id": f"call_{name}", "content": "Rain."}
        turn = {"role": "assistant", "content": [thinking, {"type": "text", "text": ASIDE}, use]}
        return [turn, {"role": "user", "content": [result]}]
    if name == "gemini":
        call = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
        return [
            {"role": "model", "parts": [{"text": THOUGHT, "thought": True}, {"text": ASIDE}, call | UNSIGNED]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "Rain."}}}]},
        ]
    if name == "ollama":
        call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
        turn = {"role": "assistant", "content": ASIDE, "thinking": THOUGHT, "tool_calls": [call]}
        return [turn, {"role": "tool", "content": "Rain.", "tool_name": "weather"}]
    turn = {"role": "assistant", "content": ASIDE, "tool_calls": [call_of(name)]}
    if name in ("deepseek", "kimi", "llamacpp"):
        turn["reasoning_content"] = THOUGHT
    if name == "mistral":
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}
        turn["content"] = [thinking, {"type": "text", "text": ASIDE}]
    return [turn, {"role": "tool", "content": "Rain.", "tool_call_id": f"call_{name}"}]


def script(request: Recorded) -> Answer:
    """Ask for the tool first; with its result, answer; for a schema, JSON."""
    text = request.body.decode()
    name = next(name for name, entry in MODELS.items() if entry["model"] in text + request.path and named(name, request))
    if "Rain." in text:
        return Answer(text=ANSWER, reasoning="It said rain.", input_tokens=50, output_tokens=12, cached_tokens=20)
    if "rains" in text or "json_object" in text:
        return Answer(text='{"rains": true}')
    call = ScriptedCall(id=f"call_{name}", name="weather", arguments={"city": "Oslo"})
    return Answer(text=ASIDE, reasoning=THOUGHT, tool_calls=(call,))


def named(name: str, request: Recorded) -> bool:
    """Tell apart the two conventions that serve the same model by the words only one of them is sent."""
    return name != "qwen" or b"thinking_token_budget" in request.body


@pytest.fixture(scope="module")
def talks(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Talk]:
    """Every conversation of this file: by model, and whether it was streamed."""
    return asyncio.run(run_all(start_gateway, tmp_path_factory.mktemp("loops")))


class Talk(msgspec.Struct, kw_only=True):
    """One tool loop and one answer by schema: what the client saw and what the upstream received."""

    first: dict[str, Any]
    second: dict[str, Any]
    structured: dict[str, Any]
    bodies: list[dict[str, Any]]


async def run_all(start_gateway: Callable[..., Any], home: Path) -> dict[tuple[str, bool], Talk]:
    """Hold the conversations one after another through one gateway."""
    routes = {("POST", "/api/show"): (200, {"capabilities": ["completion", "tools", "thinking"]})}
    found = {}
    async with MockUpstream(script, routes=routes) as up:
        models = {
            name: {**entry, "key": "k", "endpoint": up.base_url if name in OPENAI_WIRE else up.root_url}
            for name, entry in MODELS.items()
        }
        gateway = await asyncio.to_thread(start_gateway, home, {"models": models, "discovery": {"enabled": False}})
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x", max_retries=0) as client:
            for name in MODELS:
                for stream in (False, True):
                    found[name, stream] = await talk(name, client, up, stream=stream)
        await asyncio.to_thread(gateway.stop)
    return found


OPENAI_WIRE = ("deepseek", "kimi", "mistral", "qwen", "llamacpp", "gpt")


async def talk(name: str, client: openai.AsyncOpenAI, up: MockUpstream, *, stream: bool) -> Talk:
    """Ask, run the tool, give its result back without the thinking, as most clients do; then ask for JSON."""
    before = len(up.requests)
    ask = {"model": name, "tools": [TOOL], "max_tokens": 8192, "extra_body": {"x_prefrontal": {"effort": 0.5}}}
    first = await said(client, {**ask, "messages": [QUESTION]}, stream=stream)
    assistant = {"role": "assistant", "content": first["content"], "tool_calls": first["tool_calls"]}
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "Rain."}
    second = await said(client, {**ask, "messages": [QUESTION, assistant, result]}, stream=stream)
    asking = {"model": name, "messages": [{"role": "user", "content": "Yes or no?"}], "response_format": FORMAT}
    asking["extra_body"] = {"x_prefrontal": {"effort": 0.5}}
    structured = await said(client, asking, stream=stream)
    chats = [r for r in up.requests[before:] if r.method == "POST" and r.path != "/api/show"]
    return Talk(first=first, second=second, structured=structured, bodies=[r.json for r in chats])


async def said(client: openai.AsyncOpenAI, ask: dict[str, Any], *, stream: bool) -> dict[str, Any]:
    """Return the first choice as one flat object, put together from chunks when streamed."""
    if not stream:
        done = await client.chat.completions.create(**ask)
        choice = done.choices[0]
        message = choice.message.model_dump(exclude_none=True)
        usage = done.usage.model_dump() if done.usage else {}
        return {"content": None, **message, "finish": choice.finish_reason, "usage": usage}
    out: dict[str, Any] = {"role": "", "content": "", "reasoning": "", "reasoning_content": "", "tool_calls": [], "usage": {}}
    async for chunk in await client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        if chunk.usage is not None:
            out["usage"] = chunk.usage.model_dump()
        for choice in chunk.choices:
            delta = choice.delta.model_dump(exclude_none=True)
            for name in ("role", "content", "reasoning", "reasoning_content"):
                out[name] += delta.get(name, "")
            for call in delta.get("tool_calls", ()):
                if call.get("id"):
                    function = {"name": call["function"]["name"], "arguments": ""}
                    out["tool_calls"].append({"id": call["id"], "type": "function", "function": function})
                out["tool_calls"][call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""
            out["finish"] = choice.finish_reason or out.get("finish")
    return out


TALKS = [
    pytest.param(name, stream, id=f"{name}-{'stream' if stream else 'whole'}") for name in MODELS for stream in (False, True)
]


@pytest.mark.parametrize(("name", "stream"), TALKS)
def test_thinking_and_tool_calls_come_back_in_the_openai_form(
    name: str, stream: bool, talks: dict[tuple[str, bool], Talk]
) -> None:
    """Text, both names of the trace, the call with its arguments, the finish reason and the token counts."""
    first, second = talks[name, stream].first, talks[name, stream].second
    assert (first["role"], first["content"], first["finish"]) == ("assistant", ASIDE, "tool_calls")
    assert first["reasoning_content"] == first["reasoning"] == THOUGHT
    (call,) = first["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"city": "Oslo"})
    assert (second["content"], second["finish"]) == (ANSWER, "stop")
    assert second["reasoning_content"] == second["reasoning"] == "It said rain."
    usage = second["usage"]
    if name == "mistral" and stream:  # it reports unasked; the mock does not, so the counts are our estimate
        assert usage["prompt_tokens"] > 0
        return
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (50, 12, 62)
    if name != "ollama":  # its wire has no cache counts
        assert usage["prompt_tokens_details"]["cached_tokens"] == 20


@pytest.mark.parametrize(("name", "stream"), TALKS)
def test_the_turn_goes_back_with_its_thinking_as_the_wire_wants_it(
    name: str, stream: bool, talks: dict[tuple[str, bool], Talk]
) -> None:
    """The client returned the turn bare; signed blocks and `reasoning_content` are there again, but only where they are due."""
    body = talks[name, stream].bodies[1]
    turns = body["contents"] if name == "gemini" else body["messages"]
    assert without_ids(turns[1:], name) == without_ids(expected_turns(name), name)


def without_ids(turns: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the turns; for wires whose answers carry no call ids, those we made up are left out on both sides."""
    if name != "gemini":
        return turns
    text = json.dumps(turns, sort_keys=True)
    found = json.loads(text)
    for turn in found:
        for part in turn["parts"]:
            for inner in (part.get("functionCall"), part.get("functionResponse")):
                if inner is not None:
                    inner.pop("id", None)
    return list(found)


@pytest.mark.parametrize(("name", "stream"), TALKS)
def test_a_schema_reaches_the_wire_and_the_answer_parses(name: str, stream: bool, talks: dict[tuple[str, bool], Talk]) -> None:
    """Each wire's own form of structured output; what comes back is the JSON text."""
    talk = talks[name, stream]
    assert json.loads(talk.structured["content"]) == {"rains": True}
    body = talk.bodies[2]
    if name in ("claude", "opus"):
        assert body["output_config"]["format"] == {"type": "json_schema", "schema": SCHEMA}
    elif name == "gemini":
        assert body["generationConfig"]["responseJsonSchema"] == SCHEMA
        assert body["generationConfig"]["responseMimeType"] == "application/json"
    elif name == "ollama":
        assert body["format"] == SCHEMA
    elif name in ("deepseek", "kimi"):
        assert body["response_format"] == {"type": "json_object"}
    else:
        assert body["response_format"] == FORMAT


@pytest.mark.parametrize("name", MODELS)
def test_streams_are_streams_all_the_way(name: str, talks: dict[tuple[str, bool], Talk]) -> None:
    """A streamed request is streamed upstream, with usage asked for where the wire has to be asked."""
    for whole, streamed in zip(talks[name, False].bodies, talks[name, True].bodies, strict=True):
        if name == "gemini":
            assert whole == streamed
            continue
        assert not whole.get("stream")
        assert streamed["stream"] is True
        asked = {"include_usage": True} if name in OPENAI_WIRE and name != "mistral" else None
        assert streamed.get("stream_options") == asked
        rest = {key: value for key, value in streamed.items() if key not in ("stream", "stream_options")}
        assert rest == {key: value for key, value in whole.items() if key != "stream"}
