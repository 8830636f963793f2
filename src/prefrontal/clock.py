"""Time and chance. The only module that may ask the machine for either.

Everything else receives a `Clock` and a `Chance`, so that a test can move time by hand and a simulation can run a day of
traffic in a second through the code that serves.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AbstractAsyncContextManager
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


class SystemClock:
    """The real clock."""

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
        """Return `asyncio.timeout`."""
        return asyncio.timeout(delay_s)


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

    def identifier(self, prefix: str, now_s: float) -> str:
        """Return `prefix` + 26 characters that sort by time (48 bits of milliseconds, 80 random bits; the ULID layout)."""
        number = (int(now_s * 1000) & 0xFFFFFFFFFFFF) << 80 | self._random.getrandbits(80)
        return prefix + "".join([_ALPHABET[number >> shift & 31] for shift in _SHIFTS])


_SHIFTS = tuple(range(125, -1, -5))
