"""Reservations and their ends in one transaction: a step reads the rows, locks the books, counts, and writes what changed.

Every step locks the rows of its charges in the order of their ids and then its books in the order of their keys, so that no two
wait for each other. The new numbers come from `ledger.books`; nothing is added up in SQL but what a new book begins with. A step
that is taken twice changes nothing the second time: whether a charge is still open is read from its row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Charge
from prefrontal.ledger.books import BookKey, Claim, Denial, Line, Totals, change, denied, keys_of, open_still, reaped, share
from prefrontal.ledger.postgres.sql import HOLD_CHARGES, MARK, charge_row, columns, text, whole

REAP_MAX = 1000
"""Charges reaped in one transaction (assumed)."""

ADD_UP_S = 300
"""How long the charges of one window may take to add up, s: it is done once, and has to end (measured: 0.9 s a million)."""

_COLUMNS = (
    "id, at_s, held, expires_s, key_id, team, tags, model, outcome, source, input_tokens, cache_read_tokens, cache_write_tokens,"
    " output_tokens, reasoning_tokens, cost_pico, lines"
)
_ROWS = f"SELECT {_COLUMNS} FROM charges WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE"  # noqa: S608 - made of constants
_STALE = (
    f"SELECT {_COLUMNS} FROM charges WHERE held AND expires_s < $1 ORDER BY id LIMIT {REAP_MAX} FOR UPDATE SKIP LOCKED"  # noqa: S608 - made of constants
)
_KEYS = "unnest($1::text[], $2::text[], $3::text[], $4::float8[]) AS k(scope, span, subject, start_s)"
_NUMBERS = "spent_pico, spent_tokens, held_pico, held_tokens, unpriced"
READ_BOOKS = (
    f"SELECT b.scope, b.span, b.subject, b.start_s, {_NUMBERS} FROM books b JOIN {_KEYS} USING (scope, span, subject, start_s)"  # noqa: S608 - made of constants
)
_LOCK_BOOKS = f"{READ_BOOKS} ORDER BY b.scope, b.span, b.subject, b.start_s FOR UPDATE OF b"
_WRITE_BOOKS = (
    "UPDATE books b SET spent_pico = k.spent_pico, spent_tokens = k.spent_tokens, held_pico = k.held_pico,"
    " held_tokens = k.held_tokens, unpriced = k.unpriced FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[],"
    " $5::text[]::numeric[], $6::text[]::numeric[], $7::text[]::numeric[], $8::text[]::numeric[], $9::int8[])"
    " AS k(scope, span, subject, start_s, spent_pico, spent_tokens, held_pico, held_tokens, unpriced)"
    " WHERE (b.scope, b.span, b.subject, b.start_s) = (k.scope, k.span, k.subject, k.start_s)"
)
_TOKENS = "input_tokens::numeric + cache_read_tokens + cache_write_tokens + output_tokens"
_SUMS = (
    f"SELECT coalesce(sum(cost_pico) FILTER (WHERE NOT mine), 0), coalesce(sum({_TOKENS}) FILTER (WHERE NOT mine), 0),"  # noqa: S608 - made of constants
    f" coalesce(sum(cost_pico) FILTER (WHERE mine), 0), coalesce(sum({_TOKENS}) FILTER (WHERE mine), 0),"
    " count(*) FILTER (WHERE cost_pico IS NULL AND NOT mine)"
    " FROM (SELECT *, held AND coalesce($3 = ANY(lines), false) AS mine FROM charges"
    " WHERE at_s >= $1 AND at_s < $2 AND $4::text IS NOT NULL AND $5::text[] IS NOT NULL AND {of}) AS found"
)
_OF = {
    "global": "true",
    "key": "key_id = $4",
    "team": "team = $4",
    "tag": "$4 = ANY(tags)",
    "model": "model = $4",
    "role": "model = ANY($5)",
}
_MAKE_BOOK = (
    f"INSERT INTO books (scope, span, subject, start_s, {_NUMBERS})"  # noqa: S608 - made of constants
    " VALUES ($1, $2, $3, $4, $5::text::numeric, $6::text::numeric, $7::text::numeric, $8::text::numeric, $9)"
    " ON CONFLICT DO NOTHING"
)
NEVER_S = 1e18
"""The end of a window that does not end, Unix s."""


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, and whom to tell what came of it."""

    claim: Claim
    answer: asyncio.Future[Denial | None]


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as it ended."""

    charge: Charge
    answer: None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A charge that used nothing."""

    charge_id: str
    answer: None = None


