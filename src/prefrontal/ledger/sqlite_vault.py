"""Money in the ledger's database, written in groups: at once while nobody writes, else by the writer, in order."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.money import Charge, Scope
from prefrontal.errors import StoreError
from prefrontal.ledger.charges import (
    DROP_CHARGE,
    PUT_CHARGE,
    charge_row,
    reap_op,
    report_query,
    report_row,
    spent_of,
    spent_query,
)
from prefrontal.ledger.keys import VirtualKey
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.vault import MAX_AUDIT, Audit, SpendQuery, SpendRow, Spent
from prefrontal.ledger.writer import Op

AT_ONCE = 32
"""Statements that are written without the writer (assumed: 0.15 ms at most; measured: 20 µs a commit, 3 µs a statement)."""

FEW = 4
"""Statements that one request may write by itself (assumed: an end and a beginning, with their corrections)."""

WAIT_S = 5.0
"""How long a commit is waited for (assumed: a hundred times what a busy disk takes)."""

PUT_KEY = "INSERT OR REPLACE INTO keys (id, hash, name, body) VALUES (?,?,?,?)"
ADD_AUDIT = "INSERT INTO audit (at_s, actor, action, target, details) VALUES (?,?,?,?,?)"


class SqliteVault:
    """Implements `Vault` on an open `SqliteLedger`. Owned by one event loop.

    A small group is committed where it stands: handing it to another thread and back costs four commits. While there is one
    request at a time it does not even wait for a group. Where that cannot be, because the database is being written or is in
    trouble, the group goes to the writer, and while the writer has one the next gathers, so the number of commits falls as the
    load rises.
    """

    def __init__(self, ledger: SqliteLedger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ops: list[Op] = []
        self._waiters: list[asyncio.Future[str | None]] = []
        self._flying = False
        self._gathering = False  # the group waits for what else this turn of the loop brings
        self._alone = True  # the turn before had one commit at most, so a group is not worth waiting for
        self._by_hand = 0
        self._watch: asyncio.Task[None] | None = None
        self._decoder = msgspec.json.Decoder(VirtualKey)

    # -- writing -----------------------------------------------------------------------------------------------------

    def put_charge(self, charge: Charge) -> None:
        """See `Vault.put_charge`."""
        self._add((PUT_CHARGE, charge_row(charge)))
        if charge.state == "settled":
            self._ledger.settled(charge.id)

    def drop_charge(self, charge_id: str) -> None:
        """See `Vault.drop_charge`."""
        self._add((DROP_CHARGE, (charge_id,)))

    async def committed(self) -> None:
        """See `Vault.committed`."""
        if not self._ops and not self._flying:
            return
        if self._gathering and self._alone and len(self._ops) <= FEW and self._ledger.write_now(self._ops):
            self._ops, self._alone, self._by_hand = [], False, 1
            return
        waiter: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if not self._ops:  # what is in flight is all there is: an empty group after it tells when it is done
            self._add()
        error = await waiter
        if error is not None:
            raise StoreError(f"The ledger cannot be written: {error}.", retry_after_s=5.0)

    def _add(self, *ops: Op) -> None:
        self._ops += ops
        if not self._flying:
            self._flying = self._gathering = True
            asyncio.get_running_loop().call_soon(self._send)  # what else this turn of the loop brings joins the group

    def _send(self) -> None:
        ops, self._ops = self._ops, []
        waiters, self._waiters = self._waiters, []
        self._gathering = False
        self._alone, self._by_hand = self._by_hand + len(waiters) <= 1, 0
        if not (ops or waiters):  # who put them has seen to them
            self._flying = False
            return
        if len(ops) <= AT_ONCE and self._ledger.write_now(ops):
            self._landed(waiters, None)
            return
        loop = asyncio.get_running_loop()

        def done(error: str | None) -> None:
            try:
                loop.call_soon_threadsafe(self._landed, waiters, error)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return

        self._watch = asyncio.create_task(self._lose_patience(waiters), name="a commit")
        self._ledger.submit(ops, done)

    async def _lose_patience(self, waiters: list[asyncio.Future[str | None]]) -> None:
        """Tell all who wait when the writer has not come back in time; it may yet."""
        while True:
            await self._clock.sleep(WAIT_S)
            _tell((*waiters, *self._waiters), f"nothing was committed for {WAIT_S:g} s")

    def _landed(self, waiters: list[asyncio.Future[str | None]], error: str | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        _tell(waiters, error)
        if self._ops or self._waiters:
            self._send()
        else:
            self._flying = False

    # -- reading -----------------------------------------------------------------------------------------------------

    async def spent(self, scope: Scope, since_s: float) -> list[Spent]:
        """See `Vault.spent`. Records put before are on disk first, so that their charges count."""
        await self._ledger.flush()
        await self.committed()
        rows = await self._ledger.read(lambda db: db.execute(spent_query(scope), (since_s,)).fetchall())
        return [spent_of(row) for row in rows if row[0] is not None]

    async def reap(self, now_s: float) -> int:
        """See `Vault.reap`."""
        query = "SELECT count(*) FROM charges WHERE held = 1 AND expires_s < ?"
        (count,) = await self._ledger.read(lambda db: db.execute(query, (now_s,)).fetchone())
        if count:
            self._add(reap_op(now_s))
            await self.committed()
        return int(count)

    async def report(self, query: SpendQuery) -> list[SpendRow]:
        """See `Vault.report`."""
        await self._ledger.flush()
        await self.committed()
        return await read_report(self._ledger, query)

    async def save_key(self, key: VirtualKey, audit: Audit) -> None:
        """See `Vault.save_key`."""
        self._add(
            (PUT_KEY, (key.id, bytes.fromhex(key.hash), key.name, msgspec.json.encode(key))),
            (ADD_AUDIT, (audit.at_s, audit.actor, audit.action, audit.target, audit.details)),
        )
        await self.committed()

    async def note(self, audit: Audit) -> None:
        """See `Vault.note`."""
        self._add((ADD_AUDIT, (audit.at_s, audit.actor, audit.action, audit.target, audit.details)))
        await self.committed()

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        """See `Vault.key_of`."""
        query = "SELECT body FROM keys WHERE hash = ?"
        row = await self._ledger.read(lambda db: db.execute(query, (digest,)).fetchone())
        return None if row is None else self._decoder.decode(row[0])

    async def keys(self) -> list[VirtualKey]:
        """See `Vault.keys`."""
        rows = await self._ledger.read(lambda db: db.execute("SELECT body FROM keys ORDER BY id").fetchall())
        return [self._decoder.decode(body) for (body,) in rows]

    async def has_keys(self) -> bool:
        """See `Vault.has_keys`."""
        row = await self._ledger.read(lambda db: db.execute("SELECT 1 FROM keys LIMIT 1").fetchone())
        return row is not None

    async def audits(self, limit: int) -> list[Audit]:
        """See `Vault.audits`."""
        query = "SELECT at_s, actor, action, target, details FROM audit ORDER BY number DESC LIMIT ?"
        count = max(1, min(limit, MAX_AUDIT))
        rows = await self._ledger.read(lambda db: db.execute(query, (count,)).fetchall())
        return [
            Audit(at_s=at_s, actor=actor, action=action, target=target, details=details)
            for at_s, actor, action, target, details in rows
        ]


def _tell(waiters: Iterable[asyncio.Future[str | None]], error: str | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(error)


async def read_report(ledger: SqliteLedger, query: SpendQuery) -> list[SpendRow]:
    """Return a report of what is on disk; the ledger need not be open. An older database without charges has none."""
    statement, values = report_query(query)

    def run(db: sqlite3.Connection) -> list[tuple[object, ...]]:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'charges'").fetchone() is None:
            return []
        return db.execute(statement, values).fetchall()

    return [report_row(row, len(query.by)) for row in await ledger.read(run)]
