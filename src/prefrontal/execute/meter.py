"""What models found only by their key have cost today, against the limit that holds until a file names them."""

from __future__ import annotations

SECONDS_PER_DAY = 86_400


class SpendMeter:
    """A counter by UTC day. Seeded from the ledger at start; owned by one event loop."""

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self._day = -1
        self._spent_usd = 0.0

    def seed(self, spent_usd: float, now_s: float) -> None:
        """Set what was spent today before this process started."""
        self._day, self._spent_usd = int(now_s // SECONDS_PER_DAY), spent_usd

    def add(self, cost_usd: float, now_s: float) -> None:
        """Add the cost of a request."""
        self._roll(now_s)
        self._spent_usd += cost_usd

    def spent_usd(self, now_s: float) -> float:
        """Return what was spent today."""
        self._roll(now_s)
        return self._spent_usd

    def exhausted(self, now_s: float) -> bool:
        """Return whether the limit is reached."""
        return self.spent_usd(now_s) >= self.limit_usd

    def _roll(self, now_s: float) -> None:
        day = int(now_s // SECONDS_PER_DAY)
        if day != self._day:
            self._day, self._spent_usd = day, 0.0
