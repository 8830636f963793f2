"""Who goes first when there is more work than room, and who is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sized

import msgspec

from prefrontal.contracts.resilience import PRIORITIES, Priority


class Congestion(msgspec.Struct, frozen=True, kw_only=True):
    """Since when every wait was longer than it should be (None: the latest was not): a standing queue, not a burst.

    The idea is CoDel's (Nichols and Jacobson, 2012): the length of a queue says little, that it never drains says all.
    """

    above_since: float | None = None

    def after(self, wait_s: float, now: float, target_s: float) -> Congestion:
        """Return the state after a wait of `wait_s` was seen at monotonic time `now`."""
        if wait_s <= target_s:
            return CALM
        return self if self.above_since is not None else Congestion(above_since=now)

    def lasts(self, now: float, interval_s: float) -> bool:
        """Return whether the queue has stood for at least `interval_s`."""
        return self.above_since is not None and now - self.above_since >= interval_s


CALM = Congestion()


def displaced(
    waiting: Mapping[Priority, Mapping[str, Sized]], who: str, priority: Priority
) -> tuple[Priority, str] | None:
    """Return whose last place in a full queue a newcomer gets, as class and key; None: nobody's, the newcomer is refused.

    waiting: those who wait, by class and key. Someone of a lower class goes first; of the newcomer's own class, the key with the
    most waiting, as long as it then still has as many as the newcomer's: one that floods the queue makes room for the others.
    """
    for level in PRIORITIES:
        if PRIORITIES.index(level) > PRIORITIES.index(priority):
            return None
        lanes = waiting.get(level)
        if not lanes:
            continue
        longest = max(lanes, key=lambda key: len(lanes[key]))
        if level != priority or len(lanes[longest]) > len(lanes.get(who, ())) + 1:
            return level, longest
    return None
