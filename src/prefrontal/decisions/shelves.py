"""Where cached decisions outlive the process: a SQLite file, or what several gateways share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.ledger.redis_blobs import SharedCache

T = TypeVar("T")

BUSY_S = 5.0
"""How long a statement waits for another process (assumed)."""

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS decisions (name TEXT PRIMARY KEY, expires_s REAL NOT NULL, body BLOB NOT NULL) WITHOUT ROWID
"""


class SqliteShelf:
    """One file, made at the first use and readable by its owner only. It is read whole at the start and only written after.

    Several processes may write it; what the others add is seen at the next start.
    """

    kind = "sqlite"
    mirrors = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._closed = False

    async def load(self, now_s: float, most: int) -> Mapping[str, bytes]:
        """See `Shelf.load`; what has expired is deleted on the way."""

        def load(db: sqlite3.Connection) -> dict[str, bytes]:
            db.execute("DELETE FROM decisions WHERE expires_s <= ?", (now_s,))
            return dict(db.execute("SELECT name, body FROM decisions ORDER BY expires_s DESC LIMIT ?", (most,)).fetchall())

        return await self._do(load)

    async def get(self, name: str) -> bytes | None:
        """Nothing: `load` returned everything."""
        return None

    async def write(self, changes: Sequence[tuple[str, bytes | None, float]]) -> None:
        """See `Shelf.write`."""

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                gone = [(name,) for name, body, _ in changes if body is None]
                db.executemany("DELETE FROM decisions WHERE name = ?", gone)
                put = [(name, expires_s, body) for name, body, expires_s in changes if body is not None]
                db.executemany("INSERT OR REPLACE INTO decisions (name, expires_s, body) VALUES (?,?,?)", put)
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise

        await self._do(write)

    async def clear(self, pattern: str) -> None:
        """See `Shelf.clear`."""
        await self._do(lambda db: db.execute("DELETE FROM decisions WHERE name GLOB ?", (pattern,)).rowcount)

    async def aclose(self) -> None:
        """See `Shelf.aclose`."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._close)
            thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreError("The cache of decisions is closed.")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefrontal-decisions")

        def run() -> T:
            db = self._db = self._db or self._open()
            return work(db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"The cache {self._path} cannot be used: {error}.") from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._path.touch(mode=0o600)
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")  # a cache that loses its last seconds has lost nothing
            db.execute("PRAGMA secure_delete = ON")  # what is deleted is gone from the file, too
            db.execute(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db


class SharedShelf:
    """What several gateways share: each looks there for what it does not hold itself."""

    kind = "redis"
    mirrors = False

    def __init__(self, blobs: SharedCache, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock

    async def load(self, now_s: float, most: int) -> Mapping[str, bytes]:
        """Nothing: entries are fetched when they are asked for."""
        return {}

    async def get(self, name: str) -> bytes | None:
        """See `Shelf.get`."""
        return await self._blobs.get(f"d{name}")

    async def write(self, changes: Sequence[tuple[str, bytes | None, float]]) -> None:
        """See `Shelf.write`; one after another."""
        now_s = self._clock.now()
        for name, body, expires_s in changes:
            if body is None:
                await self._blobs.delete(f"d{name}")
            elif expires_s > now_s:
                await self._blobs.set(f"d{name}", body, expires_s - now_s)

    async def clear(self, pattern: str) -> None:
        """See `Shelf.clear`."""
        await self._blobs.clear(f"d{pattern}")

    async def aclose(self) -> None:
        """Nothing to close: the link belongs to whoever opened it."""
