"""What a request knows of the cache while it is on its way, and the seat of one that reads another's stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from prefrontal.chat.response import Chunk
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.clock import Clock
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import ProviderTimeout
from prefrontal.execute.cache.flight import StreamFlight
from prefrontal.execute.journal import Journal
from prefrontal.plan.cache_key import CacheKey


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request's answer would lie. keep: it may be kept there. join: equal requests may share one call."""

    key: CacheKey
    keep: bool
    join: bool


class Reused(msgspec.Struct, frozen=True, kw_only=True):
    """What the call used that brought a reused answer, and what of the request was not sent as given."""

    usage: Usage = UNKNOWN_USAGE
    dropped: tuple[Dropped, ...] = ()


class SharedReader:
    """One request's view of a stream that several may read; it stands where a `LiveStream` would. Close it.

    journal: where the wait is noted, of a request that made no call itself. deadline: a moment of the monotonic clock.
    ended: called once when the stream came to its good end.
    """

    def __init__(
        self,
        flight: StreamFlight[Any],
        *,
        clock: Clock,
        journal: Journal | None = None,
        deadline: float | None = None,
        ended: Callable[[], None] | None = None,
    ) -> None:
        self._flight = flight
        self._clock = clock
        self._journal = journal
        self._deadline = deadline
        self._ended = ended
        self._open = True
        self.first_ms: float | None = None
        flight.reader(self)

    async def read(self) -> list[Chunk]:
        """Return the next chunks; an empty list is the end. Raises PrefrontalError: the upstream broke off, or time ran out."""
        before = self._clock.monotonic()
        try:
            chunks = await self._next(before)
        finally:
            if self._journal is not None:
                self._journal.waited_s += self._clock.monotonic() - before
        if self.first_ms is None and self._journal is not None:
            self.first_ms = self._journal.elapsed_ms()
        if not chunks and self._ended is not None:
            self._ended()
            self._ended = None
        return chunks

    async def _next(self, now: float) -> list[Chunk]:
        if self._deadline is None:
            return await self._flight.batch(self)
        try:
            async with self._clock.timeout(max(0.0, self._deadline - now)):
                return await self._flight.batch(self)
        except TimeoutError as error:
            raise ProviderTimeout("The request's time ran out inside the answer.", details={"stage": "total"}) from error

    async def aclose(self) -> None:
        """Leave; the stream goes on for those who still read it."""
        if self._open:
            self._open = False
            await self._flight.leave_as(self)
