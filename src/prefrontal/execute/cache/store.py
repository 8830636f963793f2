"""Where cached answers lie: bytes by name, for a while. In memory here; other stores keep the same promise."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import msgspec

from prefrontal.clock import Clock

OVERHEAD_BYTES = 320
"""What an entry of this store takes besides its name and value (measured on CPython 3.11: dict slot, tuple, two headers)."""


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """How much lies in a store; None: it does not count."""

    entries: int | None = None
    bytes: int | None = None
    evicted: int = 0


class AnswerStore(Protocol):
    """Bytes by name. What is past its time is not returned. All methods raise StoreError when the store cannot be used."""

    kind: str

    async def get(self, name: str) -> bytes | None:
        """Return what lies under a name, or None."""
        ...

    async def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """Keep `value` for `ttl_s` seconds at most; older entries may go for it."""
        ...

    async def delete(self, name: str) -> bool:
        """Delete an entry; return whether it was there."""
        ...

    async def clear(self, tenant: str | None, model: str | None) -> int:
        """Delete everything whose name has these parts (None: any), and return how many those were."""
        ...

    async def size(self) -> StoreSize:
        """Return how much there is."""
        ...

    def bound(self, max_bytes: int) -> None:
        """Keep so many bytes at most from now on."""
        ...

    async def aclose(self) -> None:
        """Close; a second call does nothing."""
        ...


def has_parts(name: str, tenant: str | None, model: str | None) -> bool:
    """Return whether a name has these parts: the tenant's at its beginning, the model's behind that."""
    if tenant is not None and not name.startswith(tenant):
        return False
    return model is None or name[8 : 8 + len(model)] == model


class MemoryAnswers:
    """Entries of this process, the longest unused out first. Owned by one event loop; nothing touches a disk."""

    kind = "memory"

    def __init__(self, max_bytes: int, *, clock: Clock) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._evicted = 0

    async def get(self, name: str) -> bytes | None:
        """See `AnswerStore.get`."""
        found = self._entries.get(name)
        if found is None:
            return None
        if self._clock.monotonic() >= found[1]:
            self._drop(name)
            return None
        self._entries.move_to_end(name)
        return found[0]

    async def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """See `AnswerStore.put`. A value larger than the whole store is not kept."""
        self._drop(name)
        self._entries[name] = (value, self._clock.monotonic() + ttl_s)
        self._bytes += _cost(name, value)
        self._shrink()

    async def delete(self, name: str) -> bool:
        """See `AnswerStore.delete`."""
        return self._drop(name)

    async def clear(self, tenant: str | None, model: str | None) -> int:
        """See `AnswerStore.clear`."""
        gone = [name for name in self._entries if has_parts(name, tenant, model)]
        for name in gone:
            self._drop(name)
        return len(gone)

    async def size(self) -> StoreSize:
        """See `AnswerStore.size`."""
        return StoreSize(entries=len(self._entries), bytes=self._bytes, evicted=self._evicted)

    def bound(self, max_bytes: int) -> None:
        """See `AnswerStore.bound`."""
        self._max_bytes = max_bytes
        self._shrink()

    async def aclose(self) -> None:
        """Nothing to close."""

    def _drop(self, name: str) -> bool:
        found = self._entries.pop(name, None)
        if found is None:
            return False
        self._bytes -= _cost(name, found[0])
        return True

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            name, (value, _) = self._entries.popitem(last=False)
            self._bytes -= _cost(name, value)
            self._evicted += 1


def _cost(name: str, value: bytes) -> int:
    return len(name) + len(value) + OVERHEAD_BYTES
