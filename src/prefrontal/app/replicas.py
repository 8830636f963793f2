"""Joins this gateway with others through Redis, where one is configured. Nothing of its library is imported otherwise."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any

import msgspec

from prefrontal.app.build import Builder
from prefrontal.app.library import Prefrontal
from prefrontal.clock import Clock
from prefrontal.config.home import expand_user
from prefrontal.config.schema import Config, Redis
from prefrontal.contracts.reach import host_of
from prefrontal.decisions.shelves import SharedShelf
from prefrontal.execute.cache.shared import SharedAnswers
from prefrontal.execute.outbox import SharedBook
from prefrontal.execute.sharing import Sharing
from prefrontal.ledger.redis_blobs import RedisBlobs
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.ledger.redis_rates import OutagePolicy, RedisRates

log = logging.getLogger(__name__)

BLOB_TIMEOUT_S = 1.0
"""Longest a value of a cache may take (assumed: a MiB over a slow network; whoever asks would else wait for a model)."""


class Replicas:
    """What ties a gateway to others. `link` carries limits, breakers and sessions; `blobs` is for caches, on a way of its own."""

    def __init__(self, settings: RedisSettings, *, clock: Clock) -> None:
        """Raises ConfigError."""
        blobs = msgspec.structs.replace(settings, timeout_s=max(BLOB_TIMEOUT_S, settings.timeout_s), quiet=True)
        self.link = RedisLink(settings, clock=clock)
        self._blob_link = RedisLink(blobs, clock=clock)
        self.blobs = RedisBlobs(self._blob_link)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect both ways; a server that is not there is looked for in the background."""
        await asyncio.gather(self.link.start(), self._blob_link.start())

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside everything else, until closed."""
        self._tasks.append(asyncio.get_running_loop().create_task(work))
        self._tasks[-1].add_done_callback(_ended)

    async def aclose(self) -> None:
        """End what runs, and disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.link.aclose()
        await self._blob_link.aclose()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("nothing is shared with other gateways any more", exc_info=error)


async def open_replicas(pf: Prefrontal, config: Config, builder: Builder) -> None:
    """Let a gateway act as one with those that have the same Redis; nothing where none is configured. Raises ConfigError."""
    if config.redis.url is not None:
        pf.replicas = _made(config.redis, config.redis.url, builder)
        builder.closers.append(pf.replicas.aclose)
        await _join(pf, config, pf.replicas)


def _made(redis: Redis, url: str, builder: Builder) -> Replicas:
    ca_file = redis.tls.ca_file
    settings = RedisSettings(
        url=url,
        prefix=redis.prefix,
        timeout_s=redis.timeout_s,
        ca_file=None if ca_file is None else str(expand_user(ca_file, builder.env)),
        verify=redis.tls.verify,
    )
    return Replicas(settings, clock=builder.clock)


async def _join(pf: Prefrontal, config: Config, replicas: Replicas) -> None:
    redis, link, clock = config.redis, replicas.link, pf.clock
    await replicas.start()
    log.info("limits, breakers and sessions are shared through %s as '%s'", host_of(redis.url or "") or "a socket", redis.prefix)
    name = pf.chance.identifier("gw_", clock.now())
    outage = redis.on_outage
    policy = OutagePolicy(
        requests=outage.requests,
        tokens=outage.tokens,
        concurrency=outage.concurrency,
        replicas=redis.replicas * config.server.workers,
    )
    treasury, parts = pf.money.treasury, pf.machine.parts
    alone = treasury.board is treasury.meters
    treasury.board = RedisRates(link, policy=policy, replica=name)
    if alone:  # else that runs already
        replicas.begin(treasury.keep_leases())
    if parts.cache is not None:
        parts.cache.move_to(SharedAnswers(replicas.blobs))
    if pf.decider.recall is not None:
        pf.decider.recall.memo.move_to(SharedShelf(replicas.blobs, clock))
    books: dict[str, SharedBook] = {"sessions": parts.sessions, "prefixes": parts.prefixes}
    sharing = Sharing(link, runtime=pf.runtime, books=books, clock=clock, replica=name, place=socket.gethostname())
    replicas.begin(sharing.keep())
