"""Checks of the shared store: that its address is one, and that what speaks to it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from urllib.parse import parse_qsl, urlsplit

from prefrontal.config.schema import Config

NEEDED = ("asyncpg", "sqlalchemy", "alembic")
"""What the extra `postgres` installs."""

EXTRA_HINT = "python -m pip install 'prefrontal[postgres]'"


def missing() -> tuple[str, ...]:
    """Return which libraries of the extra `postgres` are not installed."""
    return tuple(name for name in NEEDED if find_spec(name) is None)


def check_store(config: Config, note: Callable[..., None], *, absent: Callable[[], tuple[str, ...]] = missing) -> None:
    """Call `note` for what is wrong with `store`. No message holds the address: a password is in it."""
    url = config.store.url
    if url is None:
        return
    path = ("store", "url")
    problem = _problem_of(url)
    if problem is not None:
        note(path, "url", problem, "write it as postgresql://USER:${PASSWORD}@HOST:5432/DATABASE")
    lacking = absent()
    if lacking:
        note(path, "extra", f"Postgres needs the extra `postgres`; not installed: {', '.join(lacking)}", EXTRA_HINT)
    if not config.records.enabled:
        text = "is not used: `records.enabled: false` keeps keys and budgets in this process's memory"
        note(path, "unused", text, "leave out one of them", fatal=False)
    elif config.records.path is not None:
        note(("records", "path"), "unused", "is not used: the records go to `store.url`", fatal=False)


def _problem_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no address: its host or port cannot be read"
    if parts.scheme not in ("postgresql", "postgres"):
        return "only addresses that begin with postgresql:// are known"
    named = dict(parse_qsl(parts.query))
    if not (parts.hostname or named.get("host")):
        return "the address names no host"
    if port == 0 or not (parts.path.strip("/") or named.get("dbname") or named.get("database")):
        return "the address names no database"
    return None
