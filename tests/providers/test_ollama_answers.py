"""Answers on the native Ollama wire: whole, as NDJSON, errors, models, loading."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from prefrontal.chat.blocks import Reasoning, Text, ToolCall, ToolResult
from prefrontal.chat.collect import Collector
from prefrontal.chat.embeddings import EmbeddingsRequest
from prefrontal.chat.request import ChatRequest, Message, Tool
from prefrontal.chat.usage import Usage
from prefrontal.contracts.wire import WireRequest, WireResponse
from prefrontal.errors import (
    CapabilityMissing,
    ProviderAuthFailed,
    ProviderCut,
    ProviderError,
    ProviderLoading,
    ProviderMisbehaved,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderRejected,
)
from prefrontal.providers.ollama.client import render_chat_response
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


CALL = b'{"function": {"name": "f", "index": 0, "arguments": {"z": 1.00, "a": 123456789012345678901234567890}}}'
ANSWER = (
    b'{"model": "qwen3:4b", "created_at": "2026-11-20T10:00:00.123456789Z", "message": {"role": "assistant",'
    b' "content": "One moment.", "thinking": "Let me see", "tool_calls": ['
    + CALL
    + b']}, "done": true, "done_reason": "stop", "total_duration": 5,'
    b' "prompt_eval_count": 11, "eval_count": 7}'
)
OURS = Usage(uncached_input_tokens=11, output_tokens=7, source="reported")


def test_an_answer_becomes_blocks_with_exact_arguments(target_of):
    """Thinking, text and calls; the JSON text of arguments is the engine's; a call makes the turn a tool turn."""
    found = PROVIDER.parse_chat(ok(ANSWER), target_of("ollama"))
    thinking, text, call = found.choices[0].blocks
    assert (thinking, text) == (Reasoning(text="Let me see", provider="ollama"), Text(text="One moment."))
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"z": 1.00, "a": 123456789012345678901234567890}'
    assert (found.usage, found.created_s, found.model) == (OURS, 1795168800, "qwen3:4b")
    assert (found.choices[0].finish_reason, found.choices[0].raw_finish) == ("tool_calls", "stop")
    assert json.loads(render_chat_response(found)) == json.loads(ANSWER)


def test_a_tool_loop_replays_the_turn(target_of, plain):
    """The call goes back without the id we gave it, with the very same arguments, and with its thinking."""
    target = target_of("ollama")
    blocks = PROVIDER.parse_chat(ok(ANSWER), target).choices[0].blocks
    call = next(block for block in blocks if isinstance(block, ToolCall))
    turns = (
        user("go"),
        said("assistant", *blocks),
        said("tool", ToolResult(call_id=call.id, blocks=(Text(text="1"),), form="text")),
    )
    wire = PROVIDER.render_chat(replace(HELLO, messages=turns), target, plain, stream=False)
    sent = json.loads(wire.body)["messages"]
    assert (sent[1]["thinking"], "id" in sent[1]["tool_calls"][0]) == ("Let me see", False)
    assert sent[2] == {"role": "tool", "content": "1", "tool_name": "f"}
    assert b'{"z": 1.00, "a": 123456789012345678901234567890}' in wire.body


@pytest.mark.parametrize(("raw", "ours"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")])
def test_every_done_reason_has_its_word(raw, ours, target_of):
    """An engine's odd reason is a plain stop."""
    body = {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True, "done_reason": raw}
    found = PROVIDER.parse_chat(ok(body), target_of("ollama"))
    assert found.choices[0].finish_reason == ours
    assert found.usage.source == "unknown"


def test_half_of_the_counts_is_no_report(target_of):
    """A count the engine leaves out makes the rest an estimate."""
    body = {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True, "eval_count": 4}
    assert PROVIDER.parse_chat(ok(body), target_of("ollama")).usage == Usage(output_tokens=4, source="estimated")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"message":{"tool_calls":[5]}}'])
def test_a_body_that_is_no_answer_misbehaves(body, target_of):
    """Whatever came back, the error says who sent it."""
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_chat(ok(body), target_of("ollama"))


def lines(*values: Any) -> bytes:
    """An NDJSON stream."""
    return b"".join(
        [(value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()) + b"\n" for value in values]
    )


def piece(**message: Any) -> dict[str, Any]:
    """One line of a stream."""
    head = {"model": "qwen3:4b", "created_at": "2026-11-20T10:00:00Z"}
    return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False}


