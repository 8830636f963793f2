"""Bad input over real HTTP: each mistake gets the status, the envelope and the words that let its maker mend it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
import trustme

from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

HI = [{"role": "user", "content": "hi"}]
IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aaaa"}}]}]
NEVER = ("Traceback", 'File "', "site-packages", "msgspec", "0x7f")
"""What no client may ever read."""


@dataclass
class Served:
    """An open gateway, one that wants keys, and what they lean on."""

    up: MockUpstream
    open: str
    locked: str

    def sdk(self, **options: Any) -> openai.AsyncOpenAI:
        """Return the official client of the open gateway."""
        base = options.pop("base", self.open)
        return openai.AsyncOpenAI(**{"base_url": f"{base}/v1", "api_key": "unused", "max_retries": 0, "timeout": 20.0, **options})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """Two gateways; the open one has small limits and models with something wrong with them."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        async with MockUpstream() as up, MockUpstream(tls=tls) as strange:
            entry = {"profile": "openai-compatible", "endpoint": up.base_url}
            nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
            can = {"vision": False, "tools": False, "embedding": False}
            models = {
                "mistral-small": {**entry, "context_tokens": 1000, "capabilities": can},
                "eyes": {**entry, "context_tokens": 100_000, "capabilities": {"vision": True, "tools": True}, "auto": False},
                "self-signed": {**entry, "endpoint": strange.base_url, "auto": False},
                "nowhere": {**entry, "endpoint": nowhere, "auto": False},
            }
            quiet = {"discovery": {"enabled": False}, "limits": {"retries": {"attempts": 1}}}
            small = {"max_body_bytes": 100_000, "max_header_bytes": 8192, "idle_timeout_s": 1.0}
            ours = start_gateway(tmp_path_factory.mktemp("open"), {**quiet, "models": models, "server": small})
            guarded = {"api_keys": ["right-key"], "trusted_hosts": ["gateway.example"]}
            locked = start_gateway(tmp_path_factory.mktemp("locked"), {**quiet, "models": {"m": entry}, "server": guarded})
            yield Served(up, ours.url, locked.url)
            for gateway in (ours, locked):
                assert gateway.stop() == 0, gateway.errors()
                assert "Traceback" not in gateway.errors()


