"""The one writer: a thread that takes records from a bounded queue and commits them in groups.

Everything both threads touch is guarded by one lock, held only for steps that cannot block. A record is in `_queued`, then in
`_writing`, and leaves that only after its commit. A record put again under the same id replaces the one that still waits, in
its place; while the older one is being written it waits behind it, so the newest is always written last.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from typing import NamedTuple

import msgspec

from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.bulk import Bulk
from prefrontal.ledger.charges import ADD_CHARGE, charge_rows
from prefrontal.ledger.rows import INSERT_BODY, INSERT_RECORD, Row, encode_content, to_rows
from prefrontal.ledger.turns import Turns

log = logging.getLogger(__name__)

GROUP_S = 0.05
"""How long the first record of a group waits for company (assumed: far below what anybody notices, far above one commit)."""

GROUP_MAX = 1000
"""Records in one transaction at most (assumed)."""

MAX_SETTLED = 65_536
"""Charges that are remembered until their records come (assumed: some MB)."""

RETRY_S = 0.5
"""Pause after a failed commit, and how often a full disk is looked at again (assumed)."""

IDLE_S = 600.0
"""How often an idle writer looks whether records are past their retention (assumed)."""

EXPIRE_MAX = 500
"""Records deleted in one transaction, so that deleting never holds up writing (assumed: a few milliseconds)."""

CONTENT_BYTES = 64 * 1024 * 1024
"""Stored content that may wait for the disk; beyond it content is dropped (assumed)."""

MIN_FREE_BYTES = 1024 * 1024
"""With less than this free, new work is refused, so that work in progress can be settled (assumed: hundreds of records)."""

_RECORDS, _BODIES, _CHARGES = Bulk(INSERT_RECORD), Bulk(INSERT_BODY), Bulk(ADD_CHARGE)

Done = Callable[[str | None], None]

Step = Callable[[sqlite3.Connection], None]
"""Something done on the writer's thread inside the group's transaction; done anew when the group is tried again."""

Op = tuple[str, tuple[object, ...]] | Step
"""A statement with its values, or a step."""

POISON = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)
"""What a statement raises that will never work: it is left out, so that it cannot keep all others from the disk."""


class Waiting(NamedTuple):
    """A record on its way to the disk. `number` counts the puts; content is JSON."""

    number: int
    record: RequestRecord
    content: bytes | None


class Writer:
    """Owns the writing connection on its own thread. All methods may be called from any thread and return at once.

    connect: opens the database. bound: how many records wait until content is dropped. free_bytes: what is free on the disk
    (None: unknown). oldest_s: called now and then on the thread; returns the Unix time before which records are to be deleted.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        bound: int,
        free_bytes: Callable[[], int | None] = lambda: None,
        oldest_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self.bound = bound
        self.queued = 0  # records not yet on disk; changed under the lock, read by anybody
        self.written = 0
        self.content_dropped = 0
        self.problem: str | None = None
        self.last_error: str | None = None
        self.turns: Turns | None = None  # set where other processes write too
        self._connect = connect
        self._free_bytes = free_bytes
        self._oldest_s = oldest_s
        self._wake = threading.Condition(threading.Lock())
        self._queued: dict[str, Waiting] = {}
        self._writing: dict[str, Waiting] = {}
        self._rows: list[tuple[Row, Row]] = []
        self._settled: set[str] = set()
        self._ops: list[Op] = []
        self._ops_done: list[Done] = []
        self._ops_writing: list[Op] = []
        self._ops_writing_done: list[Done] = []
        self._content_bytes = 0
        self._number = 0
        self._waiters: list[tuple[int, Done]] = []
        self._expire_before_s: float | None = None
        self._stopping = False
        self._stop_failures = 0
        self._ended = False
        self._encoder = msgspec.json.Encoder()
        self._thread = threading.Thread(target=self._run, name="prefrontal-ledger", daemon=True)

    # -- for everybody -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._look_at_the_disk()
        self._thread.start()

    @property
    def writable(self) -> bool:
        """Whether the last attempt worked and there is room for more."""
        return self.problem is None

    @property
    def behind(self) -> bool:
        """Whether statements wait or are being written: what comes after them must not overtake them."""
        return bool(self._ops or self._ops_writing)  # in this order, which is against the one they move in

    def put(self, record: RequestRecord) -> None:
        """Queue a record. Over the bounds its content is dropped and counted, never the record."""
        content = None
        dropped = False
        if record.content is not None:
            content = encode_content(record.content)
            dropped = content is None
            record = msgspec.structs.replace(record, content=None)
        with self._wake:
            if content is not None and (self.queued >= self.bound or self._content_bytes + len(content) > CONTENT_BYTES):
                content, dropped = None, True
            if dropped:
                self.content_dropped += 1
                record = msgspec.structs.replace(record, content_dropped=True)
            older = self._queued.get(record.id)
            if older is None:
                self.queued += 1
            else:
                self._content_bytes -= len(older.content or b"")
            # one that replaces another keeps its number, or a flush that waits for the older would not wait for it
            self._queued[record.id] = Waiting(self._number if older is None else older.number, record, content)
            self._number += 1
            self._content_bytes += len(content or b"")
            ended = self._ended
            if len(self._queued) == 1 or len(self._queued) == GROUP_MAX:
                self._wake.notify()
        if ended:
            log.error("record %s came after the ledger was closed and is lost", record.id)

    def submit(self, ops: list[Op], done: Done) -> None:
        """Write statements at once, in order, and call `done(error)` from the writer's thread when they are committed.

        After an error, or while the disk cannot be written, `done` hears of it at once; the statements stay in their place
        and are tried again.
        """
        with self._wake:
            problem = "the ledger is not open" if self._ended else self.problem
            if self._ended:
                log.error("%d statements came after the ledger was closed and are lost", len(ops))
            else:
                self._ops += ops
                self._wake.notify()
            if problem is None:
                self._ops_done.append(done)
        if problem is not None:
            done(problem)

    def settled(self, charge_id: str) -> None:
        """Be told that an attempt's charge is seen to, so that its record brings none; only to spare work."""
        if len(self._settled) >= MAX_SETTLED:  # of attempts whose records never come
            self._settled.clear()
        self._settled.add(charge_id)

    def find(self, record_id: str) -> Waiting | None:
        """Return the newest version of a record that is not on disk yet."""
        with self._wake:
            return self._queued.get(record_id) or self._writing.get(record_id)

    def waiting(self) -> list[RequestRecord]:
        """Return the records not yet on disk, each id once, the newest version."""
        with self._wake:
            return [waiting.record for waiting in {**self._writing, **self._queued}.values()]

    def on_flushed(self, done: Done) -> None:
        """Call `done(error)` once, from whichever thread, when everything put so far is committed or could not be."""
        with self._wake:
            nothing = not self.queued
            if not nothing and not self._ended and self._thread.is_alive():
                self._waiters.append((self._number, done))
                self._wake.notify()
                return
        done(None if nothing else "the ledger is not open")

    def stop(self, timeout_s: float) -> bool:
        """Write what is queued and end; return whether all of it was written in time.

        A disk that fails now is tried once more without content before the rest is given up.
        """
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self._wake:
            self._ended = True
        return not self._thread.is_alive() and not self.queued and not self._ops and not self._ops_writing

    # -- the writer's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while self._next():
            try:
                connection = connection or self._connect()
                self._write(connection)
                self._expire(connection)
                self._look_at_the_disk()
            except Exception as error:  # noqa: BLE001 - the thread's edge: whatever happens, the records stay and are tried again
                self._failed(error)
                _close(connection)
                connection = None
        _close(connection)
        if self.turns is not None:
            self.turns.close()
        with self._wake:
            self._ended = True
            waiters = [*[done for _, done in self._waiters], *self._ops_writing_done, *self._ops_done]
            self._waiters, self._ops_writing_done, self._ops_done = [], [], []
            lost = self.queued + len(self._ops) + len(self._ops_writing)
        if lost:
            log.error("%d records could not be written before the end: %s", lost, self.last_error)
        for done in waiters:
            done(self.last_error or "the ledger is not open")

    def _next(self) -> bool:
        """Wait for the next round; return False for the end."""
        if self._expire_before_s is None:
            self._expire_before_s = self._oldest_s()
        with self._wake:
            if self.problem is not None:
                self._wake.wait_for(lambda: self._stopping, RETRY_S)
            else:
                self._wake.wait_for(self._has_work, IDLE_S)
                self._wake.wait_for(self._in_a_hurry, GROUP_S)
            empty = not (self.queued or self._ops or self._ops_writing or self._ops_done)
            if self._stopping and (empty or self._stop_failures > 1):
                return False
            self._take()
        return True

    def _has_work(self) -> bool:
        # a group without statements is asked only to tell when what came before it is done
        waiting = self._queued or self._writing or self._waiters or self._ops or self._ops_writing or self._ops_done
        return bool(waiting or self._stopping or self._expire_before_s is not None)

    def _in_a_hurry(self) -> bool:
        return bool(self._ops or self._ops_done or self._waiters or self._stopping or len(self._queued) >= GROUP_MAX)

    def _take(self) -> None:
        """Move the oldest records and all statements into the group, unless one that failed still has to be written."""
        if self._writing or self._ops_writing:
            return
        self._ops_writing, self._ops = self._ops, []
        self._ops_writing_done, self._ops_done = self._ops_done, []
        if len(self._queued) <= GROUP_MAX:
            self._writing, self._queued = self._queued, {}
            return
        self._writing = dict(islice(self._queued.items(), GROUP_MAX))
        for name in self._writing:
            del self._queued[name]

    def _write(self, connection: sqlite3.Connection) -> None:
        """Commit the group. Only this thread changes `_writing`, so it is read here without the lock."""
        group = self._writing
        if group or self._ops_writing:
            if group and not self._rows:
                self._rows = [to_rows(record, content, self._encoder) for _, record, content in group.values()]
            charges = [row for waiting in group.values() for row in charge_rows(waiting.record, self._settled)]
            with nullcontext() if self.turns is None else self.turns.taken():
                connection.execute("BEGIN IMMEDIATE")
                _perform(connection, self._ops_writing)
                _RECORDS.insert(connection, [row for row, _ in self._rows])
                _BODIES.insert(connection, [body for _, body in self._rows])
                # an attempt under a budget was settled before its record came: that charge stands
                _CHARGES.insert(connection, charges)
                connection.execute("COMMIT")
        with self._wake:
            self.written += len(group)
            self.queued -= len(group)
            self._content_bytes -= sum([len(waiting.content or b"") for waiting in group.values()])
            self._writing, self._rows = {}, []
            told, self._ops_writing, self._ops_writing_done = self._ops_writing_done, [], []
            first = next(iter(self._queued.values()), None)
            reached = self._number if first is None else first.number
            ready = [done for number, done in self._waiters if number <= reached]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > reached]
        for done in (*told, *ready):
            done(None)

    def _expire(self, connection: sqlite3.Connection) -> None:
        """Delete some of the records past their retention."""
        before_s = self._expire_before_s
        if before_s is None:
            return
        connection.execute("BEGIN IMMEDIATE")
        query = "SELECT id FROM records WHERE started_s < ? ORDER BY started_s LIMIT ?"
        old = connection.execute(query, (before_s, EXPIRE_MAX)).fetchall()
        connection.executemany("DELETE FROM bodies WHERE id = ?", old)
        connection.executemany("DELETE FROM outcomes WHERE record_id = ?", old)
        connection.executemany("DELETE FROM records WHERE id = ?", old)
        connection.execute("COMMIT")
        if len(old) < EXPIRE_MAX:
            self._expire_before_s = None

    def _look_at_the_disk(self) -> None:
        """After a commit that worked: note whether there is room for the next ones."""
        free = self._free_bytes()
        if free is not None and free < MIN_FREE_BYTES:
            self._trouble(f"only {free // 1024} KiB are free on the disk")
        elif self.problem is not None:
            self.problem = None
            log.warning("the ledger can be written again")

    def _failed(self, error: Exception) -> None:
        told = str(error) if isinstance(error, sqlite3.Error | OSError) else f"{type(error).__name__}: {error}"
        free = self._free_bytes()
        if free is not None and free < MIN_FREE_BYTES and "full" not in told:  # what SQLite calls an input/output error
            told = f"the disk is full ({told})"
        self._trouble(told)
        with self._wake:
            waiters = [*[done for _, done in self._waiters], *self._ops_writing_done, *self._ops_done]
            self._waiters, self._ops_writing_done, self._ops_done = [], [], []
            if self._stopping:
                self._stop_failures += 1
                self._drop_content()
        for done in waiters:
            done(self.last_error)

    def _trouble(self, text: str) -> None:
        if self.problem is None:
            log.error("the ledger cannot be written: %s", text)
        self.problem = self.last_error = text

    def _drop_content(self) -> None:
        """Make the records as small as they can be: the last attempt before the end."""
        for group in (self._writing, self._queued):
            for name, waiting in group.items():
                if waiting.content is not None:
                    bare = msgspec.structs.replace(waiting.record, content_dropped=True)
                    group[name] = Waiting(waiting.number, bare, None)
                    self.content_dropped += 1
        self._content_bytes = 0
        self._rows = []


def _perform(connection: sqlite3.Connection, ops: list[Op]) -> None:
    for op in ops:
        try:
            if isinstance(op, tuple):
                connection.execute(*op)
            else:
                connection.execute("SAVEPOINT step")
                op(connection)
                connection.execute("RELEASE step")
        except POISON as error:
            if not isinstance(op, tuple):  # one that trips halfway leaves nothing behind
                connection.execute("ROLLBACK TO step")
                connection.execute("RELEASE step")
            log.error("a statement is left out of the ledger: %s: %s", error, op[0] if isinstance(op, tuple) else op)


def _close(connection: sqlite3.Connection | None) -> None:
    """Close what may already be broken; an open transaction is rolled back by it."""
    if connection is not None:
        try:
            connection.close()
        except sqlite3.Error as error:
            log.warning("closing the database: %s", error)
