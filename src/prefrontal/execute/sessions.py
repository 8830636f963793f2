"""Which model answered a conversation last, and how much of it is likely still cached there. Bounded and forgetful."""

from __future__ import annotations

from collections import OrderedDict, deque
from hashlib import blake2b

from prefrontal.plan.inputs import Stay

MAX_SESSIONS = 20_000
"""Conversations remembered (assumed: about 8 MB)."""

MAX_NAME = 128
"""Longer session names are kept as a digest: a caller chooses them (assumed)."""


class Sessions:
    """Session → (model, tokens seen, when). Owned by one event loop."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._max = max_sessions
        self._entries: OrderedDict[str, tuple[str, int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, session: str, now: float, ttl_s: float) -> Stay | None:
        """Return where the session was answered in the last `ttl_s` seconds; an older one is forgotten. `now` is monotonic."""
        name = _name(session)
        entry = self._entries.get(name)
        if entry is None:
            return None
        if now - entry[2] > ttl_s:
            del self._entries[name]
            return None
        return Stay(model=entry[0], cached_tokens=entry[1])

    def note(self, session: str, model: str, tokens: int, now: float) -> None:
        """Remember who answered, and how many tokens of the conversation it has read; the longest silent makes room."""
        name = _name(session)
        self._entries[name] = (model, tokens, now)
        self._entries.move_to_end(name)
        if len(self._entries) > self._max:
            self._entries.popitem(last=False)


class SharedSessions(Sessions):
    """Sessions that other gateways know too. What is noted here waits to be told, under a digest: no caller's word leaves."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS) -> None:
        super().__init__(max_sessions=max_sessions)
        self._outbox: deque[tuple[str, str, int]] = deque(maxlen=max_sessions)

    def find(self, session: str, now: float, ttl_s: float) -> Stay | None:
        """See `Sessions.find`."""
        return super().find(_digest(session), now, ttl_s)

    def note(self, session: str, model: str, tokens: int, now: float) -> None:
        """See `Sessions.note`."""
        name = _digest(session)
        super().note(name, model, tokens, now)
        self._outbox.append((name, model, tokens))

    def learn(self, name: str, model: str, tokens: int, at: float) -> None:
        """Take in what another gateway noted at monotonic time `at`, under the digest it told."""
        known = self._entries.get(name)
        if known is None or known[2] < at:
            super().note(name, model, tokens, at)

    def take(self, most: int) -> list[tuple[str, str, int]]:
        """Return what is to be told, the oldest first, and forget that it is."""
        return [self._outbox.popleft() for _ in range(min(most, len(self._outbox)))]

    def put_back(self, untold: list[tuple[str, str, int]]) -> None:
        """What was taken could not be told."""
        self._outbox.extendleft(reversed(untold[: (self._outbox.maxlen or 0) - len(self._outbox)]))


def _digest(session: str) -> str:
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _name(session: str) -> str:
    if len(session) <= MAX_NAME:
        return session
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