LAST = {**piece(), "done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}


def stream() -> bytes:
    """Thinking, text with characters of several bytes, a call, the end."""
    call = b'{"model": "qwen3:4b", "message": {"role": "assistant", "content": "", "tool_calls": [' + CALL + b']}, "done": false}'
    return lines(piece(thinking="Let me "), piece(thinking="see"), piece(content="One – "), piece(content="moment."), call, LAST)


def test_a_stream_however_cut_gives_the_blocks_of_the_answer(target_of, same_however_cut):
    """The chunks do not depend on the cuts."""
    target = target_of("ollama")
    collector = Collector()
    for chunk in same_however_cut(lambda: PROVIDER.stream_parser(target), stream()):
        collector.add(chunk)
    found = collector.response()
    assert (found.choices[0].reasoning, found.choices[0].text) == ("Let me see", "One – moment.")
    call = found.choices[0].blocks[-1]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"z": 1.00, "a": 123456789012345678901234567890}'
    assert (found.usage, found.model, found.choices[0].finish_reason) == (OURS, "qwen3:4b", "tool_calls")


def test_the_last_line_may_lack_its_newline(target_of, read_stream):
    """The end mark counts without it."""
    assert read_stream(PROVIDER.stream_parser(target_of("ollama")), [stream().rstrip()])


def test_a_stream_without_its_last_object_is_cut(target_of, read_stream):
    """Wherever it ends before ``done``, also inside a line."""
    data = stream()
    last = data.rindex(b'{"model"', 0, len(data) - 10)
    for end in range(0, last, 53):
        with pytest.raises(ProviderCut):
            read_stream(PROVIDER.stream_parser(target_of("ollama")), [data[:end]])


@pytest.mark.parametrize("data", [b"<html>Bad gateway</html>", b"\x00\xff\n", b'{"unexpected": true}\n', b"[1]\n", b"{oops\n"])
def test_garbage_misbehaves(data, target_of, read_stream):
    """Bytes that are not of this wire are told from a cut."""
    with pytest.raises(ProviderMisbehaved):
        read_stream(PROVIDER.stream_parser(target_of("ollama")), [data])


def test_an_error_in_the_stream_is_classified(target_of, read_stream):
    """The engine writes an error object as a line, after any number of tokens."""
    data = lines(piece(content="x"), {"error": "an error was encountered while running the model: unexpected EOF"})
    with pytest.raises(ProviderError, match="unexpected EOF") as found:
        read_stream(PROVIDER.stream_parser(target_of("ollama")), [data])
    assert type(found.value) is ProviderError


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (400, "qwen does not support thinking", ProviderRejected),
        (401, "unauthorized", ProviderAuthFailed),
        (404, "model 'x' not found", ProviderRejected),
        (429, "slow down", ProviderRateLimited),
        (500, "llama runner process has terminated", ProviderError),
        (500, "model requires more system memory (9 GiB) than is available (2 GiB)", ProviderOverloaded),
        (500, "llm server loading model", ProviderLoading),
        (502, "bad gateway", ProviderError),
        (503, "server busy, please try again. maximum pending requests exceeded", ProviderOverloaded),
        (503, "llm server loading model", ProviderLoading),
    ],
)
def test_errors_are_classified(status, text, expected, target_of):
    """A full queue is overload, a cold load is loading, neither is down."""
    error = PROVIDER.parse_error(ok({"error": text}, status), target_of("ollama"))
    assert type(error) is expected
    assert (error.message, error.upstream_status) == (text, status)
    assert type(PROVIDER.parse_error(ok(b"<html>", 503), target_of("ollama"))) is ProviderOverloaded


# --- side routes -----------------------------------------------------------------------------------------------------------


