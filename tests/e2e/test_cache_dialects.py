"""The response cache over HTTP: three dialects through their official libraries, admins, the command line, leaving clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "admin-of-the-tests"
USE = {"x-prefrontal-cache": "use"}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}


def settings(up: MockUpstream) -> dict[str, Any]:
    price = {"input_usd": 2.0, "output_usd": 10.0}
    common = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "price": price}
    claude = {"profile": "anthropic", "endpoint": up.root_url, "key": "k", "price": price}
    return {
        "models": {"m": common, "claude": claude},
        "server": {"admin_keys": [ADMIN], "api_keys": ["first", "second"]},
        "discovery": {"enabled": False},
    }


def said(request: Recorded) -> Answer:
    """A tool call for whoever has tools, thoughts and slow words for the others."""
    body = request.json
    if body.get("tools"):
        return Answer(reasoning="Ask.", tool_calls=(ScriptedCall(name="weather", arguments={"city": "Oslo"}, id="call_1"),))
    slow = 0.06 if "slowly" in str(body["messages"][-1]) else 0.0
    return Answer(reasoning="Think first.", text="It rains in Oslo today.", input_tokens=100, output_tokens=20, pace_s=slow)


class Served:
    """A gateway, its upstream, and what to ask it with."""

    def __init__(self, up: MockUpstream, gateway: Any, http: httpx.AsyncClient) -> None:
        self.up, self.gateway, self.http = up, gateway, http
        self.openai = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="first", max_retries=0)
        self.anthropic = anthropic.AsyncAnthropic(base_url=gateway.url, api_key="first", max_retries=0)

    @property
    def calls(self) -> int:
        """How often the upstream was asked for an answer."""
        return len([one for one in self.up.requests if one.method == "POST" and not one.path.endswith("count_tokens")])

    async def admin(self, method: str, path: str = "", expect: int = 200, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {ADMIN}"}
        answer = await self.http.request(method, f"/v1/admin/cache{path}", headers=headers, **options)
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def post(self, text: str, key: str = "first", **headers: str) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        return await self.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}", **headers})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """A gateway with two keys and an admin's."""
    async with MockUpstream(said) as up:
        gateway = start_gateway(tmp_path_factory.mktemp("cache"), settings(up))
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30.0) as http:
            found = Served(up, gateway, http)
            yield found
            await found.openai.close()
            await found.anthropic.close()
        assert await asyncio.to_thread(gateway.stop) == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


async def chat(served: Served, model: str, stream: bool, tools: bool) -> tuple[Any, Any, Any]:
    """Ask by chat completions; return what was said, the usage, and the headers."""
    create = served.openai.chat.completions.with_raw_response.create
    question = [{"role": "user", "content": f"chat {stream} {tools}"}]
    body: dict[str, Any] = {"model": model, "messages": question, "max_tokens": 500}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": TOOL}}]
    if not stream:
        raw = await create(**body, extra_headers=USE)
        answer: Any = raw.parse()
        message = answer.choices[0].message.to_dict()
        return {**message, "finish": answer.choices[0].finish_reason}, answer.usage.to_dict(), raw.headers
    raw = await create(**body, stream=True, stream_options={"include_usage": True}, extra_headers=USE)
    text, thought, calls, finish, usage = "", "", "", None, None
    async for chunk in raw.parse():
        usage = chunk.usage.to_dict() if chunk.usage else usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                calls += f"{call.id or ''}{call.function.name or ''}{call.function.arguments or ''}"
    return (text, thought, calls, finish), usage, raw.headers


async def messages(served: Served, model: str, stream: bool, tools: bool) -> tuple[Any, Any, Any]:
    """Ask by Messages."""
    client = served.anthropic
    question = [{"role": "user", "content": f"messages {stream} {tools}"}]
    body: dict[str, Any] = {"model": model, "messages": question, "max_tokens": 500}
    if tools:
        body["tools"] = [{"name": "weather", "input_schema": TOOL}]
    if not stream:
        raw = await client.messages.with_raw_response.create(**body, extra_headers=USE)
        answer: Any = await raw.parse()
        return [block.to_dict() for block in answer.content], answer.usage.to_dict(), raw.headers
    async with client.messages.stream(**body, extra_headers=USE) as source:
        final = await source.get_final_message()
        return [block.to_dict() for block in final.content], final.usage.to_dict(), source.response.headers