Step = Reserve | Settle | Release


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A charge's row: the charge, and the books it counts in."""

    charge: Charge
    keys: tuple[BookKey, ...] = ()


class Desk:
    """The rows and books of one transaction, and what changed of them."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: dict[str, Stored] = {}
        self._books: dict[BookKey, Totals] = {}
        self._changed_books: set[BookKey] = set()
        self._changed_rows: set[str] = set()

    async def take(self, steps: Sequence[Step]) -> list[Denial | None]:
        """Take the steps in their order; return what came of the claims among them, in theirs. Raises what the driver raises."""
        ids = sorted({text(_id_of(step)) for step in steps})
        self._fill(await self._connection.fetch(_ROWS, ids))
        lines = {stored_key(line.key): line for step in steps if isinstance(step, Reserve) for line in step.claim.lines}
        await self._lock({key for stored in self._rows.values() for key in stored.keys} | set(lines), lines)
        found: list[Denial | None] = []
        for step in steps:
            if isinstance(step, Reserve):
                found.append(self._reserve(step.claim))
            else:
                self._end(step)
        await self._write()
        return found

    async def make(self, lines: Sequence[Line]) -> dict[BookKey, Totals]:
        """Return what stands in the books of some lines; those that are not there are made."""
        wanted = {stored_key(line.key): line for line in lines}
        await self._lock(set(wanted), wanted)
        return self._books

    async def reap(self, now_s: float) -> int:
        """Settle what is held beyond its expiry; return how many there were, `REAP_MAX` at most."""
        self._fill(await self._connection.fetch(_STALE, now_s))
        stale = [stored.charge for stored in self._rows.values()]
        await self._lock({key for stored in self._rows.values() for key in stored.keys}, {})
        for charge in stale:
            self._end(Settle(charge=reaped(charge)))
        await self._write()
        return len(stale)

    # -- in memory -----------------------------------------------------------------------------------------------------

    def _reserve(self, claim: Claim) -> Denial | None:
        name = text(claim.charge.id)
        if name in self._rows:  # carried out before, and the answer was lost
            return None
        denial = denied(claim, [self._books[stored_key(line.key)] for line in claim.lines])
        if denial is None:
            keys = tuple([stored_key(key) for key in keys_of(claim.lines)])
            self._rows[name] = Stored(charge=claim.charge, keys=keys)
            self._changed_rows.add(name)
            self._add(keys, share(claim.charge))
        return denial

    def _end(self, step: Settle | Release) -> None:
        name = text(_id_of(step))
        stored = self._rows.get(name)
        if stored is None or not open_still(stored.charge):
            return
        after = step.charge if isinstance(step, Settle) else None
        self._add(stored.keys, change(stored.charge, after))
        self._changed_rows.add(name)
        if after is None:
            del self._rows[name]
        else:
            self._rows[name] = Stored(charge=after, keys=stored.keys)

    def _add(self, keys: Sequence[BookKey], more: Totals) -> None:
        for key in keys:
            book = self._books.get(key)  # one that was thrown away is added up from the rows when it is needed
            if book is not None:
                self._books[key] = book.plus(more)
                self._changed_books.add(key)

    # -- in the database -----------------------------------------------------------------------------------------------

    def _fill(self, rows: Sequence[Any]) -> None:
        for row in rows:
            stored = _stored(row)
            self._rows[stored.charge.id] = stored

    async def _lock(self, keys: set[BookKey], lines: dict[BookKey, Line]) -> None:
        """Read the books and keep others from changing them; those of `lines` are made when they are not there."""
        if not keys:
            return
        await self._read(_LOCK_BOOKS, keys)
        missing = sorted(key for key in lines if key not in self._books)
        if not missing:
            return
        for key in missing:
            totals = await _add_up(self._connection, lines[key])
            await self._connection.execute(_MAKE_BOOK, *key, *_numbers(totals))
        # whoever made one at the same moment was waited for: what counts is what is there now
        await self._read(_LOCK_BOOKS, set(missing))
        if any(key not in self._books for key in missing):  # another process had made one and threw it away since
            raise asyncpg.SerializationError("a book was thrown away while it was made")

    async def _read(self, query: str, keys: set[BookKey]) -> None:
        for row in await self._connection.fetch(query, *columns(sorted(keys))):
            self._books[row[0], row[1], row[2], row[3]] = totals_of(row[4:])

    async def _write(self) -> None:
        books = sorted(self._changed_books)
        if books:
            await self._connection.execute(_WRITE_BOOKS, *columns([(*key, *_numbers(self._books[key])) for key in books]))
        changed = sorted(self._changed_rows)
        kept = [_held_row(self._rows[name]) for name in changed if name in self._rows]
        gone = [name for name in changed if name not in self._rows]
        if kept:
            await self._connection.execute(HOLD_CHARGES, *columns(kept))
        if gone:
            await self._connection.execute("DELETE FROM charges WHERE id = ANY($1::text[])", gone)


async def _add_up(connection: Any, line: Line) -> Totals:
    """Return what the charges of a line's window say: held rows that name its book are held, all others spent."""
    scope, _, subject, start_s = stored_key(line.key)
    end_s = NEVER_S if line.end_s is None else line.end_s
    query = _SUMS.replace("{of}", _OF[scope])
    models = [text(model) for model in line.models]
    await connection.execute(f"SET LOCAL statement_timeout = '{ADD_UP_S}s'")
    return totals_of(await connection.fetchrow(query, start_s, end_s, _said(line.key), subject, models, timeout=ADD_UP_S))


