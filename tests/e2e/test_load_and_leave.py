"""Clients that leave, more work than there is room for, and stopping with work in hand: over real HTTP, in a real process."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 0.1
"""How soon the upstream must hear that nobody waits any more (specified)."""

WORDS = "one two three four five six seven eight nine ten"


class Served:
    """A gateway, its upstream and a client."""

    def __init__(self, up: MockUpstream, gateway: Any, sdk: openai.AsyncOpenAI) -> None:
        self.up, self.gateway, self.sdk = up, gateway, sdk
        self.url = gateway.url

    def body(self, *, stream: bool, model: str = "m") -> dict[str, Any]:
        return {"model": model, "stream": stream, "messages": [{"role": "user", "content": WORDS}]}

    async def idle(self) -> None:
        """Wait until the upstream has no request under way."""
        for recorded in self.up.requests:
            await asyncio.wait_for(recorded.over(), 2.0)


def settings(up: MockUpstream) -> dict[str, Any]:
    entry = {"profile": "openai-compatible", "endpoint": up.base_url}
    models = {"m": entry, "narrow": {**entry, "concurrency": 1, "queue": 1}}
    return {"models": models, "discovery": {"enabled": False}}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """A gateway with a wide model and one that takes a single request and lets one wait."""
    async with MockUpstream(lambda _: Answer(text=WORDS, pace_s=0.05)) as up:
        gateway = start_gateway(tmp_path_factory.mktemp("leave"), settings(up))
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20.0) as sdk:
            yield Served(up, gateway, sdk)
        assert gateway.stop() == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


async def chats(up: MockUpstream) -> int:
    return sum(request.path.endswith("completions") for request in up.requests)


async def next_chat(up: MockUpstream, before: int) -> Any:
    """Return the chat request that arrives after `before` requests were there."""
    async with asyncio.timeout(5.0):
        while True:
            found = [r for r in up.requests[before:] if r.path.endswith("completions")]
            if found:
                return found[0]
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("stage", ["whole, before the head", "stream, before the head", "stream, between tokens"])
async def test_the_upstream_hears_of_a_client_that_left(served: Served, stage: str) -> None:
    """Its connection is closed within 100 ms of the client's, whatever the answer was doing, and the record says cancelled."""
    stream = stage.startswith("stream")
    if stage.endswith("head"):
        served.up.fail(Fault(kind="slow_headers", delay_s=20.0))
    else:
        served.up.fail(Fault(kind="slow_between", after_chunks=1, delay_s=20.0))
    before = len(served.up.requests)
    async with httpx.AsyncClient(base_url=served.url) as client:
        sending = asyncio.create_task(leave_open(client, served.body(stream=stream)))
        recorded = await next_chat(served.up, before)
        await asyncio.sleep(0.1)  # the answer, as far as it goes, is on its way
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    left = time.monotonic()
    await asyncio.wait_for(recorded.over(), 2.0)
    assert recorded.closed_early_s is not None
    assert recorded.closed_early_s - left < SOON_S
    async with httpx.AsyncClient(base_url=served.url) as client:
        newest = (await client.get("/v1/traces", params={"limit": 1})).json()["data"][0]
    assert (newest["status"], newest["states"][-1]) == ("cancelled", "CANCELLED")


