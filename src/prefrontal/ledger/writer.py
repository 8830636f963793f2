"""The one writer: a thread that takes records from a bounded queue and commits them in groups."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

import msgspec

from prefrontal.contracts.record import RequestRecord

log = logging.getLogger(__name__)

GROUP_S = 0.05
"""How long the first record of a group waits for company (assumed: far below what anybody notices, far above one commit)."""

GROUP_MAX = 1000
"""Records in one transaction at most (assumed)."""

RETRY_S = 0.5
"""Pause after a failed commit, and how often a full disk is tried again (assumed)."""

INSERT = (
    "INSERT OR REPLACE INTO records (id, started_s, status, answered_by, requested_model, model, channel, key_id, input_tokens,"
    " output_tokens, cost_usd, duration_ms, body, content) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)

Row = tuple[object, ...]


def to_row(record: RequestRecord, encoder: msgspec.json.Encoder) -> Row:
    """Return the record as a row: the columns that are searched, the whole as JSON, the content apart."""
    usage = record.usage
    content = record.content
    body = record if content is None else msgspec.structs.replace(record, content=None)
    return (
        record.id,
        record.started_s,
        record.status,
        record.answered_by,
        record.requested_model,
        record.model,
        record.channel,
        record.key_id,
        usage.input_tokens,
        usage.output_tokens,
        record.cost_usd,
        record.duration_ms,
        encoder.encode(body),
        None if content is None else encoder.encode(content),
    )


class Writer:
    """Owns the writing connection on its own thread. Records stay in `pending` until they are committed."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], *, bound: int) -> None:
        self._connect = connect
        self.bound = bound
        self.pending: dict[str, RequestRecord] = {}
        self.written = 0
        self.content_dropped = 0
        self.last_error: str | None = None
        self.writable = True
        self._wake = threading.Condition()
        self._stopping = False
        self._urgent = False
        self._maintenance: list[tuple[str, tuple[object, ...]]] = []
        self._waiters: list[tuple[int, Callable[[str | None], None]]] = []
        self._put_count = 0
        self._done_count = 0
        self._thread = threading.Thread(target=self._run, name="prefrontal-ledger", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, record: RequestRecord) -> None:
        """Queue a record; called from the event loop only."""
        if record.content is not None and len(self.pending) >= self.bound:
            record = msgspec.structs.replace(record, content=None, content_dropped=True)
            self.content_dropped += 1
        was_empty = not self.pending
        self.pending[record.id] = record
        self._put_count += 1
        if was_empty:
            with self._wake:
                self._wake.notify()

    def on_flushed(self, done: Callable[[str | None], None]) -> None:
        """Call `done(error)` (on the writer's thread) once everything put so far is committed or could not be."""
        with self._wake:
            if not self.pending and not self._maintenance:
                done(None)
                return
            self._waiters.append((self._put_count, done))
            self._urgent = True
            self._wake.notify()

    def maintain(self, statement: str, parameters: tuple[object, ...]) -> None:
        """Run a statement between two groups."""
        with self._wake:
            self._maintenance.append((statement, parameters))
            self._wake.notify()

    def stop(self, timeout_s: float) -> bool:
        """Write what is queued and end; return whether that worked in time."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self.pending

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        encoder = msgspec.json.Encoder()
        connection: sqlite3.Connection | None = None
        while True:
            with self._wake:
                while not self.pending and not self._stopping and not self._maintenance:
                    self._wake.wait()
                if not self._stopping and not self._urgent:
                    self._wake.wait(GROUP_S)
                self._urgent = False
                stopping = self._stopping
                maintenance, self._maintenance = self._maintenance, []
            group = list(self.pending.values())[:GROUP_MAX]
            try:
                connection = connection or self._connect()
                self._commit(connection, [to_row(record, encoder) for record in group], maintenance)
            except sqlite3.Error as error:
                self._failed(error)
                connection = self._reset(connection)
                if stopping:
                    break
                with self._wake:
                    self._wake.wait(RETRY_S)
                continue
            self._committed(group)
            if stopping and not self.pending:
                break
        if connection is not None:
            connection.close()

    @staticmethod
    def _commit(connection: sqlite3.Connection, rows: list[Row], maintenance: list[tuple[str, tuple[object, ...]]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        if rows:
            connection.executemany(INSERT, rows)
        for statement, parameters in maintenance:
            connection.execute(statement, parameters)
        connection.execute("COMMIT")

    def _committed(self, group: list[RequestRecord]) -> None:
        for record in group:
            if self.pending.get(record.id) is record:
                del self.pending[record.id]
        self.written += len(group)
        self._done_count += len(group)
        if not self.writable:
            log.warning("the ledger can be written again")
        self.writable = True
        self._answer_waiters(None)

    def _failed(self, error: sqlite3.Error) -> None:
        self.last_error = str(error)
        if self.writable:
            log.error("the ledger cannot be written: %s", error)
        self.writable = False
        self._answer_waiters(str(error))

    def _answer_waiters(self, error: str | None) -> None:
        with self._wake:
            ready = [w for w in self._waiters if error is not None or not self.pending or w[0] <= self._done_count]
            self._waiters = [w for w in self._waiters if w not in ready]
        for _, done in ready:
            done(error)

    @staticmethod
    def _reset(connection: sqlite3.Connection | None) -> sqlite3.Connection | None:
        if connection is not None:
            try:
                connection.rollback()
            except sqlite3.Error:
                connection.close()
                return None
        return connection