def check(answer: httpx.Response, status: int, code: str | None, param: str | None, *words: str) -> dict[str, Any]:
    """Fail unless the answer is exactly OpenAI's error envelope with this content and nothing of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) <= {"error", "x_prefrontal"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    for word in words:
        assert word in error["message"]
    assert not [word for word in NEVER if word in answer.text]
    assert status == 431 or answer.headers["x-request-id"] == answer.headers["request-id"]
    return body


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "mistral-small", "messages": HI, **fields}


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "banana"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "banana"}}}
WRONG: dict[str, tuple[Any, str | None, str]] = {  # case → (body, param, words)
    "nothing": (b"", None, "not valid JSON"),
    "half an object": (b'{"model":', None, "not valid JSON"),
    "not UTF-8": (b'{"model": "\xff\xfe"}', None, "not valid JSON"),
    "half a surrogate": (b'{"model": "\\ud800", "messages": []}', None, "not valid JSON"),
    "far too deep": (b"[" * 50_000, None, "not valid JSON"),
    "an array": (b"[]", None, "must be a JSON object"),
    "no messages": ({"model": "mistral-small"}, "messages", "Missing"),
    "no model": ({"messages": HI}, "model", '"auto"'),
    "model a number": (chat(model=7), "model", "expected a string"),
    "messages a string": (chat(messages="hi"), "messages", "expected an array"),
    "messages empty": (chat(messages=[]), "messages", "at least one"),
    "content a number": (chat(messages=[{"role": "user", "content": 7}]), "messages[0].content", "expected a string"),
    "no such role": (chat(messages=[*HI, {"role": "boss", "content": "x"}]), "messages[1].role", "'assistant'"),
    "a tool answer to nothing": (
        chat(messages=[{"role": "tool", "content": "x"}]),
        "messages[0].tool_call_id",
        "Missing",
    ),
    "temperature a word": (chat(temperature="hot"), "temperature", "expected a number"),
    "max_tokens below one": (chat(max_tokens=0), "max_tokens", "at least 1"),
    "n a string": (chat(n="2"), "n", "expected an integer"),
    "stream a word": (chat(stream="yes"), "stream", "expected a boolean"),
    "no such effort": (chat(reasoning_effort="enormous"), "reasoning_effort", "'enormous'"),
    "tools an object": (chat(tools={}), "tools", "expected an array"),
    "a tool without a function": (chat(tools=[{"type": "function"}]), "tools[0].function", "Missing"),
    "a tool schema that is none": (chat(tools=[TOOL]), "tools[0].function.parameters", '"banana" is no type: it is one of'),
    "an answer schema that is none": (chat(response_format=FORMAT), "response_format.json_schema.schema", "banana"),
    "a hint misspelt": (chat(x_prefrontal={"efort": 1}), "x_prefrontal.efort", "effort"),
    "a hint out of range": (chat(x_prefrontal={"effort": 7}), "x_prefrontal.effort", "between 0 and 1"),
    "no such channel": (chat(model="auto/nope"), "model", "system_health"),
    "no such channel in a hint": (chat(model="auto", x_prefrontal={"channel": "nope"}), "x_prefrontal.channel", "code"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_request_names_its_field(served: Served, case: str) -> None:
    """400, the path of the field, what was expected; streamed or not, and nothing reaches the upstream."""
    body, param, words = WRONG[case]
    before = len(served.up.requests)
    bodies = [body if isinstance(body, bytes) else json.dumps(body).encode()]
    if isinstance(body, dict) and "stream" not in body:
        bodies.append(json.dumps({**body, "stream": True}).encode())
    async with httpx.AsyncClient(base_url=served.open) as http:
        for content in bodies:
            answer = await http.post("/v1/chat/completions", content=content)
            found = check(answer, 400, "invalid_request", param, words)
            assert found["error"]["type"] == "invalid_request_error"
    assert len(served.up.requests) == before


@pytest.mark.parametrize("stream", [False, True])
async def test_the_sdk_raises_the_class_that_fits(served: Served, stream: bool) -> None:
    """BadRequestError with the field, NotFoundError with the near names, and details a program can read."""
    async with served.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as wrong:
            await sdk.chat.completions.create(model="mistral-small", messages=[], stream=stream)
        assert (wrong.value.param, wrong.value.code) == ("messages", "invalid_request")
        with pytest.raises(openai.NotFoundError) as unknown:
            await sdk.chat.completions.create(model="mistral-smal", messages=HI, stream=stream)  # type: ignore[arg-type]
        assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
        assert "mistral-small" in unknown.value.message
        assert unknown.value.response.json()["x_prefrontal"]["details"]["nearest"] == ["mistral-small"]
        with pytest.raises(openai.BadRequestError) as long:
            await sdk.chat.completions.create(
                model="mistral-small",
                messages=[{"role": "user", "content": "word " * 5000}],
                stream=stream,
            )
        assert long.value.code == "context_length_exceeded"
        assert "eyes" in long.value.message
        with pytest.raises(openai.BadRequestError) as images:
            await sdk.chat.completions.create(model="mistral-small", messages=IMAGE, stream=stream)  # type: ignore[arg-type]
        assert (images.value.code, images.value.param) == ("capability_missing", "messages")
        assert "does not read images" in images.value.message
        assert "eyes" in images.value.message


async def test_auto_says_what_no_model_can_take(served: Served) -> None:
    """Images and far too long an input with no model that takes automatic work and can: the field, and why."""
    async with served.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as images:
            await sdk.chat.completions.create(model="auto", messages=IMAGE)  # type: ignore[arg-type]
        assert images.value.code == "capability_missing"
        with pytest.raises(openai.BadRequestError) as long:
            await sdk.chat.completions.create(model="auto", messages=[{"role": "user", "content": "word " * 15_000}])
        assert long.value.code == "context_length_exceeded"


async def test_embeddings_of_a_model_that_makes_none(served: Served) -> None:
    """Refused by name, before anything is sent."""
    async with served.sdk() as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.embeddings.create(model="mistral-small", input="hi")
        assert (caught.value.code, caught.value.param) == ("capability_missing", "model")


async def test_a_body_or_head_that_is_too_large(served: Served) -> None:
    """413 and 431, naming the setting; the answer arrives also when far more than is read is on its way, declared or chunked."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 50_000

    async with httpx.AsyncClient(base_url=served.open) as http:
        for size in (100_001, 20_000_000):
            declared = await http.post("/v1/chat/completions", content=b"x" * size)
            check(declared, 413, "payload_too_large", None, "100000", "server.max_body_bytes")
        chunked = await http.post("/v1/chat/completions", content=chunks())
        check(chunked, 413, "payload_too_large", None, "100000")
        head = await http.post("/v1/chat/completions", json=chat(), headers={"x-large": "y" * 20_000})
        check(head, 431, "request_head_too_large", None, "head is too large", "server.max_header_bytes")
    async with served.sdk() as sdk:
        with pytest.raises(openai.APIStatusError) as caught:
            await sdk.chat.completions.create(model="mistral-small", messages=[{"role": "user", "content": "x" * 5_000_000}])
        assert caught.value.status_code == 413


