"""What lenses remember between requests: readings of equal requests, and which models gave none. Bounded; one event loop."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from prefrontal.clock import Clock
from prefrontal.decisions.lenses.lens import State
from prefrontal.execute import breaker
from prefrontal.execute.breaker import CLOSED, Breaker, BreakerPolicy

MAX_READINGS = 1000
"""Readings that are kept; the longest unused goes first (specified: the design behind seed 004)."""

MAX_MODELS = 1000
"""Models whose failures are counted (assumed)."""

POLICY = BreakerPolicy(failures=5, window_s=120.0, open_s=30.0)
"""After five failures in a row (specified there) a model is left alone for half a minute (assumed), then tried once. Unlike the
breaker of calls it counts replies that are no readings, too."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A reading that may be used again until `until` on the monotonic clock."""

    state: State
    model: str
    until: float


class Memory:
    """Readings and breakers of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], Kept] = OrderedDict()
        self._breakers: OrderedDict[tuple[str, str], Breaker] = OrderedDict()

    def find(self, key: tuple[str, ...]) -> Kept | None:
        """Return the reading of an equal request, if it still holds."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found.until <= self._clock.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return found

    def keep(self, key: tuple[str, ...], state: State, model: str, ttl_s: float) -> None:
        """Keep a reading that a model gave."""
        self._kept[key] = Kept(state=state, model=model, until=self._clock.monotonic() + ttl_s)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_READINGS:
            self._kept.popitem(last=False)

    def begins(self, lens: str, model: str) -> bool:
        """Return whether the model may be asked now; a rested one is let through once."""
        state = self._breakers.get((lens, model), CLOSED)
        if not breaker.admits(state, self._clock.monotonic()):
            return False
        if state is not CLOSED:
            self._breakers[lens, model] = breaker.started(state)
        return True

    def ended(self, lens: str, model: str, *, well: bool | None) -> None:
        """Take in how it went; None: it says nothing of the model, for instance because the client left."""
        key = (lens, model)
        state = self._breakers.get(key, CLOSED)
        if well is None:
            after = breaker.abandoned(state)
        elif well:
            after = CLOSED
        else:
            after = breaker.failed(state, self._clock.monotonic(), POLICY)
        if after is CLOSED:
            self._breakers.pop(key, None)
            return
        self._breakers[key] = after
        self._breakers.move_to_end(key)
        while len(self._breakers) > MAX_MODELS:
            self._breakers.popitem(last=False)
