"""What models found only by their key have cost today, against the limit that holds until a file names them."""

from __future__ import annotations

SECONDS_PER_DAY = 86_400


class SpendMeter:
    """A counter by UTC day. Seeded from the ledger at start; owned by one event loop. `limit_usd` may be changed at any time."""

    def __init__(self, limit_usd: float) -> None:
        self.limit_usd = limit_usd
        self._day = -1
        self._spent_usd = 0.0

    def seed(self, spent_usd: float, now_s: float) -> None:
        """Set what was spent today before this process started; never lowers what was added since."""
        self._roll(now_s)
        self._spent_usd = max(self._spent_usd, spent_usd)

    def add(self, cost_usd: float, now_s: float) -> None:
        """Add the cost of a request. One that began yesterday and ends today counts today."""
        self._roll(now_s)
        self._spent_usd += cost_usd

    def spent_usd(self, now_s: float) -> float:
        """Return what was spent today."""
        self._roll(now_s)
        return self._spent_usd

    def exhausted(self, now_s: float) -> bool:
        """Return whether the limit is reached; a limit of 0 always is."""
        return self.spent_usd(now_s) >= self.limit_usd

    def _roll(self, now_s: float) -> None:
        """Start a new day. Going back by a day is a late request; by more, a clock that was set right."""
        day = int(now_s // SECONDS_PER_DAY)
        if day > self._day or day < self._day - 1:
            self._day, self._spent_usd = day, 0.0
