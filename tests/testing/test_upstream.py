"""The mock upstream, seen by the vendors' own SDKs and, for what no SDK shows, by a bare socket."""

import asyncio
import json
import time

import anthropic
import openai
import pytest
from google import genai
from google.genai import types as gemini_types

from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

CALL = ScriptedCall(name="weather", arguments={"city": "Oslo"}, id="call_7")
SCRIPT = {
    "France": Answer(text="It is Paris.", reasoning="capital of France", input_tokens=40, output_tokens=9, cached_tokens=30),
    "weather": Answer(tool_calls=(CALL,)),
}
ASK = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
async def up():
    async with MockUpstream(SCRIPT, models=("one", "two")) as upstream:
        yield upstream


async def raw(up: MockUpstream, body: dict | None, path: str = "/v1/chat/completions") -> tuple[bytes, bytes]:
    """Send one request on a fresh connection; return head and everything after it, to the end or the cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(up.root_url.rpartition(":")[2]), limit=2**22)
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
    head = rest = b""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        rest = await (reader.readexactly(int(length[0])) if length else reader.readuntil(b"\r\n0\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        head, rest = (head, error.partial) if head else (error.partial, b"")
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    return head, rest


def chat(text: str = "alpha beta gamma", **fields) -> dict:
    return {"model": "one", "messages": [{"role": "user", "content": text}], **fields}


def chunks(body: bytes) -> list[dict]:
    lines = [line.removeprefix(b"data: ") for line in body.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: {")]
    return [json.loads(line) for line in lines]


async def test_openai_sdk_reads_answers_streams_tools_usage_and_lists(up):
    """Content, reasoning, tool calls, usage, models and embeddings arrive as the SDK's own types."""
    async with openai.AsyncOpenAI(base_url=up.base_url, api_key="k", max_retries=0) as client:
        answer = await client.chat.completions.create(model="one", messages=ASK)
        assert answer.choices[0].message.content == "It is Paris."
        assert answer.choices[0].message.reasoning_content == "capital of France"
        assert (answer.usage.prompt_tokens, answer.usage.prompt_tokens_details.cached_tokens) == (40, 30)
        stream = await client.chat.completions.create(
            model="one", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
        seen = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in seen if c.choices)
        assert (text, seen[-1].choices, seen[-1].usage.completion_tokens) == ("It is Paris.", [], 9)
        called = await client.chat.completions.create(model="one", messages=[{"role": "user", "content": "weather?"}])
        call = called.choices[0].message.tool_calls[0]
        assert (called.choices[0].finish_reason, call.id, json.loads(call.function.arguments)) == (
            "tool_calls",
            "call_7",
            {"city": "Oslo"},
        )
        assert [model.id async for model in client.models.list()] == ["one", "two"]
        vectors = await client.embeddings.create(model="e", input=["a", "b", "a"], encoding_format="float")
        assert vectors.data[0].embedding == vectors.data[2].embedding != vectors.data[1].embedding


async def test_anthropic_sdk_reads_answers_and_streams(up):
    """Thinking with its signature, text, tools and usage survive the SDK's accumulator."""
    async with anthropic.AsyncAnthropic(base_url=up.root_url, api_key="k", max_retries=0) as client:
        answer = await client.messages.create(model="one", max_tokens=99, messages=ASK)
        assert [block.type for block in answer.content] == ["thinking", "text"]
        assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (10, 30)
        async with client.messages.stream(model="one", max_tokens=99, messages=ASK) as stream:
            streamed = await stream.get_final_message()
        assert [b.to_dict() for b in streamed.content] == [b.to_dict() for b in answer.content]
        assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", 9)
        called = await client.messages.create(model="one", max_tokens=99, messages=[{"role": "user", "content": "weather?"}])
        assert (called.stop_reason, called.content[0].input) == ("tool_use", {"city": "Oslo"})


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of the SDK from its HTTP client
async def test_gemini_sdk_reads_answers_and_streams(up):
    """Thoughts are marked, tool calls and counts are where the SDK looks for them."""
    client = genai.Client(api_key="k", http_options=gemini_types.HttpOptions(base_url=up.root_url, api_version="v1beta"))
    answer = await client.aio.models.generate_content(model="one", contents="the capital of France?")
    assert answer.text == "It is Paris."
    assert (answer.candidates[0].content.parts[0].thought, answer.usage_metadata.prompt_token_count) == (True, 40)
    pieces = [c.text async for c in await client.aio.models.generate_content_stream(model="one", contents="France")]
    assert "".join(piece or "" for piece in pieces) == "It is Paris."
    called = await client.aio.models.generate_content(model="one", contents="weather?")
    assert called.function_calls[0].args == {"city": "Oslo"}
    await client.aio.aclose()


