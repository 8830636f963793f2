"""At most so many connections to one origin."""

from __future__ import annotations

import asyncio

from prefrontal.clock import Clock
from prefrontal.errors import ProviderOverloaded

_IDLE_ORIGINS = 1024
"""How many origins without a running request are remembered. Assumed: more than a registry names."""


class Slots:
    """Counts running requests by origin and makes the surplus wait its turn, first come, first served."""

    def __init__(self, limit: int, clock: Clock) -> None:
        if limit < 1:
            raise ValueError("max_connections must be at least 1")
        self._limit = limit
        self._clock = clock
        self._by_origin: dict[str, asyncio.Semaphore] = {}
        self._running: dict[str, int] = {}

    def running(self, origin: str) -> int:
        """Return how many requests hold a slot of `origin` now."""
        return self._running.get(origin, 0)

    async def take(self, origin: str, wait_s: float | None) -> None:
        """Take a slot, waiting at most `wait_s` seconds. Raises `ProviderOverloaded` when none came free."""
        slots = self._by_origin.get(origin)
        if slots is None:
            self._forget_idle()
            slots = self._by_origin[origin] = asyncio.Semaphore(self._limit)
        if slots.locked():
            try:
                async with self._clock.timeout(wait_s):
                    await slots.acquire()
            except TimeoutError as error:
                raise ProviderOverloaded(
                    f"All {self._limit} connections to {origin} stayed busy for {wait_s:g} s.",
                    hint="Raise max_connections if the upstream can take more at once.",
                    details={"reason": "max_connections", "limit": self._limit},
                ) from error
        else:
            await slots.acquire()  # does not suspend: a slot is free and nobody waits
        self._running[origin] = self._running.get(origin, 0) + 1

    def give(self, origin: str) -> None:
        """Return a slot that was taken."""
        left = self._running[origin] - 1
        if left:
            self._running[origin] = left
        else:
            del self._running[origin]
        self._by_origin[origin].release()

    def _forget_idle(self) -> None:
        if len(self._by_origin) < _IDLE_ORIGINS:
            return
        for origin in [name for name in self._by_origin if name not in self._running]:
            if not self._by_origin[origin].locked():
                del self._by_origin[origin]
