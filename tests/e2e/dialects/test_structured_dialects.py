"""Structured output in each client dialect, over HTTP, through the official libraries: repaired, refused, streamed and held."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import anthropic
import httpx
import openai
import pydantic
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD, FENCED = '{"k":"x"}', '```json\n{"k":"y"}\n```'
BAD = '{"k":"zebra"}'


class Pick(pydantic.BaseModel):
    """The form asked for."""

    model_config = pydantic.ConfigDict(extra="forbid")
    k: Literal["x", "y"]


SCHEMA = Pick.model_json_schema()


def script(request: Recorded) -> Answer:
    """What the model says, by the mark in the question: `SLIP` is wrong until it is told so, `NEVER` is always wrong."""
    body = request.body.decode()
    text = GOOD
    if "NEVER" in body or ("SLIP" in body and "refused by a check" not in body):
        text = BAD
    elif "FENCE" in body:
        text = FENCED
    return Answer(text=text, input_tokens=10, output_tokens=5)


@dataclass
class Served:
    """A gateway with its upstream and the clients."""

    up: MockUpstream
    gpt: openai.AsyncOpenAI
    claude: anthropic.AsyncAnthropic
    http: httpx.AsyncClient

    async def text(self, dialect: str, mark: str, model: str, *, stream: bool = False) -> tuple[str, dict[str, Any]]:
        """Ask in a dialect; return the text and `x_prefrontal`. Raises the library's own errors."""
        found = {"chat": self._chat, "responses": self._responses, "messages": self._messages}[dialect]
        text, extension = await found(mark, model, stream)
        return text, extension

    async def _chat(self, mark: str, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
        form: Any = {"type": "json_schema", "json_schema": {"name": "pick", "schema": SCHEMA}}
        ask: Any = {"model": model, "messages": [{"role": "user", "content": mark}], "response_format": form}
        if not stream:
            answer = await self.gpt.chat.completions.create(**ask)
            return answer.choices[0].message.content or "", answer.x_prefrontal  # type: ignore[attr-defined]
        text, extension = "", {}
        async for chunk in await self.gpt.chat.completions.create(**ask, stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
            extension = getattr(chunk, "x_prefrontal", None) or extension
        return text, extension

    async def _responses(self, mark: str, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
        form: Any = {"format": {"type": "json_schema", "name": "pick", "schema": SCHEMA}}
        answer: Any = await self.gpt.responses.create(model=model, input=mark, text=form, stream=stream)
        if stream:
            async for event in answer:
                if event.type == "response.completed":
                    answer = event.response
        return answer.output_text, answer.x_prefrontal

    async def _messages(self, mark: str, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
        form: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
        ask: Any = {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": mark}], "output_config": form}
        if not stream:
            answer: Any = await self.claude.messages.create(**ask)
            return answer.content[0].text, answer.x_prefrontal
        extension: dict[str, Any] = {}
        async with self.claude.messages.stream(**ask) as events:
            async for event in events:
                if event.type == "message_delta":
                    extension = (event.model_extra or {}).get("x_prefrontal") or {}
            return (await events.get_final_message()).content[0].text, extension  # type: ignore[union-attr]


async def served(start: Callable[..., Any], home: Any, **settings: Any) -> AsyncIterator[Served]:
    """A gateway with a model of each wire."""
    async with MockUpstream(script) as up:
        models = {
            "compatible": {"profile": "openai-compatible", "endpoint": up.base_url},
            "anthropic": {"profile": "anthropic", "endpoint": up.root_url, "key": "k", "model": "claude-sonnet-4-5"},
            "gemini": {"profile": "gemini", "endpoint": up.root_url, "key": "k", "model": "gemini-2.5-pro"},
            "ollama": {"profile": "ollama", "endpoint": up.root_url, "context_tokens": 8192},
        }
        gateway = start(home, {"models": models, "discovery": {"enabled": False}, "structured_output": settings})
        async with (
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20.0) as gpt,
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="unused", max_retries=0, timeout=20.0) as claude,
            httpx.AsyncClient(base_url=gateway.url) as http,
        ):
            yield Served(up, gpt, claude, http)
        assert gateway.stop() == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def passing(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Streams are passed on."""
    async for one in served(start_gateway, tmp_path_factory.mktemp("passing")):
        yield one


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def holding(start_gateway: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Streams are held."""
    async for one in served(start_gateway, tmp_path_factory.mktemp("holding"), stream="hold"):
        yield one


DIALECTS = ("chat", "responses", "messages")
WIRES = ("compatible", "anthropic", "gemini", "ollama")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_whole_answers_hold_in_every_dialect_over_every_wire(passing: Served, dialect: str, wire: str) -> None:
    """A fence is taken away, a slip is repaired, and the usage of both calls is the caller's."""
    text, extension = await passing.text(dialect, "FENCE", wire)
    assert (json.loads(text), extension["validation"]["mended"]) == ({"k": "y"}, True)
    before = len(passing.up.requests)
    text, extension = await passing.text(dialect, "SLIP", wire)
    assert (text, extension["validation"]["repairs"], extension["attempts"]) == (GOOD, 1, 2)
    assert len([r for r in passing.up.requests[before:] if r.method == "POST"]) == 2


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_what_does_not_hold_is_the_librarys_own_error(passing: Served, dialect: str) -> None:
    """502 with our code and the places of the faults; the library is told not to try again."""
    library = anthropic if dialect == "messages" else openai
    with pytest.raises(library.APIStatusError) as refused:
        await passing.text(dialect, "NEVER", "compatible")
    response = refused.value.response
    assert (response.status_code, response.headers["x-should-retry"]) == (502, "false")
    body = response.json()
    assert "/k" in body["error"]["message"]
    assert body["x_prefrontal"]["details"]["answer"] == BAD
    assert "structured_output_invalid" in response.text
    record = (await passing.http.get(f"/v1/traces/{response.headers['x-prefrontal-trace']}")).text
    assert "zebra" not in record


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_passed_stream_ends_with_the_verdict(passing: Served, dialect: str) -> None:
    """What holds says so in the last chunk; what does not ends with the library's error for a broken stream."""
    text, extension = await passing.text(dialect, "go", "compatible", stream=True)
    assert (text, extension["validation"]["passed"]) == (GOOD, True)
    library = anthropic if dialect == "messages" else openai
    with pytest.raises(library.APIError) as broken:
        await passing.text(dialect, "SLIP", "compatible", stream=True)
    assert "not in the form" in str(broken.value)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_held_stream_shows_only_what_holds(holding: Served, dialect: str) -> None:
    """A slip is repaired before anything is shown; what cannot be repaired is an error status, not a broken stream."""
    text, extension = await holding.text(dialect, "SLIP", "compatible", stream=True)
    assert (text, extension["validation"]["repairs"]) == (GOOD, 1)
    text, _ = await holding.text(dialect, "FENCE", "compatible", stream=True)
    assert json.loads(text) == {"k": "y"}
    library = anthropic if dialect == "messages" else openai
    with pytest.raises(library.APIStatusError) as refused:
        await holding.text(dialect, "NEVER", "compatible", stream=True)
    assert refused.value.response.status_code == 502


async def test_the_parse_helpers_get_their_objects_after_a_repair(passing: Served) -> None:
    """`chat.completions.parse`, `responses.parse` and `messages.parse` with a pydantic model, of a model that slips first."""
    turns: Any = [{"role": "user", "content": "SLIP"}]
    chat = await passing.gpt.chat.completions.parse(model="gemini", messages=turns, response_format=Pick)
    assert chat.choices[0].message.parsed == Pick(k="x")
    assert chat.usage is not None
    assert chat.usage.completion_tokens == 10
    assert (await passing.gpt.responses.parse(model="anthropic", input="SLIP", text_format=Pick)).output_parsed == Pick(k="x")
    found = await passing.claude.messages.parse(model="ollama", max_tokens=100, messages=turns, output_format=Pick)
    assert found.parsed_output == Pick(k="x")


async def test_it_can_be_watched(passing: Served) -> None:
    """The metric counts by model, method and outcome; the model's entry says how it is told."""
    await passing.text("chat", "SLIP", "ollama")
    metrics = (await passing.http.get("/metrics")).text
    assert 'prefrontal_structured_outputs_total{method="field",model="ollama",outcome="repaired"}' in metrics
    entry = (await passing.http.get("/v1/models/ollama")).json()
    assert entry["structured_output"] == {"method": "field", "field": "format"}
