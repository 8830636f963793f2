"""A gateway in front of an upstream of every wire, and one way to ask it through each of three official client libraries."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import openai
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer, ScriptedCall
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

THOUGHT, ASIDE, ANSWER = "A tool knows.", "Let me look.", "It rains in Oslo."
SYSTEM = "Be brief."
TOOL_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = {
    "type": "object",
    "properties": {"rains": {"type": "boolean"}},
    "required": ["rains"],
    "additionalProperties": False,
}
IMAGE = "iVBORw0KGgo="
CAP = 2000
BUDGET = 1600
"""Tokens of thinking: the share of `CAP` that stands for the word `high`."""


@dataclass
class Seen:
    """What a client saw of one answer, in the words of no dialect. `turn` is what it sends back to go on."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    finish: str = ""
    usage: tuple[int, int, int] = (0, 0, 0)
    signatures: list[str] = field(default_factory=list)
    turn: Any = None
    dropped: str = ""
    extension: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ask:
    """One question. `history` is what the client got as `turn` before, and the result of the tool."""

    model: str
    text: str
    thinks: bool = False
    tools: bool = False
    image: bool = False
    schema: bool = False
    stream: bool = False
    history: tuple[Seen, str] | None = None


class Client(Protocol):
    """Asks in one dialect."""

    rejected: type[Exception]
    broken: type[Exception]

    async def ask(self, ask: Ask) -> Seen:
        """Ask and return what was seen. Raises the library's own errors."""
        ...


def data(value: Any) -> dict[str, Any]:
    """A library's object as plain data."""
    found: dict[str, Any] = json.loads(value.to_json())
    return found


