"""Money on Postgres: what several gateways reserve and spend, in groups, each in one transaction.

Everything said is kept in order until it is carried out. While one group is being committed the next one gathers. When the
database is gone, reservations are refused at once and what has ended waits; it is carried out, once, when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar, cast

import asyncpg
import msgspec

from prefrontal.clock import Clock
from prefrontal.contracts.money import Charge, Scope
from prefrontal.errors import StoreError
from prefrontal.ledger.books import Claim, Denial, Line, Sheet, Totals
from prefrontal.ledger.keys import VirtualKey
from prefrontal.ledger.postgres.books import (
    READ_BOOKS,
    REAP_MAX,
    Desk,
    Mark,
    Release,
    Reserve,
    Settle,
    Step,
    add_up,
    book_columns,
    stored_key,
    totals_of,
)
from prefrontal.ledger.postgres.pool import POISON, RETRY_AFTER_S
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
from prefrontal.ledger.writer import RETRY_S

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_S = 5.0
"""How long a commit is waited for (assumed: a hundred times what a busy database takes)."""

STEPS_MAX = 500
"""Steps in one transaction at most, so that books are not locked for long (assumed: some ten milliseconds)."""

TRIES = 3
"""How often a group is tried that another transaction stops (assumed)."""

AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""What another transaction caused, and a second try mends."""

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


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """Something other than a step that has its place in the order; `answer` hears what it returns."""

    run: Callable[[], Awaitable[object]]
    answer: asyncio.Future[object] | None = None


