"""Local engines have one owner; other workers use them over the channel, and a lease lasts as long as whoever holds it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from prefrontal.app.crew.channel import OWNER, Ask, Channel, Held, Post, ask
from prefrontal.app.crew.engines import BorrowedEngines, lending
from prefrontal.clock import Chance, SystemClock
from prefrontal.errors import NotFound, Overloaded
from prefrontal.execute.engine.local import EngineStatus


class Owner:
    """An owner's supervisor that only remembers."""

    def __init__(self) -> None:
        self.leases = 0
        self.stopped: list[str] = []

    def status(self) -> list[EngineStatus]:
        return [
            EngineStatus(
                model_id="tiny",
                state="ready",
                pid=1,
                port=9,
                rss_bytes=None,
                load_time_s=0.5,
                restarts=0,
                in_flight=self.leases,
                last_error=None,
                stderr_tail=[],
            )
        ]

    async def ensure(self, model_id: str) -> str:
        if model_id != "tiny":
            raise NotFound(f"There is no local model {model_id!r}.", hint="Look at /v1/engines.")
        return "http://127.0.0.1:9"

    @asynccontextmanager
    async def lease(self, model_id: str) -> AsyncIterator[str]:
        url = await self.ensure(model_id)
        self.leases += 1
        try:
            yield url
        finally:
            self.leases -= 1

    async def stop(self, model_id: str) -> None:
        self.stopped.append(model_id)


class Pair:
    """An owner behind its channel, and what another worker sees of it."""

    def __init__(self, folder: Path) -> None:
        self.post = Post(index=1, count=2, fd=-1, folder=str(folder))
        self.owner = Owner()
        self.channel = Channel(self.post.path(OWNER), lending(self.owner))  # type: ignore[arg-type]
        self.engines = BorrowedEngines(self.post, clock=SystemClock(), chance=Chance(1))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path)
    await made.channel.open()
    yield made
    await made.channel.aclose()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5.0):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def test_a_lease_is_held_at_the_owner_until_it_is_left_or_its_worker_dies(pair: Pair) -> None:
    """Inside the block the owner counts it; afterwards, and when the task is cancelled, it does not."""
    async with pair.engines.lease("tiny") as url:
        assert (url, pair.owner.leases) == ("http://127.0.0.1:9", 1)
        async with pair.engines.lease("tiny"):
            assert pair.owner.leases == 2
    await until(lambda: pair.owner.leases == 0)

    async def hang() -> None:
        async with pair.engines.lease("tiny"):
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await until(lambda: pair.owner.leases == 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: pair.owner.leases == 0)


async def test_states_starts_and_errors_are_the_owners(pair: Pair) -> None:
    """What the owner has is seen here, what it refuses is refused here in its words, and what stops there is stopped there."""
    looking = asyncio.create_task(pair.engines.look())
    await until(pair.engines.status)
    assert pair.engines.ready() == {"tiny": True}
    assert pair.engines.status() == pair.owner.status()
    looking.cancel()
    assert await pair.engines.ensure("tiny") == "http://127.0.0.1:9"
    with pytest.raises(NotFound, match="no local model 'other'") as missing:
        await pair.engines.ensure("other")
    assert missing.value.hint == "Look at /v1/engines."
    with pytest.raises(NotFound):
        async with pair.engines.lease("other"):
            raise AssertionError("there is no such lease")
    await pair.engines.stop("tiny")
    await pair.engines.close()
    assert pair.owner.stopped == ["tiny"]


async def test_an_owner_that_is_away_is_said_so(pair: Pair) -> None:
    """While it starts again, a request hears that it may come back soon, and nothing hangs."""
    await pair.channel.aclose()
    os.unlink(pair.post.path(OWNER))
    with pytest.raises(Overloaded) as away:
        await pair.engines.ensure("tiny")
    assert away.value.retry_after_s == 1.0
    with pytest.raises(Overloaded):
        async with pair.engines.lease("tiny"):
            raise AssertionError("nobody leases it")


async def test_a_silent_colleague_is_not_waited_for(tmp_path: Path) -> None:
    """A question has a time limit; an unknown one is refused; what is no question is dropped."""

    async def never(_ask: Ask, _held: Held) -> object:
        await asyncio.Event().wait()
        return None

    post = Post(index=1, count=2, fd=-1, folder=str(tmp_path))
    channel = Channel(post.path(0), {"never": never})
    await channel.open()
    with pytest.raises(Overloaded):
        await ask(post, 0, Ask(do="never"), clock=SystemClock(), timeout_s=0.05)
    with pytest.raises(NotFound):
        await ask(post, 0, Ask(do="sing"), clock=SystemClock(), timeout_s=1.0)
    reader, writer = await asyncio.open_unix_connection(post.path(0))
    writer.write(b"hello\n")
    assert await reader.read() == b""
    writer.close()
    await channel.aclose()
