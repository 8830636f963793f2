"""Three worker processes behind one port: money and limits count as one, the killed are replaced, everybody sees everything."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
import pytest_asyncio
import yaml

from prefrontal.app.crew.channel import Post
from prefrontal.serve.crew import MODULE, Orders, listeners
from prefrontal.testing.answers import Answer
from prefrontal.testing.http_server import Recorded
from prefrontal.testing.upstream import MockUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = {"authorization": "Bearer admin-of-the-tests"}
WORKERS = 3
STREAMS = 120
INPUT = 100
USD_IN, USD_OUT = 2.0, 10.0
LONG = "word " * 84


def number_of(request: Recorded) -> int:
    return int(request.json["messages"][-1]["content"].split()[-1])


def said(request: Recorded) -> Answer:
    """As many tokens as the number in the prompt says."""
    return Answer(text="abc " * (number_of(request) % 17 + 3), pace_s=0.03, input_tokens=INPUT)


def settings(up: MockUpstream) -> dict[str, Any]:
    entry = {"profile": "openai-compatible", "endpoint": up.base_url, "key": "k", "concurrency": 256}
    return {
        "models": {
            "m": {**entry, "price": {"input_usd": USD_IN, "output_usd": USD_OUT}},
            "n": {**entry, "model": "other", "price": {"input_usd": 0.1, "output_usd": 0.2}},
        },
        "server": {"workers": WORKERS, "admin_keys": ["admin-of-the-tests"]},
        "discovery": {"enabled": False},
        "budgets": [{"name": "all", "scope": "global", "window": "month", "usd": 100}],
        "limits": {"retries": {"attempts": 1}},
    }


class Crew:
    """A gateway of several workers. Every request comes over a connection of its own, so that any worker may get it."""

    def __init__(self, up: MockUpstream, gateway: Any, http: httpx.AsyncClient) -> None:
        self.up, self.gateway, self.http = up, gateway, http

    @property
    def workers(self) -> list[psutil.Process]:
        return [child for child in self.gateway.children() if "prefrontal.cli.worker" in child.cmdline()]

    async def admin(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.http.request(method, f"/v1/admin/{path}", headers=ADMIN, **options)
        assert answer.status_code < 400, answer.text
        return answer.json()

    async def key(self, name: str, **fields: Any) -> dict[str, str]:
        made = await self.admin("POST", "keys", json={"name": name, **fields})
        return {"authorization": f"Bearer {made['key']}"}

    async def ask(self, headers: dict[str, str], text: str = "say 1", **fields: Any) -> httpx.Response:
        body = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **fields}
        return await self.http.post("/v1/chat/completions", json=body, headers=headers)

    async def kill_one(self) -> None:
        """Kill a worker and wait until another serves in its place."""
        count = self.gateway.errors().count("serves again")
        self.workers[-1].send_signal(signal.SIGKILL)
        await until(lambda: self.gateway.errors().count("serves again") > count)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def crew(tmp_path_factory: pytest.TempPathFactory, start_gateway: Callable[..., Any]) -> AsyncIterator[Crew]:
    """Three workers and their upstream."""
    async with MockUpstream(said) as up:
        gateway = start_gateway(tmp_path_factory.mktemp("crew"), settings(up))
        limits = httpx.Limits(max_connections=STREAMS + 20, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30.0, limits=limits) as http:
            yield Crew(up, gateway, http)
        assert await asyncio.to_thread(gateway.stop) == 0, gateway.errors()
        assert "Traceback" not in gateway.errors()


def rows(home: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{home / 'prefrontal.db'}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; ten seconds at most."""
    async with asyncio.timeout(10.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def test_a_limit_and_a_budget_hold_over_all_workers(crew: Crew) -> None:
    """60 requests at once over three processes: exactly as many are let in as the limit says; a budget is not overrun by one."""
    headers = await crew.key("limited", rates=[{"window": "hour", "requests": 25}])
    answers = await asyncio.gather(*[crew.ask(headers, f"{LONG} 1") for _ in range(60)])
    assert sorted(answer.status_code for answer in answers) == [200] * 25 + [429] * 35
    assert {a.json()["error"]["code"] for a in answers if a.status_code == 429} == {"rate_limit_exceeded"}

    poor = await crew.key("poor", team="poor", budgets=[{"window": "day", "usd": 0.005}])
    answers = await asyncio.gather(*[crew.ask(poor, f"{LONG} {number}") for number in range(60)])
    assert {answer.status_code for answer in answers} == {200, 429}
    ((spent, held),) = rows(crew.gateway.home, "SELECT sum(cost_pico), sum(held) FROM charges WHERE team = 'poor'")
    assert held == 0
    assert 0.002e12 < spent <= 0.005e12  # at least what calls that were held at the same time leave of it
    cheap = {"window": "day", "usd": 0.0011, "on_exhaustion": "degrade"}
    degrading = await crew.key("degrading", budgets=[cheap])
    answers = [await crew.ask(degrading, f"{LONG} 1") for _ in range(6)]
    models = [answer.json().get("model", answer.text) for answer in answers]
    assert models[0] == "m"
    assert models[-1] == "n", models


async def stream_some(crew: Crew, headers: dict[str, str], number: int, chance: random.Random) -> str:
    """Ask for a stream, leave it one time in three; say how it went."""
    body = {
        "model": "m",
        "stream": True,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": f"{LONG} {number}"}],
    }
    leave_after = chance.randrange(0, 20) if chance.random() < 0.3 else None
    await asyncio.sleep(chance.random() * 0.5)
    try:
        async with crew.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            seen = 0
            async for line in answer.aiter_lines():
                seen += 1
                if leave_after is not None and seen > leave_after:
                    return "left"
                if line == "data: [DONE]":
                    return "whole"
    except httpx.TransportError:
        return "broken"
    return "broken"


async def test_peers_6_a_killed_worker_loses_and_doubles_nothing(crew: Crew) -> None:
    """Kill -9 among 120 streams: each call upstream is one charge, reports are exact, the killed one's are its estimates."""
    headers = await crew.key("crowd", team="load")
    chance = random.Random(11)
    before = len(crew.up.requests)
    asking = [asyncio.create_task(stream_some(crew, headers, number, chance)) for number in range(STREAMS)]
    await asyncio.sleep(0.45)
    await crew.kill_one()
    ends = await asyncio.gather(*asking)
    assert ends.count("whole") > STREAMS / 4
    assert ends.count("broken") > 0
    truth = [request for request in crew.up.requests[before:] if request.path.endswith("/chat/completions")]
    for request in truth:
        await asyncio.wait_for(request.over(), 5.0)

    home = crew.gateway.home
    await asyncio.sleep(0.3)  # those whose clients left are settled by then
    ((dead,),) = rows(home, "SELECT count(*) FROM charges WHERE held = 1")
    assert 0 < dead <= STREAMS - ends.count("whole")
    with closing(sqlite3.connect(home / "prefrontal.db", timeout=10.0)) as db, db:  # as if their time had come
        db.execute("UPDATE charges SET expires_s = 0 WHERE held = 1")
    await crew.kill_one()  # whichever process starts next settles them
    await until(lambda: rows(home, "SELECT count(*) FROM charges WHERE held = 1") == [(0,)])

    found = rows(home, "SELECT id, source, outcome, input_tokens, output_tokens, cost_pico FROM charges WHERE team = 'load'")
    assert len(truth) <= len(found) <= len(truth) + dead  # killed between its reservation and its call
    assert sum(outcome == "reaped" for _, _, outcome, *_ in found) == dead
    assert all(pico > 0 for *_, pico in found)
    reported = [row for row in found if row[1] == "reported"]
    assert len(reported) >= ends.count("whole")
    for _, _, _, inputs, outputs, pico in reported:
        assert (inputs, pico) == (INPUT, round((inputs * USD_IN + outputs * USD_OUT) * 1e6))

    paid = sum(pico for *_, pico in found)
    (line,) = [line for line in (await crew.admin("GET", "spend", params={"by": "key"}))["data"] if line["key"] == "crowd"]
    assert (line["calls"], round(line["cost_usd"] * 1e12)) == (len(found), paid)
    ((whole,),) = rows(home, "SELECT sum(cost_pico) FROM charges")
    (budget,) = [b for b in (await crew.admin("GET", "budgets"))["data"] if b["budget"] == "all"]
    assert (round(budget["spent_usd"] * 1e12), budget["held_usd"]) == (whole, 0.0)


async def test_every_worker_sees_records_conversations_and_metrics(crew: Crew) -> None:
    """A record and a stored response are there for whoever is asked next; the metrics are of all workers, by worker."""
    headers = await crew.key("reader", team="seen")
    for _ in range(8):
        answer = await crew.ask(headers)
        trace = answer.json()["x_prefrontal"]["trace"]
        assert (await crew.http.get(f"/v1/traces/{trace}", headers=headers)).status_code == 200
    body = {"model": "m", "input": "say 1", "max_output_tokens": 20}
    first = (await crew.http.post("/v1/responses", json=body, headers=headers)).json()
    for _ in range(6):
        again = await crew.http.post("/v1/responses", json={**body, "previous_response_id": first["id"]}, headers=headers)
        assert again.status_code == 200, again.text
    page = (await crew.http.get("/metrics", headers=ADMIN)).text
    counted = re.findall(r'prefrontal_requests_total\{worker="(\d)".*\} (\S+)', page)
    assert len({worker for worker, _ in counted}) > 1
    before = sum(float(count) for _, count in counted)
    await asyncio.gather(*[crew.ask(headers) for _ in range(12)])
    page = (await crew.http.get("/metrics", headers=ADMIN)).text
    after = sum(float(count) for _, count in re.findall(r'prefrontal_requests_total\{worker="(\d)".*\} (\S+)', page))
    assert after - before == 12
    assert page.count("# TYPE prefrontal_requests_total") == 1


async def test_a_reload_and_a_revoked_key_reach_all(crew: Crew) -> None:
    """SIGHUP at the parent brings the new file to every worker; a key that one worker revokes is refused by all from then on."""
    headers = await crew.key("leaver")
    tree = yaml.safe_load(crew.gateway.config.read_text())
    tree["limits"]["concurrency"] = 777
    crew.gateway.config.write_text(yaml.safe_dump(tree))
    crew.gateway.process.send_signal(signal.SIGHUP)
    for _ in range(6):
        assert (await crew.ask(headers)).status_code == 200
    await crew.admin("DELETE", "keys/leaver")

    async def refused() -> bool:
        answers = await asyncio.gather(*[crew.ask(headers) for _ in range(9)])
        return all(answer.status_code == 401 for answer in answers)

    assert await refused()
    for _ in range(8):
        status = (await crew.http.get("/v1/config/status", headers=ADMIN)).json()
        assert (status["ok"], status["generation"]) == (True, 2)


async def test_a_worker_whose_parent_is_gone_finishes_its_answers_and_ends(tmp_path: Path) -> None:
    """The end of its standard input is the end of its parent: what runs is answered, then it leaves with status 0."""
    async with MockUpstream(said) as up, httpx.AsyncClient(timeout=10.0) as http:
        file = tmp_path / "prefrontal.yaml"
        file.write_text(yaml.safe_dump({**settings(up), "server": {"workers": 2, "drain_s": 5}}))
        (sock,) = listeners("127.0.0.1", 0, 1)
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        post = Post(index=0, count=1, fd=sock.fileno(), folder=str(tmp_path))
        env = {"PATH": os.environ["PATH"], "PREFRONTAL_HOME": str(tmp_path), "HOME": str(tmp_path)}
        pipe = asyncio.subprocess.PIPE
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE), stdin=pipe, stdout=pipe, stderr=pipe, env=env, pass_fds=(sock.fileno(),)
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(msgspec.json.encode(Orders(post=post, config=str(file))) + b"\n")
        assert (await worker.stdout.readline()).decode().strip() == url
        sock.close()
        body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "say 16"}]}
        asking = asyncio.create_task(http.post(f"{url}/v1/chat/completions", json=body))
        await until(lambda: any(r.path.endswith("completions") for r in up.requests))
        worker.stdin.close()
        assert (await asking).status_code == 200
        _, errors = await asyncio.wait_for(worker.communicate(), 10.0)
        assert worker.returncode == 0, errors