class PostgresVault:
    """Implements `SharedVault` on an open `PostgresLedger`, with its connections. Belongs to one event loop."""

    def __init__(self, ledger: PostgresLedger, *, clock: Clock) -> None:
        self._ledger = ledger
        self._postgres = ledger.postgres
        self._clock = clock
        self._todo: list[Step | Work] = []
        self._task: asyncio.Task[None] | None = None
        self._problem: str | None = None
        self._closing = False
        self._decoder = msgspec.json.Decoder(VirtualKey)
        ledger.before_close.append(self.aclose)

    # -- saying --------------------------------------------------------------------------------------------------------

    def put_charge(self, charge: Charge) -> None:
        """See `Vault.put_charge`."""
        row = charge_row(charge)
        self._say(Work(run=lambda: self._postgres.execute(PUT_CHARGES, *columns([row]))))

    def drop_charge(self, charge_id: str) -> None:
        """See `Vault.drop_charge`."""
        self._say(Work(run=lambda: self._postgres.execute("DELETE FROM charges WHERE id = $1", text(charge_id))))

    async def reserve(self, claim: Claim) -> Denial | None:
        """See `SharedVault.reserve`. Refused at once while the database is known to be gone."""
        self._check()
        answer: asyncio.Future[Denial | None] = asyncio.get_running_loop().create_future()
        self._say(Reserve(claim=claim, answer=answer))
        return await self._in_time(answer)

    def settle(self, charge: Charge) -> None:
        """See `SharedVault.settle`."""
        self._say(Settle(charge=charge))

    def release(self, charge_id: str) -> None:
        """See `SharedVault.release`."""
        self._say(Release(charge_id=charge_id))

    async def recount(self, sheets: Iterable[Sheet], subject: str | None = None) -> None:
        """See `SharedVault.recount`."""
        wanted = sorted(set(sheets))
        await self._ledger.flush()  # charges that come with records are added up too
        only = None if subject is None else text(subject)

        async def run() -> None:
            for scope, span in wanted:
                await self._postgres.execute(_THROW_AWAY, scope, span, only)

        await self._ask(run)

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

        return await self._ask(run)

    async def save_key(self, key: VirtualKey, audit: Audit) -> None:
        """See `Vault.save_key`."""
        row = (text(key.id), bytes.fromhex(key.hash), text(key.name), msgspec.json.encode(key))
        note = (audit.at_s, *[text(part) for part in (audit.actor, audit.action, audit.target, audit.details)])

        async def run() -> None:
            async with self._postgres.transaction() as connection:
                await connection.execute(_PUT_KEY, *row)
                await connection.execute(_ADD_AUDIT, *note)

        await self._ask(run)

    async def committed(self) -> None:
        """See `Vault.committed`."""
        if not self._todo:
            return
        self._check()
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._say(Mark(answer=answer))
        await self._in_time(answer)

    async def aclose(self) -> None:
        """Carry out what was said, or say that it is lost; the ledger calls this before it closes."""
        self._closing = True
        if self._task is not None:
            try:
                async with self._clock.timeout(WAIT_S):
                    await self._task
            except TimeoutError:
                log.error("the books did not end in time")
        if self._todo:
            log.error("%d ends of calls could not be written before the end: %s", len(self._todo), self._problem)

    # -- carrying out --------------------------------------------------------------------------------------------------

    def _say(self, what: Step | Work) -> None:
        self._todo.append(what)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._carry_out(), name="books")

    async def _ask(self, run: Callable[[], Awaitable[T]]) -> T:
        """Have something done in its place and return what it returns. Raises StoreError; it is tried again then."""
        self._check()
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._say(Work(run=run, answer=answer))
        return cast("T", await self._in_time(answer))

    async def _in_time(self, answer: asyncio.Future[T]) -> T:
        try:
            async with self._clock.timeout(WAIT_S):
                return await answer
        except TimeoutError:
            raise self._refusal(f"nothing was committed for {WAIT_S:g} s") from None

    def _check(self) -> None:
        if self._problem is not None:
            raise self._refusal(self._problem)
        if self._closing:
            raise self._refusal("the ledger is closed")

    @staticmethod
    def _refusal(why: str) -> StoreError:
        return StoreError(f"The ledger cannot be written: {why}.", retry_after_s=RETRY_AFTER_S)

    async def _carry_out(self) -> None:
        """Carry out what is to be done until there is nothing left, or for as long as the database is gone."""
        while self._todo or self._problem is not None:
            try:
                await self._next(_group(self._todo))
            except StoreError as error:
                self._failed(error.message.rstrip("."))
                if self._closing:
                    break
                await self._clock.sleep(RETRY_S)
            else:
                if self._problem is not None:
                    self._problem = None
                    log.warning("the books can be written again")
        self._task = None

    async def _next(self, group: list[Step | Work]) -> None:
        """Carry out a group and take it off the list. Raises StoreError: it stays there."""
        for _ in range(TRIES):
            try:
                await self._take(group)
            except StoreError as error:
                if isinstance(error.__cause__, AGAIN):
                    continue
                if not isinstance(error.__cause__, POISON):
                    raise
                await self._one_by_one(group, error)
            else:
                del self._todo[: len(group)]
            return
        raise StoreError(f"other transactions came first {TRIES} times")

    async def _take(self, group: list[Step | Work]) -> None:
        if not group:
            await self._postgres.execute("SELECT 1")  # whether the database is back
        elif isinstance(group[0], Work):
            found = await group[0].run()
            if group[0].answer is not None and not group[0].answer.done():
                group[0].answer.set_result(found)
        else:
            await self._take_steps([step for step in group if not isinstance(step, Work)])

    async def _take_steps(self, steps: list[Step]) -> None:
        # a reservation that was given up before it was sent need not be made
        steps = [step for step in steps if not (isinstance(step, Reserve) and step.answer.done())]
        async with self._postgres.transaction() as connection:
            answers = iter(await Desk(connection).take(steps))
        for step in steps:
            if isinstance(step, Reserve):
                answer = next(answers)
                if not step.answer.done():
                    step.answer.set_result(answer)
            elif isinstance(step, Mark) and not step.answer.done():
                step.answer.set_result(None)

    async def _one_by_one(self, group: list[Step | Work], error: StoreError) -> None:
        """Carry out one after the other what cannot be carried out together; what never can be is left out."""
        for one in group:
            try:
                if len(group) == 1:
                    raise error
                await self._take([one])
            except StoreError as failed:
                if not isinstance(failed.__cause__, POISON):
                    raise
                log.error("a step is left out of the books: %s", failed.message)
                _refuse(one, failed)
            del self._todo[0]

    def _failed(self, why: str) -> None:
        """Refuse whoever waits; what has ended stays, reservations do not: nobody would use them."""
        if self._problem is None:
            log.error("the books cannot be written: %s", why)
        self._problem = why
        for one in self._todo:
            _refuse(one, self._refusal(why))
        self._todo = [one for one in self._todo if not isinstance(one, Reserve | Mark)]

    # -- reading -------------------------------------------------------------------------------------------------------

    async def standings(self, lines: Sequence[Line]) -> list[Totals]:
        """See `SharedVault.standings`. A book that is not there yet is added up, and not made."""
        if not lines:
            return []
        await self.committed()
        rows = await self._postgres.fetch(READ_BOOKS, *book_columns(lines))
        found = {tuple(row[:4]): totals_of(row[4:]) for row in rows}
        totals: list[Totals] = []
        for line in lines:
            key = stored_key(line.key)
            if key not in found:
                async with self._postgres.transaction() as connection:
                    found[key] = await add_up(connection, line)
            totals.append(found[key])
        return totals

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


def _group(todo: Sequence[Step | Work]) -> list[Step | Work]:
    """Return what is carried out next: as many steps as come first, or one piece of other work."""
    if todo and isinstance(todo[0], Work):
        return [todo[0]]
    group: list[Step | Work] = []
    for one in todo[:STEPS_MAX]:
        if isinstance(one, Work):
            break
        group.append(one)
    return group


def _refuse(one: Step | Work, error: StoreError) -> None:
    if not isinstance(one, Settle | Release) and one.answer is not None and not one.answer.done():
        one.answer.set_exception(error)
