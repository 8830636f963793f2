"""Real servers on free ports, the shipped tables, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from prefrontal.clock import SystemClock
from prefrontal.config.cards import Sources
from prefrontal.config.schema import Discovery as Settings
from prefrontal.execute.discovery.local import LocalProbe
from prefrontal.execute.transport import Transport, open_transport
from prefrontal.providers.catalogue import load_profiles
from prefrontal.providers.effort import load_dialects
from prefrontal.providers.facts import load_facts
from prefrontal.providers.ollama.provider import OllamaProvider
from prefrontal.providers.openai.provider import OpenAIProvider
from prefrontal.providers.registry import Providers
from prefrontal.testing.http_server import HttpServer, Recorded, Reply

Routes = Mapping[str, Any]
"""``METHOD /path`` (or ``/path`` for GET) → an object sent as JSON, bytes sent raw, (status, object), or an async handler."""


class Server:
    """A small server with routes of its own; everything else is 404. `headers` go out with every answer."""

    def __init__(self, routes: Routes, headers: Mapping[str, str] | None = None) -> None:
        self.routes = dict(routes)
        self.headers = dict(headers or {})
        self.http = HttpServer(self._answer, clock=SystemClock())

    @property
    def port(self) -> int:
        return self.http.port

    @property
    def asked(self) -> list[str]:
        return [f"{request.method} {request.path}" for request in self.http.requests]

    async def _answer(self, request: Recorded, reply: Reply) -> None:
        found = self.routes.get(f"{request.method} {request.path}", self.routes.get(request.path, (404, {"detail": "Not Found"})))
        if callable(found):
            found = await found(request)
        if isinstance(found, bytes):
            reply.raw(found)
            reply.cut()
            return
        status, body = found if isinstance(found, tuple) else (200, found)
        reply.whole(status, {"content-type": "application/json", **self.headers}, json.dumps(body).encode())


Serve = Callable[..., Awaitable[Server]]


class ManualClock(SystemClock):
    """`sleep` ends when the test has moved the time far enough; timeouts are real, they bound the test only."""

    def __init__(self) -> None:
        self.time_s = 1_795_000_000.0
        self.sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept = asyncio.Event()

    def now(self) -> float:
        return self.time_s

    def monotonic(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.time_s + delay_s, future))
        self.slept.set()
        await future

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(delay_s)

    async def asleep(self) -> None:
        """Wait until somebody sleeps: the work before it is done."""
        async with asyncio.timeout(10):
            while all(future.done() for _, future in self.sleepers):
                self.slept.clear()
                await self.slept.wait()

    async def advance(self, delay_s: float) -> None:
        """Move the time and wait until everyone it woke sleeps again."""
        self.time_s += delay_s
        due = [future for at, future in self.sleepers if at <= self.time_s and not future.done()]
        self.sleepers = [(at, future) for at, future in self.sleepers if at > self.time_s]
        for future in due:
            future.set_result(None)
        if due:
            await self.asleep()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers, and stop them at the end."""
    started: list[Server] = []

    async def start(routes: Routes, headers: Mapping[str, str] | None = None, port: int = 0) -> Server:
        server = Server(routes, headers)
        await server.http.start(port)
        started.append(server)
        return server

    yield start
    for server in started:
        await server.http.stop()


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with AsyncExitStack() as stack:
        opened = open_transport(clock=SystemClock())
        stack.push_async_callback(opened.aclose)
        yield opened


@pytest.fixture(scope="session")
def tables() -> Sources:
    """The shipped tables with an empty environment."""
    return Sources(profiles=load_profiles(), facts=load_facts(), dialects=load_dialects())


@pytest.fixture
def providers() -> Providers:
    return Providers({"openai": OpenAIProvider(), "ollama": OllamaProvider()})


@pytest.fixture
def sources(tables: Sources, tmp_path: Path) -> Sources:
    return msgspec.structs.replace(tables, models_dir=tmp_path / "models")


@pytest.fixture
def at_ports(sources: Sources) -> Callable[..., Sources]:
    """Return the tables with default ports moved to those of the test's servers; all other profiles have none."""

    def moved(**ports: int | tuple[int, ...]) -> Sources:
        chosen = {name.replace("_", "-"): (port,) if isinstance(port, int) else port for name, port in ports.items()}
        profiles = {
            name: msgspec.structs.replace(profile, ports=chosen.get(name, ())) for name, profile in sources.profiles.items()
        }
        return msgspec.structs.replace(sources, profiles=profiles)

    return moved


@pytest.fixture
def make_probe(transport: Transport, providers: Providers) -> Callable[[Sources], LocalProbe]:
    return lambda sources: LocalProbe(transport=transport, providers=providers, sources=sources)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def quick() -> Settings:
    """Settings whose probes are short enough for a test to wait for."""
    return Settings(timeout_s=0.4)
