"""Where cached answers lie, and what admins may do with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from prefrontal.clock import Clock
from prefrontal.config.home import Home, expand_user
from prefrontal.config.registry import Registry
from prefrontal.config.reload import ConfigHolder
from prefrontal.errors import InvalidRequest, NotFound
from prefrontal.execute.cache.answers import ResponseCache
from prefrontal.execute.cache.sqlite import SqliteAnswers
from prefrontal.execute.cache.store import AnswerStore, MemoryAnswers
from prefrontal.plan.cache_key import is_name

FILE = "cache.db"


def open_cache(
    holder: ConfigHolder[Registry],
    closers: list[Callable[[], Awaitable[object]]],
    *,
    env: Mapping[str, str],
    home: Home,
    clock: Clock,
) -> ResponseCache:
    """Return the cache: in a file where that is wanted, else in memory; a group of gateways moves it to what they share.

    Its bounds follow the configuration; where it lies is settled at start.
    """
    from prefrontal import __version__

    settings = holder.current.config.cache
    if settings.persist:
        path = expand_user(settings.path, env) if settings.path else home.root / FILE
        store: AnswerStore = SqliteAnswers(path, settings.max_bytes, clock=clock)
    else:
        store = MemoryAnswers(settings.max_bytes, clock=clock)
    cache = ResponseCache(store, settings, clock=clock, revision=__version__)
    closers.append(cache.aclose)
    holder.listen(lambda _old, new, _changes: cache.configure(new.config.cache))
    return cache


async def describe_entry(cache: ResponseCache, name: str, clock: Clock) -> dict[str, Any]:
    """Return what is known of an entry but its words. Raises NotFound, StoreError."""
    kept = await cache.look(_name(name))
    if kept is None:
        raise NotFound(f"There is no cached answer '{name}'.", hint="It may be too old by now, or deleted.")
    return {
        "object": "cache.entry",
        "id": name,
        "model": kept.model,
        "tenant": kept.tenant,
        "created_s": kept.created_s,
        "age_s": round(max(0.0, clock.now() - kept.created_s), 3),
        "usage": msgspec.to_builtins(kept.usage),
        "cost_usd": kept.cost_usd,
    }


async def delete_entry(cache: ResponseCache, name: str) -> dict[str, Any]:
    """Delete an entry. Raises NotFound, StoreError."""
    if not await cache.delete(_name(name)):
        raise NotFound(f"There is no cached answer '{name}'.", hint="It may be too old by now, or deleted.")
    return {"object": "cache.entry", "id": name, "deleted": True}


def tenant_named(*, key: str | None, team: str | None) -> str | None:
    """Return the tenant of a key's id or of a team. Raises InvalidRequest when both are named."""
    if key is not None and team is not None:
        raise InvalidRequest("Name a key or a team, not both.", param="team")
    return f"team:{team}" if team is not None else None if key is None else f"key:{key}"


def _name(text: str) -> str:
    if not is_name(text):
        raise NotFound(f"There is no cached answer '{text}'.", hint="Answers name theirs in x-prefrontal-cache-id.")
    return text
