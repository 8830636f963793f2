"""A queue in which keys take turns: by priority, then one of each key, then first come, first served."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from prefrontal.contracts.resilience import PRIORITIES, Priority
from prefrontal.plan.shedding import displaced


class Turn:
    """Somebody who waits. `ready` is set when it is their turn, or with the error that ends the waiting. since: monotonic."""

    __slots__ = ("priority", "ready", "since", "who")

    def __init__(self, ready: asyncio.Future[None], who: str, priority: Priority, since: float) -> None:
        self.ready = ready
        self.who = who
        self.priority = priority
        self.since = since


class FairQueue:
    """Owned by one event loop. The bound on its length is the caller's to keep. turns: who waits, the longest first."""

    def __init__(self) -> None:
        self._lanes: dict[Priority, OrderedDict[str, deque[Turn]]] = {level: OrderedDict() for level in PRIORITIES}
        self.turns: dict[Turn, None] = {}

    def __len__(self) -> int:
        return len(self.turns)

    def __contains__(self, turn: Turn) -> bool:
        return turn in self.turns

    @property
    def oldest(self) -> Turn | None:
        """Who has waited longest."""
        return next(iter(self.turns), None)

    def add(self, turn: Turn) -> None:
        """Let somebody wait."""
        self.turns[turn] = None
        self._lanes[turn.priority].setdefault(turn.who, deque()).append(turn)

    def pop(self) -> Turn | None:
        """Take out whose turn it is: of the highest class the key that was served longest ago."""
        for level in reversed(PRIORITIES):
            lanes = self._lanes[level]
            if lanes:
                who, lane = lanes.popitem(last=False)
                turn = lane.popleft()
                if lane:
                    lanes[who] = lane
                del self.turns[turn]
                return turn
        return None

    def remove(self, turn: Turn) -> None:
        """Take out somebody who leaves; who is not in the queue is left alone."""
        if turn not in self.turns:
            return
        del self.turns[turn]
        lanes = self._lanes[turn.priority]
        lanes[turn.who].remove(turn)
        if not lanes[turn.who]:
            del lanes[turn.who]

    def displace(self, who: str, priority: Priority) -> Turn | None:
        """Take out who makes room for a newcomer in a full queue; None: nobody does."""
        found = displaced(self._lanes, who, priority)
        if found is None:
            return None
        turn = self._lanes[found[0]][found[1]][-1]
        self.remove(turn)
        return turn