def test_embeddings(target_of):
    """All texts in one request; vectors in order with their count."""
    target = target_of("ollama", wire_name="embedder")
    wire = PROVIDER.render_embeddings(
        EmbeddingsRequest(model="m", inputs=("a", "b"), dimensions=2, encoding_format="base64"), target
    )
    assert wire is not None
    assert wire.url == BASE + "/api/embed"
    assert json.loads(wire.body) == {"model": "embedder", "input": ["a", "b"], "dimensions": 2}
    assert lost(wire) == {"encoding_format": "translated"}
    found = PROVIDER.parse_embeddings(
        ok({"model": "embedder", "embeddings": [[1, 2.5], [0.0, 1]], "prompt_eval_count": 4}), target
    )
    assert found.vectors == ((1.0, 2.5), (0.0, 1.0))
    assert found.usage.input_tokens == 4
    with pytest.raises(CapabilityMissing):
        PROVIDER.render_embeddings(EmbeddingsRequest(model="m", inputs=((1,),)), target)
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_embeddings(ok({"embeddings": [["x"]]}), target)


def test_models_on_disk_and_in_memory(target_of):
    """Tags give names and sizes; ps says what is loaded, with the context it runs with."""
    target = target_of("ollama")
    listing, running = PROVIDER.render_models(target), PROVIDER.render_running(target)
    assert listing is not None
    assert (listing.method, listing.url, running.url) == ("GET", BASE + "/api/tags", BASE + "/api/ps")
    (found,) = PROVIDER.parse_models(
        ok({"models": [{"name": "a:1b", "model": "a:1b", "size": 9, "digest": "d"}, {"odd": 1}]}), target
    )
    assert (found.id, found.size_bytes, found.loaded) == ("a:1b", 9, None)
    (live,) = PROVIDER.parse_running(
        ok({"models": [{"model": "a:1b", "size": 9, "size_vram": 4, "context_length": 4096}]}), target
    )
    assert (live.id, live.context_tokens, live.loaded, live.extra) == ("a:1b", 4096, True, {"size_vram": 4})
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_models(ok({"data": []}), target)


def test_the_probe_reads_capabilities_and_context(target_of):
    """The capability list is complete; the model's own num_ctx wins over its training."""
    target = target_of("ollama")
    wire = PROVIDER.render_probe(target)
    assert wire is not None
    assert (wire.method, wire.url, json.loads(wire.body)) == ("POST", BASE + "/api/show", {"model": "qwen3:4b"})
    info = {"general.architecture": "qwen3", "qwen3.context_length": 40960, "general.parameter_count": 4022468096}
    body = {"model_info": info, "capabilities": ["completion", "tools", "thinking", "insert"]}
    found = PROVIDER.parse_probe(ok(body), target)
    assert found.context_tokens == 40960
    assert {name: said.value for name, said in found.capabilities.items()} == {
        "chat": True,
        "tools": True,
        "thinking": True,
        "vision": False,
        "embedding": False,
        "insert": True,
    }
    own = PROVIDER.parse_probe(ok({**body, "parameters": 'stop "<|im_end|>"\nnum_ctx                        8192'}), target)
    assert own.context_tokens == 8192
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_probe(ok({}), target)
    with pytest.raises(ProviderError):
        PROVIDER.parse_probe(ok({"error": "model 'x' not found"}), target)


def test_loading_and_unloading_go_by_keep_alive(target_of):
    """Loading names the context chat requests name, so that the first of them does not load again."""
    target = target_of("ollama", context_tokens=8192)
    load, unload = PROVIDER.render_load(target, load=True), PROVIDER.render_load(target, load=False)
    assert load is not None
    assert unload is not None
    assert load.url == BASE + "/api/generate"
    assert json.loads(load.body) == {"model": "qwen3:4b", "keep_alive": -1, "stream": False, "options": {"num_ctx": 8192}}
    assert json.loads(unload.body) == {"model": "qwen3:4b", "keep_alive": 0, "stream": False}


def test_health_is_the_version_and_counting_there_is_none(target_of):
    """The engine counts no tokens ahead."""
    health = PROVIDER.render_health(target_of("ollama"))
    assert health is not None
    assert health.url == BASE + "/api/version"
    assert PROVIDER.render_count(HELLO, target_of("ollama")) is None
    with pytest.raises(ProviderMisbehaved):
        PROVIDER.parse_count(ok({}), target_of("ollama"))
