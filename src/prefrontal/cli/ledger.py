"""`prefrontal ledger`: which format the database has, and moving it to another."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.clock import Clock
from prefrontal.config.check_store import EXTRA_HINT, missing
from prefrontal.config.schema import Config
from prefrontal.errors import ConfigError, StoreError
from prefrontal.ledger.migrations import HEAD


async def show_status(place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Show where the database is and its format. Raises ConfigError, StoreError."""
    config = loaded(place).config
    if config.store.url is not None:
        where, found = await postgres_format(config, clock)
    else:
        file = _file(config, place)
        where, found = str(file), await asyncio.to_thread(_sqlite_format, file)
    said = {"database": where, "format": found, "program": HEAD}
    if as_json:
        screen.json(said)
        return
    state = "as this program's" if found == HEAD else f"this program's is {HEAD}"
    screen.pairs([("database", where), ("format", f"{found} ({state})" if found else f"none yet ({state})")])


async def move(to: int | None, place: Place, screen: Screen, clock: Clock, *, down: bool, as_json: bool) -> None:
    """Bring the database to a format. Raises ConfigError: the extra is not installed; StoreError."""
    config = loaded(place).config
    lacking = missing()
    if lacking:
        what = f"`prefrontal ledger migrate` needs the extra `postgres`, also for SQLite; not installed: {', '.join(lacking)}"
        raise ConfigError(f"{what}.", hint=EXTRA_HINT)
    from sqlalchemy.exc import SQLAlchemyError

    from prefrontal.ledger.migrations.runner import move_postgres, move_sqlite
    from prefrontal.ledger.postgres.pool import place_of, told

    url = config.store.url
    file = _file(config, place)
    where = str(file) if url is None else place_of(url)
    wanted = HEAD if to is None else to
    if url is None and not file.is_file() and wanted == 0:
        raise StoreError(f"There is no database at {file}.")
    try:
        moved = await (move_sqlite(file, wanted, down=down) if url is None else move_postgres(url, wanted, down=down))
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(f"The database {where} cannot be moved: {told(getattr(error, 'orig', None) or error)}.") from None
    if as_json:
        screen.json({"database": where, "before": moved.before, "after": moved.after})
    elif moved.before == moved.after:
        screen.note(f"{where} has format {moved.after} already.")
    else:
        screen.note(f"{where} went from format {moved.before} to {moved.after}.")


async def postgres_format(config: Config, clock: Clock) -> tuple[str, int]:
    """Return where the database is and the format of its tables, 0: none. Raises ConfigError, StoreError."""
    from prefrontal.app.ledgers import postgres_of

    postgres = postgres_of(config, clock)
    try:
        await postgres.connect()
        return postgres.place, await postgres.revision()
    finally:
        await postgres.aclose()


def _sqlite_format(file: Path) -> int:
    if not file.is_file():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"The database {file} cannot be read: {error}.") from error
    return int(version)


def _file(config: Config, place: Place) -> Path:
    from prefrontal.app.ledgers import database_file

    return database_file(config, place.env)
