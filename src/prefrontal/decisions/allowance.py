"""How many questions each agent may still put to hosted models today, in each run."""

from __future__ import annotations

from prefrontal.clock import Clock

DAY_S = 86_400.0

MAX_AGENTS = 100_000
"""Agents counted at the same time (assumed: some 20 MB); beyond that the longest counted are forgotten first."""


class Allowances:
    """Counts for one process. Days are those of the clock, from midnight UTC, so virtual days count as days.

    Taking is one step without a pause: no two decisions can both take the last one.
    """

    def __init__(self, clock: Clock, *, max_agents: int = MAX_AGENTS) -> None:
        self._clock = clock
        self._max = max_agents
        self._taken: dict[tuple[str, str], tuple[int, int]] = {}

    def take(self, run: str, agent: str, bound: int) -> int | None:
        """Take one of `bound`; return the day it was taken from, to be given back to. None: there is none left."""
        day, key = self._today(), (run, agent)
        known = self._taken.get(key)
        taken = known[1] if known is not None and known[0] == day else 0
        if taken >= bound:
            return None
        self._taken[key] = (day, taken + 1)
        if len(self._taken) > self._max:
            del self._taken[next(iter(self._taken))]
        return day

    def give_back(self, run: str, agent: str, day: int) -> None:
        """Undo one `take`: nothing was asked. A day that is over is left alone."""
        known = self._taken.get((run, agent))
        if known is not None and known[0] == day and known[1]:
            self._taken[run, agent] = (day, known[1] - 1)

    def taken(self, run: str, agent: str) -> int:
        """Return how many were taken today."""
        known = self._taken.get((run, agent))
        return known[1] if known is not None and known[0] == self._today() else 0

    def restore(self, run: str, agent: str, count: int) -> None:
        """Let `count` be taken today already, as a run that is resumed remembers."""
        self._taken[run, agent] = (self._today(), count)

    def _today(self) -> int:
        return int(self._clock.now() // DAY_S)
