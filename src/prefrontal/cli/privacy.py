"""`prefrontal erase` and `prefrontal export`: in the database of this machine, or through a running gateway."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from prefrontal.cli.keys import ACTOR
from prefrontal.cli.locate import gateway, url_of
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.clock import Chance, Clock
from prefrontal.errors import ConfigError

if TYPE_CHECKING:
    from prefrontal.app.privacy import Privacy


async def erase(
    whose: dict[str, str | None], place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool
) -> None:
    """Delete what is kept of a key, a person or a request. Raises PrefrontalError."""
    given = {name: value for name, value in whose.items() if value is not None}
    there = bool(url_of(url, place))
    if there:
        async with gateway(url, place, clock) as remote:
            found = await remote.post("/v1/admin/erase", given)
    else:
        from prefrontal.app.privacy import Whose

        async with _privacy(place, clock) as privacy:
            found = {"object": "erased", **msgspec.to_builtins(await privacy.erase(Whose(**given), ACTOR))}
    if as_json:
        screen.json(found)
        return
    screen.note(
        f"Deleted: {found['records']} records, {found['responses']} stored responses, {found['cached']} cached answers."
    )
    if not there:
        screen.note("What a running gateway holds in memory only is not among them; --url ADDRESS reaches it.")


async def export(whose: dict[str, str | None], place: Place, clock: Clock, *, url: str | None) -> None:
    """Write what is kept to standard output, one JSON object a line. Raises PrefrontalError."""
    given = {name: value for name, value in whose.items() if value is not None}
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            async for piece in remote.pieces(f"/v1/admin/export?{urlencode(given)}"):
                sys.stdout.buffer.write(piece)
        sys.stdout.flush()
        return
    from prefrontal.app.privacy import Whose

    async with _privacy(place, clock) as privacy:
        async for line in privacy.export(Whose(**given), ACTOR):
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")


@asynccontextmanager
async def _privacy(place: Place, clock: Clock) -> AsyncIterator[Privacy]:
    """Yield what hands out and deletes, on this machine's files. Raises ConfigError, StoreError."""
    from prefrontal.app.caching import FILE
    from prefrontal.app.conversations import conversations_of
    from prefrontal.app.ledgers import open_ledger
    from prefrontal.app.money import Money
    from prefrontal.app.outcomes import outcomes_in
    from prefrontal.app.privacy import Privacy, cached_for, ids_of_key, people_in
    from prefrontal.app.stores import alone
    from prefrontal.config.home import expand_user, find_home
    from prefrontal.execute.cache.sqlite import SqliteAnswers

    config, home = loaded(place).config, find_home(place.env)
    if not config.records.enabled:
        raise ConfigError("`records.enabled: false` keeps nothing", path="records.enabled")
    found = await open_ledger(config, place.env, clock)
    conversations = conversations_of(config, found, place.env, clock)
    money = Money(stores=alone(found, clock), clock=clock, chance=Chance())
    settings = config.cache
    file = expand_user(settings.path, place.env) if settings.path else home.root / FILE
    cache = SqliteAnswers(file, settings.max_bytes, clock=clock) if settings.persist and file.is_file() else None

    async def key_ids(name: str) -> tuple[str, ...]:
        return await ids_of_key(money.keys, name)

    async def clear_cache(owner: str) -> int:
        return 0 if cache is None else await cache.clear(cached_for(config, owner), None)

    closers: list[Any] = [conversations, found, *([] if cache is None else [cache])]
    try:
        yield Privacy(
            ledger=found,
            conversations=conversations,
            vault=money.vault,
            people=people_in(config, home).all_of,
            key_ids=key_ids,
            clock=clock,
            clear_cache=clear_cache,
            outcomes=outcomes_in(found, clock),
        )
    finally:
        for one in closers:
            await one.aclose()