class ChatClient:
    """``client.chat.completions`` of the OpenAI library. As most programs do, it returns no thinking."""

    rejected, broken = openai.BadRequestError, openai.APIError
    finishes = {"stop": "stop", "tool_calls": "tools", "length": "length"}

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        self.sdk = sdk

    def body(self, ask: Ask) -> dict[str, Any]:
        """The fields of the request."""
        content: Any = ask.text
        if ask.image:
            picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
            content = [{"type": "text", "text": ask.text}, picture]
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": content}]
        if ask.history is not None:
            before, result = ask.history
            messages += [before.turn, {"role": "tool", "tool_call_id": before.call_ids[0], "content": result}]
        out: dict[str, Any] = {"model": ask.model, "messages": messages, "max_tokens": CAP}
        if ask.thinks:
            out["reasoning_effort"] = "high"
        if ask.tools:
            out["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": TOOL_PARAMETERS}}]
        if ask.schema:
            out["response_format"] = {"type": "json_schema", "json_schema": {"name": "rain", "schema": SCHEMA, "strict": True}}
        return out

    async def ask(self, ask: Ask) -> Seen:
        """See `Client.ask`."""
        create = self.sdk.chat.completions.with_raw_response.create
        if not ask.stream:
            raw = await create(**self.body(ask))
            answer = data(raw.parse())
        else:
            raw = await create(**self.body(ask), stream=True, stream_options={"include_usage": True})
            answer = await self.gather(raw.parse())
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        usage = answer["usage"]
        return Seen(
            text=message.get("content") or "",
            thinking=message.get("reasoning_content") or "",
            calls=[(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
            call_ids=[call["id"] for call in calls],
            finish=self.finishes[answer["choices"][0]["finish_reason"]],
            usage=(usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], usage["completion_tokens"]),
            turn={"role": "assistant", "content": message.get("content"), "tool_calls": calls} if calls else None,
            dropped=raw.headers.get("x-prefrontal-dropped", ""),
            extension=answer["x_prefrontal"],
        )

    @staticmethod
    async def gather(stream: Any) -> dict[str, Any]:
        """The whole answer that a stream adds up to."""
        message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
        whole: dict[str, Any] = {"choices": [{"message": message}]}
        async for chunk in stream:
            found = data(chunk)
            whole.update({key: found[key] for key in ("usage", "x_prefrontal") if found.get(key)})
            for choice in found["choices"]:
                delta = choice["delta"]
                for name in ("content", "reasoning_content"):
                    message[name] += delta.get(name) or ""
                for call in delta.get("tool_calls") or ():
                    if call.get("id"):
                        message["tool_calls"].append(call)
                    else:
                        message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
                if choice.get("finish_reason"):
                    whole["choices"][0]["finish_reason"] = choice["finish_reason"]
        return whole


class ResponsesClient:
    """``client.responses`` of the OpenAI library, keeping the conversation itself as Codex does."""

    rejected, broken = openai.BadRequestError, openai.APIError

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        self.sdk = sdk

    def body(self, ask: Ask) -> dict[str, Any]:
        """The fields of the request."""
        content: Any = ask.text
        if ask.image:
            picture = {"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}", "detail": "auto"}
            content = [{"type": "input_text", "text": ask.text}, picture]
        items: list[Any] = [{"role": "user", "content": content}]
        if ask.history is not None:
            before, result = ask.history
            items += [*before.turn, {"type": "function_call_output", "call_id": before.call_ids[0], "output": result}]
        out: dict[str, Any] = {"model": ask.model, "instructions": SYSTEM, "input": items, "max_output_tokens": CAP}
        out |= {"store": False, "include": ["reasoning.encrypted_content"]}
        if ask.thinks:
            out["reasoning"] = {"effort": "high", "summary": "auto"}
        if ask.tools:
            out["tools"] = [{"type": "function", "name": "weather", "parameters": TOOL_PARAMETERS, "strict": False}]
        if ask.schema:
            out["text"] = {"format": {"type": "json_schema", "name": "rain", "schema": SCHEMA, "strict": True}}
        return out

    async def ask(self, ask: Ask) -> Seen:
        """See `Client.ask`."""
        raw = await self.sdk.responses.with_raw_response.create(**self.body(ask), stream=ask.stream)
        found: Any = raw.parse()
        if ask.stream:
            async for event in found:
                if event.type in ("response.completed", "response.incomplete"):
                    found = event.response
        answer = data(found)
        items = answer["output"]
        calls = [item for item in items if item["type"] == "function_call"]
        thoughts = [item for item in items if item["type"] == "reasoning"]
        texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
        reason = (answer["incomplete_details"] or {}).get("reason")
        usage = answer["usage"]
        return Seen(
            text="".join(texts),
            thinking="".join(part["text"] for item in thoughts for part in [*item["summary"], *(item.get("content") or [])]),
            calls=[(item["name"], json.loads(item["arguments"])) for item in calls],
            call_ids=[item["call_id"] for item in calls],
            finish="tools" if calls else {"max_output_tokens": "length", None: "stop"}[reason],
            usage=(usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"], usage["output_tokens"]),
            signatures=[item["encrypted_content"] for item in thoughts],
            turn=items,
            dropped=raw.headers.get("x-prefrontal-dropped", ""),
            extension=answer["x_prefrontal"],
        )


class MessagesClient:
    """``client.messages`` of the Anthropic library; streams through its stream helper."""

    rejected, broken = anthropic.BadRequestError, anthropic.APIError
    finishes = {"end_turn": "stop", "tool_use": "tools", "max_tokens": "length"}

    def __init__(self, sdk: anthropic.AsyncAnthropic) -> None:
        self.sdk = sdk

    def body(self, ask: Ask) -> dict[str, Any]:
        """The fields of the request."""
        content: Any = ask.text
        if ask.image:
            picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}
            content = [{"type": "text", "text": ask.text}, picture]
        messages: list[Any] = [{"role": "user", "content": content}]
        if ask.history is not None:
            before, result = ask.history
            answer = {"type": "tool_result", "tool_use_id": before.call_ids[0], "content": result}
            messages += [{"role": "assistant", "content": before.turn}, {"role": "user", "content": [answer]}]
        out: dict[str, Any] = {"model": ask.model, "system": SYSTEM, "messages": messages, "max_tokens": CAP}
        if ask.thinks:
            out["thinking"] = {"type": "enabled", "budget_tokens": BUDGET}
        if ask.tools:
            out["tools"] = [{"name": "weather", "input_schema": TOOL_PARAMETERS}]
        if ask.schema:
            out["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        return out

    async def ask(self, ask: Ask) -> Seen:
        """See `Client.ask`."""
        if ask.stream:
            async with self.sdk.messages.stream(**self.body(ask)) as stream:
                extension: dict[str, Any] = {}
                async for event in stream:
                    if event.type == "message_delta":
                        extension = (event.model_extra or {})["x_prefrontal"]
                headers = stream.response.headers
                answer = data(await stream.get_final_message()) | {"x_prefrontal": extension}
        else:
            raw = await self.sdk.messages.with_raw_response.create(**self.body(ask))
            headers, answer = raw.headers, data(await raw.parse())
        blocks = answer["content"]
        calls = [block for block in blocks if block["type"] == "tool_use"]
        thoughts = [block for block in blocks if block["type"] == "thinking"]
        usage = answer["usage"]
        cached = usage["cache_read_input_tokens"]
        return Seen(
            text="".join(block["text"] for block in blocks if block["type"] == "text"),
            thinking="".join(block["thinking"] for block in thoughts),
            calls=[(block["name"], block["input"]) for block in calls],
            call_ids=[block["id"] for block in calls],
            finish=self.finishes[answer["stop_reason"]],
            usage=(usage["input_tokens"] + cached, cached, usage["output_tokens"]),
            signatures=[block["signature"] for block in thoughts],
            turn=blocks,
            dropped=headers.get("x-prefrontal-dropped", ""),
            extension=answer["x_prefrontal"],
        )


@dataclass
class House:
    """A gateway at `url` in front of one upstream that speaks every wire, and the clients."""

    url: str
    up: MockUpstream
    gpt: openai.AsyncOpenAI
    claude: anthropic.AsyncAnthropic
    clients: dict[str, Client]

    @property
    def sent(self) -> list[Recorded]:
        """The requests for answers that the upstream has received; probes and counts are not among them."""
        ends = ("/chat/completions", "/v1/messages", ":generateContent", ":streamGenerateContent", "/api/chat")
        return [request for request in self.up.requests if request.path.endswith(ends)]

    async def ask(self, client: str, model: str, text: str, **options: Any) -> Seen:
        """Ask one question; see `Ask` for the options."""
        return await self.clients[client].ask(Ask(model, text, **options))


def script(request: Recorded) -> Answer:
    """What the model says: by the marks in the question, and by whether the tool's result is there."""
    body = request.body.decode()
    if "RAIN-RESULT" in body:
        return Answer(text=ANSWER, input_tokens=30, output_tokens=6)
    call = (ScriptedCall(name="weather", arguments={"city": "Oslo"}, id="call_1"),) if '"weather"' in body else ()
    if '"shell"' in body:
        call = (ScriptedCall(name="shell", arguments={"input": "ls -l"}, id="call_1"),)
    text = '{"rains":true}' if "STRUCTURED" in body else ASIDE if call else ANSWER
    thought = THOUGHT if "THINK" in body else ""
    pace_s = 0.03 if "SLOWLY" in body else 0.0
    counts = {"input_tokens": 12, "output_tokens": 7, "cached_tokens": 4}
    return Answer(text=text, reasoning=thought, tool_calls=call, pace_s=pace_s, **counts)


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def house(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[House]:
    """The gateway, with one model a wire, named like it; and one of Claude's names for a model of another maker."""
    async with MockUpstream(script) as up:
        able = {"capabilities": {"tools": True, "vision": True, "thinking": True}}
        local = {"profile": "llamacpp", "endpoint": up.base_url, "model": "qwen3-4b", **able}
        models = {
            "openai-compatible": local,
            "anthropic": {"profile": "anthropic", "endpoint": up.root_url, "key": "sk-upstream", "model": "claude-sonnet-4-5"},
            "gemini": {"profile": "gemini", "endpoint": up.root_url, "key": "sk-upstream", "model": "gemini-3.5-flash"},
            "ollama": {"profile": "ollama", "endpoint": up.root_url, "model": "qwen3:4b", "context_tokens": 8192, **able},
            "claude-haiku-4-5": local,
        }
        config = {
            "models": models,
            "discovery": {"enabled": False},
            "server": {"api_keys": ["sk-one", "sk-two"]},
            "limits": {"breaker": {"failures": 1000}, "retries": {"attempts": 1}},
        }
        gateway = start_gateway(tmp_path_factory.mktemp("dialects"), config)
        async with (
            openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="sk-one", max_retries=0, timeout=20.0) as gpt,
            anthropic.AsyncAnthropic(base_url=gateway.url, api_key="sk-one", max_retries=0, timeout=20.0) as claude,
        ):
            clients: dict[str, Client] = {
                "chat": ChatClient(gpt),
                "responses": ResponsesClient(gpt),
                "messages": MessagesClient(claude),
            }
            yield House(gateway.url, up, gpt, claude, clients)
        assert gateway.stop() == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()
