"""Keys and budgets over real HTTP, in a real process, against an upstream that keeps its own truth."""

from __future__ import annotations

import asyncio
import functools
import json
import random
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from prefrontal.testing.answers import Answer
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = {"authorization": "Bearer admin-of-the-tests"}
STREAMS = 200
USD_IN, USD_OUT = 2.0, 10.0
TOTAL_S = 2.0
INPUT = 100
LONG = "word " * 84


def settings(up: MockUpstream) -> dict[str, Any]:
    entry = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "concurrency": 256}
    return {
        "models": {
            "m": {**entry, "price": {"input_usd": USD_IN, "output_usd": USD_OUT}},
            "n": {**entry, "model": "other", "price": {"input_usd": 0.1, "output_usd": 0.2}},
        },
        "server": {"admin_keys": ["admin-of-the-tests"], "api_keys": ["plain-of-the-tests"]},
        "discovery": {"enabled": False},
        "budgets": [{"name": "all", "scope": "global", "window": "month", "usd": 100}],
        "limits": {"retries": {"attempts": 1}},
    }


def said(request: Recorded) -> Answer:
    """As many tokens as the number in the prompt says, so that each request has a truth of its own.

    A token of the answer has four characters and a long prompt a hundred tokens, which is near what the gateway takes them for.
    """
    count = number_of(request) % 17 + 3
    return Answer(text="abc " * count, pace_s=0.004, input_tokens=INPUT)


def number_of(request: Recorded) -> int:
    return int(request.json["messages"][-1]["content"].split()[-1])


