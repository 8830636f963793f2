"""Runs the site: finds a port, says where it listens, drains when asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn

import prefrontal.app.opening as opening
from prefrontal.app.build import Builder
from prefrontal.app.crew.channel import OWNER, Post
from prefrontal.app.crew.engines import borrowing
from prefrontal.app.library import Prefrontal
from prefrontal.clock import Chance, Clock, SystemClock
from prefrontal.config.schema_service import Server
from prefrontal.contracts.reach import is_loopback
from prefrontal.errors import ConfigError
from prefrontal.serve.colleague import Colleague
from prefrontal.serve.metrics import Metrics
from prefrontal.serve.protocol import bounded_protocol
from prefrontal.serve.site import Site

log = logging.getLogger(__name__)

PORTS_TRIED = 100
"""How many ports after the wanted one are tried (assumed)."""

BACKLOG = 2048
"""Connections the kernel keeps while we are busy (specified: uvicorn's default)."""

DRAIN_POLL_S = 0.05

LAST_WORDS_S = 1.0
"""How long requests that are cut may take to tell their clients so (assumed: a client that does not read is not waited for)."""

COLLECT_EVERY = (10_000, 20, 50)
"""Thresholds of the garbage collector. Its own default of 700 objects looks at a request's data while it is in use, and again and
again at what was loaded at start (measured: 0.04 ms of 0.30 ms a request)."""

SETTLED_S = 10.0
"""By then everything that is loaded in the background is there (assumed)."""

Say = Callable[[str], None]


def check_bind(server: Server) -> None:
    """Return when the address is safe to listen on. Raises ConfigError for a non-loopback address without any key."""
    if not is_loopback(server.host) and not server.api_keys and not server.admin_keys:
        raise ConfigError(
            f"listening on {server.host} without an API key would let anyone on the network spend your money",
            path="server.host",
            rule="key_needed",
            hint="set PREFRONTAL_API_KEY or server.api_keys, or listen on 127.0.0.1",
        )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket on `port` or the next free one; port 0 takes any.

    Raises:
        ConfigError: the address is not ours, or no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + PORTS_TRIED, 65536)) if port else (0,):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, candidate))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(
                f"cannot listen on {host}:{candidate}: {error.strerror}", path="server.host", rule="bind"
            ) from error
        sock.setblocking(False)
        return sock
    raise ConfigError(f"ports {port} to {port + PORTS_TRIED - 1} on {host} are all in use", path="server.port", rule="bind")


def url_of(host: str, sock: socket.socket) -> str:
    """Return the address clients use."""
    return f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


async def serve(
    config: str | Path | None,
    *,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    say: Say,
    greet: Callable[[Prefrontal, Say], None] | None = None,
    post: Post | None = None,
    builder: Builder | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `say` receives the ready line, the first line that is said.

    post: this is one of several workers (`prefrontal.serve.crew`), which are also stopped by the end of standard input. builder:
    one that has read its tables already; its environment holds.

    Raises:
        ConfigError, StoreError: before anything listens.
    """
    if builder is None:
        builder = Builder(env=dict(os.environ if env is None else env), cwd=None, clock=SystemClock(), chance=Chance())
    if post is not None and post.index != OWNER:
        builder.lent_engines = borrowing(post)
    async with opening.open(config, flags=flags, reload=True, wait_for_models=False, builder=builder) as pf:
        server = pf.config.server
        check_bind(server)
        sock = bind(server.host, server.port) if post is None else socket.socket(fileno=post.fd)
        metrics = Metrics(pf)
        pf.observers.append(metrics.observe)
        site = Site(pf, metrics, instance=pf.chance.identifier("pf_", pf.clock.now()))
        port = sock.getsockname()[1]
        pf.own_ports.add(port)
        stop = Stop()  # before the ready line: who reads it may stop us at once
        if post is not None:
            site.colleague = Colleague(post, pf, metrics.render)
            await site.colleague.join()
            stop.at_end_of_input()
            stop.on_hangup(site.colleague.reload)
        say(url_of(server.host, sock))
        if server.port and port != server.port and post is None:
            log.warning("port %d is in use; listening on %d", server.port, port)
        if greet is not None:
            greet(pf, say)
        collecting = asyncio.create_task(_spare_the_collector(pf.clock))
        try:
            await _run(site, sock, server, stop)
        finally:
            collecting.cancel()
            if site.colleague is not None:
                await site.colleague.leave()
            sock.close()


async def _spare_the_collector(clock: Clock) -> None:
    """Take what lives as long as the process out of the collector's sight, while this task is not cancelled."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECT_EVERY)
    try:
        gc.freeze()
        await clock.sleep(SETTLED_S)
        gc.freeze()
        await asyncio.Event().wait()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _run(site: Site, sock: socket.socket, server: Server, stop: Stop) -> None:
    config = uvicorn.Config(
        site,
        http=bounded_protocol(server.max_header_bytes, head_s=server.head_timeout_s, body_s=server.body_timeout_s),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,  # whom we trust by address is decided by the address that connects, never by what a header says
        date_header=True,
        timeout_keep_alive=max(1, round(server.idle_timeout_s)),
        backlog=BACKLOG,
    )
    runner = _Runner(config)
    serving = asyncio.create_task(runner.serve(sockets=[sock]))
    waiting = asyncio.create_task(stop.asked.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        log.info("stopping: new requests are refused, %d running ones may finish", site.active)
        site.draining = True
        deadline = site.pf.clock.monotonic() + server.drain_s
        while site.active and not stop.hurried and site.pf.clock.monotonic() < deadline:
            await site.pf.clock.sleep(DRAIN_POLL_S)
        if site.active:
            why = "asked twice" if stop.hurried else f"server.drain_s of {server.drain_s:g} s is over"
            log.warning("stopping: %d running requests are cut, %s", site.cut(), why)
            deadline = site.pf.clock.monotonic() + LAST_WORDS_S
            while site.active and site.pf.clock.monotonic() < deadline:
                await site.pf.clock.sleep(DRAIN_POLL_S)
        runner.should_exit = True
        runner.force_exit = bool(site.active)
    waiting.cancel()
    await serving


class Stop:
    """Listens for SIGTERM and SIGINT: the first asks to stop, a second one not to wait for running requests either."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.again = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not on this platform, or not the main thread
                loop.add_signal_handler(number, self._signalled)

    @property
    def hurried(self) -> bool:
        """Whether it was asked twice."""
        return self.again.is_set()

    def at_end_of_input(self) -> None:
        """Ask to stop also when standard input ends: whoever started this process is gone."""
        self._keep(self._read_input())

    def on_hangup(self, reload: Callable[[], Awaitable[None]]) -> None:
        """Call `reload` at SIGHUP."""

        async def run() -> None:
            await reload()

        with contextlib.suppress(NotImplementedError, RuntimeError, AttributeError):  # as above
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, lambda: self._keep(run()))

    def _signalled(self) -> None:
        (self.again if self.asked.is_set() else self.asked).set()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read_input(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.read(BACKLOG):
            continue
        self.asked.set()


class _Runner(uvicorn.Server):
    """uvicorn without its signal handlers: stopping is ours, because running requests are drained first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
