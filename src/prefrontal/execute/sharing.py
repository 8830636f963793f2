"""What gateways that stand beside each other tell each other through Redis: models that rest, and who read what.

One round trip every `TICK_S`, beside all requests: no request ever waits for it. While Redis is away each goes by what it knows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefrontal.clock import Clock
from prefrontal.execute import breaker
from prefrontal.execute.breaker import Breaker
from prefrontal.execute.outbox import SharedBook
from prefrontal.execute.runtime import ModelState, Runtime
from prefrontal.execute.shared_breakers import Hint, change_of, hinted, shared_name
from prefrontal.ledger.redis_link import RedisAway, RedisLink
from prefrontal.ledger.redis_scripts import BREAKERS, SESSIONS

log = logging.getLogger(__name__)

TICK_S = 0.4
"""Pause between two round trips (assumed: what one gateway sees the others act on within a second, two ticks and their way)."""

LOCK_S = 2.0
"""How long a permission to try a resting model holds without a trial (assumed: then another gateway, with requests, gets it)."""

READ = 1000
"""Notes read in one round trip at most (assumed: about 100 kB); what is left follows at once."""

KEEP = 20_000
"""Notes in each stream (assumed: as many as a gateway remembers)."""


class Sharing:
    """Belongs to one event loop. `keep` runs until it is cancelled."""

    def __init__(
        self, link: RedisLink, *, runtime: Runtime, books: Mapping[str, SharedBook], clock: Clock, replica: str, place: str
    ) -> None:
        """`books` remember who read what, by the name they are shared under.

        replica: names this process. place: its machine.
        """
        self._link = link
        self._runtime = runtime
        self._books = books
        for book in books.values():
            book.share()
        self._clock = clock
        self._replica = replica
        self._place = place
        self._seen: dict[str, Breaker] = {}
        self._after: dict[str, bytes] = {}
        link.listen(self._changed)

    async def keep(self) -> None:
        """Tell and learn until cancelled."""
        while True:
            if self._link.up:
                try:
                    await self.exchange()
                except RedisAway as away:
                    log.debug("nothing was shared: %s", away)
            await self._clock.sleep(TICK_S)

    async def exchange(self) -> None:
        """Tell and learn once. Raises RedisAway."""
        await self._share_breakers()
        for name, book in self._books.items():
            while await self._share_book(name, book) == READ or (book.outbox is not None and len(book.outbox)):
                pass

    def _changed(self, up: bool) -> None:
        if up:  # it may have forgotten everything
            self._seen.clear()

    # -- breakers ------------------------------------------------------------------------------------------------------

    async def _share_breakers(self) -> None:
        looked = {name: (state, state.breaker) for state, name in self._shared()}
        now = self._clock.monotonic()
        changes: list[Any] = []
        waiting: list[str] = []
        for name, (_, found) in looked.items():
            change = change_of(self._seen.get(name), found, now)
            if change is not None:
                changes += [name, change.to, int(change.rest_s * 1000), int(change.pause_s * 1000)]
            if found.opened_at is not None:
                waiting += [name, "trying" if found.trial_out else "waiting"]
        args = [self._replica, int(TICK_S * 1000), int(LOCK_S * 1000), len(changes) // 4, *changes, *waiting]
        answer = await self._link.run(BREAKERS, [self._link.key("breakers")], args)
        self._seen = {name: found for name, (_, found) in looked.items()}
        hints = _hints(answer)
        now = self._clock.monotonic()
        for name, (state, found) in looked.items():
            if state.breaker is found:  # else it has changed since, which is told next time
                state.breaker = self._seen[name] = hinted(found, hints.get(name), now, guard_s=3 * TICK_S)
            if name not in hints and breaker.phase(found, now) != "closed":
                del self._seen[name]  # forgotten there: it is told again

    def _shared(self) -> Iterator[tuple[ModelState, str]]:
        for state in self._runtime.all():
            name = shared_name(state.name, state.identity, self._place)
            if name is not None:
                yield state, name

    # -- who read what -------------------------------------------------------------------------------------------------

    async def _share_book(self, name: str, book: SharedBook) -> int:
        """Tell what is new here and learn what is new elsewhere; return how many were read."""
        outbox = book.outbox
        untold = [] if outbox is None else outbox.take(READ)
        args = [word for told in untold for word in told]
        after = self._after.get(name, b"0")
        try:
            now_ms, entries = await self._link.run(SESSIONS, [self._link.key(name)], [self._replica, after, READ, KEEP, *args])
        except RedisAway as away:
            if outbox is not None and not away.sent:
                outbox.put_back(untold)
            raise
        now = self._clock.monotonic()
        for entry, fields in entries:
            self._after[name] = entry
            said = {field.decode(): value.decode() for field, value in zip(fields[::2], fields[1::2], strict=True)}
            if said["r"] != self._replica:
                age_s = (int(now_ms) - int(entry.split(b"-")[0])) / 1000.0
                book.learn((said["s"], said["m"], int(said["t"]), said["d"]), now - age_s)
        return len(entries)


def _hints(answer: Sequence[Any]) -> dict[str, Hint]:
    return {
        name.decode(): Hint(opened=bool(opened), hold_s=hold_ms / 1000.0, pause_s=pause_ms / 1000.0, mine=bool(mine))
        for name, opened, hold_ms, pause_ms, mine in answer
    }
