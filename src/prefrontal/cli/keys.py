"""`prefrontal keys` and `prefrontal spend`: in the database of this machine, or through a running gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from prefrontal.cli.locate import gateway, url_of
from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.cli.traces import ledger
from prefrontal.cli.words import moment, money
from prefrontal.clock import Chance, Clock
from prefrontal.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from prefrontal.app.money import Money

ACTOR = "command line"
"""Who did it, in the audit log."""


def moment_of(text: str | None, option: str) -> float | None:
    """Return the Unix time of a date. Raises InvalidRequest."""
    from prefrontal.serve.admin import moment_of as parse

    return parse(text, option)


async def create_key(
    draft: dict[str, Any], place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool
) -> None:
    """Make a key and show its secret. Raises PrefrontalError."""
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            made = await remote.post("/v1/admin/keys", draft)
    else:
        from prefrontal.app.money import KeyDraft

        async with _books(place, clock) as books:
            issued = await books.issue(_converted(draft, KeyDraft), ACTOR)
            made = {**issued.key.public(), "key": issued.secret}
    if as_json:
        screen.json(made)
        return
    screen.line(made["key"])
    screen.note(f"The key '{made['name']}' ({made['id']}). It is shown this once: only its hash is kept.")


async def list_keys(place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show all keys. Raises PrefrontalError."""
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            found = (await remote.get("/v1/admin/keys"))["data"]
    else:
        async with _books(place, clock) as books:
            found = [key.public() for key in await books.keys.keys()]
    if as_json:
        screen.json({"object": "list", "data": found})
        return
    screen.table(("name", "id", "key", "team", "tags", "budget", "made", "state"), [_row(key, clock.now()) for key in found])
    if not found:
        screen.note("There is no key yet. `prefrontal keys create NAME` makes one.")


async def show_key(name: str, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Show one key. Raises NotFound, PrefrontalError."""
    if url_of(url, place):
        async with gateway(url, place, clock) as remote:
            key = await remote.get(f"/v1/admin/keys/{quote(name, safe='')}")
    else:
        async with _books(place, clock) as books:
            key = (await books.key(name)).public()
    if as_json:
        screen.json(key)
    else:
        _show(key, screen, clock.now())


async def revoke_key(name: str, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool) -> None:
    """Revoke a key. Raises NotFound, PrefrontalError."""
    there = bool(url_of(url, place))
    if there:
        async with gateway(url, place, clock) as remote:
            key = await remote.delete(f"/v1/admin/keys/{quote(name, safe='')}")
    else:
        async with _books(place, clock) as books:
            key = (await books.revoke(name, ACTOR)).public()
    if as_json:
        screen.json(key)
    else:
        when = "from now on" if there else "from now on; a running gateway notices within five seconds"
        screen.note(f"The key '{key['name']}' ({key['id']}) is refused {when}.")


async def show_spend(
    by: str, since: str | None, until: str | None, place: Place, screen: Screen, clock: Clock, *, url: str | None, as_json: bool
) -> None:
    """Show what was spent. Raises PrefrontalError."""
    from prefrontal.app.ledgers import report_of
    from prefrontal.serve.admin import spend_line, spend_query

    query = spend_query(by, since, until)
    if url_of(url, place):
        wanted = {name: value for name, value in (("by", by), ("since", since), ("until", until)) if value}
        async with gateway(url, place, clock) as remote:
            found = (await remote.get(f"/v1/admin/spend?{urlencode(wanted)}"))["data"]
    else:
        async with ledger(place, clock) as records:
            rows = [] if records is None else await report_of(records, query, clock)
        found = [spend_line(query, row) for row in rows]
    if as_json:
        screen.json({"object": "list", "data": found})
        return
    numbers = ("calls", "in", "out", "cost", "estimated", "unpriced")
    screen.table((*query.by, *numbers), [_spend_row(query.by, line) for line in found], right=numbers)
    if not found:
        screen.note("Nothing was spent.")


@asynccontextmanager
async def _books(place: Place, clock: Clock) -> AsyncIterator[Money]:
    """Yield the books of this machine's database. Raises ConfigError, StoreError."""
    from prefrontal.app.ledgers import open_ledger
    from prefrontal.app.money import Money
    from prefrontal.app.stores import alone

    config = loaded(place).config
    if not config.records.enabled:
        raise ConfigError("keys live in the database, and `records.enabled: false` allows none", path="records.enabled")
    found = await open_ledger(config, place.env, clock)
    try:
        yield Money(stores=alone(found, clock), clock=clock, chance=Chance())
    finally:
        await found.aclose()


def _converted(draft: dict[str, Any], kind: type[Any]) -> Any:
    try:
        return msgspec.convert(draft, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"The key cannot be made: {error}.") from error


def _state(key: dict[str, Any], now_s: float) -> str:
    if key["revoked_s"] is not None:
        return f"revoked {moment(key['revoked_s'])}"
    if key["expires_s"] is not None:
        return ("expired " if key["expires_s"] <= now_s else "until ") + moment(key["expires_s"])
    return "active"


def _budget(budget: dict[str, Any]) -> str:
    parts = [] if budget["usd"] is None else [money(budget["usd"])]
    parts += [] if budget["tokens"] is None else [f"{budget['tokens']:,} tokens"]
    return f"{' and '.join(parts)} a {budget['window']}".replace("a total", "in all")


def _row(key: dict[str, Any], now_s: float) -> tuple[str, ...]:
    return (
        key["name"],
        key["id"],
        key["shown"],
        key["team"] or "-",
        ", ".join(key["tags"]) or "-",
        "; ".join(_budget(budget) for budget in key["budgets"]) or "-",
        moment(key["created_s"]),
        _state(key, now_s),
    )


def _show(key: dict[str, Any], screen: Screen, now_s: float) -> None:
    def listed(names: list[str] | None) -> str:
        return "all" if names is None else ", ".join(names) or "none"

    rates = [
        ", ".join(f"{rate[name]:,} {name}" for name in ("requests", "tokens", "concurrency") if rate[name] is not None)
        for rate in key["rates"]
    ]
    screen.pairs(
        [
            ("name", key["name"]),
            ("id", key["id"]),
            ("key", key["shown"]),
            ("state", _state(key, now_s)),
            ("made", moment(key["created_s"])),
            ("team", key["team"] or "-"),
            ("tags", ", ".join(key["tags"]) or "-"),
            ("models", listed(key["models"])),
            ("tools", listed(key["tools"])),
            ("engrams", ", ".join(key.get("engrams") or ()) or "-"),
            ("channel", key["channel"] or "-"),
            ("content", "as configured" if key["store_content"] else "never stored"),
            ("budgets", "\n".join(f"{_budget(b)}, then {b['on_exhaustion']}" for b in key["budgets"]) or "-"),
            ("limits", "\n".join(f"{text} a minute" for text in rates) or "-"),
        ]
    )


def _spend_row(by: tuple[str, ...], line: dict[str, Any]) -> tuple[str, ...]:
    groups = [str(line[name]) or "-" for name in by]
    numbers = [f"{line[name]:,}" for name in ("calls", "input_tokens", "output_tokens")]
    return (*groups, *numbers, money(line["cost_usd"]), f"{line['estimated']:,}", f"{line['unpriced']:,}")
