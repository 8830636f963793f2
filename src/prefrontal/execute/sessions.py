"""Which model answered a conversation last, and how much of it is likely still cached there. Bounded and forgetful."""

from __future__ import annotations

from collections import OrderedDict
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


def _name(session: str) -> str:
    if len(session) <= MAX_NAME:
        return session
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
