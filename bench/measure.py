"""The measurements: loads in rounds, and what is measured once."""

from __future__ import annotations

import json
import os
import pathlib
import queue
import socket
import statistics
import subprocess
import sys
import time

import msgspec

from bench.gateways import HERE, Gateway, Target, ask, serve_command
from bench.host import Proc, busy_s, free_port
from bench.load import Shot, bodies, shoot
from bench.mock import Mock

ENOUGH = 640
"""Requests a saturated run should have at least: ten times those in flight when it ends."""

LONGEST_S = 16.0
LEAVING_S = 8.0
REFLEX = "what is 17.5% of 2,340?"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request over so many connections."""

    kind: str
    connections: int

    @property
    def name(self) -> str:
        return f"{self.kind}{self.connections}"


SCENARIOS = (
    Scenario(kind="plain", connections=64),
    Scenario(kind="plain", connections=1),
    Scenario(kind="burst", connections=16),
    Scenario(kind="paced", connections=16),
)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One load. cpu_ms: CPU of the gateway's process tree per request; other_cores: CPU used by what is not ours."""

    gateway: str
    scenario: str
    cpu_ms: float
    shot: Shot
    other_cores: float


class Rounds:
    """Loads each gateway in turn, the order rotated from round to round."""

    def __init__(self, gateways: list[Gateway], mock: Mock, folder: pathlib.Path, core: int, seconds: float) -> None:
        self._gateways = gateways
        self._mock = mock
        self._folder = folder
        self._core = core
        self._seconds = seconds
        self._rates: dict[tuple[str, str], float] = {}
        self.results: list[Result] = []

    def warm(self, scenarios: tuple[Scenario, ...] = SCENARIOS) -> None:
        """Fill pools and load what is loaded late; learn how fast each gateway is."""
        for gateway in self._gateways:
            for scenario in scenarios:
                if scenario.kind in gateway.targets and scenario.connections > 1:
                    self._rates[gateway.name, scenario.name] = self._shoot(gateway, scenario, 1.0).shot.per_s

    def run(self, number: int, scenarios: tuple[Scenario, ...] = SCENARIOS) -> None:
        """One round."""
        turned = number % len(self._gateways)
        for scenario in scenarios:
            for gateway in self._gateways[turned:] + self._gateways[:turned]:
                if scenario.kind in gateway.targets:
                    rate = self._rates.get((gateway.name, scenario.name), 0.0)
                    length = min(LONGEST_S, max(self._seconds, ENOUGH / rate)) if rate else min(self._seconds, 3.0)
                    result = self._shoot(gateway, scenario, length if scenario.kind != "paced" else self._seconds)
                    self.results.append(result)
                    rate = result.shot.per_s
                    say(f"round {number + 1} {scenario.name:8} {gateway.name:16} {result.cpu_ms:8.4f} ms {rate:9.0f}/s")

    def _shoot(self, gateway: Gateway, scenario: Scenario, seconds: float) -> Result:
        target = gateway.targets[scenario.kind]
        body_file = bodies(self._folder, target.model, stream=scenario.kind != "plain")
        cpu, mock, busy = gateway.cpu_s(), self._mock_cpu_s(), busy_s()
        shot = shoot(
            target.url,
            body_file,
            target.headers,
            connections=scenario.connections,
            seconds=seconds,
            core=self._core,
            folder=self._folder,
        )
        cpu = gateway.cpu_s() - cpu
        others = busy_s() - busy - cpu - (self._mock_cpu_s() - mock) - shot.load_cpu_s
        return Result(
            gateway=gateway.name,
            scenario=scenario.name,
            cpu_ms=cpu * 1000.0 / max(1, shot.requests),
            shot=shot,
            other_cores=max(0.0, others / (shot.duration_us / 1e6)),
        )

    def _mock_cpu_s(self) -> float:
        return sum(process.cpu_s() for process in self._mock.processes)


