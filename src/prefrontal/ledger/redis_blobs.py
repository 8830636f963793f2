"""Bytes by name in Redis, for a while: what a cache of several gateways needs, and no more."""

from __future__ import annotations

from typing import Any, Protocol

from prefrontal.errors import StoreError
from prefrontal.ledger.redis_link import RedisAway, RedisLink

MAX_BLOB_BYTES = 1_048_576
"""Largest value (assumed: 1 MiB; one of that size takes some ms on the way, and all others wait behind it)."""


SCANNED = 1000
"""Names the server looks at in one step of a search (assumed: about a millisecond)."""


class SharedCache(Protocol):
    """Bytes that several gateways share. All methods raise StoreError when they cannot be reached."""

    async def get(self, name: str) -> bytes | None:
        """Return what lies under a name, or None."""
        ...

    async def set(self, name: str, value: bytes, ttl_s: float) -> bool:
        """Keep `value` for `ttl_s` seconds; return whether it was small enough to be kept."""
        ...

    async def delete(self, name: str) -> bool:
        """Delete; return whether it was there."""
        ...

    async def clear(self, pattern: str) -> int:
        """Delete what is called like this, ``?`` for one character and ``*`` for any; return how many. Slow: it looks at all."""
        ...

    async def ttl_s(self, name: str) -> float | None:
        """Return for how many seconds it will be kept still; None: there is nothing."""
        ...


class RedisBlobs:
    """A `SharedCache` on a link of its own, so that large values do not hold up the limits.

    How much is kept in all is the server's business: give it ``maxmemory`` and ``maxmemory-policy volatile-lru``, which forgets
    the longest unused first. Limits, breakers and sessions expire too: a server of one's own for blobs keeps them apart.
    """

    def __init__(self, link: RedisLink, *, room: str = "blob", max_bytes: int = MAX_BLOB_BYTES) -> None:
        """`room` keeps several uses apart."""
        self._link = link
        self._room = room
        self._max_bytes = max_bytes

    async def get(self, name: str) -> bytes | None:
        """See `SharedCache.get`."""
        found: bytes | None = await self._ask("GET", self._key(name))
        return found

    async def set(self, name: str, value: bytes, ttl_s: float) -> bool:
        """See `SharedCache.set`."""
        if len(value) > self._max_bytes:
            return False
        await self._ask("SET", self._key(name), value, "PX", max(1, int(ttl_s * 1000)))
        return True

    async def delete(self, name: str) -> bool:
        """See `SharedCache.delete`."""
        return bool(await self._ask("DEL", self._key(name)))

    async def clear(self, pattern: str) -> int:
        """See `SharedCache.clear`. What is written meanwhile may stay."""
        cursor, gone = b"0", 0
        while True:
            cursor, names = await self._ask("SCAN", cursor, "MATCH", self._key(pattern), "COUNT", SCANNED)
            if names:
                gone += await self._ask("DEL", *names)
            if int(cursor) == 0:
                return gone

    async def ttl_s(self, name: str) -> float | None:
        """See `SharedCache.ttl_s`."""
        left_ms = await self._ask("PTTL", self._key(name))
        return None if left_ms < 0 else left_ms / 1000.0

    async def _ask(self, *command: object) -> Any:
        try:
            return await self._link.ask(*command)
        except RedisAway as away:
            raise StoreError(f"The shared cache cannot be reached: {away}") from away

    def _key(self, name: str) -> str:
        return self._link.key(self._room, name)
