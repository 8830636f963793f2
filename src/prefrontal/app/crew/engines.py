"""The local engines as the workers use them that do not own them: started, leased and stopped by the owner, seen from here."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager

import msgspec

from prefrontal.app.crew.channel import OWNER, Ask, Handler, Held, Post, ask, lease
from prefrontal.app.engines import Lender
from prefrontal.clock import Chance, Clock
from prefrontal.config.schema import Config
from prefrontal.errors import PrefrontalError
from prefrontal.execute.engine.local import EngineSettings, EngineStatus
from prefrontal.execute.engine.spec import EngineSpec
from prefrontal.execute.engine.supervisor import EngineSupervisor

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How old the state of the engines may be by which a worker plans (assumed: loading one takes seconds)."""

ASK_S = 5.0
"""How long the owner may take to say how its engines stand (assumed)."""


class BorrowedEngines(EngineSupervisor):
    """Every engine of the owner; nothing is started here. `look` keeps the states fresh."""

    def __init__(self, post: Post, *, clock: Clock, chance: Chance) -> None:
        super().__init__([], clock=clock, chance=chance, settings=EngineSettings())
        self._post = post
        self._seen: list[EngineStatus] = []

    async def look(self) -> None:
        """Ask the owner how its engines stand, again and again until cancelled."""
        while True:
            try:
                found = await ask(self._post, OWNER, Ask(do="engines"), clock=self._clock, timeout_s=ASK_S)
                self._seen = msgspec.convert(found, list[EngineStatus])
            except PrefrontalError as error:
                log.debug("the owner of the engines does not answer: %s", error)
                self._seen = []
            await self._clock.sleep(LOOK_S)

    def add(self, spec: EngineSpec) -> None:
        """Leave it to the owner, which reads the same configuration."""

    def start_pinned(self) -> None:
        """Leave it to the owner."""

    async def remove(self, model_id: str) -> None:
        """Leave it to the owner."""

    async def ensure(self, model_id: str) -> str:
        """See `EngineSupervisor.ensure`. Raises Overloaded while the owner starts again."""
        return str(await ask(self._post, OWNER, Ask(do="ensure", name=model_id), clock=self._clock, timeout_s=None))

    def lease(self, model_id: str) -> AbstractAsyncContextManager[str]:
        """See `EngineSupervisor.lease`. It lasts as long as the connection to the owner."""
        return lease(self._post, model_id)

    async def stop(self, model_id: str) -> None:
        """See `EngineSupervisor.stop`."""
        await ask(self._post, OWNER, Ask(do="stop", name=model_id), clock=self._clock, timeout_s=None)

    async def close(self) -> None:
        """Nothing is stopped: the engines are the owner's."""

    def status(self) -> list[EngineStatus]:
        """See `EngineSupervisor.status`; at most `LOOK_S` old."""
        return list(self._seen)

    def ready(self) -> dict[str, bool]:
        """See `EngineSupervisor.ready`."""
        return {status.model_id: status.state == "ready" for status in self._seen}


def lending(engines: EngineSupervisor) -> dict[str, Handler]:
    """Return what the owner answers about its engines."""

    async def listed(_ask: Ask, _held: Held) -> object:
        return engines.status()

    async def ensured(asked: Ask, _held: Held) -> object:
        return await engines.ensure(asked.name)

    async def stopped(asked: Ask, _held: Held) -> object:
        await engines.stop(asked.name)
        return None

    async def leased(asked: Ask, held: Held) -> object:
        async with engines.lease(asked.name) as url:
            await held.until_gone(url)
        return None

    return {"engines": listed, "ensure": ensured, "stop": stopped, "lease": leased}


def borrowing(post: Post) -> Lender:
    """Return what makes the engines of the owner usable in another worker."""

    async def make(_config: Config, clock: Clock, chance: Chance) -> EngineSupervisor:
        return BorrowedEngines(post, clock=clock, chance=chance)

    return make