async def test_ollama_streams_lines_by_default_and_a_whole_object_on_request(up):
    """The native wire: NDJSON with counts in the last line, and the list and show routes."""
    _, streamed = await raw(up, chat("France?"), "/api/chat")
    lines = [json.loads(line) for line in streamed.split(b"\r\n") if line.startswith(b"{")]
    assert "".join(line["message"]["content"] for line in lines) == "It is Paris."
    assert (lines[-1]["done"], lines[-1]["eval_count"]) == (True, 9)
    _, whole = await raw(up, chat("France?", stream=False), "/api/chat")
    assert json.loads(whole)["message"]["thinking"] == "capital of France"
    assert json.loads((await raw(up, None, "/api/tags"))[1])["models"][0]["name"] == "one"
    assert "completion" in json.loads((await raw(up, {"model": "one"}, "/api/show"))[1])["capabilities"]


async def test_scripts_may_be_functions_and_without_one_the_prompt_comes_back():
    """A function sees the whole request; the default is an echo."""
    async with MockUpstream(lambda request: request.headers.get("x-who", "nobody")) as up:
        assert b"nobody" in (await raw(up, chat()))[1]
    async with MockUpstream() as up:
        assert json.loads((await raw(up, chat("say this")))[1])["choices"][0]["message"]["content"] == "say this"


async def test_requests_are_recorded_with_raw_and_parsed_body(up):
    """What the program under test sent can be examined byte by byte."""
    await raw(up, chat("hello"), "/v1/chat/completions?trace=1")
    seen = up.requests[0]
    assert (seen.path, seen.query, seen.status) == ("/v1/chat/completions", {"trace": "1"}, 200)
    assert json.loads(seen.body) == seen.json == chat("hello")
    assert not seen.closed_early


async def test_health_tokenize_and_own_routes_answer():
    """Probes work, and a test can add what its engine has."""
    async with MockUpstream(routes={("GET", "/props"): (200, {"n_ctx": 5}), ("GET", "/health"): (418, {})}) as up:
        assert json.loads((await raw(up, None, "/props"))[1]) == {"n_ctx": 5}
        assert b" 418 " in (await raw(up, None, "/health"))[0]
        assert len(json.loads((await raw(up, {"content": "a b c"}, "/tokenize"))[1])["tokens"]) == 3
        assert b" 404 " in (await raw(up, None, "/nothing"))[0]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "tags"])
async def test_reasoning_goes_where_it_is_told(field):
    """The three places engines put a trace; tags may be split over chunks."""
    async with MockUpstream(SCRIPT, reasoning_field=field) as up:
        deltas = [c["choices"][0]["delta"] for c in chunks((await raw(up, chat("France", stream=True)))[1])]
        content = "".join(d.get("content") or "" for d in deltas)
        if field == "tags":
            assert content == "<think>capital of France</think>It is Paris."
        else:
            assert ("".join(d.get(field, "") for d in deltas), content) == ("capital of France", "It is Paris.")


