"""The local engines as requests may use them: started on demand, unless the configuration forbids that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from prefrontal.clock import Chance, Clock
from prefrontal.config.schema import Config
from prefrontal.errors import NoModelAvailable, NotFound
from prefrontal.execute.engine.local import EngineSettings
from prefrontal.execute.engine.policy import RestartPolicy
from prefrontal.execute.engine.supervisor import EngineSupervisor, machine_settings

Lender = Callable[[Config, Clock, Chance], Awaitable[EngineSupervisor]]
"""Makes the supervisor of local engines: our own, or one that speaks for another process's."""


class OnDemand:
    """Implements `Engines` over the supervisor; `allowed` is asked at each request, so that a reload holds at once."""

    def __init__(self, engines: EngineSupervisor, allowed: Callable[[], bool]) -> None:
        self._engines = engines
        self._allowed = allowed

    def lease(self, model_id: str) -> AbstractAsyncContextManager[str]:
        """Return the engine's lease.

        Raises:
            NoModelAvailable: it is down and requests may not start it, or a reload took it away while the request waited.
        """
        if not self._allowed():
            state = next((status.state for status in self._engines.status() if status.model_id == model_id), "unknown")
            if state in ("stopped", "failed"):
                raise NoModelAvailable(
                    f"The engine of '{model_id}' is not running, and requests may not start it (engine.auto_start).",
                    hint=f"Run `prefrontal models load {model_id}`.",
                )
        try:
            return self._engines.lease(model_id)
        except NotFound as error:
            raise NoModelAvailable(f"Model '{model_id}' was taken out of service.") from error


async def own_engines(config: Config, clock: Clock, chance: Chance) -> EngineSupervisor:
    """Return a supervisor without any engine yet. Asking the machine for its cores takes milliseconds, so a thread does it."""
    restart = config.engine.restart
    policy = RestartPolicy(
        base_delay_s=restart.base_s,
        max_delay_s=restart.max_s,
        max_quick_crashes=restart.attempts,
        quick_s=restart.quick_s,
    )
    settings = EngineSettings(restart=policy, start_timeout_s=config.engine.start_timeout_s)
    return EngineSupervisor([], clock=clock, chance=chance, settings=await asyncio.to_thread(machine_settings, settings))