def book_columns(lines: Sequence[Line]) -> list[list[object]]:
    """Return the keys of some lines' books as columns, for `READ_BOOKS`."""
    return columns([stored_key(key) for key in keys_of(lines)])


def totals_of(row: Sequence[object]) -> Totals:
    """Return the five numbers of a book."""
    return Totals(
        spent_pico=whole(row[0]),
        spent_tokens=whole(row[1]),
        held_pico=whole(row[2]),
        held_tokens=whole(row[3]),
        unpriced=whole(row[4]),
    )


def stored_key(key: BookKey) -> BookKey:
    """Return a book's key as the database holds it."""
    return key[0], key[1], text(key[2]).replace(MARK, " "), key[3]


def _numbers(totals: Totals) -> tuple[object, ...]:
    """Return a book's numbers as text, which no integer of the wire's is too small for."""
    sums = (totals.spent_pico, totals.spent_tokens, totals.held_pico, totals.held_tokens)
    return (*[str(number) for number in sums], totals.unpriced)


def _said(key: BookKey) -> str:
    """Return a book's key as rows name it."""
    return msgspec.json.encode(stored_key(key)).decode()


def _held_row(stored: Stored) -> tuple[object, ...]:
    """Return a row with its books; one that has ended for good needs them no more."""
    keys = stored.keys if open_still(stored.charge) else ()
    return (*charge_row(stored.charge), MARK.join([_said(key) for key in keys]) if keys else None)


def _stored(row: Any) -> Stored:
    usage = Usage(
        uncached_input_tokens=row["input_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cache_write_tokens=row["cache_write_tokens"],
        output_tokens=row["output_tokens"],
        reasoning_tokens=row["reasoning_tokens"],
        source=row["source"],
    )
    charge = Charge(
        id=row["id"],
        at_s=row["at_s"],
        state="held" if row["held"] else "settled",
        expires_s=row["expires_s"],
        key_id=row["key_id"],
        team=row["team"],
        tags=tuple(row["tags"] or ()),
        model=row["model"],
        outcome=row["outcome"],
        usage=usage,
        cost_pico=row["cost_pico"],
    )
    keys = tuple([tuple(msgspec.json.decode(said)) for said in row["lines"] or ()])
    return Stored(charge=charge, keys=keys)


def _id_of(step: Step) -> str:
    if isinstance(step, Reserve):
        return step.claim.charge.id
    return step.charge.id if isinstance(step, Settle) else step.charge_id