class Served:
    """A gateway, its upstream, and what to ask it with."""

    def __init__(self, up: MockUpstream, gateway: Any, http: httpx.AsyncClient) -> None:
        self.up, self.gateway, self.http = up, gateway, http

    async def admin(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.http.request(method, f"/v1/admin/{path}", headers=ADMIN, **options)
        assert answer.status_code < 400, answer.text
        return answer.json()

    async def key(self, name: str, **fields: Any) -> str:
        made = await self.admin("POST", "keys", json={"name": name, **fields})
        secret: str = made["key"]
        return secret

    async def ask(self, secret: str, model: str = "m", text: str = "say 1", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 50, **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}"})


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Served]:
    """A gateway with an admin key, a budget that is never reached, and two priced models."""
    async with MockUpstream(said) as up:
        gateway = start_gateway(tmp_path_factory.mktemp("money"), settings(up))
        limits = httpx.Limits(max_connections=STREAMS + 20)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30.0, limits=limits) as http:
            yield Served(up, gateway, http)
        assert await asyncio.to_thread(gateway.stop) == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    """Read the gateway's database from outside."""
    with sqlite3.connect(f"file:{home / 'prefrontal.db'}?mode=ro", uri=True) as db:
        return db.execute(query).fetchall()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; ten seconds at most."""
    async with asyncio.timeout(10.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def stream_some(served: Served, secret: str, number: int, chance: random.Random) -> None:
    """Ask for a stream and, one time in two, leave it at a random moment."""
    body = {
        "model": "m",
        "stream": True,
        "max_tokens": 50,
        "stream_options": {"include_usage": True},
        "metadata": {"number": str(number)},
        "messages": [{"role": "user", "content": f"{LONG} {number}"}],
    }
    leave_after = chance.randrange(0, 20) if chance.random() < 0.5 else None
    headers = {"authorization": f"Bearer {secret}"}
    await asyncio.sleep(chance.random() * 0.5)
    async with served.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        seen = 0
        async for _ in answer.aiter_lines():
            seen += 1
            if leave_after is not None and seen > leave_after:
                return


async def test_peers_6_and_9_the_books_are_the_upstreams(served: Served) -> None:
    """200 streams at once, half of them left: each call is one charge; what was reported is exact to the picodollar.

    What could not be reported is estimated, never 0, and near what the upstream had said by then.
    """
    secret = await served.key("crowd", team="load")
    chance = random.Random(7)
    await asyncio.gather(*[stream_some(served, secret, number, chance) for number in range(STREAMS)])
    for request in served.up.requests:
        await asyncio.wait_for(request.over(), 5.0)
    truth = {number_of(r): r for r in served.up.requests if r.path.endswith("/chat/completions")}
    assert len(truth) == STREAMS

    charges: dict[int, tuple[Any, ...]] = {}
    query = (
        "SELECT json_extract(b.body, '$.metadata.number'), c.source, c.held, c.input_tokens, c.output_tokens, c.cost_pico"
        " FROM charges c JOIN bodies b ON c.id = b.id || '/0' WHERE c.team = 'load'"
    )
    await until(lambda: len(rows(served.gateway.home, query)) >= STREAMS)
    found = rows(served.gateway.home, query)
    for number, *rest in found:
        charges[int(number)] = tuple(rest)
    assert len(found) == len(charges) == STREAMS  # one charge a call: none lost, none twice

    reported = {n: c for n, c in charges.items() if c[0] == "reported"}
    estimated = {n: c for n, c in charges.items() if c[0] == "estimated"}
    assert len(reported) + len(estimated) == STREAMS
    assert min(len(reported), len(estimated)) > STREAMS / 8
    for number, (_, held, inputs, outputs, pico) in reported.items():
        count = number % 17 + 3
        assert (held, inputs, outputs) == (0, INPUT, count)
        assert pico == round((inputs * USD_IN + outputs * USD_OUT) * 1e6)
    assert all(held == 0 and pico > 0 for _, held, _, _, pico in estimated.values())
    assert sum(c[2] for c in estimated.values()) == pytest.approx(INPUT * len(estimated), rel=0.1)
    # the upstream wrote on for as long as word of the client's leaving was on its way, so it wrote more than was relayed
    written = sum(min(truth[number].chunks_sent, number % 17 + 4) - 1 for number in estimated)
    assert 0.4 * written < sum(c[3] for c in estimated.values()) < 1.1 * written

    (line,) = (await served.admin("GET", "spend", params={"by": "key"}))["data"]
    assert (line["key"], line["calls"], line["estimated"]) == ("crowd", STREAMS, len(estimated))
    assert line["cost_usd"] == pytest.approx(sum(c[4] for c in charges.values()) / 1e12, abs=1e-12)
    (budget,) = (await served.admin("GET", "budgets"))["data"]
    assert (budget["spent_usd"], budget["held_usd"]) == (pytest.approx(line["cost_usd"], abs=1e-12), 0.0)


async def test_a_settlement_is_on_disk_before_the_last_byte(served: Served) -> None:
    """Whoever has read the whole answer finds its charge in the database, settled."""
    secret = await served.key("prompt", team="prompt")
    for stream in (False, True):
        answer = await served.ask(secret, text="say 5", stream=stream)
        assert answer.status_code == 200
        trace = answer.headers["x-prefrontal-trace"]
        assert rows(served.gateway.home, f"SELECT held, source FROM charges WHERE id = '{trace}/0'") == [(0, "reported")]


async def test_revoked_means_refused(served: Served) -> None:
    """The next request after the revocation is a 401; so is one after the expiry, and one with a made-up key."""
    secret = await served.key("short")
    assert (await served.ask(secret)).status_code == 200
    await served.admin("DELETE", "keys/short")
    answer = await served.ask(secret)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    old = await served.key("old", expires_s=1_700_000_000)
    assert (await served.ask(old)).status_code == 401
    assert (await served.ask("sk-pf-" + "x" * 43)).status_code == 401
    assert (await served.ask("plain-of-the-tests")).status_code == 200


async def test_a_key_sees_only_what_exists_for_it(served: Served) -> None:
    """Its models alone are listed and can be named, its own traces alone can be read, and no admin route or metric."""
    secret = await served.key("narrow", models=["n"])
    headers = {"authorization": f"Bearer {secret}"}
    listed = (await served.http.get("/v1/models", headers=headers)).json()["data"]
    assert [entry["id"] for entry in listed if entry["owned_by"] != "prefrontal"] == ["n"]
    answer = await served.ask(secret, "m")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert (await served.http.get("/v1/models/m", headers=headers)).status_code == 404
    auto = await served.ask(secret, "auto", "write a poem of length 4")
    assert auto.headers["x-prefrontal-model"] == "n"
    mine = (await served.http.get("/v1/traces", headers=headers)).json()["data"]
    assert {record["requested_model"] for record in mine} == {"m", "auto"}
    foreign = (await served.http.get("/v1/traces?limit=500", headers=ADMIN)).json()["data"]
    other = next(record["id"] for record in foreign if record["key_id"] != mine[0]["key_id"])
    assert (await served.http.get(f"/v1/traces/{other}", headers=headers)).status_code == 404
    for path in ("/metrics", "/v1/admin/keys", "/v1/config/status", "/v1/engines"):
        assert (await served.http.get(path, headers=headers)).status_code == 403


async def test_a_used_up_budget_is_the_429_the_sdk_understands(served: Served) -> None:
    """The official SDK raises RateLimitError at once, without retrying, and finds code and details."""
    secret = await served.key("poor", budgets=[{"window": "day", "usd": 0.0008}])
    async with openai.AsyncOpenAI(base_url=f"{served.gateway.url}/v1", api_key=secret, max_retries=3) as sdk:
        ask = functools.partial(sdk.chat.completions.create, model="m", messages=[{"role": "user", "content": "say 8"}])
        await ask(max_tokens=50)
        before = len(served.up.requests)
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(max_tokens=60)
        assert caught.value.code == "insufficient_quota"
        assert caught.value.response.headers["x-should-retry"] == "false"
        details = caught.value.response.json()["x_prefrontal"]["details"]
        assert (details["window"], details["limit"], details["dimension"]) == ("day", 0.0008, "budget_usd")
        assert len(served.up.requests) == before
    budget = {"window": "day", "usd": 0.0008, "on_exhaustion": "degrade"}
    changed = await served.admin("POST", "keys/poor", json={"budgets": [budget]})
    assert changed["budgets"][0]["on_exhaustion"] == "degrade"
    answer = await served.ask(secret)
    assert (answer.status_code, answer.headers["x-prefrontal-model"]) == (200, "n")
    assert answer.headers["x-prefrontal-degraded"] == "budget=key per day; instead_of=m"


async def test_admin_mistakes_are_worded(served: Served) -> None:
    """Unknown fields, wrong types, empty budgets, a second key of one name, an unknown key: OpenAI's envelope with the field."""
    for body, status, param in (
        ({"name": "x", "budget": {"usd": 1}}, 400, None),
        ({"name": 7}, 400, "name"),
        ({}, 400, None),
        ({"name": "x", "budgets": [{"window": "day"}]}, 400, "budgets[0]"),
        ({"name": "x", "rates": [{"requests": 0}]}, 400, "rates[0]"),
        ({"name": "crowd"}, 409, "name"),
    ):
        answer = await served.http.post("/v1/admin/keys", json=body, headers=ADMIN)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert (await served.http.post("/v1/admin/keys", content=b"{", headers=ADMIN)).status_code == 400
    assert (await served.http.get("/v1/admin/keys/nobody", headers=ADMIN)).status_code == 404
    assert (await served.http.get("/v1/admin/spend?by=colour", headers=ADMIN)).status_code == 400
    plain = {"authorization": "Bearer plain-of-the-tests"}
    assert (await served.http.get("/v1/admin/keys", headers=plain)).status_code == 403


