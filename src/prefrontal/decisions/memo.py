"""Answers that are given again: one entry a question, kept in memory, written to a file or shared between gateways.

An entry is found by everything that could have made its answer another: the model and what is known of it, how it was asked, the
question, the role, the tenant, and the state without what its type says does not matter. Only answers of models are kept, and
only whole ones: what a rule said, or a model that stood in for another, is asked again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Protocol

import msgspec

from prefrontal.clock import Clock
from prefrontal.config.schema_tiers import DecisionCache
from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.model import ModelCard
from prefrontal.errors import StoreError
from prefrontal.plan.cache_key import identity_of, model_part, tenant_part

log = logging.getLogger(__name__)

MOST_HITS = 8
"""Hits that count when room is made (assumed): an entry survives so many rounds without one, halved each round."""

MOST_IDENTITIES = 1024


class Kept(msgspec.Struct, kw_only=True):
    """One answer as it is kept. expires_s: Unix time. hits: since it was kept, as far as they still count."""

    tenant: str
    expires_s: float
    answer: DecisionAnswer
    hits: int = 0


class MemoState(msgspec.Struct, frozen=True, kw_only=True):
    """How the cache stands. The counters count questions since the start; saved_usd is what they did not cost."""

    mode: str
    store: str
    entries: int
    max_entries: int
    ttl_s: float
    hit: int = 0
    similar: int = 0
    shared: int = 0
    miss: int = 0
    stored: int = 0
    evicted: int = 0
    saved_usd: float = 0.0
    failed: int = 0
    last_error: str | None = None


class Shelf(Protocol):
    """Where entries outlive the process. All methods raise StoreError."""

    kind: str
    mirrors: bool
    """It is this process's own: read whole at the start, and what goes here goes there, too."""

    async def load(self, now_s: float, most: int) -> Mapping[str, bytes]:
        """Return what is there and still holds, at most so many."""
        ...

    async def get(self, name: str) -> bytes | None:
        """Return one entry that may have come since; None where `load` returns everything."""
        ...

    async def write(self, changes: Sequence[tuple[str, bytes | None, float]]) -> None:
        """Put entries (name, body, when it expires) and delete those whose body is None, all or none."""
        ...

    async def clear(self, pattern: str) -> None:
        """Delete every entry whose name fits: ``?`` for one character, ``*`` for any."""
        ...

    async def aclose(self) -> None:
        """Close; a second call does nothing."""
        ...