async def leave_open(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Ask and read until cancelled."""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_bytes():
            pass


async def test_who_leaves_in_the_queue_never_reaches_the_upstream(served: Served) -> None:
    """The one that runs is answered; the one that waited and left was never sent; its place is free again."""
    await served.idle()
    served.up.heal()
    served.up.fail(Fault(kind="slow_headers", delay_s=0.5))
    before = await chats(served.up)
    running = asyncio.create_task(served.sdk.chat.completions.create(**served.body(stream=False, model="narrow")))
    await asyncio.sleep(0.1)
    async with httpx.AsyncClient(base_url=served.url) as client:
        waiting = asyncio.create_task(leave_open(client, served.body(stream=False, model="narrow")))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (await running).choices[0].message.content == WORDS
    assert await chats(served.up) == before + 1
    again = await served.sdk.chat.completions.create(**served.body(stream=False, model="narrow"))
    assert again.choices[0].message.content == WORDS


async def test_beyond_the_queue_there_is_429_with_a_time_to_come_back(served: Served) -> None:
    """One runs, one waits; the others are told at once when to try again, and the SDK raises RateLimitError."""
    await served.idle()
    served.up.heal()
    served.up.fail(Fault(kind="slow_headers", delay_s=0.5))
    create = served.sdk.chat.completions.create
    tasks = []
    for _ in range(5):
        tasks.append(asyncio.create_task(create(**served.body(stream=False, model="narrow"))))
        await asyncio.sleep(0.02)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one).__name__ for one in found] == ["ChatCompletion"] * 2 + ["RateLimitError"] * 3
    for error in found[2:]:
        assert isinstance(error, openai.RateLimitError)
        assert error.code == "rate_limit_exceeded"
        assert int(error.response.headers["retry-after"]) >= 1
        assert error.response.headers["x-should-retry"] == "true"


async def test_what_outlasts_the_drain_is_cut_by_the_gateway_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]
) -> None:
    """With `drain_s` over, streams end with an event `shutting_down`, whole answers with 503, and records say the same."""
    async with MockUpstream(lambda _: Answer(text=WORDS * 50, pace_s=0.1)) as up:
        home = tmp_path_factory.mktemp("cut")
        gateway = start_gateway(home, {**settings(up), "server": {"drain_s": 0.3}, "records": {"enabled": True}})
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20.0) as sdk:
            served = Served(up, gateway, sdk)
            stream: Any = await sdk.chat.completions.create(**served.body(stream=True))
            up.fail(Fault(kind="slow_first_token", delay_s=30))
            whole = asyncio.create_task(sdk.chat.completions.create(**served.body(stream=False)))
            await next_chat(up, len(up.requests) - 1)
            await asyncio.sleep(0.1)
            gateway.process.send_signal(signal.SIGTERM)
            with pytest.raises(openai.APIError) as cut:
                async for _ in stream:
                    pass
            assert cut.value.code == "shutting_down"
            assert isinstance(cut.value.body, dict)
            with pytest.raises(openai.InternalServerError) as refused:
                await whole
            assert (refused.value.status_code, refused.value.code) == (503, "shutting_down")
        assert await asyncio.to_thread(gateway.process.wait, 10.0) == 0
        assert "2 running requests are cut" in gateway.errors()
        assert "Traceback" not in gateway.errors()
    with sqlite3.connect(home / "prefrontal.db") as store:
        bodies = store.execute("SELECT records.status, bodies.body FROM records JOIN bodies USING (id)").fetchall()
    told = [(status, json.loads(body)["error_code"]) for status, body in bodies]
    assert told == [("error", "shutting_down")] * 2


async def test_stopping_lets_running_requests_finish(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]
) -> None:
    """After SIGTERM what runs ends well, new requests get 503 `shutting_down`, and the process exits with 0."""
    async with MockUpstream(lambda _: Answer(text=WORDS, pace_s=0.15)) as up:
        gateway = start_gateway(tmp_path_factory.mktemp("drain"), settings(up))
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20.0) as sdk:
            served = Served(up, gateway, sdk)
            stream: Any = await sdk.chat.completions.create(**served.body(stream=True))
            up.fail(Fault(kind="slow_first_token", delay_s=1.2))
            whole = asyncio.create_task(sdk.chat.completions.create(**served.body(stream=False)))
            await next_chat(up, len(up.requests) - 1)
            await asyncio.sleep(0.1)
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            with pytest.raises(openai.InternalServerError) as caught:
                await sdk.chat.completions.create(**served.body(stream=False))
            assert (caught.value.status_code, caught.value.code) == (503, "shutting_down")
            assert caught.value.response.headers["retry-after"] == "1"
            async with httpx.AsyncClient(base_url=gateway.url) as client:
                assert (await client.get("/readyz")).status_code == 503
                assert (await client.get("/livez")).status_code == 200
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            assert text == WORDS
            assert (await whole).choices[0].message.content == WORDS
        assert await asyncio.to_thread(gateway.process.wait, 10.0) == 0
        assert "Traceback" not in gateway.errors()
