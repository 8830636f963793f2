"""Time and chance. The only module that may ask the machine for either.

Everything else receives a `Clock` and a `Chance`, so that a test can move time by hand and a simulation can run a day of
traffic in a second through the code that serves.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, TypeVar

T = TypeVar("T")

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


class Clock(Protocol):
    """What the machine's clock offers. All values are seconds as float."""

    def now(self) -> float:
        """Return seconds since the Unix epoch (UTC). May jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point. Never goes back."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait `delay_s` seconds; 0 yields once to the loop."""
        ...

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its body after `delay_s` seconds and raises TimeoutError; None never fires."""
        ...


COARSE_FROM_S = 5.0
"""Timeouts from this length on may fire up to `COARSE_S` late, which makes them ten times cheaper: a request sets several, and
hardly one in a thousand ever fires (measured: 8 µs for a loop timer, 0.8 µs for an entry in the wheel)."""

COARSE_S = 0.5


class SystemClock:
    """The real clock. Used from one event loop at a time."""

    def __init__(self) -> None:
        self._wheel = _Wheel()

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """Wait on the running loop."""
        await asyncio.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return `asyncio.timeout`, or its coarse twin for long delays."""
        if delay_s is None or delay_s < COARSE_FROM_S:
            return asyncio.timeout(delay_s)
        return _CoarseTimeout(self._wheel, delay_s)


class _Wheel:
    """Deadlines in slots of `COARSE_S`, swept by one timer that runs only while there are any."""

    def __init__(self) -> None:
        self._slots: dict[int, set[_CoarseTimeout]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add(self, entry: _CoarseTimeout, delay_s: float) -> set[_CoarseTimeout]:
        """Enter a deadline; return the slot it lies in, to be taken out of."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._slots, self._timer = loop, {}, None
        number = int((loop.time() + delay_s) / COARSE_S) + 1
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = set()
        slot.add(entry)
        if self._timer is None:
            self._timer = loop.call_later(COARSE_S, self._sweep)
        return slot

    def _sweep(self) -> None:
        loop = self._loop
        if loop is None:
            return
        current = int(loop.time() / COARSE_S)
        for number in [n for n in self._slots if n <= current]:
            for entry in self._slots.pop(number):
                entry.fire()
        self._slots = {n: slot for n, slot in self._slots.items() if slot}
        self._timer = loop.call_later(COARSE_S, self._sweep) if self._slots else None


class _CoarseTimeout:
    """Cancels its task when the deadline has passed and turns that cancellation, and no other, into TimeoutError."""

    __slots__ = ("_cancelling", "_delay_s", "_fired", "_slot", "_task", "_wheel")

    def __init__(self, wheel: _Wheel, delay_s: float) -> None:
        self._wheel = wheel
        self._delay_s = delay_s
        self._fired = False

    async def __aenter__(self) -> _CoarseTimeout:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a timeout needs a task")
        self._task = task
        self._cancelling = task.cancelling()
        self._slot = self._wheel.add(self, self._delay_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._slot.discard(self)
        if self._fired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def fire(self) -> None:
        """Cancel the task."""
        self._fired = True
        self._task.cancel()


class Chance:
    """Seeded randomness: jitter, sampling, identifiers.

    With a seed the sequence is the same on every run; without one it starts from the operating system's entropy.
    Not for secrets: keys are drawn from `secrets` where they are made.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - jitter and identifiers, not secrets

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high]."""
        return self._random.uniform(low, high)

    def random(self) -> float:
        """Return a float in [0, 1)."""
        return self._random.random()

    def choice(self, items: list[T] | tuple[T, ...]) -> T:
        """Return one of `items`, each equally likely."""
        return self._random.choice(items)

    def log_normal(self, mean: float, cv: float) -> float:
        """Return a value above 0 of a log-normal distribution with this mean and coefficient of variation; cv 0: the mean."""
        if cv <= 0:
            return mean
        spread = math.log1p(cv * cv)
        return self._random.lognormvariate(math.log(mean) - spread / 2, math.sqrt(spread))

    def identifier(self, prefix: str, now_s: float) -> str:
        """Return `prefix` + 26 characters that sort by time (48 bits of milliseconds, 80 random bits; the ULID layout)."""
        number = (int(now_s * 1000) & 0xFFFFFFFFFFFF) << 80 | self._random.getrandbits(80)
        return prefix + "".join([_ALPHABET[number >> shift & 31] for shift in _SHIFTS])


_SHIFTS = tuple(range(125, -1, -5))
