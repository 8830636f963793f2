"""Faults survived over HTTP, each shown by the trace of the request: fallback, hedging, rotation, breaker, shedding, deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

import prefrontal
from prefrontal.app.library import Prefrontal
from prefrontal.app.money import KeyBudget, KeyDraft
from prefrontal.ledger.vault import SpendQuery
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.site import Site
from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

CHAT = "/v1/chat/completions"


class House:
    """A gateway over two upstreams, `a` and `b`; `m` is served by both unless the test says otherwise."""

    def __init__(self, stack: AsyncExitStack, home: Path, a: MockUpstream, b: MockUpstream) -> None:
        self.a, self.b = a, b
        self.pf: Prefrontal
        self.metrics: Metrics
        self.http: httpx.AsyncClient
        self._stack = stack
        self._home = home

    def model(self, **fields: Any) -> dict[str, Any]:
        """Return the entry of a model with two deployments."""
        places = [{"name": "a", "endpoint": self.a.base_url}, {"name": "b", "endpoint": self.b.base_url}]
        return {"profile": "openai-compatible", "deployments": places, "price": {"input_usd": 1, "output_usd": 2}, **fields}

    async def open(self, model: dict[str, Any] | None = None, **tree: Any) -> None:
        """Open the gateway with one model, ``m``."""
        config = {"models": {"m": model or self.model()}, "discovery": {"enabled": False}, **tree}
        self.pf = await self._stack.enter_async_context(prefrontal.open(config, env={"PREFRONTAL_HOME": str(self._home)}))
        self.metrics = Metrics(self.pf)
        self.pf.observers.append(self.metrics.observe)
        transport = httpx.ASGITransport(Site(self.pf, self.metrics, instance="test"))
        client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=20.0)
        self.http = await self._stack.enter_async_context(client)

    async def ask(self, *, key: str | None = None, path: str = CHAT, **more: Any) -> httpx.Response:
        """Ask once; `headers` and fields of the body are passed on."""
        headers = {**more.pop("headers", {}), **({} if key is None else {"authorization": f"Bearer {key}"})}
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, **more}
        return await self.http.post(path, json=body, headers=headers)

    async def trace(self, answer: httpx.Response, key: str | None = None) -> dict[str, Any]:
        """Return the record of an answer, over HTTP."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        found = await self.http.get(f"/v1/traces/{answer.headers['x-prefrontal-trace']}", headers=headers)
        assert found.status_code == 200, found.text
        shown: dict[str, Any] = found.json()
        return shown

    async def trail(self, answer: httpx.Response) -> list[tuple[str, str]]:
        """Return deployment and outcome of each attempt, from the trace."""
        return [(one["deployment"], one["outcome"]) for one in (await self.trace(answer))["attempts"]]

    async def scraped(self) -> str:
        """Return the metrics, over HTTP."""
        return (await self.http.get("/metrics")).text


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Two upstreams that say who they are, and the means to open a gateway over them."""
    monkeypatch.setattr("prefrontal.reflex.tools.Reflexes.warm", lambda _self: None)
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(MockUpstream(lambda _: Answer(text="from a")))
        b = await stack.enter_async_context(MockUpstream(lambda _: Answer(text="from b")))
        yield House(stack, tmp_path, a, b)


def said(answer: httpx.Response) -> str:
    """Return the text of a whole answer."""
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def shown_key(key: str) -> Callable[[Recorded], bool]:
    """Return what accepts requests that show a key."""
    return lambda request: request.headers.get("authorization") == f"Bearer {key}"


async def test_fallback_to_another_deployment(house: House) -> None:
    """One deployment fails and the other answers; the trace names both, and so do the metrics."""
    await house.open()
    house.a.fail(Fault(kind="status", status=500, times=None))
    answer = await house.ask()
    assert said(answer) == "from b"
    assert await house.trail(answer) == [("a", "error"), ("b", "ok")]
    assert 'prefrontal_deployment_attempts_total{deployment="b",model="m",outcome="ok"} 1.0' in await house.scraped()


@pytest.mark.parametrize("stream", [False, True])
async def test_hedging_beats_a_slow_deployment(house: House, stream: bool) -> None:
    """The second attempt answers, the first is cancelled upstream, and both are in the trace and in the books."""
    await house.open(
        house.model(hedge={"after_ms": 50, "max_share": 1.0}),
        budgets=[{"scope": "global", "window": "day", "usd": 1.0, "name": "all"}],
    )
    house.a.fail(Fault(kind="slow_headers", delay_s=10.0, times=None))
    answer = await house.ask(stream=stream)
    assert answer.status_code == 200
    record = await house.trace(answer)
    assert [(one["deployment"], one["outcome"], one["hedge"]) for one in record["attempts"]] == [
        ("a", "hedge_lost", False),
        ("b", "ok", True),
    ]
    assert record["attempts"][0]["usage"]["source"] == "estimated"
    assert record["duration_ms"] < 5_000
    spent = await house.pf.money.report(SpendQuery(by=("model",)))
    assert (spent[0].calls, spent[0].cost_pico / 1e12) == (2, pytest.approx(record["cost_usd"]))
    assert record["cost_usd"] == pytest.approx(sum(one["cost_usd"] for one in record["attempts"]))
    assert 'prefrontal_hedges_total{model="m",outcome="ok"} 1.0' in await house.scraped()
    states = await house.pf.money.budgets()
    assert states[0].held_usd == 0.0
    while house.a.connections:  # noqa: ASYNC110 - the mock tells it by a number
        await asyncio.sleep(0.01)


async def test_no_second_attempt_without_money_for_it(house: House) -> None:
    """What is left of the budget pays for one attempt, so the slow one is waited for."""
    await house.open(
        house.model(hedge={"after_ms": 30, "max_share": 1.0}),
        budgets=[{"scope": "global", "window": "day", "tokens": 150, "name": "all"}],
    )
    house.a.fail(Fault(kind="slow_headers", delay_s=0.3, times=None))
    answer = await house.ask(max_tokens=100)
    assert said(answer) == "from a"
    assert await house.trail(answer) == [("a", "ok")]


async def test_rotation_rests_a_key_without_credit(house: House) -> None:
    """The next key answers at once; the empty one is not asked again; metrics and the trace say so without the secret."""
    keys = ["provider-key-one", "provider-key-two"]
    await house.open(house.model(deployments=[], endpoint=house.a.base_url, keys=keys))
    body = b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'
    house.a.fail(Fault(kind="status", status=429, body=body, times=None, when=shown_key(keys[0])))
    answer = await house.ask()
    assert await house.trail(answer) == [("key1", "error"), ("key2", "ok")]
    record = await house.trace(answer)
    assert record["attempts"][0]["retry_class"] == "quota"
    again = await house.ask()
    assert await house.trail(again) == [("key2", "ok")]
    scraped = await house.scraped()
    assert 'prefrontal_deployment_parked{deployment="key1",model="m",reason="quota"} 1.0' in scraped
    assert 'prefrontal_deployment_parked{deployment="key2",model="m",reason="quota"} 0.0' in scraped
    assert "provider-key" not in scraped + answer.text + str(record)


async def test_with_every_key_refused_the_caller_hears_that_theirs_is_fine(house: House) -> None:
    """The error is the gateway's to mend: its own code, no upstream called; after a reload the keys are tried again."""
    await house.open(house.model(deployments=[], endpoint=house.a.base_url, keys=["one", "two"]))
    house.a.fail(Fault(kind="status", status=401, times=2))
    assert (await house.ask()).status_code == 502
    refused = await house.ask()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "upstream_credentials_exhausted"
    assert "key1: its key is refused, back after a reload" in refused.json()["error"]["message"]
    health = (await house.http.get("/v1/health")).json()
    assert [(one["deployment"], one["state"]) for one in health["models"][0]["deployments"]] == [
        ("key1", "parked"),
        ("key2", "parked"),
    ]
    await house.http.post("/v1/config/reload")
    assert said(await house.ask()) == "from a"


