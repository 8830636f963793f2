"""One process's way to Redis or Valkey: commands of the same moment share a round trip, and a dead server costs one timeout.

Nothing is lost here that the books need: money stays in the SQL ledger. What Redis carries may be forgotten.

    up   ▶ down   (a command was not answered in time, or the server refused it: everybody is told at once, without waiting)
    down ▶ up     (a probe in the background was answered in time; the first comes at once, then one each second)

While it is down no request waits for it: `ask` raises `RedisAway` immediately.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.errors import ConfigError
from prefrontal.ledger.redis_scripts import Script

log = logging.getLogger(__name__)

RETRY_S = 1.0
"""Pause between two probes of a server that is down (assumed: an outage is noticed to be over within a second)."""

CONNECT_S = 1.0
"""Longest a new connection may take, TLS included (assumed; no request waits for it)."""

BATCH = 256
"""Commands that share one round trip at most (assumed: some ten kB)."""

Command = tuple[Any, ...]
Change = Callable[[bool], None]


class RedisAway(Exception):
    """The server cannot be asked now, or did not answer in time. `sent`: what was asked may have been done."""

    def __init__(self, why: str, *, sent: bool = False) -> None:
        super().__init__(why)
        self.sent = sent


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is. url: ``redis://``, ``rediss://`` (TLS) or ``unix://``. prefix: what separates installations.

    timeout_s: longest a request waits for an answer. retry_s: pause between two probes. ca_file, verify: as for models.
    quiet: another link to the same server tells the log.
    """

    url: str
    prefix: str = "prefrontal"
    timeout_s: float = 0.05
    retry_s: float = RETRY_S
    ca_file: str | None = None
    verify: bool = True
    quiet: bool = False


class RedisStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What a scrape shows. outages: how often it went away. since_s: Unix time of the last change. error: why it is away."""

    up: bool
    outages: int
    since_s: float
    error: str | None = None


class RedisLink:
    """Belongs to one event loop. `start` it, `aclose` it."""

    def __init__(self, settings: RedisSettings, *, clock: Clock) -> None:
        """Raises ConfigError: the client library is not installed, or the URL is none."""
        self.settings = settings
        self.clock = clock
        self._level = logging.DEBUG if settings.quiet else logging.WARNING
        self._up = False
        self._outages = 0
        self._since_s = clock.now()
        self._error: str | None = None
        self._queue: list[tuple[Command, asyncio.Future[Any]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None
        self._listeners: list[Change] = []
        self._closed = False
        self._connection = _connection(settings)

    @property
    def up(self) -> bool:
        """Whether the server answered when it was last asked."""
        return self._up

    def status(self) -> RedisStatus:
        """Return how it stands."""
        return RedisStatus(up=self._up, outages=self._outages, since_s=self._since_s, error=self._error)

    def key(self, *parts: str) -> str:
        """Return a key. All keys of an installation share one hash tag, so that scripts may use several in a cluster."""
        return ":".join(("{" + self.settings.prefix + "}", *parts))

    def listen(self, change: Change) -> None:
        """Call `change` with whether the server is there, each time that changes."""
        self._listeners.append(change)

    async def start(self) -> None:
        """Connect; a server that is not there is looked for in the background."""
        error = await self._probe()
        if error is None:
            self._arrived()
        else:
            self._left(error, first=True)

    async def aclose(self) -> None:
        """End what runs and disconnect. Whoever still waits gets RedisAway."""
        self._closed = True
        for task in (self._prober, self._flusher):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._fail_all("closed")
        await self._connection.disconnect()

    # -- asking --------------------------------------------------------------------------------------------------------

    async def ask(self, *command: Any) -> Any:
        """Return the answer to one command. Raises RedisAway."""
        return await self._enqueue(command)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Return what a script answers. Raises RedisAway."""
        return await self._enqueue((script, len(keys), *keys, *args))

    def tell(self, script: Script, keys: Sequence[str], args: Sequence[Any] = ()) -> asyncio.Future[Any]:
        """Send a script behind everything asked before, without waiting; the future has the answer or RedisAway."""
        future = self._enqueue((script, len(keys), *keys, *args))
        future.add_done_callback(_heard)
        return future

    def _enqueue(self, command: Command) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._up or self._closed:
            future.set_exception(RedisAway(self._error or "closed"))
            return future
        self._queue.append((command, future))
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())
        return future

    async def _flush(self) -> None:
        """Send what waits, batch by batch, until nothing does."""
        try:
            while self._queue and self._up:
                batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                try:
                    answers = await self._in_time([command for command, _ in batch])
                except RedisAway as error:
                    _refuse(batch, str(error), sent=error.sent)
                    self._left(str(error))
                    return
                except BaseException:
                    _refuse(batch, "closed", sent=True)
                    raise
                self._deliver(batch, answers)
        finally:
            self._flusher = None

    def _deliver(self, batch: list[tuple[Command, asyncio.Future[Any]]], answers: list[Any]) -> None:
        refused: str | None = None
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                refused = f"{type(answer).__name__}: {answer}"
                if not future.done():
                    future.set_exception(RedisAway(refused))
            elif not future.done():
                future.set_result(answer)
        if refused is not None:
            self._left(refused)

    async def _in_time(self, commands: list[Command]) -> list[Any]:
        """Return the answers, errors among them as values. Raises RedisAway after `timeout_s`."""
        timeout_s, before = self.settings.timeout_s, self.clock.monotonic()
        sending = asyncio.get_running_loop().create_task(self._send(commands))
        try:
            async with self.clock.timeout(timeout_s):
                return await asyncio.shield(sending)
        except TimeoutError:
            if self.clock.monotonic() - before > 1.5 * timeout_s:  # our own loop stood still: nobody can have answered
                with suppress(TimeoutError):
                    async with self.clock.timeout(timeout_s):
                        return await asyncio.shield(sending)
            for _ in range(3):  # it may have stood still for a moment while the answer lay in the socket
                await self.clock.sleep(0)
            if sending.done() and not sending.cancelled() and sending.exception() is None:
                return sending.result()
            raise RedisAway(f"no answer within {self.settings.timeout_s * 1000:g} ms", sent=True) from None
        finally:
            if not sending.done():
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, commands: list[Command]) -> list[Any]:
        from redis.exceptions import NoScriptError, RedisError

        connection = self._connection
        if not connection.is_connected:
            raise RedisAway("the connection was lost")
        try:
            answers = await self._exchange([_by_digest(command) for command in commands])
            unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if unknown:  # a restarted server; what it did not know it did not do
                again = await self._exchange([_by_text(commands[index]) for index in unknown])
                for index, answer in zip(unknown, again, strict=True):
                    answers[index] = answer
        except (RedisError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise RedisAway(_said(error), sent=True) from error
        return answers

    async def _exchange(self, commands: list[Command]) -> list[Any]:
        """Send commands at once and return their answers; a connection on which that was broken off is closed."""
        from redis.exceptions import ResponseError

        connection, answers = self._connection, []
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            for _ in commands:
                try:
                    answers.append(await connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return answers

    # -- health --------------------------------------------------------------------------------------------------------

    async def _probe(self) -> str | None:
        """Connect anew and write a key; return why that did not work, or None."""
        from redis.exceptions import RedisError

        try:
            async with self.clock.timeout(CONNECT_S):
                await self._connection.disconnect()
                await self._connection.connect()
            answers = await self._in_time([("SET", self.key("alive"), "1", "PX", 60_000)])
        except (RedisAway, RedisError, OSError, ValueError, TimeoutError) as error:
            return _said(error)
        return None if not isinstance(answers[0], Exception) else _said(answers[0])

    async def _keep_probing(self) -> None:
        while (error := await self._probe()) is not None and not self._closed:  # the library may swallow a cancellation
            self._error = error
            await self.clock.sleep(self.settings.retry_s)
        self._prober = None
        if not self._closed:
            self._arrived()

    def _arrived(self) -> None:
        away_s = self.clock.now() - self._since_s
        if self._error is not None:
            log.log(self._level, "redis is back after %.1f s", away_s)
        self._up, self._error, self._since_s = True, None, self.clock.now()
        for listener in self._listeners:
            listener(True)

    def _left(self, error: str, *, first: bool = False) -> None:
        self._fail_all(error)
        if not (self._up or first) or self._closed:
            return
        self._up, self._error, self._since_s = False, error, self.clock.now()
        self._outages += 1
        log.log(self._level, "redis is away, limits follow redis.on_outage: %s", error)
        for listener in self._listeners:
            listener(False)
        self._prober = asyncio.get_running_loop().create_task(self._keep_probing())

    def _fail_all(self, error: str) -> None:
        waiting, self._queue = self._queue, []
        _refuse(waiting, error)


def _refuse(waiting: list[tuple[Command, asyncio.Future[Any]]], error: str, *, sent: bool = False) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(RedisAway(error, sent=sent))


def _heard(future: asyncio.Future[Any]) -> None:
    """Look at a result nobody waits for, so that the loop does not complain of an exception never seen."""
    if not future.cancelled():
        future.exception()


def _by_digest(command: Command) -> Command:
    script = command[0]
    return ("EVALSHA", script.sha, *command[1:]) if isinstance(script, Script) else command


def _by_text(command: Command) -> Command:
    script = command[0]
    return ("EVAL", script.text, *command[1:]) if isinstance(script, Script) else command


def _said(error: BaseException) -> str:
    """Return an error's words without a password of its URL."""
    return re.sub(r"://[^\s]*@", "://", str(error) or type(error).__name__)


def _connection(settings: RedisSettings) -> Any:
    """Return a connection of the client library that is not yet made. Raises ConfigError."""
    try:
        from redis.asyncio import ConnectionPool
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as error:
        raise ConfigError("`redis.url` needs the extra `redis`: pip install 'prefrontal[redis]'.") from error
    options: dict[str, Any] = {}
    if settings.url.startswith("rediss://"):
        options = {"ssl_cert_reqs": "required" if settings.verify else "none", "ssl_check_hostname": settings.verify}
        if settings.ca_file is not None:
            options["ssl_ca_certs"] = settings.ca_file
    retry = Retry(NoBackoff(), 0)  # a command that may have been done is not sent twice
    try:
        pool: Any = ConnectionPool.from_url(settings.url, protocol=2, retry=retry, client_name="prefrontal", **options)
        return pool.make_connection()
    except ValueError as error:
        raise ConfigError(f"`redis.url` is no URL of a Redis server: {_said(error)}") from error
