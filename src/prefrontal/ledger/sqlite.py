"""The ledger on SQLite: WAL, one writer thread with group commit, readers beside it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import Overloaded, StoreError
from prefrontal.ledger.schema import migrate
from prefrontal.ledger.store import LedgerStatus, RecordFilter
from prefrontal.ledger.writer import Writer

T = TypeVar("T")

NEAR = 0.9
"""Share of the queue's bound from which new work is refused, so that work in progress can still be settled (assumed)."""

CLOSE_S = 10.0
"""How long closing waits for the last group (assumed)."""

CLEANUP_S = 3600.0
"""How often records past their retention are deleted (assumed)."""


def connect(path: str, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """Open the database in WAL mode. `max_bytes` bounds the file, for tests of a full disk."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA busy_timeout = 10000")
    if max_bytes is not None:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page)}")
    return connection


class SqliteLedger:
    """Request records in one SQLite file. One event loop owns it; other processes may read the file at any time."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        queue_size: int = 10_000,
        retention_days: float | None = None,
        opener: Callable[[str], sqlite3.Connection] = connect,
    ) -> None:
        self._path = path
        self._clock = clock
        self.retention_days = retention_days
        self._writer = Writer(lambda: opener(str(path)), bound=queue_size)
        self._read_lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._cleaned_at: float | None = None
        self._decoder = msgspec.json.Decoder(RequestRecord)

    def open(self) -> SqliteLedger:
        """Create or migrate the file and start the writer. Raises StoreError when the file cannot be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = connect(str(self._path))
            try:
                migrate(connection)
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The database {self._path} cannot be opened: {error}.", hint="Check records.path and $PREFRONTAL_HOME."
            ) from error
        self._writer.start()
        return self

    def admit(self) -> None:
        """See `Ledger.admit`."""
        writer = self._writer
        if len(writer.pending) >= writer.bound * NEAR:
            raise Overloaded("Records are written more slowly than requests come in.", retry_after_s=1.0)
        if not writer.writable:
            raise Overloaded(f"Records cannot be written: {writer.last_error}.", retry_after_s=5.0, hint="Free disk space.")

    def put(self, record: RequestRecord) -> None:
        """See `Ledger.put`."""
        self._writer.put(record)
        if self.retention_days is not None:
            self._clean()

    def _clean(self) -> None:
        now = self._clock.monotonic()
        if self._cleaned_at is None or now - self._cleaned_at >= CLEANUP_S:
            self._cleaned_at = now
            oldest_s = self._clock.now() - (self.retention_days or 0.0) * 86_400
            self._writer.maintain("DELETE FROM records WHERE started_s < ?", (oldest_s,))

    async def get(self, record_id: str) -> RequestRecord | None:
        """See `Ledger.get`."""
        waiting = self._writer.pending.get(record_id)
        if waiting is not None:
            return waiting
        row = await self._read(lambda db: db.execute("SELECT body, content FROM records WHERE id = ?", (record_id,)).fetchone())
        if row is None:
            return None
        record = self._decoder.decode(row[0])
        return record if row[1] is None else msgspec.structs.replace(record, content=msgspec.json.decode(row[1]))

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """See `Ledger.find`."""
        await self.flush()
        clauses, values = _where(wanted)
        query = f"SELECT body FROM records {clauses} ORDER BY id DESC LIMIT ?"  # noqa: S608 - clauses are constants of ours
        rows = await self._read(lambda db: db.execute(query, (*values, wanted.limit)).fetchall())
        return [self._decoder.decode(row[0]) for row in rows]

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """See `Ledger.spend_usd`."""
        await self.flush()
        query = "SELECT model, sum(cost_usd) FROM records WHERE started_s >= ? AND cost_usd > 0 GROUP BY model"
        rows = await self._read(lambda db: db.execute(query, (since_s,)).fetchall())
        return sum((cost for model, cost in rows if model in models), 0.0)

    async def flush(self) -> None:
        """See `Ledger.flush`."""
        if not self._writer.pending:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | None] = loop.create_future()

        def done(error: str | None) -> None:
            loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(error))

        self._writer.on_flushed(done)
        error = await future
        if error is not None:
            raise StoreError(f"Records cannot be written: {error}.", retry_after_s=5.0)

    def status(self) -> LedgerStatus:
        """See `Ledger.status`."""
        writer = self._writer
        return LedgerStatus(
            writable=writer.writable,
            queued=len(writer.pending),
            bound=writer.bound,
            written=writer.written,
            content_dropped=writer.content_dropped,
            last_error=writer.last_error,
        )

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        await asyncio.to_thread(self._writer.stop, CLOSE_S)
        with self._read_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with self._read_lock:
                if self._reader is None:
                    self._reader = connect(str(self._path))
                return query(self._reader)

        try:
            return await asyncio.to_thread(run)
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be read: {error}.", retry_after_s=1.0) from error


def _where(wanted: RecordFilter) -> tuple[str, list[object]]:
    clauses: list[str] = []
    values: list[object] = []
    for clause, value in (
        ("id < ?", wanted.before),
        ("started_s >= ?", wanted.since_s),
        ("model = ?", wanted.model),
        ("status = ?", wanted.status),
        ("answered_by = ?", wanted.answered_by),
        ("channel = ?", wanted.channel),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), values
