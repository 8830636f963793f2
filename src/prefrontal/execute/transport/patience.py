"""Ends reads that have waited too long, without a timer for each of them.

A stream waits before every token, and hardly one wait in a million takes as long as it may. A timer for each costs more than the
reading does, so long limits are looked at twice a second for all streams together, and only while there are any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

from prefrontal.clock import COARSE_FROM_S, COARSE_S, Clock

PATIENT_FROM_S = COARSE_FROM_S
"""Limits from this length on may be noticed up to `COARSE_S` late; shorter ones have a timer of their own."""


class Waiting(Protocol):
    """Something that may be waiting for bytes until `due_s`, a moment of the monotonic clock; None: it is not waiting."""

    due_s: float | None

    def expire(self) -> None:
        """End the wait: its time is over."""
        ...


class Patience:
    """Looks after all that wait. Owned by one event loop."""

    def __init__(self, clock: Clock, waiting: Collection[Waiting]) -> None:
        self._clock = clock
        self._waiting = waiting
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """See to it that somebody looks; called before each long wait."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look(), name="patience with upstreams")

    async def aclose(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        while self._waiting:
            await self._clock.sleep(COARSE_S)
            now = self._clock.monotonic()
            for one in tuple(self._waiting):
                if one.due_s is not None and now >= one.due_s:
                    one.expire()
