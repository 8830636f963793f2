"""Three gateways on one Postgres and one Redis act as one: keys, money, limits, conversations; one killed; Postgres gone."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from prefrontal.clock import SystemClock
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.postgres.vault import PostgresVault
from prefrontal.testing.answers import Answer
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.postgres_server import PostgresServer
from prefrontal.testing.redis_server import RedisServer
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = {"authorization": "Bearer admin-of-the-tests"}
PLAIN = {"authorization": "Bearer plain-of-the-tests"}
CALL_USD = 100 * 2.0 / 1e6 + 5 * 10.0 / 1e6
"""What each call costs: 100 tokens in, 5 out."""


LONG = "word " * 84
"""About a hundred tokens, as the upstream says."""


def said(request: Recorded) -> Answer:
    """Always the same amount, in pieces that take a while."""
    return Answer(text="abc " * 5, pace_s=0.02, input_tokens=100, output_tokens=5)


def settings(up: MockUpstream, redis: str) -> dict[str, Any]:
    entry = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "concurrency": 256}
    return {
        "models": {
            "m": {**entry, "price": {"input_usd": 2.0, "output_usd": 10.0}},
            "free": {**entry, "model": "other", "price": {"input_usd": 0.0, "output_usd": 0.0}},
        },
        "server": {"admin_keys": ["admin-of-the-tests"], "api_keys": ["plain-of-the-tests"]},
        "discovery": {"enabled": False},
        "store": {"url": "${DATABASE_URL}", "replicas": 3},
        "budgets": [{"name": "dear", "scope": "model", "of": "m", "window": "month", "usd": 1.0}],
        "redis": {"url": redis, "prefix": "three", "replicas": 3, "timeout_s": 2.0},
        "limits": {
            "retries": {"attempts": 1},
            "timeouts": {"total_s": 20.0},
            "rates": [{"name": "slowly", "scope": "key", "of": "paced", "window": "hour", "requests": 25}],
        },
    }


class Group:
    """Three gateways, their upstream and their database."""

    def __init__(self, up: MockUpstream, gateways: list[Any], clients: list[httpx.AsyncClient], url: str, home: Path) -> None:
        self.up, self.gateways, self.clients, self.url, self.home = up, gateways, clients, url, home

    async def admin(self, number: int, method: str, path: str, **options: Any) -> Any:
        answer = await self.clients[number].request(method, f"/v1/admin/{path}", headers=ADMIN, **options)
        assert answer.status_code < 400, answer.text
        return answer.json()

    async def ask(self, number: int, headers: dict[str, str], model: str = "m", **fields: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": LONG}], "max_tokens": 5, **fields}
        return await self.clients[number].post("/v1/chat/completions", json=body, headers=headers)

    async def command(self, *arguments: str) -> str:
        """Return what a command of the command line prints, run beside the gateways."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PREFRONTAL_HOME": str(self.home), "DATABASE_URL": self.url}
        given = [sys.executable, "-m", "prefrontal", *arguments, "--config", str(self.gateways[0].config)]
        run = functools.partial(subprocess.run, given, env=env, cwd=self.home, capture_output=True, text=True, timeout=30)
        done = await asyncio.to_thread(run, check=False)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)


