"""Which HTTP client carries the upstream calls? Measures the candidates side by side and probes their faults.

    python bench/clients.py [--seconds 2] [--rounds 3] [--json FILE]

Candidates: `transport` (HttpTransport, what serves), `aiohttp` (the same client bare) and `pyreqwest`, which is not a
dependency of the project: `pip install pyreqwest uvloop` in the environment that runs this. What is not installed is left out.

Cost: CPU of the client's process (user and system, all its threads) per request, against a mock far faster than any client:
nginx with a fixed chat completion (needs `nginx` on the PATH; otherwise a Protocol server in a process of its own).
  plain64   64 connections, saturated        plain1   one connection
  paced16   16 streams at a time, each 50 events 5 ms apart; milliseconds per stream
Faults, against sockets that misbehave: how long until the upstream sees that the caller left (before the head, for whole
answers and streams, and in mid-stream), when the first of ten events 20 ms apart arrives, and what a self-signed
certificate is called. Client on core 1, mock on core 0 where there are two.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from client_faults import probe

NAMES = ("transport", "aiohttp", "pyreqwest")
EVENTS, GAP_S = 50, 0.005
REQUEST = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 160}]}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 70}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 161, "completion_tokens": 71, "total_tokens": 232},
    }
).encode()
HEADERS = (("content-type", "application/json"), ("authorization", "Bearer sk-none"))


# --- the candidates: call(url) -> body, stream(url) -> async iterator of bytes


class Transport:
    def __init__(self) -> None:
        from prefrontal.clock import SystemClock
        from prefrontal.contracts.wire import WireRequest
        from prefrontal.execute.transport import Timeouts
        from prefrontal.execute.transport.http import HttpTransport

        self.http = HttpTransport(clock=SystemClock())
        self.timeouts = Timeouts()
        self.request = WireRequest

    async def call(self, url: str) -> bytes:
        return (await self.http.send(self.request(url=url, headers=HEADERS, body=REQUEST), self.timeouts)).body

    async def stream(self, url: str):
        stream = await self.http.open(self.request(url=url, headers=HEADERS, body=REQUEST), self.timeouts)
        try:
            while data := await stream.read():
                yield data
        finally:
            await stream.aclose()

    async def close(self) -> None:
        await self.http.aclose()


class Aiohttp:
    def __init__(self) -> None:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=None)
        self.http = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())

    async def call(self, url: str) -> bytes:
        async with self.http.post(url, data=REQUEST, headers=HEADERS) as answer:
            return await answer.read()

    async def stream(self, url: str):
        async with self.http.post(url, data=REQUEST, headers=HEADERS) as answer:
            async for data in answer.content.iter_any():
                yield data

    async def close(self) -> None:
        await self.http.close()


class Pyreqwest:
    def __init__(self) -> None:
        from pyreqwest.client import ClientBuilder

        self.http = ClientBuilder().no_proxy().follow_redirects(False).http1_only().build()

    async def call(self, url: str) -> bytes:
        answer = await self.http.post(url).headers(HEADERS).body_bytes(REQUEST).build().send()
        return bytes(await answer.bytes())

    async def stream(self, url: str):
        # without the limit of 0 it reads ahead and hands a paced stream over in one piece at its end
        request = self.http.post(url).headers(HEADERS).body_bytes(REQUEST).streamed_read_buffer_limit(0)
        async with request.build_streamed() as answer:
            while (data := await answer.body_reader.read_chunk()) is not None:
                yield bytes(data)

    async def close(self) -> None:
        await self.http.close()


def make(name: str):
    return {"transport": Transport, "aiohttp": Aiohttp, "pyreqwest": Pyreqwest}[name]()


# --- one measurement, in a process of its own


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


async def saturate(client, url: str, connections: int, seconds: float) -> dict:
    done = 0

    async def caller(until: float) -> None:
        nonlocal done
        while time.perf_counter() < until:
            body = await client.call(url)
            assert len(body) == len(ANSWER)
            done += 1

    async def phase(length: float) -> None:
        until = time.perf_counter() + length
        await asyncio.gather(*[caller(until) for _ in range(connections)])

    await phase(0.5)
    done, begun, used = 0, time.perf_counter(), cpu_s()
    await phase(seconds)
    return {"ms": (cpu_s() - used) * 1000 / done, "per_s": done / (time.perf_counter() - begun)}


async def pace(client, url: str, at_once: int, seconds: float) -> dict:
    done = 0

    async def one() -> None:
        nonlocal done
        data = b""
        async for piece in client.stream(url):
            data += piece
        assert data.endswith(b"[DONE]\n\n")
        done += 1

    await asyncio.gather(*[one() for _ in range(at_once)])
    done, used, until = 0, cpu_s(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        await asyncio.gather(*[one() for _ in range(at_once)])
    return {"ms": (cpu_s() - used) * 1000 / done, "streams": done}


async def measure(name: str, kind: str, url: str, seconds: float) -> dict:
    client = make(name)
    if kind == "paced16":
        result = await pace(client, url, 16, seconds)
    elif kind == "faults":
        result = await probe(client)
    else:
        result = await saturate(client, url, int(kind.removeprefix("plain")), seconds)
    with contextlib.suppress(Exception):
        await client.close()
    return result


# --- mocks


def paced_mock(port: int) -> None:
    """Serve the paced stream, and the plain answer where there is no nginx."""
    pin(0)

    class Connection(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.left = transport, b""

        def data_received(self, data):
            self.left += data
            head, found, body = self.left.partition(b"\r\n\r\n")
            if not found or len(body) < len(REQUEST):
                return
            self.left = b""
            if b" /plain" in head:
                self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
                return
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            asyncio.get_running_loop().call_later(GAP_S, self.event, 0)

        def event(self, number):
            line = b"data: [DONE]\n\n" if number == EVENTS else b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
            self.transport.write(b"%x\r\n%b\r\n" % (len(line), line))
            if number == EVENTS:
                self.transport.write(b"0\r\n\r\n")
            else:
                asyncio.get_running_loop().call_later(GAP_S, self.event, number + 1)

    async def serve():
        server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
        await server.serve_forever()

    loop_runner()(serve())


def loop_runner():
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run
    return uvloop.run


@contextlib.contextmanager
def mocks():
    """Start the mocks; yield (url of the plain answer, url of the paced stream, name of the plain mock)."""
    plain, paced = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        own = subprocess.Popen([sys.executable, __file__, "--mock", str(paced)])
        started.callback(stop, own)
        nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if nginx:
            conf = pathlib.Path(folder, "nginx.conf")
            conf.write_text(
                f"daemon off; worker_processes 1; worker_cpu_affinity 01; pid {folder}/pid; error_log {folder}/error;"
                "events { worker_connections 1024; } http { access_log off; keepalive_requests 1000000000; "
                f"client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};"
                f"scgi_temp_path {folder}; server {{ listen 127.0.0.1:{plain}; location / {{ default_type application/json;"
                f" return 200 '{ANSWER.decode()}'; }} }} }}"
            )
            started.callback(stop, subprocess.Popen([nginx, "-c", str(conf), "-p", folder], stderr=subprocess.DEVNULL))
        else:
            plain = paced
        for port in {plain, paced}:
            wait_for(port)
        yield f"http://127.0.0.1:{plain}/plain", f"http://127.0.0.1:{paced}/paced", "nginx" if nginx else "own server"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"the mock on port {port} did not start")


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(5)


# --- the run


def run(name: str, kind: str, url: str, seconds: float) -> dict | None:
    command = [sys.executable, __file__, "--worker", name, kind, url, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{name} {kind}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def report(costs: dict, found: dict) -> None:
    least = {kind: min(min(r[kind]) for r in costs.values()) for kind in ("plain64", "plain1", "paced16")}
    print("\n| client | plain64 ms/request | plain1 ms/request | paced16 ms/stream |\n|---|---|---|---|")
    for name, rows in costs.items():
        cells = [f"{min(v):.3f} / {statistics.median(v):.3f} ({min(v) / least[k]:.1f}x)" for k, v in rows.items()]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\n| fault | " + " | ".join(found) + " |\n|---" * 1 + "|---" * len(found) + "|")
    for label in next(iter(found.values())):
        print(f"| {label} | " + " | ".join(str(rows[label]) for rows in found.values()) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--worker", nargs=4, metavar=("NAME", "KIND", "URL", "SECONDS"), help=argparse.SUPPRESS)
    parser.add_argument("--mock", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mock:
        paced_mock(options.mock)
        return
    if options.worker:
        name, kind, url, seconds = options.worker
        pin(1)
        print(json.dumps(loop_runner()(measure(name, kind, url, float(seconds)))))
        return
    costs: dict[str, dict[str, list[float]]] = {}
    with mocks() as (plain, paced, mock):
        today = datetime.datetime.now(datetime.UTC).date()
        print(f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, plain mock: {mock}")
        found = {name: result for name in NAMES if (result := run(name, "faults", plain, 0)) is not None}
        for turn in range(options.rounds):
            names = list(found)
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                for kind, url in (("plain64", plain), ("plain1", plain), ("paced16", paced)):
                    result = run(name, kind, url, options.seconds)
                    costs.setdefault(name, {}).setdefault(kind, []).append(result["ms"])
    report({name: costs[name] for name in found}, found)
    if options.json:
        options.json.write_text(json.dumps({"costs": costs, "faults": found}, indent=1))


if __name__ == "__main__":
    main()
