"""Rate limits counted in this process: nothing waits, so checking and counting are one step of the event loop."""

from __future__ import annotations

from collections.abc import Sequence

from prefrontal.clock import Clock
from prefrontal.ledger.board import Admitted, MeterKey, RateDenial, RateDimension, RateLine, exceeded
from prefrontal.ledger.rates import LENGTH_S, SLOTS, Meter


class MemoryBoard:
    """Implements `RateBoard`. Times are the clock's monotonic ones; leases end when they are left."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._meters: dict[MeterKey, Meter] = {}
        self._leases: dict[str, list[Meter]] = {}

    async def enter(self, lines: Sequence[RateLine], lease_id: str, ttl_s: float) -> Admitted | RateDenial:
        """See `RateBoard.enter`. Never pauses."""
        now = self._clock.monotonic()
        found: list[tuple[RateLine, Meter]] = []
        for line in lines:
            meter = self.meter(line.key)
            requests = meter.requests.total(now) if line.requests else 0
            tokens = meter.tokens.total(now) if line.tokens else 0
            full = exceeded(line, requests=requests, tokens=tokens, running=meter.running)
            if full is not None:
                return _denial(line, meter, full, now)
            found.append((line, meter))
        requested: list[Meter] = []
        weighed: list[Meter] = []
        for line, meter in found:
            if line.requests and meter not in requested:
                requested.append(meter)
                meter.requests.add(now, 1)
                meter.running += 1
            if line.tokens and meter not in weighed:
                weighed.append(meter)
                meter.tokens.add(now, line.tokens)
        if requested:
            self._leases.setdefault(lease_id, []).extend(requested)
        return Admitted(at_s=now)

    def amend(self, lines: Sequence[RateLine], at_s: float, tokens: int) -> None:
        """See `RateBoard.amend`."""
        seen: list[Meter] = []
        for line in lines:
            if line.tokens:
                meter = self._meters.get(line.key)
                if meter is not None and meter not in seen:
                    seen.append(meter)
                    meter.tokens.amend(int(at_s / (LENGTH_S[line.rate.window] / SLOTS)), tokens - line.tokens)

    def leave(self, lease_id: str) -> None:
        """See `RateBoard.leave`."""
        for meter in self._leases.pop(lease_id, ()):
            meter.running -= 1

    async def renew(self, ttl_s: float) -> None:
        """Nothing to do: what runs here ends with this process."""

    def meter(self, key: MeterKey) -> Meter:
        """Return the counter of a member's window."""
        found = self._meters.get(key)
        if found is None:
            found = self._meters[key] = Meter(key[1])
        return found

    def sweep(self) -> None:
        """Forget meters of those who have been quiet."""
        now = self._clock.monotonic()
        for key in [key for key, meter in self._meters.items() if meter.idle(now)]:
            del self._meters[key]


def _denial(line: RateLine, meter: Meter, full: tuple[RateDimension, int, int], now: float) -> RateDenial:
    dimension, used, limit = full
    sliding, amount = (meter.tokens, line.tokens) if dimension == "tokens" else (meter.requests, line.requests)
    wait_s = None if dimension == "concurrency" else sliding.wait_s(now, amount, limit)
    return RateDenial(line=line, dimension=dimension, used=used, limit=limit, wait_s=wait_s)
