"""What callers ask of the response cache, and what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

CacheWish = Literal["use", "bypass", "refresh", "no-store"]
"""What a request asks: answer from the cache and fill it; neither; do not look but fill; look but do not fill."""

CacheStatus = Literal["hit", "miss", "bypass", "shared", "stored"]
"""hit: from the cache. shared: from a call that another request had begun. stored: nothing was found, and the answer is kept.
miss: nothing was found, and the answer is not kept, or not yet. bypass: the cache had no part, and `reason` says why."""

CACHE_WISHES: tuple[CacheWish, ...] = ("use", "bypass", "refresh", "no-store")


class CacheNote(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did for one request.

    id: the entry, by which it can be deleted. age_s: how old a found answer is. saved_usd: what the call cost that was not made
    again; None is unknown. reason: why nothing was looked up or kept.
    """

    status: CacheStatus
    id: str | None = None
    age_s: float | None = None
    saved_usd: float | None = None
    reason: str | None = None
