"""Which model, and which of its deployments, read a beginning last. Bounded and forgetful, like providers' prompt caches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from prefrontal.plan.inputs import Stay
from prefrontal.plan.prefixes import Prefix

MAX_PREFIXES = 20_000
"""Beginnings remembered (assumed: about 6 MB; a conversation has two)."""


class Prefixes:
    """Beginning → (model, deployment, tokens, when). Owned by one event loop."""

    def __init__(self, *, max_prefixes: int = MAX_PREFIXES) -> None:
        self._max = max_prefixes
        self._entries: OrderedDict[bytes, tuple[str, str | None, int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, prefixes: Sequence[Prefix], now: float, ttl_s: float) -> Stay | None:
        """Return where the longest of these was read in the last `ttl_s` seconds. `now` is monotonic."""
        for prefix in prefixes:
            entry = self._entries.get(prefix.digest)
            if entry is None:
                continue
            if now - entry[3] <= ttl_s:
                return Stay(model=entry[0], deployment=entry[1], cached_tokens=entry[2], by="prefix")
            del self._entries[prefix.digest]
        return None

    def note(self, prefixes: Sequence[Prefix], model: str, deployment: str | None, tokens: int, now: float) -> None:
        """Remember who read the whole request, of so many tokens, and who read its instructions."""
        for prefix in {prefixes[0], prefixes[-1]} if prefixes else ():
            self._entries[prefix.digest] = (model, deployment, round(tokens * prefix.share), now)
            self._entries.move_to_end(prefix.digest)
        while len(self._entries) > self._max:
            self._entries.popitem(last=False)
