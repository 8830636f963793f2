"""Moves a database to a revision, up or down, in one transaction. Needs the extra `postgres` (SQLAlchemy and Alembic).

Imported where something is to be moved only: the libraries take a third of a second to load.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import sqlalchemy as sa
from alembic.config import Config as AlembicConfig
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from prefrontal.errors import StoreError
from prefrontal.ledger.migrations import HEAD, name_of

LOCK = 7_226_411_893
"""The advisory lock on Postgres under which one process migrates and the others wait (a number nobody else uses: drawn)."""

LOCK_S = 120
"""How long another process's migration is waited for (assumed: a large table is copied in it)."""

CONNECT_S = 10.0
"""How long a connection may take to open (assumed)."""

BUSY_S = 10.0
"""How long another process that writes to the SQLite file is waited for (assumed)."""

Connect = Callable[[], sqlite3.Connection]


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """The revision before and after; 0 is the empty database."""

    before: int
    after: int


async def move_postgres(url: str, to: int = HEAD, *, down: bool = False) -> Moved:
    """Bring the database at `url` to revision `to`; going back needs `down`. Processes that do so at once wait for each other.

    Raises:
        StoreError: it is newer than this program, or `to` is older and `down` was not said; nothing was changed.
        OSError, sqlalchemy.exc.SQLAlchemyError: it cannot be reached or refuses.
    """

    async def connect() -> Any:  # by the address as it is: SQLAlchemy reads `sslmode` and several hosts in its own way
        return await asyncpg.connect(url, timeout=CONNECT_S)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
            await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            return await connection.run_sync(lambda there: _move(there, _stamped(there), to, down=down))
    finally:
        await engine.dispose()


async def move_sqlite(path: Path, to: int = HEAD, *, down: bool = False) -> Moved:
    """Bring the file at `path` to revision `to`; see `move_postgres`. Raises StoreError, sqlalchemy.exc.SQLAlchemyError."""
    return await asyncio.to_thread(_move_sqlite, path, to, down)


def _move_sqlite(path: Path, to: int, down: bool) -> Moved:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():  # as the ledger makes it: for nobody else on the machine
        path.touch(mode=0o600)

    # SQLAlchemy's own way opens transactions late; here one that writes begins before anything is read
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            before = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            # the file counts its revisions itself; Alembic's table is there only while Alembic is
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            if before:
                connection.exec_driver_sql("INSERT INTO alembic_version VALUES (?)", (name_of(before),))
            moved = _move(connection, before, to, down=down)
            connection.exec_driver_sql("DROP TABLE alembic_version")
            return moved
    finally:
        engine.dispose()


def _stamped(connection: sa.Connection) -> int:
    """Return the revision that Alembic's table names, 0 without one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return 0
    name = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return int(name) if name else 0


def _move(connection: sa.Connection, before: int, to: int, *, down: bool) -> Moved:
    if before > HEAD:
        raise StoreError(
            f"The database has format {before}; this program knows up to {HEAD}.", hint="Use a newer version of prefrontal."
        )
    if not 0 <= to <= HEAD:
        raise StoreError(f"There is no format {to}; this program knows 0 (empty) to {HEAD}.")
    if to < before and not down:
        raise StoreError(
            f"The database has format {before}; going back to {to} loses what only newer ones hold.", hint="Say `--down` too."
        )
    if to == before:
        return Moved(before=before, after=to)
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    target = name_of(to) or "base"

    def steps(revision: Any, _context: Any) -> Any:
        return scripts._upgrade_revs(target, revision) if to > before else scripts._downgrade_revs(target, revision)

    with EnvironmentContext(config, scripts, fn=steps, destination_rev=target) as context:
        context.configure(connection=connection, transactional_ddl=True)
        context.run_migrations()
    return Moved(before=before, after=to)
