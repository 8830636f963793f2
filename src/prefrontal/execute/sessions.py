"""Which model answered a conversation last, and how much of it is likely still cached there. Bounded and forgetful."""

from __future__ import annotations

from collections import OrderedDict

from prefrontal.plan.inputs import Stay

MAX_SESSIONS = 20_000
"""Conversations remembered (assumed: about 4 MB)."""


class Sessions:
    """Session → (model, tokens seen, when). Owned by one event loop."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._max = max_sessions
        self._entries: OrderedDict[str, tuple[str, int, float]] = OrderedDict()

    def find(self, session: str, now: float, ttl_s: float) -> Stay | None:
        """Return where the session was answered within `ttl_s`; `now` is monotonic."""
        entry = self._entries.get(session)
        if entry is None or now - entry[2] > ttl_s:
            return None
        return Stay(model=entry[0], cached_tokens=entry[1])

    def note(self, session: str, model: str, tokens: int, now: float) -> None:
        """Remember who answered."""
        self._entries[session] = (model, tokens, now)
        self._entries.move_to_end(session)
        if len(self._entries) > self._max:
            self._entries.popitem(last=False)
