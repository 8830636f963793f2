"""The ledger on Postgres: a bounded queue before one task that commits in groups.

A process killed at any moment loses at most the last group (some 50 ms). While the database is gone the queue fills: requests
go on, and near its bound new ones are refused. Writing a group twice changes nothing, so one whose commit was not answered is
simply written again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.record import RequestRecord
from prefrontal.errors import Overloaded, StoreError
from prefrontal.ledger.charges import record_charges
from prefrontal.ledger.postgres.pool import POISON, Postgres
from prefrontal.ledger.postgres.queue import Queue
from prefrontal.ledger.postgres.sql import (
    ADD_CHARGES,
    EXPIRE,
    INSERT_BODIES,
    INSERT_RECORDS,
    charge_row,
    clean,
    columns,
    last_of_each,
    where,
)
from prefrontal.ledger.rows import to_rows
from prefrontal.ledger.sqlite import CLEANUP_S, CLOSE_S, NEAR, SECONDS_PER_DAY
from prefrontal.ledger.store import LedgerStatus, RecordFilter, Subject
from prefrontal.ledger.writer import EXPIRE_MAX, GROUP_S, RETRY_S, Waiting

log = logging.getLogger(__name__)


class PostgresLedger:
    """Request records in one database that any number of processes share. Belongs to one event loop."""

    def __init__(
        self, postgres: Postgres, *, clock: Clock, queue_size: int = 10_000, retention_days: float | None = None
    ) -> None:
        """The ledger owns `postgres`: it is opened and closed with it."""
        self.postgres = postgres
        self.retention_days = retention_days
        self._clock = clock
        self._queue = Queue(queue_size)
        self._problem: str | None = None
        self._last_error: str | None = None
        self._task: asyncio.Task[None] | None = None
        self.before_close: list[Callable[[], Awaitable[None]]] = []
        self._closing = False
        self._cleaned_at: float | None = None
        self._expire_before_s: float | None = None
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(RequestRecord)

    async def open(self, *, write: bool = True) -> PostgresLedger:
        """Connect, make or migrate the tables, and start to write. Raises StoreError.

        write: False only reads, and leaves tables as they are.
        """
        await self.postgres.open(migrate=write)
        if write:
            self._task = asyncio.get_running_loop().create_task(self._keep_writing(), name="ledger")
        return self

    # -- writing -------------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """See `Ledger.admit`. A database that is gone refuses nobody until the queue is nearly full."""
        if len(self._queue) >= self._queue.bound * NEAR:
            why = f"Records cannot be written: {self._problem}." if self._problem else "Records are written too slowly."
            raise Overloaded(why, retry_after_s=5.0 if self._problem else 1.0, hint="No model was called.")

    def put(self, record: RequestRecord) -> None:
        """See `Ledger.put`."""
        if self._closing:
            log.error("record %s came after the ledger was closed and is lost", record.id)
            return
        self._queue.put(record)

    async def flush(self) -> None:
        """See `Ledger.flush`."""
        if not len(self._queue):
            return
        error = "the ledger is not open" if self._task is None or self._task.done() else await self._queue.flushed()
        if error is not None:
            raise StoreError(f"Records cannot be written: {error}.", retry_after_s=5.0)

    def status(self) -> LedgerStatus:
        """See `Ledger.status`."""
        queue = self._queue
        return LedgerStatus(
            writable=self._problem is None,
            queued=len(queue),
            bound=queue.bound,
            written=queue.written,
            content_dropped=queue.content_dropped,
            last_error=self._last_error,
        )

    async def aclose(self) -> None:
        """See `Ledger.aclose`."""
        if self._closing:
            return
        self._closing = True
        self._queue.wake.set()
        for close in self.before_close:
            await close()
        if self._task is not None:
            try:
                async with self._clock.timeout(CLOSE_S):
                    await self._task
            except TimeoutError:
                log.error("the ledger did not end in time")
        if len(self._queue):
            log.error("%d records could not be written before the end: %s", len(self._queue), self._last_error)
        await self.postgres.aclose()

    async def _keep_writing(self) -> None:
        while await self._next():
            try:
                if group := self._queue.take():
                    await self._write(list(group.values()))
                self._queue.landed()
                await self._expire()
            except StoreError as error:
                self._failed(error.message)
                if self._closing:
                    break
                await self._clock.sleep(RETRY_S)
                self._queue.wake.set()
            else:
                if self._problem is not None:
                    self._problem = None
                    log.warning("the ledger can be written again")
        self._queue.failed(self._last_error or "the ledger is not open")

    async def _next(self) -> bool:
        """Wait for the next group; return False for the end."""
        queue = self._queue
        if not len(queue) and not self._closing:
            queue.wake.clear()
            self._look_at_the_age()
            if self._expire_before_s is None:
                try:
                    async with self._clock.timeout(CLEANUP_S):
                        await queue.wake.wait()
                except TimeoutError:
                    return True
            if not (queue.hurried or self._closing):
                await self._clock.sleep(GROUP_S)
        return bool(len(queue)) or not self._closing

    async def _write(self, group: list[Waiting]) -> None:
        """Commit the group. A record that the database will never take is left out, so that it cannot keep all others out."""
        try:
            await self._commit(group)
        except (StoreError, ValueError, OverflowError) as error:
            if isinstance(error, StoreError) and not isinstance(error.__cause__, POISON):
                raise
            if len(group) == 1:
                log.error("the record %s cannot be stored and is lost: %s", group[0].record.id, error)
                return
            for waiting in group:
                await self._write([waiting])

    async def _commit(self, group: list[Waiting]) -> None:
        rows = [to_rows(waiting.record, waiting.content, self._encoder) for waiting in group]
        charges = last_of_each([charge_row(charge) for waiting in group for charge in record_charges(waiting.record)])
        async with self.postgres.transaction() as connection:
            await connection.execute(INSERT_RECORDS, *columns(last_of_each([clean(record) for record, _ in rows])))
            await connection.execute(INSERT_BODIES, *columns(last_of_each([clean(body) for _, body in rows])))
            if charges:  # an attempt under a budget was settled before its record came: that charge stands
                await connection.execute(ADD_CHARGES, *columns(charges))

    def _failed(self, why: str) -> None:
        if self._problem is None:
            log.error("the ledger cannot be written: %s", why)
        self._problem = self._last_error = why.rstrip(".")
        self._queue.failed(self._problem)

    def _look_at_the_age(self) -> None:
        now = self._clock.monotonic()
        if self.retention_days is None or (self._cleaned_at is not None and now - self._cleaned_at < CLEANUP_S):
            return
        self._cleaned_at = now
        self._expire_before_s = self._clock.now() - self.retention_days * SECONDS_PER_DAY

    async def _expire(self) -> None:
        """Delete some of the records past their retention. Several processes may do so at once."""
        if self._expire_before_s is None:
            return
        if await self.postgres.execute(EXPIRE, self._expire_before_s, EXPIRE_MAX) < EXPIRE_MAX:
            self._expire_before_s = None

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, record_id: str) -> RequestRecord | None:
        """See `Ledger.get`."""
        waiting = self._queue.find(record_id)
        if waiting is not None:
            return _whole(waiting.record, waiting.content)
        row = await self.postgres.fetchrow("SELECT body, content FROM bodies WHERE id = $1", *clean((record_id,)))
        if row is None:
            return None
        try:
            return _whole(self._decoder.decode(row[0]), row[1])
        except msgspec.DecodeError as error:
            raise StoreError(f"The record {record_id} cannot be read: {error}.") from error

    async def find(self, wanted: RecordFilter) -> list[RequestRecord]:
        """See `Ledger.find`. What waits in memory is listed with what is in the database, that of other processes included."""
        waiting = self._queue.waiting()  # before the database is read, or some could be in neither
        found = {record_id: record for record_id, record in waiting.items() if wanted.matches(record)}
        condition, values = where(wanted)
        query = f"SELECT r.id, b.body FROM records r JOIN bodies b ON b.id = r.id {condition}"  # noqa: S608 - made of constants
        rows = await self.postgres.fetch(f"{query} ORDER BY r.id DESC LIMIT {wanted.bounded_limit:d}", *values)
        for record_id, body in rows:
            if record_id not in waiting:
                try:
                    found[record_id] = self._decoder.decode(body)
                except msgspec.DecodeError as error:
                    log.warning("the record %s is left out of a listing: %s", record_id, error)
        return [found[record_id] for record_id in sorted(found, reverse=True)[: wanted.bounded_limit]]

    async def ids_of(self, subject: Subject) -> list[str]:
        """See `Ledger.ids_of`. Of a person all bodies are looked through."""
        await self.flush()
        if subject.user is not None:
            query, value = "SELECT id FROM bodies WHERE position($1::bytea IN body) > 0 ORDER BY id DESC", subject.user.encode()
            rows = await self.postgres.fetch(query, value)
        elif subject.record_id is not None:
            rows = await self.postgres.fetch("SELECT id FROM records WHERE id = $1", *clean((subject.record_id,)))
        else:
            query = "SELECT id FROM records WHERE key_id = $1 ORDER BY id DESC"
            rows = await self.postgres.fetch(query, *clean((subject.key_id,)))
        return [row[0] for row in rows]

    async def erase(self, ids: Sequence[str]) -> int:
        """See `Ledger.erase`. Postgres itself keeps old pages until it vacuums."""
        await self.flush()
        gone = (
            "WITH words AS (DELETE FROM bodies WHERE id = ANY($1::text[])),"
            " labels AS (DELETE FROM outcomes WHERE record_id = ANY($1::text[]))"
            " DELETE FROM records WHERE id = ANY($1::text[])"
        )
        return await self.postgres.execute(gone, list(ids))

    async def spend_usd(self, since_s: float, models: frozenset[str]) -> float:
        """See `Ledger.spend_usd`. Other processes' records count as soon as they are written."""
        await self.flush()
        condition = "started_s >= $1 AND cost_usd > 0 AND model = ANY($2::text[])"
        query = f"SELECT coalesce(sum(cost_usd), 0) FROM records WHERE {condition}"  # noqa: S608 - made of constants
        row = await self.postgres.fetchrow(query, since_s, sorted(models))
        return float(row[0])


def _whole(record: RequestRecord, content: bytes | None) -> RequestRecord:
    return record if content is None else msgspec.structs.replace(record, content=msgspec.json.decode(content))
