"""All local engines of this process: one child process a model, started on demand, watched, restarted, unloaded.

A model is stopped, starting, ready, restarting, failed or stopping; `prefrontal.execute.engine.local` has the table of what
each call does in each state. `ensure`, `lease`, `stop` and `close` block; `add`, `start_pinned` and `status` do not.

The children die with the process, and on Linux already with the thread that runs the event loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager

from prefrontal.clock import Chance, Clock
from prefrontal.errors import NotFound, ShuttingDown
from prefrontal.execute.engine.local import EngineSettings, EngineStatus, LocalEngine
from prefrontal.execute.engine.process import Spawn, spawn_child, without_secrets
from prefrontal.execute.engine.spec import EngineSpec

LEAVE_LOOK_S = 0.1
"""How often a model that is forgotten is asked whether its last request has ended (assumed)."""


def machine_settings(settings: EngineSettings | None = None) -> EngineSettings:
    """Fill in what the machine knows: its physical cores, and our environment without its secrets."""
    import psutil

    base = settings or EngineSettings()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return EngineSettings(
        restart=base.restart,
        start_timeout_s=base.start_timeout_s,
        stop_grace_s=base.stop_grace_s,
        cores=cores,
        environ=without_secrets(os.environ),
    )


class EngineSupervisor:
    """Supervises the engines of `specs`. Use it within one event loop; call `close` at the end.

    `spawn` starts a child process and is replaced in tests.
    """

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        *,
        clock: Clock,
        chance: Chance,
        settings: EngineSettings | None = None,
        spawn: Spawn = spawn_child,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._settings = settings or machine_settings()
        self._spawn = spawn
        self._engines: dict[str, LocalEngine] = {}
        self._leaving: set[LocalEngine] = set()
        self._closing = False
        for spec in specs:
            self.add(spec)

    def add(self, spec: EngineSpec) -> None:
        """Take on a model. For a known one these are its settings from the next start on."""
        known = self._engines.get(spec.model_id)
        if known is not None:
            known.spec = spec
            return
        self._engines[spec.model_id] = LocalEngine(
            spec, self._settings, clock=self._clock, chance=self._chance, spawn=self._spawn
        )

    async def remove(self, model_id: str) -> None:
        """Forget a model and stop it once the requests it is working on have ended; an unknown one is no error."""
        engine = self._engines.pop(model_id, None)
        if engine is None:
            return
        self._leaving.add(engine)
        while engine.in_flight:
            await self._clock.sleep(LEAVE_LOOK_S)
        await engine.close()
        self._leaving.discard(engine)

    def start_pinned(self) -> None:
        """Begin to start every pinned model."""
        for engine in self._engines.values():
            if engine.spec.pinned and not self._closing:
                engine.start()

    async def ensure(self, model_id: str) -> str:
        """Return the base URL of a model's engine, starting it if need be; callers at the same time share one start.

        The URL is good until the engine ends: ask again before each request. Waits for as long as the model loads.

        Raises:
            NotFound: no such model here.
            ShuttingDown: `close` was called.
            ProviderUnreachable: the engine cannot be started or keeps crashing; the message says why.
        """
        return await self._open(model_id).ensure()

    def lease(self, model_id: str) -> AbstractAsyncContextManager[str]:
        """Return a context that does as `ensure` and keeps the model from being unloaded as idle inside it."""
        return self._open(model_id).lease()

    async def stop(self, model_id: str) -> None:
        """Unload a model and wait until its process is gone, at most twice ``stop_grace_s``. A later `ensure` loads it again.

        Raises:
            NotFound: no such model here.
        """
        await self._find(model_id).stop()

    async def close(self) -> None:
        """Stop all engines at once and wait for them, at most twice ``stop_grace_s``; `ensure` is refused from now on."""
        self._closing = True
        await asyncio.gather(*[engine.close() for engine in (*self._engines.values(), *self._leaving)])

    def status(self) -> list[EngineStatus]:
        """Describe every engine, in the order they were added."""
        return [engine.status() for engine in self._engines.values()]

    def ready(self) -> dict[str, bool]:
        """Return which engines are up, by model; asked with each plan, so it asks nobody."""
        return {model_id: engine.state == "ready" for model_id, engine in self._engines.items()}

    def _open(self, model_id: str) -> LocalEngine:
        if self._closing:
            raise ShuttingDown("The local engines are being stopped.")
        return self._find(model_id)

    def _find(self, model_id: str) -> LocalEngine:
        engine = self._engines.get(model_id)
        if engine is None:
            raise NotFound(f"There is no local model {model_id!r}.", details={"known": sorted(self._engines)})
        return engine