async def test_what_admins_do_is_written_down(served: Served) -> None:
    """Each change leaves a line with who, what and to whom, and no secret."""
    secret = await served.key("watched")
    await served.admin("POST", "keys/watched", json={"team": "audit"})
    await served.admin("DELETE", "keys/watched")
    lines = (await served.admin("GET", "audit", params={"limit": "3"}))["data"]
    assert [line["action"] for line in lines] == ["key.revoke", "key.change", "key.create"]
    assert len({line["target"] for line in lines}) == 1
    assert all(len(line["actor"]) == 12 for line in lines)
    assert secret not in json.dumps(lines)


async def test_a_gateway_killed_inside_a_call_pays_its_reservation(tmp_path: Path, start_gateway: Callable[..., Any]) -> None:
    """Kill -9 between reserve and settle: the next process counts what was held, and the reaper settles it with that amount."""
    async with MockUpstream(said) as up:
        tree = settings(up)
        times = {"total_s": TOTAL_S, "first_token_s": TOTAL_S, "between_tokens_s": TOTAL_S}
        tree["limits"] = {"retries": {"attempts": 1}, "timeouts": times}
        tree["budgets"] = [{"name": "all", "scope": "global", "window": "month", "usd": 0.001}]
        up.fail(Fault(kind="slow_headers", delay_s=20.0))
        first = start_gateway(tmp_path, tree)
        headers = {"authorization": "Bearer plain-of-the-tests"}
        body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "say 1"}]}
        async with httpx.AsyncClient(base_url=first.url) as http:
            asking = asyncio.create_task(http.post("/v1/chat/completions", json=body, headers=headers))
            await until(lambda: any(r.path.endswith("completions") for r in up.requests))
            first.process.send_signal(signal.SIGKILL)
            await asyncio.gather(asking, return_exceptions=True)
            first.process.wait(10)
        ((held, pico),) = rows(tmp_path, "SELECT held, cost_pico FROM charges")
        assert held == 1
        assert pico > 500_000_000

        second = start_gateway(tmp_path, tree)
        async with httpx.AsyncClient(base_url=second.url) as http:
            (state,) = (await http.get("/v1/admin/budgets", headers=ADMIN)).json()["data"]
            assert state["spent_usd"] == pico / 1e12
            refused = await http.post("/v1/chat/completions", json=body, headers=headers)
            assert refused.json()["error"]["code"] == "insufficient_quota"
        await asyncio.to_thread(second.stop)

        with sqlite3.connect(tmp_path / "prefrontal.db") as db:  # as if its time had come
            db.execute("UPDATE charges SET expires_s = 0")
        third = start_gateway(tmp_path, tree)
        await until(lambda: rows(tmp_path, "SELECT held FROM charges") == [(0,)])
        assert rows(tmp_path, "SELECT outcome, cost_pico, source FROM charges") == [("reaped", pico, "estimated")]
        await asyncio.to_thread(third.stop)  # the loop goes on, so that the upstream sees its connections end
