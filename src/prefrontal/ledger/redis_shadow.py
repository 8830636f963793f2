"""What this gateway let through itself lately: its share of limits while Redis is away, and what Redis has to be told later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from prefrontal.clock import Clock
from prefrontal.ledger.board import MeterKey, RateDimension, RateLine
from prefrontal.ledger.rates import LENGTH_S, SLOTS, Sliding

MAX_UNTOLD = 20_000
"""Counts kept for Redis while it is away (assumed: some MB); what is beyond is not told."""

Counter = tuple[RateDimension, MeterKey]


class Gate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One bound of one line. `counted`: what is added to its counter; 0 when another gate of the same counter adds it."""

    line: RateLine
    dimension: RateDimension
    amount: int
    limit: int
    counted: int


class Untold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An amount that Redis has not counted. at_s: monotonic time, to a slot."""

    dimension: RateDimension
    key: MeterKey
    at_s: float
    amount: int


class Shadow:
    """Counts by this process's clock. Belongs to one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[Counter, Sliding] = {}
        self._running: dict[MeterKey, set[str]] = {}
        self._leases: dict[str, list[MeterKey]] = {}
        self._untold: dict[tuple[RateDimension, MeterKey, int], int] = {}

    def used(self, gate: Gate, limit: int, lease_id: str) -> tuple[int, float | None]:
        """Return what stands in a gate's counter, and the seconds until its amount is within `limit`."""
        key = gate.line.key
        if gate.dimension == "concurrency":
            running = self._running.get(key, set())
            return len(running - {lease_id}), None
        window = self._windows.get((gate.dimension, key))
        if window is None:
            return 0, None
        now = self._clock.monotonic()
        return window.total(now), window.wait_s(now, gate.amount, limit)

    def count(self, gates: Iterable[Gate], lease_id: str, *, untold: bool) -> None:
        """Count a call. `untold`: Redis has not."""
        now = self._clock.monotonic()
        for gate in gates:
            if not gate.counted:
                continue
            key = gate.line.key
            if gate.dimension == "concurrency":
                self._running.setdefault(key, set()).add(lease_id)
                self._leases.setdefault(lease_id, []).append(key)
                continue
            window = self._windows.get((gate.dimension, key))
            if window is None:
                window = self._windows[gate.dimension, key] = Sliding(LENGTH_S[gate.line.rate.window])
            slot = window.add(now, gate.counted)
            if untold and ((gate.dimension, key, slot) in self._untold or len(self._untold) < MAX_UNTOLD):
                self._untold[gate.dimension, key, slot] = self._untold.get((gate.dimension, key, slot), 0) + gate.counted

    def amend(self, key: MeterKey, at_s: float, change: int) -> bool:
        """Correct tokens counted at monotonic time `at_s`; return whether Redis will be told the corrected amount anyway."""
        slot = _slot(at_s, LENGTH_S[key[1]])
        window = self._windows.get(("tokens", key))
        if window is not None:
            window.amend(slot, change)
        if ("tokens", key, slot) not in self._untold:
            return False
        self._untold["tokens", key, slot] += change
        return True

    def leave(self, lease_id: str) -> None:
        """The request no longer runs."""
        for key in self._leases.pop(lease_id, ()):
            running = self._running.get(key)
            if running is not None:
                running.discard(lease_id)
                if not running:
                    del self._running[key]

    def untold(self) -> Iterator[Untold]:
        """Yield what Redis has not counted and is still remembered, each once: it is not yielded again."""
        found, self._untold = self._untold, {}
        now = self._clock.monotonic()
        for (dimension, key, slot), amount in found.items():
            length_s = LENGTH_S[key[1]]
            if amount > 0 and _slot(now, length_s) - slot <= SLOTS:
                yield Untold(dimension=dimension, key=key, at_s=(slot + 0.5) * length_s / SLOTS, amount=amount)

    def sweep(self) -> None:
        """Forget who has been quiet for a window."""
        now = self._clock.monotonic()
        for counter in [counter for counter, window in self._windows.items() if not window.total(now)]:
            del self._windows[counter]


def _slot(at_s: float, length_s: float) -> int:
    """Return the number of the slot a time lies in, as `Sliding` has it."""
    return int(at_s / (length_s / SLOTS))
