"""A clock that a test moves by hand.

clock = FakeClock()
async with prefrontal.open(config, clock=clock) as pf:
    asking = asyncio.create_task(pf.chat("Hello"))
    await clock.sleepers(1)          # it waits before its second attempt
    await clock.advance(0.5)
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

START_S = 1_767_225_600.0
"""Where time starts unless told otherwise: 2026-01-01 00:00 UTC, midnight of a day, so that daily windows are easy to count."""

PASSES = 25
"""How often the loop is let run before it is taken to have nothing left to do (assumed: longer than any chain of ready tasks)."""


class FakeClock:
    """A `Clock` whose time stands still until it is moved.

    By hand: `advance` moves time and wakes whoever is due, in the order of their moments, letting each run before the next.
    With ``auto=True`` time also jumps by itself to the next sleeper as soon as the loop has nothing else to do: code that only
    sleeps runs to its end at once. Pending timeouts alone never make time jump, because what they guard may be real work.

    `slept` lists the delays asked for, in seconds and in order; 0 is left out.
    """

    def __init__(self, start_s: float = START_S, *, auto: bool = False) -> None:
        self._start_s = start_s
        self._passed_s = 0.0
        self._auto = auto
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._asleep = 0
        self._jumping: asyncio.Task[None] | None = None
        self._live: set[int] = set()
        self.slept: list[float] = []

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._start_s + self._passed_s

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._passed_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until time has been moved by `delay_s` seconds; 0 and less yield once to the loop."""
        if delay_s <= 0:
            await _yield()
            return
        self.slept.append(delay_s)
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = self._at(delay_s, lambda: None if waking.done() else waking.set_result(None))
        self._asleep += 1
        if self._auto and self._jumping is None:
            self._jumping = asyncio.create_task(self._jump())
        try:
            await waking
        finally:
            self._asleep -= 1
            self._live.discard(number)

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its body after `delay_s` seconds of this clock and raises TimeoutError."""
        return _Timeout(self, delay_s)

    @property
    def waiting(self) -> int:
        """How many are asleep now."""
        return self._asleep

    async def sleepers(self, count: int) -> None:
        """Let the loop run until at least `count` are asleep. Bound it by a real timeout where that may never come true."""
        while self._asleep < count:
            await _yield()

    async def advance(self, seconds: float) -> None:
        """Move time forward; whoever is due on the way wakes at exactly their moment. Raises ValueError for a negative step."""
        if seconds < 0:
            raise ValueError("time does not go back")
        target = self._passed_s + seconds
        await _settled()
        while self._due and self._due[0][0] <= target:
            await self._fire_next()
        self._passed_s = target
        await _settled()

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock by `seconds`, also backwards, as an operator or NTP may; monotonic time does not notice."""
        self._start_s += seconds

    def _at(self, delay_s: float, action: Callable[[], None]) -> int:
        self._count += 1
        self._live.add(self._count)
        heapq.heappush(self._due, (self._passed_s + delay_s, self._count, action))
        return self._count

    def _cancel(self, number: int) -> None:
        self._live.discard(number)

    async def _fire_next(self) -> None:
        moment, number, action = heapq.heappop(self._due)
        if number not in self._live:
            return
        self._live.discard(number)
        self._passed_s = max(self._passed_s, moment)
        action()
        await _settled()

    async def _jump(self) -> None:
        try:
            await _settled()
            while self._asleep and self._due:
                await self._fire_next()
        finally:
            self._jumping = None


class _Timeout:
    """`asyncio.timeout` whose moment is set by a `FakeClock`: cancellation and its bookkeeping stay those of asyncio."""

    def __init__(self, clock: FakeClock, delay_s: float | None) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._inner = asyncio.timeout(None)  # noqa: TID251 - this is a clock
        self._number: int | None = None

    async def __aenter__(self) -> _Timeout:
        await self._inner.__aenter__()
        if self._delay_s is not None:
            if self._delay_s <= 0:
                self._expire()
            else:
                self._number = self._clock._at(self._delay_s, self._expire)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._number is not None:
            self._clock._cancel(self._number)
        await self._inner.__aexit__(kind, error, tb)

    def _expire(self) -> None:
        self._inner.reschedule(asyncio.get_running_loop().time())


async def _yield() -> None:
    await asyncio.sleep(0)  # noqa: TID251 - this is a clock


async def _settled() -> None:
    for _ in range(PASSES):
        await _yield()
