"""Which model, and which of its deployments, read a beginning last. Bounded and forgetful, like providers' prompt caches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from prefrontal.execute.outbox import Outbox, Told
from prefrontal.plan.inputs import Stay
from prefrontal.plan.prefixes import Prefix

MAX_PREFIXES = 20_000
"""Beginnings remembered (assumed: about 6 MB; a conversation has two)."""

TELL_AGAIN_S = 60.0
"""How often other gateways are told of a beginning that is read again and again (assumed: caches live for minutes)."""

Entry = tuple[str, str | None, int, float]


class Prefixes:
    """Beginning → (model, deployment, tokens, when). Owned by one event loop."""

    def __init__(self, *, max_prefixes: int = MAX_PREFIXES) -> None:
        self._max = max_prefixes
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._told: dict[bytes, float] = {}
        self.outbox: Outbox | None = None

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
            entry = (model, deployment, round(tokens * prefix.share), now)
            if self.outbox is not None:
                self._tell(self.outbox, prefix.digest, entry)
            self._keep(prefix.digest, entry)

    # -- together with other gateways ----------------------------------------------------------------------------------

    def share(self) -> None:
        """From now on other gateways are to know what is noted here. Call it before the first note."""
        self.outbox = Outbox(self._max)

    def learn(self, told: Told, at: float) -> None:
        """Take in what another gateway noted at monotonic time `at`."""
        digest, model, tokens, deployment = bytes.fromhex(told[0]), *told[1:]
        known = self._entries.get(digest)
        if known is None or known[3] < at:
            self._keep(digest, (model, deployment or None, tokens, at))

    def _tell(self, outbox: Outbox, digest: bytes, entry: Entry) -> None:
        """Let others know, unless they do: instructions come with every request."""
        model, deployment, tokens, now = entry
        known = self._entries.get(digest)
        if known is None or known[:2] != entry[:2] or now - self._told.get(digest, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            outbox.add((digest.hex(), model, tokens, deployment or ""))
            self._told[digest] = now

    def _keep(self, digest: bytes, entry: Entry) -> None:
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        while len(self._entries) > self._max:
            gone, _ = self._entries.popitem(last=False)
            self._told.pop(gone, None)
