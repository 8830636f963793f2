"""The gateways: how each is configured, started and asked. All of them get one process (one worker) on one core."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from bench import peers
from bench.host import Proc, free_port, program
from bench.mock import Mock, proxy

PATH = "/v1/chat/completions"
KINDS = ("plain", "burst", "paced", "watched")
MODELS = {"plain": "mock", "burst": "mock-burst", "paced": "mock-paced", "watched": "mock-watched"}
HERE = pathlib.Path(__file__).resolve().parent.parent
READY_S = 90.0
LITELLM_KEY = "sk-bench-0123456789abcdef"  # it does not start without one
OUR_KEY = "bench-0123456789abcdef0123456789abcdef"
GUARDED: dict[str, object] = {
    "budgets": [
        {"scope": "key", "window": "day", "usd": 1e6},
        {"name": "everything", "scope": "global", "window": "month", "usd": 1e7},
    ],
    "limits": {"rates": [{"scope": "key", "window": "minute", "requests": 100_000_000, "tokens": 1_000_000_000_000}]},
}
"""A key's budget and the whole's, and a rate limit, none of which is ever reached: every request is checked against all three."""


OUR_HEADERS = {"authorization": f"Bearer {OUR_KEY}"}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where one kind of request goes."""

    port: int
    path: str = PATH
    model: str = "mock"
    headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


class Gateway:
    """A started gateway. `targets` has a kind only where the gateway can serve it."""

    def __init__(self, name: str, process: Proc | None, targets: dict[str, Target], version: str = "") -> None:
        self.name = name
        self.process = process
        self.targets = targets
        self.version = version
        self.start_s: float | None = None

    def cpu_s(self) -> float:
        return self.process.cpu_s() if self.process else 0.0


Starter = Callable[[Mock, pathlib.Path, int], Gateway]