async def responses(served: Served, model: str, stream: bool, tools: bool) -> tuple[Any, Any, Any]:
    """Ask by Responses."""
    client = served.openai
    body: dict[str, Any] = {"model": model, "input": f"responses {stream} {tools}", "max_output_tokens": 500}
    if tools:
        body["tools"] = [{"type": "function", "name": "weather", "parameters": TOOL, "strict": False}]
    if not stream:
        raw = await client.responses.with_raw_response.create(**body, extra_headers=USE)
        answer, headers = raw.parse(), raw.headers
    else:
        async with client.responses.stream(**body, extra_headers=USE) as source:
            answer, headers = await source.get_final_response(), source._response.headers
    items = [{name: value for name, value in item.to_dict().items() if name != "id"} for item in answer.output]
    assert answer.usage is not None
    return items, answer.usage.to_dict(), headers


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["m", "claude"])
@pytest.mark.parametrize("ask", [chat, messages, responses])
async def test_a_hit_is_the_answer_again_in_every_dialect(
    served: Served, ask: Any, model: str, stream: bool, tools: bool
) -> None:
    """Whole and streamed, with thinking and with calls: the same words, the same end, the same usage, and no call."""
    before = served.calls
    first, usage, head = await ask(served, model, stream, tools)
    again, used, hit = await ask(served, model, stream, tools)
    assert served.calls == before + 1
    assert (again, used) == (first, usage)
    assert head["x-prefrontal-cache"] == ("miss" if stream else "stored")
    assert (hit["x-prefrontal-cache"], hit["x-prefrontal-answered-by"]) == ("hit", "cache")
    if not stream:
        assert float(hit["x-prefrontal-cost-usd"]) == 0.0
        assert hit["x-prefrontal-cache-id"] == head["x-prefrontal-cache-id"]


async def test_the_last_chunk_of_a_stream_says_what_the_cache_did(served: Served) -> None:
    """Stored, then a hit with its age and what it saved; the framing is that of any stream."""
    body = {"model": "m", "messages": [{"role": "user", "content": "framing"}], "stream": True}
    seen = []
    for _ in range(2):
        answer = await served.http.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer first", **USE})
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.text.split("\n\n") if line]
        assert all(line.startswith("data: ") for line in lines)
        assert lines[-1] == "data: [DONE]"
        seen.append(httpx.Response(200, text=lines[-2][6:]).json()["x_prefrontal"])
    assert [one["cache"]["status"] for one in seen] == ["stored", "hit"]
    assert seen[1]["cache"]["id"] == seen[0]["cache"]["id"]
    assert seen[1]["cache"]["saved_usd"] == seen[0]["cost_usd"] > 0 == seen[1]["cost_usd"]


async def test_peers_21_another_key_is_never_answered_from_it(served: Served) -> None:
    """The same words under two keys are two calls, whatever they ask of the cache."""
    before = served.calls
    statuses = [(await served.post("whose?", key, **USE)).headers["x-prefrontal-cache"] for key in ("first", "second") * 2]
    assert statuses == ["stored", "stored", "hit", "hit"]
    assert served.calls == before + 2