async def test_a_body_that_stops_arriving(served: Served) -> None:
    """Half a body and silence: the time limit is said, not waited for for ever."""
    async with httpx.AsyncClient(base_url=served.open, timeout=10.0) as http:

        async def half() -> AsyncIterator[bytes]:
            yield b'{"model":'
            await asyncio.sleep(1.3)

        answer = await http.post("/v1/chat/completions", content=half())
        check(answer, 400, "invalid_request", None, "stopped arriving")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("self-signed", ("TLS", "tls.ca_file", "tls.verify")),
        ("nowhere", ("No connection", "server running")),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_cannot_be_reached(served: Served, model: str, words: tuple[str, ...], stream: bool) -> None:
    """502 with what to look at: the certificate's settings, or whether the server runs."""
    async with httpx.AsyncClient(base_url=served.open) as http:
        answer = await http.post("/v1/chat/completions", json=chat(model=model, stream=stream))
    body = check(answer, 502, "upstream_unreachable", None, *words)
    assert body["x_prefrontal"]["model"] == model
    assert body["x_prefrontal"]["origin"] == "provider"
    async with served.sdk() as sdk:
        with pytest.raises(openai.InternalServerError):
            await sdk.chat.completions.create(model=model, messages=HI, stream=stream)  # type: ignore[call-overload]


async def test_keys_and_hosts(served: Served) -> None:
    """No key and a wrong one are 401, a host we are not is 403, and the right ones let in; probes need no key."""
    host = {"host": "gateway.example"}
    async with httpx.AsyncClient(base_url=served.locked) as http:
        body = {**chat(), "model": "m"}
        missing = await http.post("/v1/chat/completions", json=body, headers=host)
        check(missing, 401, "invalid_api_key", None, "Authorization: Bearer")
        wrong = await http.post("/v1/chat/completions", json=body, headers={**host, "authorization": "Bearer wrong"})
        check(wrong, 401, "invalid_api_key", None)
        right = {"authorization": "Bearer right-key"}
        strange = await http.post("/v1/chat/completions", json=body, headers={**right, "host": "evil.example"})
        check(strange, 403, "permission_denied", None, "evil.example", "server.trusted_hosts")
        good = await http.post("/v1/chat/completions", json=body, headers={**right, **host})
        assert good.status_code == 200
        assert (await http.get("/livez", headers=host)).status_code == 200
        check(await http.get("/v1/traces", headers=host), 401, "invalid_api_key", None)
    async with served.sdk(base=served.locked, api_key="wrong") as sdk:
        with pytest.raises(openai.AuthenticationError):
            await sdk.models.list()
    async with served.sdk(base=served.locked, api_key="right-key") as sdk:
        assert "m" in [model.id async for model in sdk.models.list()]


async def test_a_route_that_is_none(served: Served) -> None:
    """404 with the way that was meant, for a forgotten /v1 and a wrong method, and unknown objects by their name."""
    async with httpx.AsyncClient(base_url=served.open) as http:
        check(await http.post("/chat/completions", json=chat()), 404, "not_found", None, "/v1/chat/completions")
        check(await http.post("/v1/chat/completion", json=chat()), 404, "not_found", None, "Did you mean /v1/chat/completions?")
        check(await http.get("/v1/chat/completions"), 405, "invalid_request", None, "POST")
        check(await http.delete("/v1/models"), 405, "invalid_request", None, "DELETE")
        assert (await http.get("/v1/chat/completions")).headers["allow"] == "POST"
        assert "GET" in (await http.delete("/v1/models")).headers["allow"]
        check(await http.get("/v1/models/nobody"), 404, "model_not_found", "model", "nobody")
        check(await http.get("/v1/traces/nobody"), 404, "not_found", None, "nobody")
        check(await http.get("/v1/traces", params={"limit": "many"}), 400, "invalid_request", "limit", "whole number, not 'many'")
        check(await http.get("/v1/traces", params={"status": "foo"}), 400, "invalid_request", "status", "ok, error, cancelled")


async def test_what_is_no_http_harms_nobody(served: Served) -> None:
    """Bytes that are no request end their own connection; the next caller is served."""
    port = int(served.open.rpartition(":")[2])
    for noise in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(noise)
        writer.write_eof()
        async with asyncio.timeout(5.0):
            reply = await reader.read()
        assert reply == b"" or reply.startswith(b"HTTP/1.1 400")
        writer.close()
    async with httpx.AsyncClient(base_url=served.open) as http:
        assert (await http.post("/v1/chat/completions", json=chat())).status_code == 200
