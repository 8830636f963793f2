"""The parent of several workers: one address, one process each, started again when one dies, drained together.

The parent serves nothing and holds no money. Every worker has its own listening socket on the one port, among which the kernel
spreads connections; the parent keeps them open too, so that what has arrived at a worker that died waits for the next. A worker
whose parent is gone (its standard input ends) drains and ends as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import msgspec

from prefrontal.app.crew.channel import Post
from prefrontal.clock import Clock
from prefrontal.config.schema_service import Server
from prefrontal.errors import ConfigError, StoreError
from prefrontal.serve.server import BACKLOG, LAST_WORDS_S, Say, Stop, bind, check_bind, url_of

log = logging.getLogger(__name__)

BACKOFF_S, BACKOFF_MAX_S = 0.5, 30.0
"""A worker that dies is started again at once; one that dies again soon waits so long, doubling, at most so long (assumed)."""

STEADY_S = 30.0
"""A worker that lived so long starts with a clean slate (assumed)."""

GRACE_S = 5.0
"""How much longer than its drain a worker may take to close its database before it is killed (assumed)."""

MODULE = "prefrontal.cli.worker"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker reads from its standard input, one line of JSON: its place, and what the command line said."""

    post: Post
    config: str | None = None
    flags: dict[str, Any] = {}


class Hand:
    """One worker as its parent sees it."""

    def __init__(self, index: int, sock: socket.socket) -> None:
        self.index = index
        self.sock = sock
        self.process: asyncio.subprocess.Process | None = None
        self.deaths = 0


class Crew:
    """Runs the workers of `serve`. Belongs to one event loop."""

    def __init__(
        self, server: Server, *, config: str | None, flags: dict[str, Any], clock: Clock, say: Say, command: Sequence[str] = ()
    ) -> None:
        """`command` starts a worker, and is replaced in tests."""
        self._server = server
        self._config, self._flags = config, flags
        self._clock, self._say = clock, say
        self._command = tuple(command) or (sys.executable, "-m", MODULE)
        self._folder = ""
        self._hands: list[Hand] = []
        self._stopping = False
        self._address = ""

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ConfigError; StoreError when the first worker cannot start."""
        if not hasattr(socket, "AF_UNIX"):
            raise ConfigError("several workers need a system with Unix sockets", path="server.workers", rule="platform")
        check_bind(self._server)
        socks = listeners(self._server.host, self._server.port, self._server.workers)
        self._address = url_of(self._server.host, socks[0])
        self._folder = tempfile.mkdtemp(prefix="prefrontal-")
        stop = Stop()
        tasks: list[asyncio.Task[None]] = []
        try:
            self._hands = [Hand(index, sock) for index, sock in enumerate(socks)]
            asking = asyncio.create_task(stop.asked.wait())
            first = asyncio.create_task(self._begin(self._hands[0]))  # alone: it makes or migrates the database for all
            await asyncio.wait({asking, first}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.asked.is_set():
                if not await first:
                    raise StoreError("The first worker could not start; its message is above.")
                await asyncio.gather(*[self._begin(hand) for hand in self._hands[1:]])
                self._say(self._address)
                self._listen_for_reload()
                tasks = [asyncio.create_task(self._keep(hand), name=f"worker {hand.index}") for hand in self._hands]
                await asking
            asking.cancel()
            await self._end(stop)
        finally:
            for task in tasks:
                task.cancel()
            self._kill()
            for sock in socks:
                sock.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _begin(self, hand: Hand) -> bool:
        """Start a worker; return whether it said that it is ready before it ended."""
        post = Post(index=hand.index, count=len(self._hands), fd=hand.sock.fileno(), folder=self._folder)
        hand.process = process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(hand.sock.fileno(),),
            start_new_session=True,  # Ctrl-C is told to the parent, which asks its workers once
        )
        assert process.stdin is not None
        assert process.stdout is not None
        orders = Orders(post=post, config=self._config, flags=self._flags)
        with contextlib.suppress(OSError):  # it ended already
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            await process.stdin.drain()
        if await process.stdout.readline():
            return True
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(GRACE_S):
                await process.wait()
        return False

    async def _keep(self, hand: Hand) -> None:
        """Start a worker again whenever it dies."""
        while hand.process is not None:
            began = self._clock.monotonic()
            code = await hand.process.wait()
            if self._stopping:
                return
            hand.deaths = 1 if self._clock.monotonic() - began > STEADY_S else hand.deaths + 1
            wait_s = pause_s(hand.deaths)
            why = f"signal {-code}" if code < 0 else f"status {code}"
            log.error("worker %d ended (%s); it is started again in %g s", hand.index, why, wait_s)
            await self._clock.sleep(wait_s)
            try:
                if not self._stopping and await self._begin(hand):
                    log.warning("worker %d serves again", hand.index)
            except OSError as error:  # no memory, too many processes: it may be over when the next pause is
                log.error("worker %d cannot be started: %s", hand.index, error)

    async def _end(self, stop: Stop) -> None:
        """Let all workers drain; who does not end in time is killed."""
        self._stopping = True
        self._signal(signal.SIGTERM)
        running = [asyncio.create_task(_gone(hand)) for hand in self._hands if hand.process is not None]
        if not running:
            return
        hurry = asyncio.create_task(self._hurry(stop))
        limit_s = self._server.drain_s + LAST_WORDS_S + GRACE_S
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(limit_s):
                await asyncio.wait(running)
        hurry.cancel()

    async def _hurry(self, stop: Stop) -> None:
        await stop.again.wait()
        self._signal(signal.SIGTERM)

    def _listen_for_reload(self) -> None:
        with contextlib.suppress(NotImplementedError, RuntimeError, AttributeError):  # not on this platform
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._signal, signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        for hand in self._hands:
            if hand.process is not None and hand.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    hand.process.send_signal(number)

    def _kill(self) -> None:
        for hand in self._hands:
            if hand.process is not None and hand.process.returncode is None:
                log.error("worker %d did not end in time and is killed", hand.index)
                with contextlib.suppress(ProcessLookupError):
                    hand.process.kill()


def pause_s(deaths: int) -> float:
    """Return how long to wait before a worker that died so often in a row is started again."""
    doublings = min(deaths - 2, 16)  # a power without bound is one day too large for a float
    return 0.0 if deaths < 2 else min(BACKOFF_MAX_S, BACKOFF_S * 2.0**doublings)


async def _gone(hand: Hand) -> None:
    """Wait for the end of a worker that is not to come back: from then on connections are refused, not kept waiting."""
    if hand.process is not None:
        await hand.process.wait()
    hand.sock.close()


def listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """Return a listening socket a worker, all on `port` or the next free one.

    Linux spreads connections over sockets of one port; elsewhere all workers share one socket. Raises ConfigError.
    """
    first = bind(host, port)
    if sys.platform != "linux":
        return [first, *[first.dup() for _ in range(count - 1)]]
    found: list[socket.socket] = []
    address = first.getsockname()
    family = first.family
    first.close()  # it was free; no other may join a port whose sockets do not all agree to share it
    try:
        for _ in range(count):
            sock = socket.socket(family, socket.SOCK_STREAM)
            found.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in found:
            sock.close()
        raise ConfigError(f"cannot listen on {host}:{address[1]}: {error.strerror}", path="server.port", rule="bind") from error
    return found


