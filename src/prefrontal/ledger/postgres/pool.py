"""Connections to Postgres, and its failures as this package's errors.

The driver is asyncpg, spoken to directly: SQLAlchemy and Alembic are loaded only when a database has to be migrated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.migrations import HEAD

CONNECT_S = 5.0
"""How long a connection may take to open (assumed: the database is near)."""

GRACE_S = 1.0
"""How much longer than the statement's own limit an answer is waited for, before the connection is given up (assumed)."""

RETRY_AFTER_S = 5.0
"""What a caller is told when the database is gone (assumed)."""

FAILURES: tuple[type[BaseException], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""Everything a database that is gone, busy or wrong raises."""

UNUSABLE: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError)
"""What connecting raises, an address that makes no sense included."""

POISON: tuple[type[BaseException], ...] = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What a statement raises that will never work with these values."""


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """One whose session is never changed, so that nothing has to be reset when it goes back: that would be a round trip."""

    def get_reset_query(self) -> str:
        """Return nothing to run; an open transaction is rolled back all the same."""
        return ""


class Postgres:
    """A pool of connections to one database. `open` before the first use; belongs to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        pool_size: int = 8,
        statement_timeout_s: float = 10.0,
        connect_timeout_s: float = CONNECT_S,
    ) -> None:
        """`url`: ``postgresql://user:password@host:port/database?sslmode=…``. It is in no message of an error."""
        self._url = url
        self._clock = clock
        self._pool_size = pool_size
        self._statement_timeout_s = statement_timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._pool: Any = None
        self._closed = False

    @property
    def place(self) -> str:
        """Where the database is, safe to be shown."""
        return place_of(self._url)

    async def open(self, *, migrate: bool = True) -> Postgres:
        """Connect and bring the tables to this program's form, one process at a time. Raises StoreError.

        migrate: False refuses an older form instead.
        """
        await self.connect()
        try:
            found = await self.revision()
            if found != HEAD:
                await self._migrate(found, allowed=migrate)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def connect(self) -> None:
        """Connect, whatever the tables are. Raises StoreError."""
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # else the pool goes on connecting by itself, with a stack trace in the log each time
                max_size=self._pool_size,
                connection_class=Connection,
                timeout=self._connect_timeout_s,
                command_timeout=self._statement_timeout_s + GRACE_S,
                server_settings={
                    "application_name": "prefrontal",
                    "statement_timeout": str(int(self._statement_timeout_s * 1000)),
                    "lock_timeout": str(int(self._statement_timeout_s * 1000)),
                    "idle_in_transaction_session_timeout": str(int((self._statement_timeout_s + GRACE_S) * 1000)),
                    "jit": "off",  # compiling a statement takes longer than any of ours runs
                },
            )
            await self._pool.execute("SELECT 1")
        except UNUSABLE as error:
            await self.aclose()
            raise StoreError(
                f"The database at {self.place} cannot be opened: {told(error)}.",
                hint="Check store.url, and that the server runs and lets this user in.",
            ) from None  # the cause may quote the address

    async def revision(self) -> int:
        """Return the revision of the tables, 0 for an empty database. Raises StoreError."""
        try:
            row = await self.fetchrow("SELECT version_num FROM alembic_version")
        except StoreError as error:
            if isinstance(error.__cause__, asyncpg.UndefinedTableError):
                return 0
            raise
        return int(row[0]) if row is not None else 0

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        """Return the rows of a statement. Raises StoreError."""
        async with self._working() as pool:
            return list(await pool.fetch(statement, *values))

    async def fetchrow(self, statement: str, *values: object) -> Any:
        """Return the first row, None without one. Raises StoreError."""
        async with self._working() as pool:
            return await pool.fetchrow(statement, *values)

    async def execute(self, statement: str, *values: object) -> int:
        """Return how many rows a statement changed. Raises StoreError."""
        async with self._working() as pool:
            status = await pool.execute(statement, *values)
        count = str(status).rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Yield a connection in a transaction: committed at the end, rolled back after an error. Raises StoreError.

        After a StoreError it may have been committed all the same: the answer to a commit can be lost.
        """
        async with self._working() as pool, pool.acquire() as connection, connection.transaction():
            yield connection

    async def aclose(self) -> None:
        """Close all connections; a second call does nothing. Bounded in time."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with self._clock.timeout(self._connect_timeout_s):
                await pool.close()
        except FAILURES:
            pool.terminate()
        except asyncio.CancelledError:
            pool.terminate()
            raise

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise StoreError("The store is closed." if self._closed else "The store is not open.")
        try:
            yield self._pool
        except FAILURES as error:
            raise StoreError(f"The database at {self.place} fails: {told(error)}.", retry_after_s=RETRY_AFTER_S) from error

    async def _migrate(self, found: int, *, allowed: bool) -> None:
        if not allowed or found > HEAD:
            raise StoreError(
                f"The database at {self.place} has format {found}; this program works with {HEAD}.",
                hint="Run `prefrontal ledger migrate`." if found < HEAD else "Use a newer version of prefrontal.",
            )
        from sqlalchemy.exc import SQLAlchemyError

        from prefrontal.ledger.migrations.runner import move_postgres

        try:
            await move_postgres(self._url)
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"The tables at {self.place} cannot be made: {told(cause)}.") from None


def place_of(url: str) -> str:
    """Return host, port and database of an address, without the user and the password."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def told(error: BaseException) -> str:
    """Return what an error says, in one line; those of a network often say nothing."""
    if isinstance(error, StoreError):
        return error.message
    text = " ".join(str(error).split())
    return text.rstrip(".") or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
