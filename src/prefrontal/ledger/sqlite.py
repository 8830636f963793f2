"""The ledger on SQLite: WAL, one writer thread with group commit, readers beside it.

A process killed at any moment loses at most the last group (some 50 ms) and leaves a sound file. After a loss of power the last
groups before it may be missing too: they are handed to the operating system, not waited for.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import Overloaded, StoreError
from prefrontal.ledger.schema import migrate
from prefrontal.ledger.sqlite_erase import erase_records, owned_by
from prefrontal.ledger.store import LedgerStatus, RecordFilter, Subject
from prefrontal.ledger.turns import Turns
from prefrontal.ledger.writer import GROUP_S, Done, Op, Writer

log = logging.getLogger(__name__)

T = TypeVar("T")

NEAR = 0.9
"""Share of the queue's bound from which new work is refused, so that work in progress can still be settled (assumed)."""

BUSY_S = 10.0
"""How long a statement waits for another process that writes (assumed)."""

NAP_S = 0.02
"""How long the switch to WAL mode waits before it is tried again (assumed: it takes milliseconds)."""

CLOSE_S = 10.0
"""How long closing waits for the last group (assumed)."""

CLEANUP_S = 3600.0
"""How often records past their retention are deleted (assumed)."""

SECONDS_PER_DAY = 86_400