async def test_breaker_of_one_deployment(house: House) -> None:
    """After repeated failures the trace shows that the failing deployment is no longer asked."""
    await house.open(limits={"breaker": {"failures": 2, "open_s": 60}})
    house.a.fail(Fault(kind="status", status=500, times=None))
    for _ in range(6):
        last = await house.ask()
    assert await house.trail(last) == [("b", "ok")]
    assert len([r for r in house.a.requests if r.method == "POST"]) == 2
    assert 'prefrontal_deployment_breaker_open{deployment="a",model="m"} 1.0' in await house.scraped()


async def test_shedding_refuses_low_priority_first(house: House) -> None:
    """With no room left a newcomer takes the place of one that matters less; who was refused has a trace and is counted."""
    await house.open(limits={"concurrency": 1, "shedding": {"queue": 1}})
    house.a.fail(Fault(kind="slow_headers", delay_s=0.5, times=None))
    house.b.fail(Fault(kind="slow_headers", delay_s=0.5, times=None))
    running = asyncio.create_task(house.ask())
    await busy(house, held=1)
    low = asyncio.create_task(house.ask(x_prefrontal={"priority": "low"}))
    await busy(house, held=1, waiting=1)
    high = asyncio.create_task(house.ask(headers={"x-prefrontal-priority": "high"}))
    refused = await low
    assert refused.status_code == 503
    assert refused.headers["x-should-retry"] == "true"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "overloaded"
    ready = await house.http.get("/readyz")
    assert ready.status_code == 200, "health is never shed"
    assert said(await running)
    assert said(await high)
    record = await house.trace(refused)
    assert (record["shed"], record["priority"], record["attempts"]) == ("displaced", "low", [])
    assert (await house.trace(await high))["admission_ms"] > 100
    assert 'prefrontal_shed_total{priority="low",reason="displaced"} 1.0' in await house.scraped()


