"""`prefrontal cache`: how the response cache of a running gateway stands, and deleting from it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from prefrontal.cli.locate import gateway
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place
from prefrontal.cli.words import money
from prefrontal.clock import Clock
from prefrontal.errors import InvalidRequest


async def show_cache(place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show how the cache stands. Raises PrefrontalError."""
    async with gateway(url, place, clock) as remote:
        found: dict[str, Any] = await remote.get("/v1/admin/cache")
    if as_json:
        screen.json(found)
        return
    looked = found["hit"] + found["shared"] + found["stored"] + found["miss"]
    reused = found["hit"] + found["shared"]
    kept = "not counted here" if found["entries"] is None else f"{found['entries']:,} answers, {found['bytes']:,} bytes"
    screen.pairs(
        [
            ("used by", {"off": "nobody", "asked": "requests that ask for it", "all": "all requests"}[found["mode"]]),
            ("lies in", found["store"]),
            ("shared by", {"key": "one key each", "team": "the keys of a team", "all": "everybody"}[found["scope"]]),
            ("kept", f"{kept} of {found['max_bytes']:,}; {found['ttl_s']:g} s each"),
            ("reused", f"{reused:,} of {looked:,} requests{f' ({reused / looked:.0%})' if looked else ''}"),
            ("of which", f"{found['hit']:,} kept before, {found['shared']:,} from a call in progress"),
            ("left aside", f"{found['bypass']:,}"),
            ("saved", money(found["saved_usd"])),
            *([("trouble", f"{found['failed']:,} times; last: {found['last_error']}")] if found["failed"] else []),
        ]
    )


async def show_decisions(place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show how the cache of decisions stands. Raises PrefrontalError."""
    async with gateway(url, place, clock) as remote:
        found: dict[str, Any] = await remote.get("/v1/admin/decisions/cache")
    if as_json:
        screen.json(found)
        return
    reused = found["hit"] + found["similar"] + found["shared"]
    looked = reused + found["miss"]
    ways = f"{found['hit']:,} of equal states, {found['similar']:,} of similar ones, {found['shared']:,} from one in progress"
    used_by = {"off": "nothing", "declared": "types that declare it", "all": "all questions"}
    screen.pairs(
        [
            ("used by", used_by[found["mode"]]),
            ("lies in", found["store"]),
            ("kept", f"{found['entries']:,} answers of {found['max_entries']:,}; {found['ttl_s']:g} s each"),
            ("reused", f"{reused:,} of {looked:,} questions{f' ({reused / looked:.0%})' if looked else ''}"),
            ("of which", ways),
            ("saved", money(found["saved_usd"])),
            *([("trouble", f"{found['failed']:,} times; last: {found['last_error']}")] if found["failed"] else []),
        ]
    )


async def clear_cache(
    entry: str | None,
    filters: dict[str, str | None],
    place: Place,
    screen: Screen,
    clock: Clock,
    *,
    url: str | None,
    as_json: bool,
    of: str = "cache",
) -> None:
    """Delete one answer, those of a key, team or model, or with no filter all. Raises NotFound, PrefrontalError."""
    given = {name: value for name, value in filters.items() if value is not None}
    if entry is not None and given:
        raise InvalidRequest("Name an answer, or what answers to delete, not both.", param="ID")
    path = f"/v1/admin/{of}/{quote(entry, safe='')}" if entry is not None else f"/v1/admin/{of}?{urlencode(given)}"
    async with gateway(url, place, clock) as remote:
        gone = await remote.delete(path.rstrip("?"))
    if as_json:
        screen.json(gone)
    else:
        count = 1 if entry is not None else gone["deleted"]
        screen.note(f"{count:,} {'answer is' if count == 1 else 'answers are'} deleted.")