def connect(path: str, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """Open the database in WAL mode. `max_bytes` bounds the file, for tests of a full disk. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
    try:
        write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        if max_bytes is not None:
            (page,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {max(1, max_bytes // page)}")
    except BaseException:
        connection.close()
        raise
    return connection


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to WAL mode. Processes that do so with a new file at the same moment are told at once that it is locked."""
    for left in reversed(range(round(BUSY_S / NAP_S))):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or not left:
                raise
            threading.Event().wait(NAP_S)


class SqliteLedger:
    """Request records in one SQLite file. Others may read it at any time, also by this class, and write it (`take_turns`)."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        queue_size: int = 10_000,
        retention_days: float | None = None,
        opener: Callable[[str], sqlite3.Connection] = connect,
        free_bytes: Callable[[], int | None] | None = None,
    ) -> None:
        """`opener` and `free_bytes` (what is free on the disk, None unknown) are seams for tests of a failing disk."""
        self._path = path
        self._clock = clock
        self.retention_days = retention_days
        self._opener = opener
        self._writer = Writer(
            lambda: opener(str(path)), bound=queue_size, free_bytes=free_bytes or self._free_bytes, oldest_s=self._oldest_s
        )
        self._read_lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._hand: sqlite3.Connection | None = None
        self._closed = False
        self._cleaned_at: float | None = None
        self._decoder = msgspec.json.Decoder(RequestRecord)

    def open(self) -> SqliteLedger:
        """Create or migrate the file and start the writer.

        Raises:
            StoreError: the file cannot be used: no permission, no space, not a database, or of a newer version.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists():  # who asked what, and perhaps the words, are for nobody else on the machine
                self._path.touch(mode=0o600)
            connection = self._opener(str(self._path))
            try:
                migrate(connection)
                _try_writing(connection)
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The database {self._path} cannot be opened: {error}.", hint="Check records.path and $PREFRONTAL_HOME."
            ) from error
        self._hand = self._free_hand()
        self._writer.start()
        return self

    def _free_hand(self) -> sqlite3.Connection | None:
        """Return the connection of `write_now`: it is told at once when others write, and leaves the log to the writer."""
        try:
            hand = self._opener(str(self._path))
            hand.execute("PRAGMA busy_timeout = 0")
            hand.execute("PRAGMA wal_autocheckpoint = 0")
        except sqlite3.Error as error:
            log.warning("all is left to the ledger's writer: %s", error)
            return None
        return hand

    def take_turns(self) -> None:
        """Other processes write this database too: wait for each other in order."""
        self._writer.turns = self._writer.turns or Turns(self._path)

    def admit(self) -> None:
        """See `Ledger.admit`."""
        writer = self._writer
        if writer.problem is not None:
            raise Overloaded(
                f"Records cannot be written: {writer.problem}.",
                retry_after_s=5.0,
                hint="Free disk space or mend the database; no model was called.",
            )
        if writer.queued >= writer.bound * NEAR:
            raise Overloaded("Records are written more slowly than requests come in.", retry_after_s=1.0)

    def put(self, record: RequestRecord) -> None:
        """See `Ledger.put`."""
        self._writer.put(record)

    def write_now(self, ops: list[Op]) -> bool:
        """Commit a few statements on the caller's thread; False: nothing was written, because others write or it cannot be.

        Waits for nobody and for no disk: the log is not flushed, and what is in it is moved into the file by the writer.
        """
        hand = self._hand
        writer = self._writer
        if hand is None or writer.problem is not None or writer.turns is not None or writer.behind:
            return False
        statements = [op for op in ops if isinstance(op, tuple)]
        if len(statements) < len(ops):  # steps are the writer's own
            return False
        try:
            hand.execute("BEGIN IMMEDIATE")
            for statement, values in statements:
                hand.execute(statement, values)
            hand.execute("COMMIT")
        except (sqlite3.Error, OverflowError, UnicodeError):  # the writer will meet it again, and knows what to do
            self._let_go(hand)
            return False
        return True

    def _let_go(self, hand: sqlite3.Connection) -> None:
        """Take back what a statement that failed has left open; one that cannot even do that is not used again."""
        try:
            if hand.in_transaction:
                hand.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.warning("from now on all is left to the ledger's writer: %s", error)
            self._hand = None
            hand.close()

    def settled(self, charge_id: str) -> None:
        """Be told that an attempt's charge is seen to, so that its record brings none."""
        self._writer.settled(charge_id)

    def submit(self, ops: list[Op], done: Done) -> None:
        """See `Writer.submit`."""
        self._writer.submit(ops, done)

    def _oldest_s(self) -> float | None:
        """The Unix time before which records are to be deleted, once every `CLEANUP_S`; called on the writer's thread."""
        days = self.retention_days
        if days is None:
            return None
        now = self._clock.monotonic()
        if self._cleaned_at is not None and now - self._cleaned_at < CLEANUP_S:
            return None
        self._cleaned_at = now
        return self._clock.now() - days * SECONDS_PER_DAY

    def _free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._path.parent).free
        except OSError:
            return None

    async def get(self, record_id: str) -> RequestRecord | None:
        """See `Ledger.get`."""
        waiting = self._writer.find(record_id)
        if waiting is not None:
            return self._whole(waiting.record, waiting.content)
        query = "SELECT body, content FROM bodies WHERE id = ?"
        row = await self.read(lambda db: db.execute(query, (record_id,)).fetchone())
        if row is None and self._writer.turns is not None:  # another process may have it and be about to write it
            await self._clock.sleep(2 * GROUP_S)
            row = await self.read(lambda db: db.execute(query, (record_id,)).fetchone())
        if row is None:
            return None
        try:
            return self._whole(self._decoder.decode(row[0]), row[1])
        except msgspec.DecodeError as error:
            raise StoreError(f"The record {record_id} cannot be read: {error}.") from error

    @staticmethod
    def _whole(record: RequestRecord, content: bytes | None) -> RequestRecord:
        return record if content is None else msgspec.structs.replace(record, content=msgspec.json.decode(content))

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """See `Ledger.find`. Works with a full disk too: what waits in memory is listed with what is on disk."""
        waiting = {record.id: record for record in self._writer.waiting()}  # before the disk is read, or some could be in neither
        found = {record_id: record for record_id, record in waiting.items() if wanted.matches(record)}
        where, values = _where(wanted)
        query = f"SELECT r.id, b.body FROM records r JOIN bodies b ON b.id = r.id {where} ORDER BY r.id DESC LIMIT ?"  # noqa: S608 - `where` is made of constants
        rows = await self.read(lambda db: db.execute(query, (*values, wanted.bounded_limit)).fetchall())
        for record_id, body in rows:
            if record_id not in waiting:
                try:
                    found[record_id] = self._decoder.decode(body)
                except msgspec.DecodeError as error:
                    log.warning("the record %s is left out of a listing: %s", record_id, error)
        return [found[record_id] for record_id in sorted(found, reverse=True)[: wanted.bounded_limit]]

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """See `Ledger.spend_usd`."""
        await self.flush()
        query = "SELECT model, sum(cost_usd) FROM records WHERE started_s >= ? AND cost_usd > 0 GROUP BY model"
        rows = await self.read(lambda db: db.execute(query, (since_s,)).fetchall())
        return sum((cost for model, cost in rows if model in models), 0.0)

    async def ids_of(self, subject: Subject) -> list[str]:
        """See `Ledger.ids_of`. Of a person all bodies are looked through: it is asked for rarely, and costs requests nothing."""
        await self.flush()
        query, values = owned_by(subject)
        return [row[0] for row in await self.read(lambda db: db.execute(query, values).fetchall())]

    async def erase(self, ids: Sequence[str]) -> int:
        """See `Ledger.erase`. On a connection of its own, which overwrites what it deletes and empties the log of changes."""
        await self.flush()
        try:
            return await asyncio.to_thread(erase_records, lambda: self._opener(str(self._path)), ids)
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be written: {error}.", retry_after_s=5.0) from error

    async def flush(self) -> None:
        """See `Ledger.flush`."""
        if not self._writer.queued:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str | None] = loop.create_future()

        def settle(error: str | None) -> None:
            if not future.done():
                future.set_result(error)

        def done(error: str | None) -> None:
            try:
                loop.call_soon_threadsafe(settle, error)
            except RuntimeError:  # the loop was closed while the writer still worked: nobody waits any more
                log.debug("a flush ended after its loop")

        self._writer.on_flushed(done)
        error = await future
        if error is not None:
            raise StoreError(f"Records cannot be written: {error}.", retry_after_s=5.0)

    def status(self) -> LedgerStatus:
        """See `Ledger.status`."""
        writer = self._writer
        return LedgerStatus(
            writable=writer.writable,
            queued=writer.queued,
            bound=writer.bound,
            written=writer.written,
            content_dropped=writer.content_dropped,
            last_error=writer.last_error,
        )

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        if self._closed:
            return
        self._closed = True
        hand, self._hand = self._hand, None
        await asyncio.to_thread(self._close, hand)

    def _close(self, hand: sqlite3.Connection | None) -> None:
        if hand is not None:
            hand.close()
        self._writer.stop(CLOSE_S)
        with self._read_lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `query` reads, on a thread. Raises StoreError."""
        if self._closed:
            raise StoreError("The ledger is closed.")

        def run() -> T:
            with self._read_lock:
                if self._reader is None:
                    self._reader = self._opener(str(self._path))
                    self._reader.execute("PRAGMA query_only = ON")
                return query(self._reader)

        try:
            return await asyncio.to_thread(run)
        except sqlite3.Error as error:
            raise StoreError(f"The ledger cannot be read: {error}.", retry_after_s=1.0) from error


def _try_writing(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.Error now, and not at the first record, when the file is read-only. Changes nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("ROLLBACK")


def _where(wanted: RecordFilter) -> tuple[str, list[object]]:
    clauses: list[str] = []
    values: list[object] = []
    for clause, value in (
        ("r.id < ?", wanted.before),
        # the plus keeps SQLite from sorting all records since then, where reading the newest first can stop at the limit
        ("+r.started_s >= ?", wanted.since_s),
        ("r.model = ?", wanted.model),
        ("r.status = ?", wanted.status),
        ("r.answered_by = ?", wanted.answered_by),
        ("r.channel = ?", wanted.channel),
        ("r.key_id = ?", wanted.key_id),
    ):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), values