@pytest.fixture(scope="module")
def module_database(postgres_server: PostgresServer) -> str:
    """A database in its newest form."""
    postgres_server.sql("CREATE DATABASE gateways TEMPLATE newest")
    return postgres_server.url("gateways")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def group(
    tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any], module_database: str, shared_redis: RedisServer
) -> AsyncIterator[Group]:
    """Three gateways that start at the same moment."""
    async with MockUpstream(said) as up:
        homes = [tmp_path_factory.mktemp(f"gateway{number}") for number in range(3)]
        env = {"DATABASE_URL": module_database}
        starting = [asyncio.to_thread(start_gateway, home, settings(up, shared_redis.url), env) for home in homes]
        gateways = list(await asyncio.gather(*starting))
        limits = httpx.Limits(max_connections=200)
        clients = [httpx.AsyncClient(base_url=gateway.url, timeout=30.0, limits=limits) for gateway in gateways]
        yield Group(up, gateways, clients, module_database, homes[0])
        for client in clients:
            await client.aclose()
        alive = [gateway for gateway in gateways if gateway.process.poll() is None]
        assert await asyncio.gather(*[asyncio.to_thread(gateway.stop) for gateway in alive]) == [0] * len(alive)
        for gateway in gateways:
            assert "Traceback" not in gateway.errors(), gateway.errors()
            assert "pg-pass-4711" not in gateway.errors()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; ten seconds at most."""
    async with asyncio.timeout(10.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def test_what_one_gateway_knows_the_others_know(group: Group, postgres_server: PostgresServer) -> None:
    """A key made at one opens another; its call is in the records, the spend and the budgets of all, and of the command line."""
    made = await group.admin(0, "POST", "keys", json={"name": "svc", "team": "red"})
    headers = {"authorization": f"Bearer {made['key']}"}
    answer = await group.ask(1, headers)
    assert answer.status_code == 200, answer.text
    trace = answer.headers["x-prefrontal-trace"]
    charge = postgres_server.sql(f"SELECT held, source FROM charges WHERE id = '{trace}/0'", "gateways")
    assert charge == "f|reported"  # before the last byte
    await until(lambda: postgres_server.sql("SELECT count(*) FROM records", "gateways") == "1")
    record = (await group.clients[2].get(f"/v1/traces/{trace}", headers=ADMIN)).json()
    assert (record["key_id"], record["model"]) == (made["id"], "m")
    (line,) = (await group.admin(2, "GET", "spend", params={"by": "key"}))["data"]
    assert (line["key"], line["calls"], line["cost_usd"]) == ("svc", 1, pytest.approx(CALL_USD))
    (budget,) = (await group.admin(2, "GET", "budgets"))["data"]
    assert (budget["spent_usd"], budget["held_usd"]) == (pytest.approx(CALL_USD), 0.0)
    commands = [("traces", "--json"), ("spend", "--by", "team", "--json")]
    listed, spend = [json.loads(out)["data"] for out in await asyncio.gather(*[group.command(*each) for each in commands])]
    assert [record["id"] for record in listed] == [trace]
    assert [(line["team"], line["calls"]) for line in spend] == [("red", 1)]


async def test_a_conversation_goes_on_at_another_gateway(group: Group) -> None:
    """A response stored at one is gone on from at another."""
    first = await group.clients[0].post("/v1/responses", json={"model": "free", "input": "Remember 7."}, headers=PLAIN)
    assert first.status_code == 200, first.text
    body = {"model": "free", "input": "Which number?", "previous_response_id": first.json()["id"]}
    second = await group.clients[1].post("/v1/responses", json=body, headers=PLAIN)
    assert second.status_code == 200, second.text
    sent = group.up.requests[-1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]


async def test_a_budget_is_one_budget_however_many_gateways_there_are(group: Group) -> None:
    """Ninety calls at once at three gateways on a budget for twenty: not one more is paid for, and the others are told why."""
    budget = {"window": "day", "usd": 20 * CALL_USD}
    made = await group.admin(0, "POST", "keys", json={"name": "tight", "budgets": [budget]})
    headers = {"authorization": f"Bearer {made['key']}"}
    answers = await asyncio.gather(*[group.ask(number % 3, headers) for number in range(90)])
    good = sum(answer.status_code == 200 for answer in answers)
    codes = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    assert codes == {"insufficient_quota"}
    for _ in range(20):  # estimates are higher than costs: what they kept free is there for later calls
        good += (await group.ask(0, headers)).status_code == 200
    (line,) = [line for line in (await group.admin(1, "GET", "spend", params={"by": "key"}))["data"] if line["key"] == "tight"]
    assert line["calls"] == good
    assert line["cost_usd"] == pytest.approx(good * CALL_USD)
    assert 10 <= good <= 20


async def test_a_rate_limit_is_one_limit_through_redis(group: Group) -> None:
    """Forty calls at three gateways on a limit of twenty-five an hour: exactly so many are let in."""
    made = await group.admin(0, "POST", "keys", json={"name": "paced"})
    headers = {"authorization": f"Bearer {made['key']}"}
    answers = await asyncio.gather(*[group.ask(number % 3, headers, "free") for number in range(40)])
    assert sorted(answer.status_code for answer in answers) == [200] * 25 + [429] * 15


async def stream(group: Group, number: int, chance: random.Random, headers: dict[str, str]) -> str:
    """Ask a gateway for a stream and, one time in two, leave it; return `whole`, `left`, or `cut` when its gateway died."""
    body = {"model": "m", "stream": True, "max_tokens": 5, "metadata": {"number": str(number)}}
    body["messages"] = [{"role": "user", "content": LONG}]
    leave = chance.random() < 0.5
    await asyncio.sleep(chance.random() * 0.4)
    try:
        async with group.clients[number % 3].stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for _ in answer.aiter_lines():
                if leave:
                    return "left"
    except httpx.TransportError:
        return "cut"
    return "whole"


async def test_without_postgres_work_without_a_budget_goes_on(group: Group, postgres_server: PostgresServer) -> None:
    """While it is gone: 503 with `retry-after` under a budget, an answer without one; records land once after it is back."""
    assert (await group.ask(0, PLAIN, "free")).status_code == 200
    await asyncio.to_thread(postgres_server.kill)
    try:
        answers = [await group.ask(number % 3, PLAIN, "free") for number in range(9)]
        assert [answer.status_code for answer in answers] == [200] * 9, answers[0].text
        for number in range(3):
            refused = await group.ask(number, PLAIN, "m")
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["retry-after"]) >= 1
            assert "pg-pass-4711" not in refused.text
    finally:
        await asyncio.to_thread(postgres_server.start)
    traces = [answer.headers["x-prefrontal-trace"] for answer in answers]
    query = "SELECT id FROM records"

    def landed() -> bool:
        return set(traces) <= set(postgres_server.sql(query, "gateways").split())

    await until(landed)
    charged = postgres_server.sql("SELECT id FROM charges", "gateways").split()
    assert [charged.count(f"{trace}/0") for trace in traces] == [1] * 9
    assert not any(charge.startswith(tuple(traces)) and not charge.endswith("/0") for charge in charged)
    for _ in range(50):
        again = await group.ask(1, PLAIN, "m")
        if again.status_code == 200:
            break
        await asyncio.sleep(0.1)
    assert again.status_code == 200


async def test_one_of_three_killed_in_the_middle_loses_no_call(group: Group, postgres_server: PostgresServer) -> None:
    """Streams with random leaving, one gateway killed: each call of the upstream is one charge, those of the dead one reaped."""
    made = await group.admin(0, "POST", "keys", json={"name": "crowd", "team": "crowd"})
    headers = {"authorization": f"Bearer {made['key']}"}
    chance = random.Random(3)
    asked_before = len(group.up.requests)
    streams = [asyncio.create_task(stream(group, number, chance, headers)) for number in range(120)]
    await asyncio.sleep(0.25)
    group.gateways[2].process.send_signal(signal.SIGKILL)
    ends = await asyncio.gather(*streams)
    assert "cut" in ends
    # whoever read to the end finds a settled charge; one who left the dead gateway may find it held
    owed = sum(end == "whole" or (end == "left" and number % 3 != 2) for number, end in enumerate(ends))
    for request in group.up.requests:
        await asyncio.wait_for(request.over(), 5.0)
    asked = len(group.up.requests) - asked_before

    def sql(query: str) -> list[str]:
        return postgres_server.sql(f"SELECT {query} FROM charges WHERE team = 'crowd'", "gateways").split("|")

    def settled() -> bool:
        return int(sql("count(*) FILTER (WHERE NOT held)")[0]) >= owed

    await until(settled)
    (held,) = sql("count(*) FILTER (WHERE held)")
    assert int(held) > 0  # those of the dead one
    clock = SystemClock()
    ledger = await PostgresLedger(Postgres(group.url, clock=clock), clock=clock).open()
    vault = PostgresVault(ledger, clock=clock)
    await asyncio.sleep(0.3)  # for settlements of clients that left
    reaped = await vault.reap(clock.now() + 3600.0)
    assert 0 < reaped <= int(held)
    calls, cost, left, nothing = sql("count(*), sum(cost_pico), sum(held::int), count(*) FILTER (WHERE cost_pico = 0)")
    assert (left, nothing) == ("0", "0")
    # each call of the upstream is one charge; the dead one may have reserved calls that it did not come to make
    assert asked <= int(calls) <= asked + reaped
    (state,) = (await group.admin(0, "GET", "budgets"))["data"][:1]
    (everything,) = postgres_server.sql("SELECT sum(cost_pico) FROM charges WHERE model = 'm'", "gateways").split()
    assert state["spent_usd"] == pytest.approx(int(everything) / 1e12, abs=1e-9)
    assert state["held_usd"] == 0.0
    assert int(cost) > 0
    await ledger.aclose()