class Memo:
    """Owned by one event loop. `open` before the first use where there is a shelf. No method raises because of the shelf."""

    def __init__(self, settings: DecisionCache, *, clock: Clock, shelf: Shelf | None = None) -> None:
        self.settings = settings
        self._clock = clock
        self._shelf = shelf
        self._opened: asyncio.Future[None] | None = None
        self._entries: OrderedDict[str, Kept] = OrderedDict()
        self._flights: dict[str, asyncio.Future[DecisionAnswer | None]] = {}
        self._dirty: dict[str, tuple[bytes | None, float]] = {}
        self._writing: asyncio.Task[None] | None = None
        self._identities: dict[str, tuple[ModelCard, bytes, str]] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Kept)
        self.on_evict: Callable[[str], None] = lambda _name: None
        self.hit = self.similar = self.shared = self.miss = self.stored = self.evicted = self.failed = 0
        self.saved_usd = 0.0
        self._last_error: str | None = None

    # -- names ---------------------------------------------------------------------------------------------------------

    def name(self, tenant: str, card: ModelCard, body: bytes) -> str:
        """Return where the answer of a model lies. body: a digest of the rest."""
        known = self._identities.get(card.id)
        if known is None or known[0] is not card:
            if len(self._identities) >= MOST_IDENTITIES:
                self._identities.clear()
            known = self._identities[card.id] = (card, identity_of(card), model_part(card.id))
        digest = blake2b(body, key=known[1], digest_size=20).hexdigest()
        return tenant_part(tenant) + known[2] + digest

    # -- one question --------------------------------------------------------------------------------------------------

    def find(self, name: str, tenant: str) -> DecisionAnswer | None:
        """Return the answer that lies under a name in this process, and count the hit."""
        kept = self._entries.get(name)
        if kept is None:
            return None
        if kept.expires_s <= self._clock.now():
            self._drop(name)
            return None
        if kept.tenant != tenant:
            return None
        kept.hits = min(MOST_HITS, kept.hits + 1)
        self._entries.move_to_end(name)
        self.hit += 1
        self.saved_usd += kept.answer.cost_usd or 0.0
        return kept.answer

    async def look(self, name: str, tenant: str) -> DecisionAnswer | None:
        """Return like `find`, also what another gateway has kept."""
        found = self.find(name, tenant)
        if found is not None or self._shelf is None or self._shelf.mirrors:
            return found
        try:
            body = await self._shelf.get(name)
        except StoreError as error:
            self._fail(error)
            return None
        if body is None or not self._take_in(name, body):
            return None
        return self.find(name, tenant)

    def keep(self, name: str, tenant: str, answer: DecisionAnswer, ttl_s: float | None = None) -> None:
        """Keep an answer for as long as it holds."""
        expires_s = self._clock.now() + (ttl_s or self.settings.ttl_s)
        kept = Kept(tenant=tenant, expires_s=expires_s, answer=answer)
        self._entries[name] = kept
        self._entries.move_to_end(name)
        self.stored += 1
        self._shrink()
        if self._shelf is not None:
            self._later(name, self._encoder.encode(kept), expires_s)

    # -- the same question at the same time ------------------------------------------------------------------------------

    def join(self, name: str) -> asyncio.Future[DecisionAnswer | None] | None:
        """Return the answer to come where the same is being asked already; None: you ask, and call `land` when you have it."""
        flying = self._flights.get(name)
        if flying is None:
            self._flights[name] = asyncio.get_running_loop().create_future()
        return flying

    def land(self, name: str, answer: DecisionAnswer | None) -> None:
        """Give those that joined the answer; None: there is none for them, and they ask for themselves."""
        flying = self._flights.pop(name, None)
        if flying is not None and not flying.done():
            flying.set_result(answer)

    # -- all of it -----------------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether what an earlier process kept is read, or there is nothing to read."""
        return self._shelf is None or (self._opened is not None and self._opened.done())

    async def open(self) -> None:
        """Read what an earlier process kept, once. What cannot be read is left out."""
        if self._shelf is None:
            return
        if self._opened is None:
            self._opened = asyncio.ensure_future(self._load(self._shelf))
        if not self._opened.done():
            await asyncio.shield(self._opened)

    async def _load(self, shelf: Shelf) -> None:
        try:
            found = await shelf.load(self._clock.now(), self.settings.max_entries)
        except StoreError as error:
            self._fail(error)
            return
        for name, body in found.items():
            self._take_in(name, body)

    def configure(self, settings: DecisionCache) -> None:
        """Let other settings hold from now on."""
        self.settings = settings
        self._shrink()

    def move_to(self, shelf: Shelf) -> None:
        """Share entries by another shelf. Call it before the first use."""
        self._shelf = shelf

    def delete(self, name: str) -> bool:
        """Delete an entry; return whether it was there."""
        if self._shelf is not None and not self._shelf.mirrors:
            self._later(name, None, 0.0)
        return self._drop(name)

    async def clear(self, *, tenant: str | None = None, model: str | None = None) -> int:
        """Delete what belongs to a tenant, to a model, to both, or everything; return how many lay here. Raises StoreError."""
        parts = (None if tenant is None else tenant_part(tenant), None if model is None else model_part(model))
        gone = [
            name
            for name in self._entries
            if (parts[0] is None or name[:8] == parts[0]) and (parts[1] is None or name[8:16] == parts[1])
        ]
        for name in gone:
            self._drop(name)
        if self._shelf is not None:
            await self.flush()
            await self._shelf.clear(f"{parts[0] or '?' * 8}{parts[1] or '?' * 8}*")
        return len(gone)

    def state(self) -> MemoState:
        """Return how it stands."""
        names = ("hit", "similar", "shared", "miss", "stored", "evicted", "saved_usd", "failed")
        return MemoState(
            mode=self.settings.mode,
            store="memory" if self._shelf is None else self._shelf.kind,
            entries=len(self._entries),
            max_entries=self.settings.max_entries,
            ttl_s=self.settings.ttl_s,
            last_error=self._last_error,
            **{name: getattr(self, name) for name in names},
        )

    async def flush(self) -> None:
        """Return when what was kept is written, or could not be."""
        while self._writing is not None:
            await asyncio.shield(self._writing)

    async def aclose(self) -> None:
        """Write what is left and close."""
        await self.flush()
        if self._shelf is not None:
            await self._shelf.aclose()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _take_in(self, name: str, body: bytes) -> bool:
        try:
            kept = self._decoder.decode(body)
        except msgspec.DecodeError:
            return False  # of another build
        if name not in self._entries:
            self._entries[name] = kept
            self._shrink()
        return name in self._entries

    def _drop(self, name: str) -> bool:
        if self._entries.pop(name, None) is None:
            return False
        self.on_evict(name)
        if self._shelf is not None and self._shelf.mirrors:
            self._later(name, None, 0.0)
        return True

    def _shrink(self) -> None:
        """Let the longest unused go; one that was hit often is passed over, and its hits count half from then on."""
        while len(self._entries) > self.settings.max_entries:
            name = next(iter(self._entries))
            kept = self._entries[name]
            if kept.hits:
                kept.hits //= 2
                self._entries.move_to_end(name)
                continue
            self._drop(name)
            self.evicted += 1

    def _later(self, name: str, body: bytes | None, expires_s: float) -> None:
        self._dirty[name] = (body, expires_s)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write in groups: what comes while one is being written makes up the next."""
        try:
            while self._dirty and self._shelf is not None:
                changes = [(name, body, expires_s) for name, (body, expires_s) in self._dirty.items()]
                self._dirty = {}
                try:
                    await self._shelf.write(changes)
                except StoreError as error:
                    self._fail(error)
        finally:
            self._writing = None

    def _fail(self, error: StoreError) -> None:
        if not self.failed:
            log.warning("the cache of decisions cannot be used: %s", error)
        self.failed += 1
        self._last_error = str(error)
