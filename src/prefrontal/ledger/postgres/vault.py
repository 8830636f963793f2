"""Money on Postgres: what several gateways reserve and spend, in groups, each in one transaction.

Everything said is kept in order until it is carried out. While one group is being committed the next one gathers. When the
database is gone, reservations are refused at once and what has ended waits; it is carried out, once, when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.money import Charge, Scope
from prefrontal.ledger.books import BookKey, Claim, Denial, Line, Sheet, Totals
from prefrontal.ledger.keys import VirtualKey
from prefrontal.ledger.postgres.books import (
    READ_BOOKS,
    REAP_MAX,
    Desk,
    Release,
    Reserve,
    Settle,
    Step,
    book_columns,
    stored_key,
    totals_of,
)
from prefrontal.ledger.postgres.order import Order, Work, answer
from prefrontal.ledger.postgres.sql import (
    PUT_CHARGES,
    charge_row,
    columns,
    report_line,
    report_query,
    spent_of,
    spent_query,
    text,
)
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.vault import MAX_AUDIT, Audit, SpendQuery, SpendRow, Spent

_PUT_KEY = (
    "INSERT INTO keys (id, hash, name, body) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, name = excluded.name, body = excluded.body"
)
_ADD_AUDIT = (  # not a second time when the answer to the first commit was lost
    "INSERT INTO audit (at_s, actor, action, target, details) SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT FROM audit"
    " WHERE number > (SELECT coalesce(max(number), 0) - 100 FROM audit)"
    " AND (at_s, actor, action, target, details) = ($1::float8, $2::text, $3::text, $4::text, $5::text))"
)
_THROW_AWAY = (
    "WITH gone AS (SELECT scope, span, subject, start_s FROM books WHERE scope = $1 AND span = $2"
    " AND ($3::text IS NULL OR subject = $3) ORDER BY scope, span, subject, start_s FOR UPDATE)"
    " DELETE FROM books USING gone WHERE (books.scope, books.span, books.subject, books.start_s)"
    " = (gone.scope, gone.span, gone.subject, gone.start_s)"
)
_TIDY = (  # windows that ended long ago; a month's last call may end a day late
    "DELETE FROM books WHERE ctid IN (SELECT ctid FROM books WHERE start_s < $1 - CASE span WHEN 'minute' THEN 7200"
    " WHEN 'hour' THEN 90000 WHEN 'day' THEN 259200 ELSE 4000000 END AND span <> 'total' LIMIT 1000 FOR UPDATE SKIP LOCKED)"
)


class PostgresVault:
    """Implements `SharedVault` on an open `PostgresLedger`, with its connections. Belongs to one event loop."""

    def __init__(self, ledger: PostgresLedger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._postgres = ledger.postgres
        self.order = Order(self._take, postgres=ledger.postgres, clock=clock, what="the books")
        self._decoder = msgspec.json.Decoder(VirtualKey)
        ledger.before_close.append(self.order.aclose)

    # -- saying --------------------------------------------------------------------------------------------------------

    def put_charge(self, charge: Charge) -> None:
        """See `Vault.put_charge`."""
        row = charge_row(charge)
        self.order.say(Work(run=lambda: self._postgres.execute(PUT_CHARGES, *columns([row]))))

    def drop_charge(self, charge_id: str) -> None:
        """See `Vault.drop_charge`."""
        self.order.say(Work(run=lambda: self._postgres.execute("DELETE FROM charges WHERE id = $1", text(charge_id))))

    async def reserve(self, claim: Claim) -> Denial | None:
        """See `SharedVault.reserve`. Refused at once while the database is known to be gone."""
        waiting: asyncio.Future[Denial | None] = asyncio.get_running_loop().create_future()
        denial: Denial | None = await self.order.ask(Reserve(claim=claim, answer=waiting))
        return denial

    def settle(self, charge: Charge) -> None:
        """See `SharedVault.settle`."""
        self.order.say(Settle(charge=charge))

    def release(self, charge_id: str) -> None:
        """See `SharedVault.release`."""
        self.order.say(Release(charge_id=charge_id))

    async def recount(self, sheets: Iterable[Sheet], subject: str | None = None) -> None:
        """See `SharedVault.recount`."""
        wanted = sorted(set(sheets))
        await self._ledger.flush()  # charges that come with records are added up too
        only = None if subject is None else text(subject)

        async def run() -> None:
            for scope, span in wanted:
                await self._postgres.execute(_THROW_AWAY, scope, span, only)

        await self.order.do(run)

    async def reap(self, now_s: float) -> int:
        """See `Vault.reap`. What another process is reaping is left to it."""

        async def run() -> int:
            count = REAP_MAX
            total = 0
            while count == REAP_MAX:
                async with self._postgres.transaction() as connection:
                    count = await Desk(connection).reap(now_s)
                total += count
            await self._postgres.execute(_TIDY, now_s)
            return total

        return await self.order.do(run)

    async def save_key(self, key: VirtualKey, audit: Audit) -> None:
        """See `Vault.save_key`."""
        row = (text(key.id), bytes.fromhex(key.hash), text(key.name), msgspec.json.encode(key))
        note = (audit.at_s, *[text(part) for part in (audit.actor, audit.action, audit.target, audit.details)])

        async def run() -> None:
            async with self._postgres.transaction() as connection:
                await connection.execute(_PUT_KEY, *row)
                await connection.execute(_ADD_AUDIT, *note)

        await self.order.do(run)

    async def note(self, audit: Audit) -> None:
        """See `Vault.note`."""
        note = (audit.at_s, *[text(part) for part in (audit.actor, audit.action, audit.target, audit.details)])

        async def run() -> None:
            await self._postgres.execute(_ADD_AUDIT, *note)

        await self.order.do(run)

    async def committed(self) -> None:
        """See `Vault.committed`."""
        await self.order.reached()

    async def _take(self, steps: list[Step]) -> None:
        async with self._postgres.transaction() as connection:
            found = await Desk(connection).take(steps)
        for step, denial in zip([step for step in steps if isinstance(step, Reserve)], found, strict=True):
            answer(step, denial)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def standings(self, lines: Sequence[Line]) -> list[Totals]:
        """See `SharedVault.standings`. Books that are not there yet are made: who asks next need not add them up again."""
        if not lines:
            return []
        await self.committed()
        rows = await self._postgres.fetch(READ_BOOKS, *book_columns(lines))
        found: dict[BookKey, Totals] = {(row[0], row[1], row[2], row[3]): totals_of(row[4:]) for row in rows}
        missing = [line for line in lines if stored_key(line.key) not in found]

        async def make() -> dict[BookKey, Totals]:
            async with self._postgres.transaction() as connection:
                return await Desk(connection).make(missing)

        if missing:
            found |= await self.order.do(make)
        return [found[stored_key(line.key)] for line in lines]

    async def members(self, sheet: Sheet, start_s: float) -> list[str]:
        """See `SharedVault.members`. Those who spent something count too, before a book of theirs is needed."""
        query = "SELECT subject FROM books WHERE scope = $1 AND span = $2 AND start_s = $3"
        await self.committed()
        found = {str(row[0]) for row in await self._postgres.fetch(query, *sheet, start_s)}
        if sheet[0] != "role":  # charges know models, not their roles
            found |= {str(row[0]) for row in await self._postgres.fetch(spent_query(sheet[0]), start_s)}
        return sorted(found)

    async def spent(self, scope: Scope, since_s: float) -> list[Spent]:
        """See `Vault.spent`. Records put before are in the database first, so that their charges count."""
        await self._ledger.flush()
        await self.committed()
        return [spent_of(tuple(row)) for row in await self._postgres.fetch(spent_query(scope), since_s)]

    async def report(self, query: SpendQuery) -> list[SpendRow]:
        """See `Vault.report`."""
        await self._ledger.flush()
        await self.committed()
        statement, values = report_query(query)
        rows = await self._postgres.fetch(statement, *values)
        return [report_line(tuple(row), len(query.by)) for row in rows]

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        """See `Vault.key_of`."""
        row = await self._postgres.fetchrow("SELECT body FROM keys WHERE hash = $1", digest)
        return None if row is None else self._decoder.decode(row[0])

    async def keys(self) -> list[VirtualKey]:
        """See `Vault.keys`."""
        return [self._decoder.decode(row[0]) for row in await self._postgres.fetch("SELECT body FROM keys ORDER BY id")]

    async def has_keys(self) -> bool:
        """See `Vault.has_keys`."""
        return await self._postgres.fetchrow("SELECT 1 FROM keys LIMIT 1") is not None

    async def audits(self, limit: int) -> list[Audit]:
        """See `Vault.audits`."""
        count = max(1, min(limit, MAX_AUDIT))
        query = f"SELECT at_s, actor, action, target, details FROM audit ORDER BY number DESC LIMIT {count:d}"  # noqa: S608 - a number
        names = ("at_s", "actor", "action", "target", "details")
        return [Audit(**dict(zip(names, row, strict=True))) for row in await self._postgres.fetch(query)]
