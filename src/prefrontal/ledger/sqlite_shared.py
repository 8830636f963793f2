"""Several processes on one SQLite database: budgets and rate limits checked and counted inside the writer's transaction.

A transaction that writes is alone in the database, so what it reads is what is true. Reservations that come at the same time in
one process share one, each checked in its turn.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from prefrontal.clock import Clock
from prefrontal.contracts.money import Charge
from prefrontal.errors import StoreError
from prefrontal.ledger.board import Admitted, RateDenial, RateLine
from prefrontal.ledger.books import Claim, Denial, Line, Sheet, Totals
from prefrontal.ledger.charges import spent_query
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_books import reap_in, recount_in, release_in, reserve_in, settle_in, totals_in
from prefrontal.ledger.sqlite_rates import LEAVE, RENEW, SWEEP, amendments, enter_in
from prefrontal.ledger.sqlite_vault import SqliteVault

T = TypeVar("T")


class SqliteSharedVault(SqliteVault):
    """Implements `SharedVault` and `RateBoard`. Owned by one event loop; other processes have their own on the same file."""

    def __init__(self, ledger: SqliteLedger, *, clock: Clock) -> None:
        super().__init__(ledger, clock=clock)
        self._leases: set[str] = set()
        ledger.take_turns()

    # -- books -------------------------------------------------------------------------------------------------------

    async def reserve(self, claim: Claim) -> Denial | None:
        """See `SharedVault.reserve`."""
        return await self._done(lambda db: reserve_in(db, claim))

    def settle(self, charge: Charge) -> None:
        """See `SharedVault.settle`."""
        self._add(partial(settle_in, charge=charge))

    def release(self, charge_id: str) -> None:
        """See `SharedVault.release`."""
        self._add(partial(release_in, charge_id=charge_id))

    async def reap(self, now_s: float) -> int:
        """See `Vault.reap`. Whichever process comes first settles; the books are those of the reservation."""
        return await self._done(lambda db: reap_in(db, now_s))

    async def recount(self, sheets: Iterable[Sheet], subject: str | None = None) -> None:
        """See `SharedVault.recount`."""
        wanted = tuple(sheets)
        await self._ledger.flush()  # charges that come with records are added up too
        await self._done(lambda db: recount_in(db, wanted, subject))

    async def standings(self, lines: Sequence[Line]) -> list[Totals]:
        """See `SharedVault.standings`."""
        if not lines:
            return []
        await self.committed()
        return await self._ledger.read(lambda db: [totals_in(db, line, keep=False) for line in lines])

    async def members(self, sheet: Sheet, start_s: float) -> list[str]:
        """See `SharedVault.members`; those whose books will be made by their next reservation are among them."""
        await self.committed()
        scope, window = sheet
        query = "SELECT subject FROM books WHERE scope = ? AND span = ? AND start_s = ?"

        def run(db: sqlite3.Connection) -> list[str]:
            found = {str(name) for (name,) in db.execute(query, (scope, window, start_s))}
            if scope != "role":  # charges know models, not which roles these fill
                found |= {str(row[0]) for row in db.execute(spent_query(scope), (start_s,)) if row[0] is not None}
            return sorted(found)

        return await self._ledger.read(run)

    # -- rate limits -------------------------------------------------------------------------------------------------

    async def enter(self, lines: Sequence[RateLine], lease_id: str, ttl_s: float) -> Admitted | RateDenial:
        """See `RateBoard.enter`."""
        now_s = self._clock.now()
        if any(line.requests and line.rate.concurrency is not None for line in lines):
            self._leases.add(lease_id)
        try:
            denial = await self._done(lambda db: enter_in(db, lines, lease_id, ttl_s, now_s))
        except StoreError:
            self.leave(lease_id)  # it may still be carried out, and counts then: rather once too much
            raise
        return Admitted(at_s=now_s) if denial is None else denial

    def amend(self, lines: Sequence[RateLine], at_s: float, tokens: int) -> None:
        """See `RateBoard.amend`."""
        self._add(*amendments(lines, at_s, tokens))

    def leave(self, lease_id: str) -> None:
        """See `RateBoard.leave`."""
        if lease_id in self._leases:
            self._leases.discard(lease_id)
            self._add((LEAVE, (lease_id,)))

    async def renew(self, ttl_s: float) -> None:
        """See `RateBoard.renew`. What nobody asks for any more is deleted too."""
        now_s = self._clock.now()
        self._add(*[(RENEW, (now_s + ttl_s, lease)) for lease in self._leases], *[(query, (now_s,)) for query in SWEEP])
        await self.committed()

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _done(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `work` returned in the transaction that was committed. Raises StoreError."""
        found: list[T] = []

        def step(db: sqlite3.Connection) -> None:
            found.clear()  # of a group that is tried again only the last try holds
            found.append(work(db))

        self._add(step)
        await self.committed()
        if not found:
            raise StoreError("The ledger cannot carry this out; the log says why.")
        return found[0]
