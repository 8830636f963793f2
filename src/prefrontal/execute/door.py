"""The way into the process: at most so many requests at work, a bounded queue before them, and who is refused."""

from __future__ import annotations

from prefrontal.clock import Clock
from prefrontal.config.schema_service import Limits
from prefrontal.contracts.resilience import Priority
from prefrontal.errors import Overloaded, ProviderTimeout
from prefrontal.execute.slots import Slots

BACK_S = 1.0
"""When somebody who was refused should come back at the earliest (assumed: answers take seconds)."""


class Door:
    """Lets requests in. Who is let in must `leave`, once. Owned by one event loop."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self.slots = Slots(
            "gateway",
            limit=limits.concurrency,
            queue=limits.shedding.queue,
            clock=clock,
            refusal=Overloaded,
            title="The gateway",
            hint="Try again later; limits.concurrency and limits.shedding set the bounds.",
        )
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Apply new bounds."""
        self.slots.shedding = limits.shedding
        self.slots.resize(limit=limits.concurrency, queue=limits.shedding.queue)

    def try_enter(self) -> bool:
        """Enter at once when there is room and nobody waits."""
        return self.slots.try_take()

    async def enter(self, who: str | None, priority: Priority, deadline: float | None) -> None:
        """Enter, waiting if need be, but not beyond `deadline`, a moment of the monotonic clock.

        Raises:
            Overloaded: no place, or it was taken away again. ProviderTimeout: the caller's time ran out (stage ``admission``).
        """
        slots, now = self.slots, self._clock.monotonic()
        longest_s = slots.shedding.max_wait_s
        left_s = longest_s if deadline is None else min(longest_s, deadline - now)
        oldest_s = max(BACK_S, round(slots.waited_s(now)))
        try:
            if left_s <= 0:
                raise TimeoutError
            async with self._clock.timeout(left_s):
                await slots.take(retry_after_s=oldest_s, who=who, priority=priority)
        except TimeoutError as error:
            if deadline is None or self._clock.monotonic() < deadline:
                raise slots.refused_after_waiting(priority, oldest_s) from error
            text = "The request's time ran out while it waited to be let in."
            raise ProviderTimeout(text, details={"stage": "admission"}) from error

    def leave(self) -> None:
        """Make room for the next one."""
        self.slots.release()
