"""A whole gateway that may talk to this machine only, with every socket of its process watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefrontal.contracts.reach import is_loopback
from prefrontal.testing.faults import Fault
from prefrontal.testing.upstream import MockUpstream

PROGRAM = Path(__file__).parent / "watched_gateway.py"
HOSTED = "hosted.invalid"
PATIENTS = {"by_data_class": {"patients": {"mode": "local_only"}}}


class Watched:
    """A gateway in a process of its own, and what its sockets did."""

    def __init__(self, home: Path, config: dict[str, Any]) -> None:
        self.home, self.seen = home, home / "sockets.jsonl"
        home.mkdir(parents=True)
        (home / "prefrontal.yaml").write_text(yaml.safe_dump(config))
        command = [sys.executable, str(PROGRAM), str(self.seen), "serve", "--port", "0"]
        with (home / "log").open("wb") as errors:
            self.process = subprocess.Popen(command, env=self.env(), cwd=home, stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url.startswith("http://"), (home / "log").read_text()

    def env(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        keys = {"OPENAI_API_KEY": "sk-made-up-0123456789", "HTTPS_PROXY": "http://proxy.invalid:3128"}
        return {**keep, **keys, "HOME": str(self.home), "PREFRONTAL_HOME": str(self.home)}

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"content-type": "application/json", **headers}
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def chat(self, model: str, content: object = "Write a poem.", **headers: str) -> tuple[int, Any]:
        return self.post(
            "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": content}]}, **headers
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), str(self.seen), *arguments]
        return subprocess.run(command, env=self.env(), cwd=self.home, capture_output=True, text=True, timeout=30, check=False)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def hosts(self) -> set[tuple[str, str]]:
        """Return every host that was connected to or asked for."""
        lines = [json.loads(line) for line in self.seen.read_text().splitlines()]
        return {(line["event"], str(line["host"])) for line in lines}

    def elsewhere(self) -> set[tuple[str, str]]:
        """Return those that are not this machine."""
        return {one for one in self.hosts() if not is_loopback(one[1])}


def configured(upstream: str, egress: dict[str, Any]) -> dict[str, Any]:
    hosted = {"endpoint": f"https://{HOSTED}/v1", "profile": "openai", "key": "sk-hosted-0123456789"}
    return {
        "egress": egress,
        "discovery": {"enabled": True, "ports": {"ollama": [9]}, "interval_s": 1},
        "telemetry": {"endpoint": "http://collector.invalid:4318", "interval_s": 0.2},
        "limits": {"retries": {"attempts": 1}},
        "routing": {"reflexes": {"enabled": False}, "channels": {"notes": {"data_class": "patients"}}},
        "models": {
            "near": {"profile": "vllm", "endpoint": upstream, "capabilities": {"vision": True, "embedding": True}},
            "far": {**hosted, "priority": 9, "quality": 1.0, "capabilities": {"vision": True}},
            "vectors": {**hosted, "roles": ["embedding"], "capabilities": {"embedding": True}},
        },
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


async def in_thread(work: Any, *arguments: Any, **options: Any) -> Any:
    import asyncio

    return await asyncio.to_thread(lambda: work(*arguments, **options))


async def test_a_gateway_held_to_this_machine_connects_to_nothing_else_and_asks_for_no_name(home: Path) -> None:
    """Routing, fallback, embeddings, images, discovery, telemetry, reloads, pulls: hosted models are configured, none reached."""
    async with MockUpstream({"poem": "Roses."}, models=("near",)) as upstream:
        gateway = await in_thread(Watched, home, configured(upstream.root_url, {"mode": "local_only", **PATIENTS}))
        try:
            status, answer = await in_thread(gateway.chat, "auto")
            assert (status, answer["x_prefrontal"]["model"]) == (200, "near")
            for model in ("far", "openai/gpt-of-tomorrow"):
                status, refused = await in_thread(gateway.chat, model)
                assert (status, refused["error"]["code"]) == (403, "egress_denied"), refused
            upstream.fail(Fault(kind="status", status=500))
            status, _ = await in_thread(gateway.chat, "auto")
            assert status == 502  # nothing far stands in
            status, vectors = await in_thread(gateway.post, "/v1/embeddings", {"model": "auto", "input": "x"})
            assert (status, vectors.get("model")) == (200, "near"), vectors
            assert (await in_thread(gateway.post, "/v1/embeddings", {"model": "vectors", "input": "x"}))[0] == 403
            image = [{"type": "image_url", "image_url": {"url": "http://images.invalid/cat.png"}}]
            status, refused = await in_thread(gateway.chat, "near", image)
            assert (status, refused["error"]["code"]) == (403, "egress_denied"), refused
            status, plan = await in_thread(
                gateway.post, "/v1/explain", {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
            )
            assert f"the host '{HOSTED}' may not be contacted" in json.dumps(plan)
            assert (await in_thread(gateway.post, "/v1/config/reload", {}))[0] == 200
            pulled = await in_thread(gateway.run, "models", "pull", "someone/something")
            assert pulled.returncode == 1
            assert "huggingface.co" in pulled.stderr
        finally:
            await in_thread(gateway.stop)
    assert ("connect", "127.0.0.1") in gateway.hosts()  # the watcher watched
    assert gateway.elsewhere() == set()


async def test_a_class_of_data_stays_here_while_other_requests_may_leave(home: Path) -> None:
    """Named by body, header or channel it holds; what is in no class asks for the hosted name, so the watcher works."""
    config = configured("http://127.0.0.1:9", PATIENTS)
    config["telemetry"] = {}
    config["discovery"] = {"enabled": False}
    async with MockUpstream({"poem": "Roses."}, models=("near",)) as upstream:
        config["models"]["near"]["endpoint"] = upstream.root_url
        gateway = await in_thread(Watched, home, config)
        try:
            hint = {
                "model": "auto",
                "messages": [{"role": "user", "content": "A poem?"}],
                "x_prefrontal": {"data_class": "patients"},
            }
            status, answer = await in_thread(gateway.post, "/v1/chat/completions", hint)
            assert (status, answer["x_prefrontal"]["model"]) == (200, "near")
            assert (await in_thread(gateway.chat, "far", **{"x-prefrontal-data-class": "patients"}))[0] == 403
            assert (await in_thread(gateway.chat, "far", **{"x-prefrontal-channel": "notes"}))[0] == 403
            assert (await in_thread(gateway.chat, "auto/notes"))[0] == 200
            assert (await in_thread(gateway.chat, "auto", **{"x-prefrontal-data-class": "patience"}))[0] == 400
            assert gateway.elsewhere() == set()
            assert (await in_thread(gateway.chat, "far"))[0] == 502
            assert gateway.elsewhere() == {("name", HOSTED)}
        finally:
            await in_thread(gateway.stop)
