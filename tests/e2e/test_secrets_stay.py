"""Secrets put everywhere a secret can stand, a gateway driven through success and failure, and everything it says searched."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from prefrontal.clock import SystemClock
from prefrontal.testing.faults import Fault
from prefrontal.testing.http_server import HttpServer, Recorded, Reply
from prefrontal.testing.upstream import MockUpstream

SECRETS = {
    "CANARY_CALLER": "canary-caller-1f0c9a7d",
    "CANARY_ADMIN": "canary-admin-77aa03be",
    "CANARY_UPSTREAM": "canary-upstream-c04d21",
    "CANARY_HEADER": "canary-header-5e5e91a2",
    "CANARY_EXTRA": "canary-extra-8b1d7f30",
    "CANARY_OTLP": "canary-otlp-2d9fe611",
    "CANARY_PEOPLE": "canary-people-b7c8d9e0",
}
WRONG = "canary-wrong-key-99ff00"
IN_QUERY = "canary-query-31337abc"
DSN = "canary-dsn-4b4b4b4b"
ALL = (*SECRETS.values(), WRONG, IN_QUERY, DSN)
HI = [{"role": "user", "content": "Hi"}]


def configured(upstream: str, collector: str) -> dict[str, Any]:
    entry = {
        "profile": "openai",
        "endpoint": upstream,
        "key": "${CANARY_UPSTREAM}",
        "headers": {"x-gateway": "${CANARY_HEADER}"},
        "extra_body": {"api_key": "${CANARY_EXTRA}"},
    }
    return {
        "server": {"api_keys": ["${CANARY_CALLER}"], "admin_keys": ["${CANARY_ADMIN}"]},
        "discovery": {"enabled": False},
        "records": {"content": True, "user_key": "${CANARY_PEOPLE}"},
        "telemetry": {"endpoint": collector, "headers": {"authorization": "Bearer ${CANARY_OTLP}"}, "interval_s": 0.2},
        "limits": {"retries": {"attempts": 1}},
        "logging": {"level": "debug", "format": "json"},
        "models": {"m": entry, "gone": {**entry, "endpoint": "http://127.0.0.1:9/v1"}},
    }


class Heard:
    """Everything the gateway said, by where it said it."""

    def __init__(self) -> None:
        self.texts: list[tuple[str, str]] = []

    def add(self, where: str, text: str | bytes) -> None:
        self.texts.append((where, text.decode("utf-8", "replace") if isinstance(text, bytes) else text))

    def leaks(self, *allowed: tuple[str, str]) -> list[tuple[str, str]]:
        """Return where a secret was said."""
        return [
            (where, secret) for where, text in self.texts for secret in ALL if secret in text and (where, secret) not in allowed
        ]


async def drive(http: httpx.AsyncClient, upstream: MockUpstream, heard: Heard) -> str:
    """Ask in every way that goes well or wrong; return the secret of a virtual key."""
    caller, admin = ({"authorization": f"Bearer {SECRETS[name]}"} for name in ("CANARY_CALLER", "CANARY_ADMIN"))

    async def ask(method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
        answer = await http.request(method, path, headers=headers, json=body)
        heard.add(f"{method} {path}", answer.text + str(answer.headers))
        return answer

    chat = {"model": "m", "messages": HI, "user": "someone"}
    for path, body in (
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
        ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": HI}),
        ("/v1/responses", {"model": "m", "input": "Hi"}),
        ("/v1/chat/completions", {**chat, "model": "gone"}),
        ("/v1/embeddings", {"model": "m", "input": "x"}),
        (f"/v1/chat/completions?api_key={IN_QUERY}", chat),
    ):
        await ask("POST", path, caller, body)
    said = " ".join(f"{name} {secret}" for name, secret in SECRETS.items() if name in ("CANARY_UPSTREAM", "CANARY_HEADER"))
    for status in (400, 401, 403, 429, 500):  # some upstreams repeat the key they refuse
        upstream.fail(Fault(kind="status", status=status, message=f"Incorrect API key provided: {said}"))
        await ask("POST", "/v1/chat/completions", caller, chat)
    for kind in ("garbage", "error_midstream", "cut_after", "drop"):
        upstream.fail(Fault(kind=kind, message=f"bad {said}"))
        await ask("POST", "/v1/chat/completions", caller, {**chat, "stream": True})
    await ask("POST", "/v1/chat/completions", {"authorization": f"Bearer {WRONG}"}, chat)
    await ask("GET", f"/v1/models?key={IN_QUERY}", {"x-api-key": WRONG})
    await ask("GET", f"/v1/no-such-route?token={IN_QUERY}", caller)
    made = (await http.post("/v1/admin/keys", headers=admin, json={"name": "batch"})).json()["key"]
    await ask("POST", "/v1/chat/completions", {"authorization": f"Bearer {made}"}, chat)
    for path in (
        "/v1/admin/keys",
        "/v1/admin/audit",
        "/v1/admin/spend",
        "/v1/admin/budgets",
        "/v1/config/status",
        "/v1/models",
        "/metrics",
    ):
        await ask("GET", path, admin)
    await ask("POST", "/v1/explain", caller, chat)
    traces = (await ask("GET", "/v1/traces?limit=100", admin)).json()["data"]
    for trace in traces:
        await ask("GET", f"/v1/traces/{trace['id']}", admin)
    await ask("GET", f"/ui/traces/{traces[0]['id']}", admin)
    assert {trace["status"] for trace in traces} >= {"ok", "error"}
    return str(made)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def test_no_secret_is_ever_said_logged_traced_counted_or_stored(start_gateway: Callable[..., Any], home: Path) -> None:
    """Answers, errors, logs, metrics, traces, spans, pages, the database, `config show` and `doctor`, also after a bad reload."""
    heard, clock, env = Heard(), SystemClock(), dict(SECRETS)

    async def collect(asked: Recorded, reply: Reply) -> None:
        heard.add("collector", asked.body)
        reply.whole(200, {}, b"")

    collector = HttpServer(collect, clock=clock)
    await collector.start(0)
    try:
        async with MockUpstream({"Hi": "Hello."}, models=("m",)) as upstream:
            config = configured(upstream.base_url, f"http://127.0.0.1:{collector.port}")
            gateway = await asyncio.to_thread(start_gateway, home, config, env)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as http:
                made = await drive(http, upstream, heard)
                broken = yaml.safe_dump(
                    {**config, "server": {**config["server"], "api_keys": "${CANARY_CALLER}"}, "recods": {}}
                )
                await asyncio.to_thread(save, home, broken)
                reloaded = await http.post("/v1/config/reload", headers={"authorization": f"Bearer {SECRETS['CANARY_ADMIN']}"})
                heard.add("reload", reloaded.text)
                assert reloaded.status_code != 200 or "recods" in reloaded.text
            shown = await asyncio.to_thread(commands, home, config, env)
            await asyncio.to_thread(gateway.stop)
            heard.add("log", gateway.errors())
        for where, text in shown:
            heard.add(where, text)
    finally:
        await collector.stop()
    for name, data in await asyncio.to_thread(stored, home):
        heard.add(name, data)
    assert any(where == "collector" for where, _ in heard.texts)
    assert '"level"' in gateway.errors()
    assert heard.leaks() == []
    assert not [where for where, text in heard.texts if made in text]


def stored(home: Path) -> list[tuple[str, bytes]]:
    return [(file.name, file.read_bytes()) for file in home.glob("*.db*")]


def save(home: Path, text: str) -> None:
    (home / "prefrontal.yaml").write_text(text)


def commands(home: Path, config: dict[str, Any], env: dict[str, str]) -> list[tuple[str, str]]:
    """Return what commands print that show settings, and what a server says that cannot reach its database."""
    (home / "prefrontal.yaml").write_text(yaml.safe_dump(config))
    postgres = home / "postgres.yaml"
    postgres.write_text(yaml.safe_dump({**config, "store": {"url": f"postgresql://me:{DSN}@127.0.0.1:9/none"}}))
    clean = {"PREFRONTAL_HOME": str(home), "HOME": str(home), "PATH": "", **env}
    started = []
    for arguments in (
        ("config", "show", "--config", str(postgres)),
        ("doctor",),
        ("serve", "--port", "0", "--config", str(postgres)),
    ):
        command = [sys.executable, "-m", "prefrontal", *arguments]
        process = subprocess.Popen(command, env=clean, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append((" ".join(arguments[:2]), process))
    found = []
    for name, process in started:
        try:
            found.append((name, process.communicate(timeout=10)[0]))
        except subprocess.TimeoutExpired:
            process.kill()
            found.append((name, process.communicate()[0]))
    return found