async def test_a_word_that_is_none_is_refused(served: Served) -> None:
    """A slip must not mean that nothing is cached, or everything."""
    answer = await served.post("hi", **{"x-prefrontal-cache": "yes please"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-prefrontal-cache")
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "x_prefrontal": {"cache": "maybe"}}
    answer = await served.http.post("/v1/chat/completions", json=body, headers={"authorization": "Bearer first"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x_prefrontal.cache")


async def test_admins_delete_one_answer_a_key_s_a_model_s_or_all(served: Served) -> None:
    """By the id in the answer's header; a filter that is not understood deletes nothing, and nobody else may."""
    entry = (await served.post("delete me", **USE)).headers["x-prefrontal-cache-id"]
    found = await served.admin("GET", f"/{entry}")
    assert (found["model"], found["usage"]["output_tokens"]) == ("m", 20)
    assert "rains" not in str(found)
    await served.admin("DELETE", f"/{entry}")
    await served.admin("DELETE", f"/{entry}", expect=404)
    await served.admin("GET", "/not-an-id", expect=404)
    assert (await served.post("delete me", **USE)).headers["x-prefrontal-cache"] == "stored"
    refused = await served.http.delete("/v1/admin/cache", headers={"authorization": "Bearer first"})
    assert refused.status_code == 403
    for wrong in ({"modle": "m"}, {"key": "a", "team": "b"}):
        await served.admin("DELETE", params=wrong, expect=400)
    key_id = (await served.http.get("/v1/traces", headers={"authorization": f"Bearer {ADMIN}"})).json()["data"][0]["key_id"]
    await served.post("of the second", "second", **USE)
    assert (await served.admin("DELETE", params={"key": key_id}))["deleted"] >= 1
    assert (await served.post("of the second", "second", **USE)).headers["x-prefrontal-cache"] == "hit"
    assert (await served.admin("DELETE", params={"model": "nobody"}))["deleted"] == 0
    assert (await served.admin("DELETE"))["deleted"] >= 1
    state = await served.admin("GET")
    assert (state["entries"], state["bytes"], state["store"]) == (0, 0, "memory")
    assert state["hit"] > 0 < state["saved_usd"]


async def test_a_leader_that_hangs_up_does_not_end_the_call_for_the_others(served: Served) -> None:
    """Over real connections: its socket is closed in the middle, and the other client has every word of the one call."""
    before = served.calls
    body = {"model": "m", "messages": [{"role": "user", "content": "say it slowly"}], "stream": True}
    headers = {"authorization": "Bearer first", **USE}

    async def leave() -> None:
        async with served.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            async for _ in answer.aiter_lines():
                await asyncio.sleep(0.12)  # by then the other one has joined
                return

    leaving = asyncio.create_task(leave())
    async with asyncio.timeout(5.0):
        while True:
            if served.calls > before:
                break
            await asyncio.sleep(0.002)
    answer = await served.http.post("/v1/chat/completions", json=body, headers=headers)
    await leaving
    assert answer.headers["x-prefrontal-cache"] == "shared"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"saved_usd"' in answer.text
    assert served.calls == before + 1
    assert (await served.http.post("/v1/chat/completions", json=body, headers=headers)).headers["x-prefrontal-cache"] == "hit"


async def test_metrics_and_traces_tell(served: Served) -> None:
    """Counted by status, with what was saved; a hit's tokens are not counted a second time."""
    await served.post("count me", **USE)

    async def metrics() -> dict[str, float]:
        text = (await served.http.get("/metrics", headers={"authorization": f"Bearer {ADMIN}"})).text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in lines}

    before = await metrics()
    trace = (await served.post("count me", **USE)).headers["x-prefrontal-trace"]
    after = await metrics()
    hits, saved = 'prefrontal_cache_requests_total{status="hit"}', 'prefrontal_cache_saved_usd_total{model="m"}'
    tokens = 'prefrontal_tokens_total{model="m",type="output"}'
    assert after[hits] == before[hits] + 1
    assert after[saved] == pytest.approx(before.get(saved, 0.0) + (100 * 2 + 20 * 10) / 1e6)
    assert after[tokens] == before[tokens]
    record = (await served.http.get(f"/v1/traces/{trace}", headers={"authorization": f"Bearer {ADMIN}"})).json()
    assert (record["answered_by"], record["cache"]["status"], record["cost_usd"]) == ("cache", "hit", 0.0)
    page = await served.http.get(f"/ui/traces/{trace}", headers={"authorization": f"Bearer {ADMIN}"})
    assert "Response cache" in page.text


async def test_the_command_line_shows_and_clears(served: Served) -> None:
    """`prefrontal cache stats` and `clear`, with an admin's key."""
    entry = (await served.post("by command", **USE)).headers["x-prefrontal-cache-id"]
    env = {"PATH": os.environ["PATH"], "PREFRONTAL_API_KEY": ADMIN, "PREFRONTAL_HOME": str(served.gateway.home / "cli")}

    async def command(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "prefrontal", "cache", *words, "--url", served.gateway.url]
        return await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, env=env, check=False, timeout=30)

    shown = await command("stats")
    assert shown.returncode == 0, shown.stderr
    assert "requests that ask for it" in shown.stdout
    gone = await command("clear", entry)
    assert (gone.returncode, "1 answer is deleted" in gone.stderr) == (0, True), gone.stderr
    assert (await command("clear", entry)).returncode == 1
    assert (await command("clear", entry, "--model", "m")).returncode == 1
    assert "deleted" in (await command("clear", "--model", "m", "--json")).stdout
