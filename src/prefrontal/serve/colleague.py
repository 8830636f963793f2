"""One worker among several: what it asks the others, and what it answers them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from prefrontal.app.crew.channel import OWNER, Ask, Channel, Handler, Held, Post, ask
from prefrontal.app.crew.engines import BorrowedEngines, lending
from prefrontal.app.library import Prefrontal
from prefrontal.app.spending import spent_today
from prefrontal.clock import Clock
from prefrontal.errors import PrefrontalError, StoreError
from prefrontal.serve.exposition import merged

log = logging.getLogger(__name__)

SCRAPE_S = 2.0
"""How long another worker may take to give its metrics (assumed; one takes milliseconds)."""

SPENDING_S = 5.0
"""How old what other workers spent on discovered models may be (assumed: the limit is a safeguard, not a bill)."""


class Colleague:
    """A worker's side of the channel. `join` when the gateway is built, `leave` at its end; belongs to one event loop."""

    def __init__(self, post: Post, pf: Prefrontal, render: Callable[[], bytes]) -> None:
        """`render` gives this worker's own metrics."""
        self.post = post
        self._pf = pf
        self._render = render
        handlers: dict[str, Handler] = {"metrics": self._metrics, "reload": self._reload, "keys": self._keys}
        if post.index == OWNER:
            handlers |= lending(pf.engines)
        self._channel = Channel(post.path(post.index), handlers)
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Answer from now on. Raises OSError."""
        await self._channel.open()
        self._pf.money.keys.on_saved = self._spread_keys
        self._tasks.append(asyncio.create_task(self._follow_spending(), name="spending of all workers"))
        if isinstance(self._pf.engines, BorrowedEngines):
            self._tasks.append(asyncio.create_task(self._pf.engines.look(), name="engines of the owner"))

    async def leave(self) -> None:
        """Answer no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.aclose()

    async def scrape(self) -> bytes:
        """Return the metrics of all workers that answer."""
        answers = zip(self.post.others, await self._everybody("metrics"), strict=True)
        pages = {index: found for index, found in answers if isinstance(found, str)}
        return merged({**pages, self.post.index: self._render().decode()}).encode()

    async def spread_reload(self) -> None:
        """Let all other workers read the configuration again. One that is starting reads it anyway."""
        await self._everybody("reload")

    async def reload(self) -> None:
        """Read the configuration again in this worker; keys that their providers refused are tried again."""
        await self._pf.holder.reload_now()
        self._pf.runtime.parking.clear()

    async def _everybody(self, do: str) -> list[object]:
        clock: Clock = self._pf.clock

        async def one(index: int) -> object:
            try:
                found: object = await ask(self.post, index, Ask(do=do), clock=clock, timeout_s=SCRAPE_S)
            except PrefrontalError as error:
                log.debug("worker %d does not answer: %s", index, error)
                return None
            return found

        return list(await asyncio.gather(*[one(index) for index in self.post.others]))

    async def _metrics(self, _ask: Ask, _held: Held) -> object:
        return self._render().decode()

    async def _reload(self, _ask: Ask, _held: Held) -> object:
        await self.reload()
        return None

    async def _keys(self, _ask: Ask, _held: Held) -> object:
        self._pf.money.keys.forget()
        return None

    async def _spread_keys(self) -> None:
        await self._everybody("keys")

    async def _follow_spending(self) -> None:
        """Take what other workers spent on models found by a key into this worker's meter, again and again until cancelled."""
        pf = self._pf
        while True:
            now_s = pf.clock.now()
            try:
                pf.machine.parts.meter.seed(await spent_today(pf.ledger, pf.registry, now_s), now_s)
            except StoreError as error:
                log.debug("what other workers spent cannot be read: %s", error)
            await pf.clock.sleep(SPENDING_S)