async def test_usage_comes_in_a_stream_only_when_asked_for(up):
    """As OpenAI does it: no include_usage, no usage chunk."""
    assert not any("usage" in c for c in chunks((await raw(up, chat(stream=True)))[1]))


async def test_a_status_fault_has_headers_and_the_error_shape_of_the_wire(up):
    """Each wire has its own envelope; retry headers are sent as given."""
    for path, key in (("/v1/chat/completions", "type"), ("/v1/messages", "type"), ("/v1beta/models/m:generateContent", "status")):
        up.fail(Fault(kind="status", status=429, headers={"retry-after-ms": "250", "x-should-retry": "true"}))
        head, body = await raw(up, chat(), path)
        assert b" 429 " in head
        assert b"retry-after-ms: 250" in head
        assert b"x-should-retry: true" in head
        assert key in json.loads(body)["error"]
    assert b" 200 " in (await raw(up, chat()))[0]


async def test_loading_is_503_on_every_path_as_often_as_told_and_then_fine(up):
    """Health probes see a loading engine, too."""
    up.fail(Fault(kind="loading", times=2))
    assert b" 503 " in (await raw(up, None, "/health"))[0]
    assert b"Loading model" in (await raw(up, chat()))[1]
    assert b" 200 " in (await raw(up, chat()))[0]


async def test_faults_wait_for_their_request(up):
    """Probes do not use up a fault, a predicate picks its victim, `times=None` stays until healed."""
    up.fail(Fault(kind="status", status=418, when=lambda r: b'"two"' in r.body), Fault(kind="empty", times=None))
    assert b" 200 " in (await raw(up, None, "/v1/models"))[0]
    assert b"content-length: 0" in (await raw(up, chat()))[0]
    assert b" 418 " in (await raw(up, chat() | {"model": "two"}))[0]
    assert b"content-length: 0" in (await raw(up, chat() | {"model": "two"}))[0]
    up.heal()
    assert b"content-length: 0" not in (await raw(up, chat()))[0]


@pytest.mark.parametrize(
    ("kind", "stream"),
    [
        ("slow_headers", True),
        ("slow_first_token", True),
        ("slow_first_token", False),
        ("slow_between", True),
        ("slow_between", False),
    ],
)
async def test_slow_faults_delay_and_then_answer_in_full(up, kind, stream):
    """Slowness alone loses nothing."""
    begun = time.perf_counter()
    await raw(up, chat(stream=stream))
    prompt_s = time.perf_counter() - begun
    up.fail(Fault(kind=kind, delay_s=0.08))
    _, body = await raw(up, chat(stream=stream))
    assert time.perf_counter() - begun - prompt_s >= 0.08
    assert b"gamma" in body
    assert body.endswith(b"0\r\n\r\n") or not stream


async def test_slow_first_token_shows_the_head_at_once(up):
    """The delay lies after the head and the opening, where a gateway must hold back."""
    up.fail(Fault(kind="slow_first_token", delay_s=0.2))
    task = asyncio.create_task(raw(up, chat(stream=True)))
    seen = await up.arrived()
    await asyncio.sleep(0.1)
    assert (seen.status, seen.chunks_sent) == (200, 1)
    await task


@pytest.mark.parametrize(("after", "words"), [(0, b""), (2, b"beta "), (99, b"gamma")])
async def test_a_cut_stream_ends_after_its_tokens_without_a_finish(up, after, words):
    """However late the cut, finish and [DONE] never come."""
    up.fail(Fault(kind="cut_after", after_chunks=after))
    head, body = await raw(up, chat(stream=True))
    assert b" 200 " in head
    assert words in body
    assert not any(c["choices"][0]["finish_reason"] for c in chunks(body))
    assert b"[DONE]" not in body
    assert sum(bool(c["choices"][0]["delta"].get("content")) for c in chunks(body)) == min(after, 3)


async def test_a_cut_whole_answer_is_shorter_than_its_length(up):
    """The client can tell, because the length was announced."""
    up.fail(Fault(kind="cut_after"))
    head, body = await raw(up, chat())
    announced = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert 0 < len(body) < announced