def direct(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    """No gateway: what the load itself sees of the mock."""
    return Gateway("direct", None, {kind: Target(port=port, model=MODELS[kind]) for kind, port in mock.ports.items()})


def nginx(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    ports = {kind: free_port() for kind in KINDS}
    process = proxy("nginx", ports, mock, folder, core)
    said = subprocess.run([program("nginx") or "nginx", "-v"], capture_output=True, text=True, check=False).stderr
    targets = {kind: Target(port=port, model=MODELS[kind]) for kind, port in ports.items()}
    return Gateway("nginx", process, targets, said.strip().rpartition("/")[2])


def bare(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    port = free_port()
    pairs = [f"{kind}={mock.base(kind)}/chat/completions" for kind in KINDS]
    process = Proc("bare", [sys.executable, "-m", "bench.bare", str(port), *pairs], core=core, folder=folder, cwd=HERE)
    targets = {kind: Target(port=port, path=f"/{kind}{PATH}", model=MODELS[kind]) for kind in KINDS}
    return Gateway("bare", process, targets, f"uvicorn {_version('uvicorn')}, aiohttp {_version('aiohttp')}")


def prefrontal(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    """Our gateway with named models: a key is asked for, a rate limit and two budgets apply, every request is recorded."""
    return _named("prefrontal", GUARDED, mock, folder, core)


def prefrontal_open(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    """The same as somebody runs it alone: records, but no budgets and no limits."""
    return _named("prefrontal open", {}, mock, folder, core)


def _named(name: str, settings: dict[str, object], mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    models = {model: _model(mock.base(kind), 0.1, 0.4) for kind, model in MODELS.items()}
    process, port = _prefrontal(name, {"models": models, **settings}, folder, core)
    targets = {kind: Target(port=port, model=MODELS[kind], headers=OUR_HEADERS) for kind in KINDS}
    return Gateway(name, process, targets, _version("prefrontal"))


def prefrontal_auto(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    """Our gateway with five models that differ, and `model: auto`: assessed and planned for every request."""
    base = mock.base("plain")
    models = {
        "small": {**_model(base, 0.1, 0.4), "context_tokens": 32768, "roles": ["router", "summarization"], "quality": 0.4},
        "coder": {**_model(base, 0.3, 1.2), "context_tokens": 131072, "roles": ["coding"], "strengths": ["code"]},
        "thinker": {
            **_model(base, 0.5, 2.2),
            "context_tokens": 131072,
            "roles": ["reasoning"],
            "strengths": ["math", "reasoning"],
            "capabilities": {"thinking": True, "tools": True},
        },
        "large": {**_model(base, 2.5, 10.0), "context_tokens": 1000000, "quality": 0.9, "capabilities": {"tools": True}},
        "eyes": {**_model(base, 0.8, 3.2), "context_tokens": 65536, "roles": ["vision"], "capabilities": {"vision": True}},
    }
    process, port = _prefrontal("prefrontal auto", {"models": models, **GUARDED}, folder, core)
    targets = {"plain": Target(port=port, model="auto", headers=OUR_HEADERS)}
    return Gateway("prefrontal auto", process, targets, _version("prefrontal"))


def serve_command() -> list[str]:
    """Return how our gateway is started."""
    return [sys.executable, "-m", "prefrontal", "serve"]


def _model(base: str, input_usd: float = 0.0, output_usd: float = 0.0) -> dict[str, object]:
    return {
        "profile": "openai-compatible",
        "endpoint": base,
        "concurrency": 256,
        "price": {"input_usd": input_usd, "output_usd": output_usd},
    }


def _prefrontal(name: str, settings: dict[str, object], folder: pathlib.Path, core: int) -> tuple[Proc, int]:
    port = free_port()
    file = folder / f"{name.replace(' ', '-')}.yaml"
    server = {"port": port, "api_keys": [OUR_KEY]}
    file.write_text(json.dumps({"server": server, "discovery": {"enabled": False}, **settings}))  # JSON is YAML
    home = folder / f"{name.replace(' ', '-')}-home"
    command = [*serve_command(), "--config", str(file)]
    return Proc(name, command, core=core, folder=folder, env={"PREFRONTAL_HOME": str(home)}), port


def records(folder: pathlib.Path, name: str) -> int:
    """Return how many records a gateway of ours has left in its database."""
    import sqlite3

    path = folder / f"{name.replace(' ', '-')}-home" / "prefrontal.db"
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])


def litellm(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    command = peers.litellm_command()
    assert command is not None
    port = free_port()
    file = folder / "litellm.yaml"
    served = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": mock.base(kind), "api_key": "sk-none"}}
        for kind, name in MODELS.items()
    ]
    file.write_text(json.dumps({"model_list": served, "litellm_settings": {"telemetry": False, "num_retries": 0}}))
    process = Proc(
        "litellm",
        [*command, "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"],
        core=core,
        folder=folder,
        env={"LITELLM_MASTER_KEY": LITELLM_KEY, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    headers = {"authorization": f"Bearer {LITELLM_KEY}"}
    targets = {kind: Target(port=port, model=name, headers=headers) for kind, name in MODELS.items()}
    return Gateway("LiteLLM", process, targets, peers.litellm_version())


def portkey(mock: Mock, folder: pathlib.Path, core: int) -> Gateway:
    command = peers.portkey_command()
    assert command is not None
    port = free_port()
    process = Proc("portkey", [*command, f"--port={port}", "--headless"], core=core, folder=folder, cwd=peers.PORTKEY)
    targets = {
        kind: Target(
            port=port,
            model=name,
            headers={
                "authorization": "Bearer sk-none",
                "x-portkey-provider": "openai",
                "x-portkey-custom-host": mock.base(kind),
            },
        )
        for kind, name in MODELS.items()
    }
    return Gateway("Portkey", process, targets, peers.portkey_version())


def available(*, with_peers: bool) -> list[Starter]:
    """Return the gateways to measure, in the order of the tables."""
    found: list[Starter] = [direct, nginx, bare, prefrontal, prefrontal_open, prefrontal_auto]
    if with_peers and peers.portkey_command():
        found.append(portkey)
    if with_peers and peers.litellm_command():
        found.append(litellm)
    return found


def ask(target: Target, *, stream: bool = False, text: str = "Where is my parcel?", timeout_s: float = 30.0) -> tuple[int, bytes]:
    """Ask once and return status and body."""
    body: dict[str, object] = {"model": target.model, "messages": [{"role": "user", "content": text}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=timeout_s)
    try:
        connection.request("POST", target.path, json.dumps(body), {"content-type": "application/json", **target.headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def until_answered(gateway: Gateway, begun: float) -> None:
    """Ask until the gateway answers; note how long after `begun` that was. Raises SystemExit when it does not."""
    last: object = None
    while time.perf_counter() - begun < READY_S:
        if gateway.process is not None and not gateway.process.running:
            break
        try:
            last = ask(gateway.targets["plain"])
            if last[0] == 200:
                gateway.start_s = time.perf_counter() - begun
                return
        except OSError as error:
            last = error
        time.sleep(0.01)
    raise SystemExit(f"{gateway.name} gave no answer ({last!r}):\n{gateway.process.tail() if gateway.process else ''}")


def check(gateway: Gateway) -> list[str]:
    """Ask for each kind once; return what is wrong and take kinds that fail out of the measurement."""
    wrong = []
    for kind, target in list(gateway.targets.items()):
        status, body = ask(target, stream=kind != "plain")
        fine = status == 200 and (b'"usage"' in body if kind == "plain" else b"[DONE]" in body and body.count(b"data: ") >= 50)
        if not fine:
            del gateway.targets[kind]
            wrong.append(f"{gateway.name} {kind}: status {status}, {len(body)} bytes: {body[:200]!r}")
    return wrong


def _version(package: str) -> str:
    return importlib.metadata.version(package)
