"""The local engines as requests may use them: started on demand, unless the configuration forbids that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from prefrontal.errors import NoModelAvailable, NotFound
from prefrontal.execute.engine.supervisor import EngineSupervisor


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