async def busy(house: House, *, held: int, waiting: int = 0) -> None:
    """Wait until so many are at work and so many wait."""
    door = house.pf.machine.parts.door
    assert door is not None
    while (door.slots.held, door.slots.waiting) != (held, waiting):  # noqa: ASYNC110 - seen from outside
        await asyncio.sleep(0.005)


async def test_a_key_that_floods_does_not_starve_the_others(house: House) -> None:
    """Thirty requests of one key wait; the single one of another key is answered second."""
    await house.open(limits={"concurrency": 1, "shedding": {"queue": 100}})
    keys = [(await house.pf.money.issue(KeyDraft(name=name), "test")).secret for name in ("flood", "quiet")]
    order: list[str] = []

    async def one(name: str, key: str) -> None:
        assert (await house.ask(key=key)).status_code == 200
        order.append(name)

    house.a.fail(Fault(kind="slow_headers", delay_s=0.2, times=1))
    house.b.fail(Fault(kind="slow_headers", delay_s=0.2, times=1))
    tasks = [asyncio.create_task(one("flood", keys[0])) for _ in range(30)]
    await busy(house, held=1, waiting=29)
    tasks.append(asyncio.create_task(one("quiet", keys[1])))
    await asyncio.gather(*tasks)
    assert order.index("quiet") <= 2


async def test_a_key_may_not_ask_for_more_than_its_own_priority(house: House) -> None:
    """It may ask for less; what held is in the trace."""
    await house.open()
    key = (await house.pf.money.issue(KeyDraft(name="batch", priority="low"), "test")).secret
    answer = await house.ask(key=key, headers={"x-prefrontal-priority": "high"})
    assert (await house.trace(answer, key))["priority"] == "low"


DIALECTS = {
    CHAT: {},
    "/v1/messages": {},
    "/v1/responses": {"input": "Hello", "messages": None, "max_tokens": None},
}