async def test_drop_sends_nothing_and_reset_is_a_reset(up):
    """Both ways to lose a connection before the head."""
    up.fail(Fault(kind="drop"), Fault(kind="drop", reset=True))
    assert await raw(up, chat()) == (b"", b"")
    with pytest.raises(ConnectionResetError):
        await raw(up, chat())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["garbage", "wrong_json", "error_after_200", "error_midstream"])
async def test_broken_answers_come_under_200(up, kind, stream):
    """The status is no help: the body is."""
    up.fail(Fault(kind=kind, after_chunks=1, message="overheated"))
    head, body = await raw(up, chat(stream=stream))
    assert b" 200 " in head
    expected = {"garbage": b"neither JSON", "wrong_json": b"unexpected"}.get(kind, b"overheated")
    assert expected in body
    assert (b"alpha" in body) is (stream and kind in ("garbage", "error_midstream"))
    assert b"gamma" not in body


async def test_keepalive_comments_change_nothing_for_a_parser(up):
    """Comments in a stream, blank lines before a whole answer: as DeepSeek sends them."""
    up.fail(Fault(kind="keepalive_comments", times=2))
    _, streamed = await raw(up, chat(stream=True))
    assert streamed.count(b": keep-alive\n\n") >= 3
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks(streamed)) == "alpha beta gamma"
    _, whole = await raw(up, chat())
    assert whole.startswith(b"\n")
    assert json.loads(whole)["choices"]


async def test_usage_faults_and_the_empty_answer_at_the_cap(up):
    """No usage at all, usage beside choices, and thinking that ate the cap."""
    ask = chat(stream=True, stream_options={"include_usage": True})
    up.fail(Fault(kind="usage_missing", times=2), Fault(kind="usage_with_choices"), Fault(kind="length_empty"))
    assert not any(c.get("usage") for c in chunks((await raw(up, ask))[1]))
    assert "usage" not in json.loads((await raw(up, chat()))[1])
    with_usage = [c for c in chunks((await raw(up, ask))[1]) if c.get("usage")]
    assert [c["choices"][0]["finish_reason"] for c in with_usage] == ["stop"]
    choice = json.loads((await raw(up, chat()))[1])["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"], bool(choice["message"]["reasoning_content"])) == (
        "length",
        None,
        True,
    )


async def test_a_huge_line_is_as_large_as_told(up):
    """One token of the given size, in one line."""
    up.fail(Fault(kind="huge_line", size=300_000))
    assert b"x" * 300_000 in (await raw(up, chat(stream=True)))[1]


async def test_a_script_that_raises_is_told_to_the_client_instead_of_hanging():
    """A mistake in the test shows up as an answer that names it."""
    async with MockUpstream(lambda request: request.json["nothing"]) as up:
        head, body = await raw(up, chat())
        assert b" 500 " in head
        assert b"KeyError('nothing')" in body


async def test_early_closing_is_timed_and_ends_the_request(up):
    """`over` returns at once when the client goes, and `closed_early_s` says when."""
    up.fail(Fault(kind="slow_headers", delay_s=5))
    _, writer = await asyncio.open_connection("127.0.0.1", int(up.root_url.rpartition(":")[2]))
    data = json.dumps(chat()).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(data) + data)
    seen = await up.arrived()
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(seen.over(), 1)
    assert seen.closed_early
    assert 0 <= seen.closed_early_s - seen.received_s < 1


async def test_a_stopped_upstream_comes_back_on_its_port(up):
    """As an engine that is killed and restarted: connections die, the address stays."""
    address = up.base_url
    await up.stop()
    with pytest.raises(OSError, match="Connect call failed"):
        await raw(up, chat())
    await up.start()
    assert up.base_url == address
    assert b" 200 " in (await raw(up, chat()))[0]
