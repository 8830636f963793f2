"""Bounded concurrency with a bounded queue: by priority, then each key in turn, then first come, first served."""

from __future__ import annotations

import asyncio

from prefrontal.clock import Clock
from prefrontal.config.schema_resilience import Shedding
from prefrontal.contracts.resilience import Priority, Shed
from prefrontal.errors import InvariantBroken, LimitExceeded, PrefrontalError
from prefrontal.execute.fair import FairQueue, Turn
from prefrontal.plan.shedding import CALM

WHY: dict[Shed, str] = {
    "full": "{held} requests run and {waiting} wait",
    "displaced": "its place in the queue was given to a request of a higher priority or of a key with fewer waiting",
    "congested": "everybody has waited too long for a while, and this request's priority is low",
    "waited": "no place became free in time",
}


class Slots:
    """At most `limit` holders at once and at most `queue` waiting; beyond that `refusal` with a retry-after.

    Owned by one event loop. `resize` takes effect for the next taker; holders are never evicted. title: how messages call it;
    hint: what to do about a refusal. clock: without one nobody is refused for having waited.
    """

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        queue: int,
        clock: Clock | None = None,
        refusal: type[PrefrontalError] = LimitExceeded,
        title: str | None = None,
        hint: str = "Try again later, or raise models.*.concurrency / models.*.queue.",
    ) -> None:
        self.name = name
        self.limit = limit
        self.queue = queue
        self.held = 0
        self.shedding = Shedding()
        self._title = title or f"Model '{name}'"
        self._hint = hint
        self._refusal = refusal
        self._clock = clock
        self._congestion = CALM
        self._waiting = FairQueue()

    @property
    def waiting(self) -> int:
        """How many are in the queue, those included that were cancelled in this very moment."""
        return len(self._waiting)

    def waited_s(self, now: float) -> float:
        """Return how long the one who waits longest has waited."""
        oldest = self._waiting.oldest
        return 0.0 if oldest is None else now - oldest.since

    def resize(self, *, limit: int, queue: int) -> None:
        """Change the bounds; wakes waiters that now fit."""
        self.limit, self.queue = limit, queue
        self._wake()

    def try_take(self) -> bool:
        """Take a slot at once when one is free and nobody waits."""
        if self.held < self.limit and not self._waiting.turns:
            self.held += 1
            return True
        return False

    async def take(self, *, retry_after_s: float, who: str | None = None, priority: Priority = "normal") -> None:
        """Wait for a slot. `who` is the key that takes turns with others.

        Raises:
            LimitExceeded, or what `refusal` says: there is no place to wait, or it was taken away again; the caller should come
            back in about `retry_after_s`.
        """
        if self.try_take():
            return
        now = 0.0 if self._clock is None else self._clock.monotonic()
        if priority == "low" and self._is_congested(now):
            raise self._refused("congested", priority, retry_after_s)
        if len(self._waiting) >= self.queue:
            loser = self._waiting.displace(who or "", priority)
            if loser is None:
                raise self._refused("full", priority, retry_after_s)
            self._end(loser, "displaced", retry_after_s)
        turn = Turn(asyncio.get_running_loop().create_future(), who or "", priority, now)
        self._waiting.add(turn)
        try:
            await turn.ready
        except asyncio.CancelledError:
            if turn.ready.done() and not turn.ready.cancelled() and turn.ready.exception() is None:
                self.release()  # the slot was handed to us in the same moment; pass it on
            else:
                self._waiting.remove(turn)  # unless a release passed over it meanwhile
            raise

    def release(self) -> None:
        """Give the slot back and hand it to whose turn it is.

        Raises:
            InvariantBroken: nobody holds a slot.
        """
        if self.held < 1:
            raise InvariantBroken(f"A slot of '{self.name}' was given back twice.")
        self.held -= 1
        if self._waiting.turns:
            self._wake()

    def refused_after_waiting(self, priority: Priority, retry_after_s: float) -> PrefrontalError:
        """Return the error for somebody who gave up waiting."""
        return self._refused("waited", priority, retry_after_s)

    def _wake(self) -> None:
        while self.held < self.limit and len(self._waiting):
            now = 0.0 if self._clock is None else self._clock.monotonic()
            congested = self._is_congested(now)
            turn = self._waiting.pop()
            if turn is None or turn.ready.done():
                continue
            wait_s = now - turn.since
            if turn.priority == "low" and congested and wait_s > self.shedding.target_s:
                self._end(turn, "congested", max(1.0, round(wait_s)))
                continue
            self.held += 1
            turn.ready.set_result(None)
        if not len(self._waiting):
            self._congestion = CALM

    def _is_congested(self, now: float) -> bool:
        """Return whether the one who waits longest has waited too long each time somebody looked, for long enough."""
        oldest = self._waiting.oldest
        if self._clock is None or oldest is None:
            return False
        self._congestion = self._congestion.after(now - oldest.since, now, self.shedding.target_s)
        return self._congestion.lasts(now, self.shedding.interval_s)

    def _end(self, turn: Turn, why: Shed, retry_after_s: float) -> None:
        if not turn.ready.done():
            turn.ready.set_exception(self._refused(why, turn.priority, retry_after_s))

    def _refused(self, why: Shed, priority: Priority, retry_after_s: float) -> PrefrontalError:
        said = WHY[why].format(held=self.held, waiting=len(self._waiting))
        return self._refusal(
            f"{self._title} is busy: {said}.",
            hint=self._hint,
            retry_after_s=retry_after_s,
            details={
                "dimension": "concurrency",
                "limit": self.limit,
                "queue": self.queue,
                "scope": self.name,
                "shed": why,
                "priority": priority,
            },
        )
