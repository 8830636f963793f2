"""Cached answers in a file, for every process of this machine, also over restarts.

The file holds what was asked for and answered in plain form; it is readable by its owner only. One thread owns the connection.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from prefrontal.clock import Clock
from prefrontal.errors import StoreError
from prefrontal.execute.cache.store import StoreSize

T = TypeVar("T")

BUSY_S = 5.0
"""How long a statement waits for another process (assumed)."""

CLEAN_EVERY = 64
"""Writes between two looks at age and size (assumed: some MB over the bound at most)."""

USED_EVERY_S = 60.0
"""The moment of the last use is written once in this time (assumed: a read must not cost a write)."""

_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS answers (
        name TEXT PRIMARY KEY, expires_s REAL NOT NULL, used_s REAL NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used_s, bytes)",
)
_PUT = "INSERT OR REPLACE INTO answers (name, expires_s, used_s, bytes, body) VALUES (?,?,?,?,?)"


class SqliteAnswers:
    """Entries in one SQLite file, which is made at the first use; see `AnswerStore`."""

    kind = "sqlite"

    def __init__(self, path: Path, max_bytes: int, *, clock: Clock) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None
        self._puts = 0
        self._evicted = 0
        self._closed = False

    async def get(self, name: str) -> bytes | None:
        """See `AnswerStore.get`."""
        now_s = self._clock.now()

        def read(db: sqlite3.Connection) -> bytes | None:
            row = db.execute("SELECT body, expires_s, used_s FROM answers WHERE name = ?", (name,)).fetchone()
            if row is None or row[1] <= now_s:
                return None
            if now_s - row[2] > USED_EVERY_S:
                db.execute("UPDATE answers SET used_s = ? WHERE name = ?", (now_s, name))
            body: bytes = row[0]
            return body

        return await self._do(read)

    async def put(self, name: str, value: bytes, ttl_s: float) -> None:
        """See `AnswerStore.put`."""
        now_s = self._clock.now()
        clean = self._puts % CLEAN_EVERY == 0
        self._puts += 1

        def write(db: sqlite3.Connection) -> None:
            db.execute(_PUT, (name, now_s + ttl_s, now_s, len(value), value))
            if clean:
                self._clean(db, now_s)

        await self._do(write)

    def _clean(self, db: sqlite3.Connection, now_s: float) -> None:
        db.execute("DELETE FROM answers WHERE expires_s <= ?", (now_s,))
        (total,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM answers").fetchone()
        while total > self._max_bytes:
            for name, size in db.execute("SELECT name, bytes FROM answers ORDER BY used_s LIMIT 100").fetchall():
                db.execute("DELETE FROM answers WHERE name = ?", (name,))
                self._evicted += 1
                total -= size
                if total <= self._max_bytes:
                    return

    async def delete(self, name: str) -> bool:
        """See `AnswerStore.delete`."""
        return bool(await self._do(lambda db: db.execute("DELETE FROM answers WHERE name = ?", (name,)).rowcount))

    async def clear(self, tenant: str | None, model: str | None) -> int:
        """See `AnswerStore.clear`."""
        pattern = f"{tenant or '_' * 8}{model or '_' * 8}%"  # the parts are hexadecimal: nothing in them is a wildcard
        return await self._do(lambda db: db.execute("DELETE FROM answers WHERE name LIKE ?", (pattern,)).rowcount)

    async def size(self) -> StoreSize:
        """See `AnswerStore.size`."""
        query = "SELECT count(*), coalesce(sum(bytes), 0) FROM answers WHERE expires_s > ?"
        entries, total = await self._do(lambda db: db.execute(query, (self._clock.now(),)).fetchone())
        return StoreSize(entries=entries, bytes=total, evicted=self._evicted)

    def bound(self, max_bytes: int) -> None:
        """See `AnswerStore.bound`; takes effect at one of the next writes."""
        self._max_bytes = max_bytes
        self._puts = 0

    async def aclose(self) -> None:
        """See `AnswerStore.aclose`."""
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
            raise StoreError("The cache is closed.")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefrontal-cache")

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
            self._path.touch(mode=0o600)  # what was asked and answered is for nobody else on the machine
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")  # a cache that loses its last seconds has lost nothing
            db.execute("PRAGMA secure_delete = ON")  # what is deleted is gone from the file, too
            for statement in _SCHEMA:
                db.execute(statement)
        except BaseException:
            db.close()
            raise
        return db
