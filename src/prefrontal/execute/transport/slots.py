"""At most so many connections to one origin."""

from __future__ import annotations

import asyncio
from collections import deque

from prefrontal.clock import Clock
from prefrontal.errors import ProviderOverloaded


class Slots:
    """Counts running requests by origin and makes the surplus wait its turn, first come, first served.

    Holds an entry only for origins with running requests. `asyncio.Semaphore` would cost a coroutine on every call.
    """

    def __init__(self, limit: int, clock: Clock) -> None:
        if limit < 1:
            raise ValueError("max_connections must be at least 1")
        self._limit = limit
        self._clock = clock
        self._running: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def running(self, origin: str) -> int:
        """Return how many requests hold a slot of `origin` now."""
        return self._running.get(origin, 0)

    def try_take(self, origin: str) -> bool:
        """Take a slot if one is free; return whether it was."""
        running = self._running.get(origin, 0)
        if running >= self._limit:
            return False
        self._running[origin] = running + 1
        return True

    async def take(self, origin: str, wait_s: float | None) -> None:
        """Take a slot, waiting at most `wait_s` seconds. Raises `ProviderOverloaded` when none came free."""
        if self.try_take(origin):
            return
        turn = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(origin, deque())
        queue.append(turn)
        try:
            async with self._clock.timeout(wait_s):
                await turn
        except TimeoutError as error:
            self._leave(origin, turn)
            raise ProviderOverloaded(
                f"All {self._limit} connections to {origin} stayed busy for {wait_s:g} s.",
                hint="Raise max_connections if the upstream can take more at once.",
                details={"reason": "max_connections", "limit": self._limit},
            ) from error
        except BaseException:  # cancelled: the turn, if it came in this very moment, goes to the next in line
            self._leave(origin, turn)
            raise

    def give(self, origin: str) -> None:
        """Return a slot that was taken: to the next in line, if there is one."""
        queue = self._waiting.get(origin)
        while queue:
            turn = queue.popleft()
            if not queue:
                del self._waiting[origin]
            if not turn.done():
                turn.set_result(None)  # the slot changes hands, the count stays
                return
        left = self._running[origin] - 1
        if left:
            self._running[origin] = left
        else:
            del self._running[origin]

    def _leave(self, origin: str, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self.give(origin)
            return
        queue = self._waiting.get(origin)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[origin]
