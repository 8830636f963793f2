"""Opens and closes a Prefrontal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefrontal.app.build import Builder, Closer, Source
from prefrontal.app.conversations import open_conversations
from prefrontal.app.library import Prefrontal
from prefrontal.app.replicas import open_replicas
from prefrontal.clock import Chance, Clock, SystemClock
from prefrontal.config.home import candidates
from prefrontal.config.watch import Print, fingerprint, watch
from prefrontal.execute.transport import Transport
from prefrontal.ledger.store import Ledger


@asynccontextmanager
async def open(  # noqa: A001 - `prefrontal.open` is the name the library is known by
    config: Source = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    chance: Chance | None = None,
    transport: Transport | None = None,
    ledger: Ledger | None = None,
    reload: bool = False,
    wait_for_models: bool = True,
    builder: Builder | None = None,
) -> AsyncIterator[Prefrontal]:
    """Build everything and yield it; close it in order at the end.

    config: a file, a mapping or a `Config`; None looks where the command line looks (`prefrontal.config.home`).
    env: the environment (default: the process's). flags: dotted settings that win over all. reload: watch the file.
    wait_for_models: look at the local ports once before yielding (at most `discovery.timeout_s`); False looks in the background.
    clock, chance, transport, ledger: seams for tests and simulations. builder: one made before, used once; its
    environment, clock and chance hold.

    Raises:
        ConfigError: the configuration cannot be used; every problem of the file is in the message.
        StoreError: the database cannot be opened.
    """
    own = dict(os.environ if env is None else env)
    builder = builder or Builder(env=own, cwd=cwd, clock=clock or SystemClock(), chance=chance or Chance())
    files = candidates(builder.env, flag=config, cwd=cwd) if config is None or isinstance(config, str | Path) else []
    seen = fingerprint(files)  # before they are read: a save while everything is built is not missed
    loaded = builder.load(config, flags)
    stop, tasks = asyncio.Event(), list[asyncio.Task[None]]()
    try:
        pf = await builder.build(loaded, partial(builder.load, config, flags), transport=transport, ledger=ledger)
        pf.conversations = open_conversations(loaded.config, pf.ledger, builder)
        builder.closers.append(pf.conversations.aclose)
        await open_replicas(pf, loaded.config, builder)
        if reload and files:
            tasks.append(_watch(pf, files, seen, stop))
        tasks.append(asyncio.create_task(asyncio.to_thread(pf.machine.parts.reflexes.warm), name="warm reflexes"))
        await pf.discovery.start()
        if wait_for_models and not pf.registry.enabled:
            await pf.discovery.looked()
        yield pf
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await _close_all(builder.closers)


def _watch(pf: Prefrontal, files: Sequence[Path], seen: Print, stop: asyncio.Event) -> asyncio.Task[None]:
    """Begin to read the configuration again when its files are no longer as they were `seen`."""
    watching = watch(files, pf.holder.reload_now, clock=pf.clock, stop=stop, since=seen)
    return asyncio.create_task(watching, name="config watch")


async def _close_all(closers: Sequence[Closer]) -> None:
    """Close in the order opposite to building; one that fails keeps none of the others, and least the ledger, from closing."""
    async with AsyncExitStack() as stack:
        for close in closers:
            stack.push_async_callback(close)