@pytest.mark.parametrize("path", DIALECTS)
async def test_deadline_of_the_caller(house: House, path: str) -> None:
    """The time runs out during the call: 504 in the caller's dialect, with the stage; the trace has the attempt."""
    await house.open(limits={"retries": {"attempts": 1}})
    house.a.fail(Fault(kind="slow_headers", delay_s=5.0, times=None))
    house.b.fail(Fault(kind="slow_headers", delay_s=5.0, times=None))
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, **DIALECTS[path]}
    body = {name: value for name, value in body.items() if value is not None}
    late = await house.http.post(path, json=body, headers={"x-request-timeout-ms": "200"})
    assert late.status_code == 504, late.text
    assert late.headers["x-prefrontal-stage"] == "total"
    error = late.json()["error"]
    assert error["type"] == "timeout_error"
    record = await house.trace(late)
    assert record["duration_ms"] < 2_000
    assert [one["outcome"] for one in record["attempts"]] == ["error"]
    sent = next(r for r in house.a.requests if r.method == "POST")
    assert 1 <= int(sent.headers["x-request-timeout-ms"]) <= 200, "an upstream that takes it is told what is left"


async def test_a_deadline_ends_the_wait_to_be_let_in(house: House) -> None:
    """Nothing was called, and the stage says where the time went."""
    await house.open(limits={"concurrency": 1})
    house.a.fail(Fault(kind="slow_headers", delay_s=0.6, times=None))
    running = asyncio.create_task(house.ask())
    await busy(house, held=1)
    late = await house.ask(headers={"x-request-timeout-ms": "100"})
    assert (late.status_code, late.headers["x-prefrontal-stage"]) == (504, "admission")
    assert (await house.trace(late))["attempts"] == []
    assert said(await running) == "from a"


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1.5", "1e3", "99999999999", "86400001", ""])
async def test_a_timeout_that_is_none_is_refused(house: House, value: str) -> None:
    """A clear 400 that names the header, before anything is called."""
    await house.open()
    refused = await house.ask(headers={"x-request-timeout-ms": value})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-request-timeout-ms"
    assert not [r for r in (*house.a.requests, *house.b.requests) if r.method == "POST"]


async def test_an_unknown_priority_is_refused(house: House) -> None:
    """In the header and in the body."""
    await house.open()
    for asked in ({"headers": {"x-prefrontal-priority": "urgent"}}, {"x_prefrontal": {"priority": "urgent"}}):
        refused = await house.ask(**asked)
        assert refused.status_code == 400
        assert "priority" in refused.json()["error"]["param"]


async def test_callers_are_told_what_is_left_of_their_rate_limits(house: House) -> None:
    """In the names of their dialect, on answers, on streams and on refusals; nothing where no limit holds."""
    await house.open(limits={"rates": [{"scope": "global", "window": "minute", "requests": 4, "tokens": 1000}]})
    first, second = await house.ask(), await house.ask(stream=True)
    assert (first.headers["x-ratelimit-limit-requests"], first.headers["x-ratelimit-remaining-requests"]) == ("4", "3")
    assert second.headers["x-ratelimit-remaining-requests"] == "2"
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    used = 1000 - int(first.headers["x-ratelimit-remaining-tokens"])
    assert used == first.json()["usage"]["total_tokens"]
    assert first.headers["x-ratelimit-reset-requests"] in ("1m0s", "1m1s")
    anthropic = await house.ask(path="/v1/messages")
    assert anthropic.headers["anthropic-ratelimit-requests-remaining"] == "1"
    assert anthropic.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert "x-ratelimit-limit-requests" not in anthropic.headers
    await house.ask()
    refused = await house.ask()
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-requests"]) == (429, "0")


async def test_without_limits_nothing_is_told(house: House) -> None:
    """A budget alone is no rate limit."""
    await house.open()
    key = (await house.pf.money.issue(KeyDraft(name="k", budgets=(KeyBudget(usd=1.0),)), "test")).secret
    assert not [name for name in (await house.ask(key=key)).headers if "ratelimit" in name]


async def test_an_explanation_says_which_deployment_would_be_asked(house: House) -> None:
    """And why not each of the others."""
    await house.open()
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    found = (await house.http.post("/v1/explain", json=body)).json()["deployment"]
    assert found["name"] == "a"
    assert [one["name"] for one in found["others"]] == ["b"]
