"""Bounded concurrency with a bounded queue, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque

from prefrontal.errors import InvariantBroken, LimitExceeded


class Slots:
    """At most `limit` holders at once and at most `queue` waiting; beyond that `LimitExceeded` with a retry-after.

    Owned by one event loop. `resize` takes effect for the next taker; holders are never evicted.
    """

    def __init__(self, name: str, *, limit: int, queue: int) -> None:
        self.name = name
        self.limit = limit
        self.queue = queue
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many are in the queue, those included that were cancelled in this very moment."""
        return len(self._waiting)

    def resize(self, *, limit: int, queue: int) -> None:
        """Change the bounds; wakes waiters that now fit."""
        self.limit, self.queue = limit, queue
        self._wake()

    def try_take(self) -> bool:
        """Take a slot at once when one is free and nobody waits."""
        if self.held < self.limit and not self._waiting:
            self.held += 1
            return True
        return False

    async def take(self, *, retry_after_s: float) -> None:
        """Wait for a slot.

        Raises:
            LimitExceeded: the queue is full; the caller should come back in about `retry_after_s`.
        """
        if self.try_take():
            return
        if len(self._waiting) >= self.queue:
            raise LimitExceeded(
                f"Model '{self.name}' is busy: {self.held} requests run and {len(self._waiting)} wait.",
                hint="Try again later, or raise models.*.concurrency / models.*.queue.",
                retry_after_s=retry_after_s,
                details={"dimension": "concurrency", "limit": self.limit, "queue": self.queue, "scope": self.name},
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot was handed to us in the same moment; pass it on
            elif turn in self._waiting:  # else a release passed over it meanwhile
                self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give the slot back and hand it to the first waiter.

        Raises:
            InvariantBroken: nobody holds a slot.
        """
        if self.held < 1:
            raise InvariantBroken(f"A slot of '{self.name}' was given back twice.")
        self.held -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.held < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.held += 1
                turn.set_result(None)
