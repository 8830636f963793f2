"""The response cache: finds and keeps whole answers, counts what it did, and never fails a request."""

from __future__ import annotations

import logging

import msgspec

from prefrontal.chat.response import ChatResponse
from prefrontal.chat.usage import UNKNOWN_USAGE, Usage
from prefrontal.clock import Clock
from prefrontal.config.schema_cache import Cache
from prefrontal.contracts.cache import CacheNote, CacheStatus
from prefrontal.contracts.wire import Dropped
from prefrontal.errors import StoreError
from prefrontal.execute.cache.store import AnswerStore
from prefrontal.plan.cache_key import CacheKey, model_part, tenant_part

log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as it is kept. Times are Unix seconds; `cost_usd` is what the call cost, None unknown.

    tenant: whose it is, besides the name; an entry of another is never given. dropped: what of the request was not sent as given.
    """

    tenant: str
    model: str
    created_s: float
    response: ChatResponse
    usage: Usage = UNKNOWN_USAGE
    cost_usd: float | None = None
    dropped: tuple[Dropped, ...] = ()


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """How the cache of this process stands. The counters count requests since the start; `saved_usd` what they did not cost.

    store: where answers lie. in_flight: calls that equal requests may join now. failed: times the store could not be used.
    """

    mode: str
    store: str
    scope: str
    ttl_s: float
    max_bytes: int
    entries: int | None = None
    bytes: int | None = None
    evicted: int = 0
    hit: int = 0
    shared: int = 0
    stored: int = 0
    miss: int = 0
    bypass: int = 0
    saved_usd: float = 0.0
    in_flight: int = 0
    failed: int = 0
    last_error: str | None = None


class ResponseCache:
    """Keeps whole answers. Owned by one event loop. `revision` is the build of this program: another's answers are not found."""

    def __init__(self, store: AnswerStore, settings: Cache, *, clock: Clock, revision: str = "") -> None:
        self.settings = settings
        self.revision = revision
        self._store = store
        self._clock = clock
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Kept)
        self.counts: dict[CacheStatus, int] = dict.fromkeys(("hit", "shared", "stored", "miss", "bypass"), 0)
        self.saved_usd = 0.0
        self._failed = 0
        self._last_error: str | None = None

    def configure(self, settings: Cache) -> None:
        """Let other settings hold from now on."""
        if settings.max_bytes != self.settings.max_bytes:
            self._store.bound(settings.max_bytes)
        self.settings = settings

    def move_to(self, store: AnswerStore) -> None:
        """Keep answers in another store, such as one of several gateways. Call it before the first request."""
        self._store = store

    async def find(self, key: CacheKey) -> Kept | None:
        """Return the answer that lies under a key and is young enough; None also when the store cannot be used."""
        try:
            found = await self._store.get(key.name)
        except StoreError as error:
            self._fail(error)
            return None
        if found is None:
            return None
        kept = self._read(found)
        if kept is None or kept.tenant != key.tenant or self._clock.now() - kept.created_s >= self.settings.ttl_s:
            return None
        return kept

    async def keep(self, key: CacheKey, kept: Kept) -> str | None:
        """Keep an answer; return why it was not kept, None when it was."""
        try:
            body = self._encoder.encode(kept)
        except (OverflowError, TypeError, ValueError):  # a number of more than 64 bits in a field nobody knows
            return "the answer cannot be written down"
        if len(body) > self.settings.max_entry_bytes:
            return "the answer is longer than cache.max_entry_bytes"
        try:
            await self._store.put(key.name, body, self.settings.ttl_s)
        except StoreError as error:
            self._fail(error)
            return "the cache cannot be written"
        return None

    async def look(self, name: str) -> Kept | None:
        """Return an entry by its id, whoever it belongs to: for admins. Raises StoreError."""
        found = await self._store.get(name)
        return None if found is None else self._read(found)

    async def delete(self, name: str) -> bool:
        """Delete an entry by its id; return whether it was there. Raises StoreError."""
        return await self._store.delete(name)

    async def clear(self, *, tenant: str | None = None, model: str | None = None) -> int:
        """Delete what belongs to a tenant, to a model, to both, or everything; return how many. Raises StoreError."""
        return await self._store.clear(
            None if tenant is None else tenant_part(tenant), None if model is None else model_part(model)
        )

    def count(self, note: CacheNote) -> None:
        """Count what became of one request."""
        self.counts[note.status] += 1
        self.saved_usd += note.saved_usd or 0.0

    async def state(self, *, in_flight: int = 0) -> CacheState:
        """Return how the cache stands. Raises StoreError."""
        size, settings = await self._store.size(), self.settings
        return CacheState(
            mode=settings.mode,
            store=self._store.kind,
            scope=settings.scope,
            ttl_s=settings.ttl_s,
            max_bytes=settings.max_bytes,
            entries=size.entries,
            bytes=size.bytes,
            evicted=size.evicted,
            saved_usd=self.saved_usd,
            in_flight=in_flight,
            failed=self._failed,
            last_error=self._last_error,
            **self.counts,
        )

    async def aclose(self) -> None:
        """Close the store; a second call does nothing."""
        await self._store.aclose()

    def _read(self, body: bytes) -> Kept | None:
        try:
            return self._decoder.decode(body)
        except msgspec.DecodeError as error:  # of another version, or damaged
            self._fail(error)
            return None

    def _fail(self, error: Exception) -> None:
        self._failed += 1
        self._last_error = str(error)
        if self._failed & (self._failed - 1) == 0:  # the 1st, 2nd, 4th, 8th, …: a store that is gone fails each request
            log.warning("the response cache cannot be used (%d times): %s", self._failed, error)
