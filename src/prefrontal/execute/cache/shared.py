"""Cached answers in a store of several gateways."""

from __future__ import annotations

from prefrontal.execute.cache.store import StoreSize
from prefrontal.ledger.redis_blobs import SharedCache


class SharedAnswers:
    """Entries that other gateways see, too; see `AnswerStore`. How much is kept in all is the shared store's business."""

    kind = "redis"

    def __init__(self, blobs: SharedCache) -> None:
        self._blobs = blobs

    async def get(self, name: str) -> bytes | None:
        """See `AnswerStore.get`."""
        return await self._blobs.get(name)

    async def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """See `AnswerStore.put`; a value that is too large for the store is left out."""
        await self._blobs.set(name, value, ttl_s)

    async def delete(self, name: str) -> bool:
        """See `AnswerStore.delete`."""
        return await self._blobs.delete(name)

    async def clear(self, tenant: str | None, model: str | None) -> int:
        """See `AnswerStore.clear`."""
        return await self._blobs.clear(f"{tenant or '?' * 8}{model or '?' * 8}*")

    async def size(self) -> StoreSize:
        """See `AnswerStore.size`: it is not counted here."""
        return StoreSize()

    def bound(self, max_bytes: int) -> None:
        """Nothing to do: the server has its own bound."""

    async def aclose(self) -> None:
        """Nothing to close: the link belongs to whoever opened it."""
