"""A clock whose time passes only when the simulation lets it: a half year of traffic through the code that serves, in seconds."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

PASSES = 16
"""How often the loop runs before what is pending is taken to wait for time (assumed: longer than any chain of ready tasks)."""

REAL_WAIT_S = 0.0005
"""How long the loop really sleeps when nothing is left that could wake what is pending but a thread."""


class VirtualClock:
    """A `Clock` for one event loop. Time stands still but in `run`, which jumps from one moment to the next, and in `move_to`."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._passed_s = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._gone: set[int] = set()

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._start_s + self._passed_s

    def monotonic(self) -> float:
        """Return seconds since the clock was made."""
        return self._passed_s

    async def sleep(self, delay_s: float) -> None:
        """Wait until time has come that far; 0 and less yield once to the loop."""
        if delay_s <= 0:
            await _yield()
            return
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        number = self.at(delay_s, lambda: None if waking.done() else waking.set_result(None))
        try:
            await waking
        except asyncio.CancelledError:
            self.cancel(number)
            raise

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its body after `delay_s` seconds of this clock and raises TimeoutError."""
        return _Timeout(self, delay_s)

    def move_to(self, moment_s: float) -> None:
        """Let time be `moment_s` seconds after the start, and wake whoever is due, once, however often it would have woken.

        A moment in the past changes nothing: what took longer than a tick has moved time already.
        """
        self._passed_s = max(self._passed_s, moment_s)
        for _, number, action in self._taken(self._passed_s):
            if number in self._gone:
                self._gone.discard(number)
            else:
                action()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns, letting time jump to the next moment whenever nothing else can happen."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                for _ in range(PASSES):
                    await _yield()
                    if task.done():
                        return task.result()
                if not self._jump():
                    await asyncio.sleep(REAL_WAIT_S)  # noqa: TID251 - this is a clock, and a thread is at work
            return task.result()
        finally:
            task.cancel()

    def at(self, delay_s: float, action: Callable[[], None]) -> int:
        """Call `action` in so many seconds; return a number to `cancel` it by."""
        self._count += 1
        heapq.heappush(self._due, (self._passed_s + delay_s, self._count, action))
        return self._count

    def cancel(self, number: int) -> None:
        """Forget what `at` was told; after it has happened that is an error nobody notices."""
        self._gone.add(number)

    def _taken(self, until_s: float) -> list[tuple[float, int, Callable[[], None]]]:
        taken = []
        while self._due and self._due[0][0] <= until_s:
            taken.append(heapq.heappop(self._due))
        return taken

    def _jump(self) -> bool:
        """Go to the next moment at which somebody wakes; False: there is none."""
        while self._due:
            moment, number, action = heapq.heappop(self._due)
            if number in self._gone:
                self._gone.discard(number)
                continue
            self._passed_s = max(self._passed_s, moment)
            action()
            return True
        return False


class _Timeout:
    """`asyncio.timeout` whose moment is set by a `VirtualClock`: cancellation and its bookkeeping stay those of asyncio."""

    __slots__ = ("_clock", "_delay_s", "_fired", "_inner", "_number")

    def __init__(self, clock: VirtualClock, delay_s: float | None) -> None:
        self._clock = clock
        self._delay_s = delay_s
        self._inner = asyncio.timeout(None)  # noqa: TID251 - this is a clock
        self._number: int | None = None
        self._fired = False

    async def __aenter__(self) -> _Timeout:
        await self._inner.__aenter__()
        if self._delay_s is not None:
            if self._delay_s <= 0:
                self._expire()
            else:
                self._number = self._clock.at(self._delay_s, self._expire)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._number is not None and not self._fired:
            self._clock.cancel(self._number)
        await self._inner.__aexit__(kind, error, tb)

    def _expire(self) -> None:
        self._fired = True
        self._inner.reschedule(asyncio.get_running_loop().time())


async def _yield() -> None:
    await asyncio.sleep(0)  # noqa: TID251 - this is a clock
