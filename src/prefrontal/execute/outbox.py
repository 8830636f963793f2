"""What a gateway has to tell others of who read what, in order and bounded: the oldest is given up when nobody comes for it."""

from __future__ import annotations

from collections import deque
from typing import Protocol

Told = tuple[str, str, int, str]
"""The digest of a conversation or a beginning, the model that read it, so many tokens, its deployment or nothing."""


class Outbox:
    """Owned by one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Told] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, told: Told) -> None:
        """Let it wait."""
        self._waiting.append(told)

    def take(self, most: int) -> list[Told]:
        """Return what waits, the oldest first, and forget that it does."""
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def put_back(self, untold: list[Told]) -> None:
        """What was taken could not be told."""
        room = self._most - len(self._waiting)
        self._waiting.extendleft(reversed(untold[max(0, len(untold) - room) :]))


class SharedBook(Protocol):
    """Remembers who read what, here and elsewhere."""

    @property
    def outbox(self) -> Outbox | None:
        """What was noted here and others do not know; None until `share` was called."""
        ...

    def share(self) -> None:
        """From now on others are to know what is noted here. Call it before the first note."""
        ...

    def learn(self, told: Told, at: float) -> None:
        """Take in what another gateway noted at monotonic time `at`."""
        ...