def memory(gateway: Gateway, requests: int, folder: pathlib.Path, core: int) -> list[tuple[int, float]]:
    """Send `requests`; return (requests so far, PSS in MB) now and after each piece of ten seconds."""
    assert gateway.process is not None
    target = gateway.targets["plain"]
    body_file = bodies(folder, target.model, stream=False)
    done, found = 0, [(0, gateway.process.pss_mb())]
    while done < requests:
        shot = shoot(target.url, body_file, target.headers, connections=64, seconds=10, core=core, folder=folder)
        if not shot.requests:
            raise SystemExit(f"{gateway.name} stopped answering after {done} requests")
        done += shot.requests
        found.append((done, gateway.process.pss_mb()))
        say(f"memory {gateway.name}: {found[-1][1]:.1f} MB after {done}")
    return found


def leaving_ms(gateway: Gateway, mock: Mock, times: int = 5) -> list[float | None]:
    """Return how long after a client has left in mid-stream the upstream sees its connection closed; None: not in time."""
    target = gateway.targets["watched"]
    found: list[float | None] = []
    body = json.dumps({"model": target.model, "stream": True, "messages": [{"role": "user", "content": "Where is my parcel?"}]})
    lines = [f"POST {target.path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    for _ in range(times):
        while not mock.watched.closed.empty():
            mock.watched.closed.get()
        with socket.create_connection(("127.0.0.1", target.port), 10) as client:
            client.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
            data = b""
            while data.count(b"data: ") < 4:
                more = client.recv(65536)
                if not more:
                    raise SystemExit(f"{gateway.name} ended a stream early: {data[:300]!r}")
                data += more
            left = time.perf_counter()
        try:
            found.append((mock.watched.closed.get(timeout=LEAVING_S) - left) * 1000.0)
        except queue.Empty:
            found.append(None)
    return found


def first_reflex_s(folder: pathlib.Path, core: int | None, times: int = 5) -> list[float]:
    """Return how long a fresh process takes from its start to its first answer over HTTP, without any configuration."""
    found = []
    for turn in range(times):
        home, port = folder / f"start-{turn}", free_port()
        home.mkdir()
        begun = time.perf_counter()
        command = [*serve_command(), "--port", str(port)]
        process = Proc(f"start {turn}", command, core=core, folder=home, env={"PREFRONTAL_HOME": str(home)})
        try:
            found.append(_answered(process, Target(port=port, model="auto"), begun))
        finally:
            process.stop()
    return found


def _answered(process: Proc, target: Target, begun: float) -> float:
    while process.running and time.perf_counter() - begun < 30:
        try:
            status, body = ask(target, text=REFLEX)
        except OSError:
            time.sleep(0.005)
            continue
        if status == 200 and b"409.5" in body:
            return time.perf_counter() - begun
        raise SystemExit(f"the reflex was not answered: {status} {body[:300]!r}")
    raise SystemExit(f"prefrontal did not start:\n{process.tail()}")


def import_s(times: int = 5) -> list[float]:
    """Return how long `import prefrontal` takes in a fresh interpreter."""
    code = "import time; begun = time.perf_counter(); import prefrontal; print(time.perf_counter() - begun)"
    return [float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) for _ in range(times)]


def install_mb(folder: pathlib.Path) -> float:
    """Return what the core installation adds to a fresh environment, in MB. Needs the package index."""
    place = folder / "install"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    before = _size(place)
    subprocess.run([place / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", str(HERE)], check=True)
    return (_size(place) - before) / 1e6


def _size(folder: pathlib.Path) -> int:
    return sum((pathlib.Path(root) / name).lstat().st_size for root, _, names in os.walk(folder) for name in names)


def middle(values: list[float]) -> float:
    return statistics.median(values)


def say(text: str) -> None:
    """Tell how far it has come, apart from the table on stdout."""
    print(text, file=sys.stderr, flush=True)
