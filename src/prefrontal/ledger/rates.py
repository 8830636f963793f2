"""Counting what happened lately: a sliding window in slots, and the running requests of one member of a scope."""

from __future__ import annotations

from prefrontal.contracts.money import RateWindow

SLOTS = 60
"""Slots of a window (assumed: what happened is forgotten at most a sixtieth of the window late, never early)."""

LENGTH_S: dict[RateWindow, float] = {"second": 1.0, "minute": 60.0, "hour": 3600.0}


class Sliding:
    """A sum over the last `window_s` seconds of a clock that never goes back. Holds at most `SLOTS` + 1 numbers."""

    __slots__ = ("_slot_s", "_slots", "_total")

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / SLOTS
        self._slots: dict[int, int] = {}
        self._total = 0

    @classmethod
    def of(cls, window_s: float, slots: dict[int, int]) -> Sliding:
        """Return a sum with these slots, oldest first."""
        found = cls(window_s)
        found._slots = slots
        found._total = sum(slots.values())
        return found

    def total(self, now: float) -> int:
        """Return the sum at monotonic time `now`."""
        slots = self._slots
        if slots:
            oldest = int(now / self._slot_s) - SLOTS
            while slots and (slot := next(iter(slots))) < oldest:
                self._total -= slots.pop(slot)
        return self._total

    def empty_in_s(self, now: float) -> float:
        """Return seconds until nothing is counted any more if nothing else happens."""
        if not self._slots:
            return 0.0
        return max(0.0, (next(reversed(self._slots)) + SLOTS + 1) * self._slot_s - now)

    def add(self, now: float, amount: int) -> int:
        """Count `amount` now; return the slot it lies in, for `amend`."""
        slot = int(now / self._slot_s)
        self._slots[slot] = self._slots.get(slot, 0) + amount
        self._total += amount
        return slot

    def amend(self, slot: int, change: int) -> None:
        """Correct what was counted in a slot; nothing when it is forgotten already."""
        if slot in self._slots:
            self._slots[slot] += change
            self._total += change

    def wait_s(self, now: float, amount: int, limit: int) -> float | None:
        """Return seconds until `amount` more is within `limit` if nothing else happens; None: it never is."""
        if amount > limit:
            return None
        left = self.total(now)
        for slot, counted in self._slots.items():
            if left + amount <= limit:
                break
            left -= counted
            until = (slot + SLOTS + 1) * self._slot_s
            if left + amount <= limit:
                return max(self._slot_s, until - now)
        return 0.0


class Meter:
    """What one member of a scope does: requests and tokens lately, requests now."""

    __slots__ = ("requests", "running", "tokens")

    def __init__(self, window: RateWindow) -> None:
        self.requests = Sliding(LENGTH_S[window])
        self.tokens = Sliding(LENGTH_S[window])
        self.running = 0

    def idle(self, now: float) -> bool:
        """Return whether nothing needs to be remembered."""
        return not (self.running or self.requests.total(now) or self.tokens.total(now))
