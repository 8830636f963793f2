"""Which model answered a conversation last, and how much of it is likely still cached there. Bounded and forgetful."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from prefrontal.execute.outbox import Outbox, Told
from prefrontal.plan.inputs import Stay

MAX_SESSIONS = 20_000
"""Conversations remembered (assumed: about 8 MB)."""

MAX_NAME = 128
"""Longer session names are kept as a digest: a caller chooses them (assumed)."""


class Sessions:
    """Session → (model, tokens seen, when, deployment). Owned by one event loop."""

    def __init__(self, *, max_sessions: int = MAX_SESSIONS) -> None:
        self._max = max_sessions
        self._entries: OrderedDict[str, tuple[str, int, float, str | None]] = OrderedDict()
        self.outbox: Outbox | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, session: str, now: float, ttl_s: float) -> Stay | None:
        """Return where the session was answered in the last `ttl_s` seconds; an older one is forgotten. `now` is monotonic."""
        name = self._name(session)
        entry = self._entries.get(name)
        if entry is None:
            return None
        if now - entry[2] > ttl_s:
            del self._entries[name]
            return None
        return Stay(model=entry[0], cached_tokens=entry[1], deployment=entry[3])

    def note(self, session: str, model: str, tokens: int, now: float, deployment: str | None = None) -> None:
        """Remember who answered, and how many tokens of the conversation it has read; the longest silent makes room."""
        name = self._name(session)
        self._keep(name, (model, tokens, now, deployment))
        if self.outbox is not None:
            self.outbox.add((name, model, tokens, deployment or ""))

    # -- together with other gateways ----------------------------------------------------------------------------------

    def share(self) -> None:
        """From now on other gateways are to know what is noted here, under a digest: no caller's word leaves. Call it first."""
        self.outbox = Outbox(self._max)

    def learn(self, told: Told, at: float) -> None:
        """Take in what another gateway noted at monotonic time `at`."""
        name, model, tokens, deployment = told
        known = self._entries.get(name)
        if known is None or known[2] < at:
            self._keep(name, (model, tokens, at, deployment or None))

    def _keep(self, name: str, entry: tuple[str, int, float, str | None]) -> None:
        self._entries[name] = entry
        self._entries.move_to_end(name)
        if len(self._entries) > self._max:
            self._entries.popitem(last=False)

    def _name(self, session: str) -> str:
        return _name(session) if self.outbox is None else _digest(session)


def _digest(session: str) -> str:
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _name(session: str) -> str:
    if len(session) <= MAX_NAME:
        return session
    return blake2b(session.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()
