"""Books in SQLite: what a reservation and its end do inside the writer's transaction, which no other process can be in.

Every function takes the writing connection with a transaction open; all arithmetic is `ledger.books`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import Charge
from prefrontal.ledger.books import (
    NOTHING,
    BookKey,
    Claim,
    Denial,
    Line,
    Sheet,
    Totals,
    change,
    denied,
    keys_of,
    open_still,
    reaped,
    share,
)
from prefrontal.ledger.charges import DROP_CHARGE, LOW_BITS, PUT_CHARGE, charge_row

_NUMBERS = "spent_pico, spent_tokens, held_pico, held_tokens, unpriced"
_WHICH = "scope = ? AND span = ? AND subject = ? AND start_s = ?"
GET_BOOK = f"SELECT {_NUMBERS} FROM books WHERE {_WHICH}"  # noqa: S608 - made of constants
PUT_BOOK = f"INSERT OR REPLACE INTO books (scope, span, subject, start_s, {_NUMBERS}) VALUES (?,?,?,?,?,?,?,?,?)"  # noqa: S608 - made of constants
KEEP_LINES = "UPDATE charges SET lines = ? WHERE id = ?"
GET_CHARGE = (
    "SELECT id, at_s, held, model, outcome, input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, cost_pico, lines"
    " FROM charges"
)
_WHOSE = {
    "global": "1",
    "key": "key_id = ?",
    "team": "team = ?",
    "model": "model = ?",
    "tag": "EXISTS (SELECT 1 FROM json_each(charges.tags) AS t WHERE t.value = ?)",
    "role": "model IN (SELECT m.value FROM json_each(?) AS m)",
}

KEPT_SHORT_S, KEPT_LONG_S = 86_400.0, 40 * 86_400.0
"""Books of minutes and hours, and of days, weeks and months, that began so long ago are deleted (assumed: nobody ends a call in
them any more); ``total`` ones never."""

SWEEP_BOOKS = (
    "DELETE FROM books WHERE (span IN ('minute', 'hour') AND start_s < ?) OR (span IN ('day', 'week', 'month') AND start_s < ?)"
)


def reserve_in(db: sqlite3.Connection, claim: Claim) -> Denial | None:
    """See `SharedVault.reserve`."""
    found = {line.key: line for line in claim.lines}
    totals = {key: totals_in(db, found[key], keep=True) for key in keys_of(claim.lines)}
    refusal = denied(claim, [totals[line.key] for line in claim.lines])
    if refusal is not None:
        return refusal
    db.execute(PUT_CHARGE, charge_row(claim.charge))
    db.execute(KEEP_LINES, (_names(totals), claim.charge.id))
    for key, before in totals.items():
        _put(db, key, before.plus(share(claim.charge)))
    return None


def settle_in(db: sqlite3.Connection, charge: Charge) -> None:
    """See `SharedVault.settle`."""
    stored, lines = _stored(db, charge.id)
    if open_still(stored):
        db.execute(PUT_CHARGE, charge_row(charge))
        db.execute(KEEP_LINES, (lines, charge.id))
        _spread(db, lines, change(stored, charge))


def release_in(db: sqlite3.Connection, charge_id: str) -> None:
    """See `SharedVault.release`."""
    stored, lines = _stored(db, charge_id)
    if open_still(stored):
        db.execute(DROP_CHARGE, (charge_id,))
        _spread(db, lines, change(stored, None))


def reap_in(db: sqlite3.Connection, now_s: float) -> int:
    """Settle what is held beyond its expiry, in its books; return how many there were."""
    rows = db.execute(f"{GET_CHARGE} WHERE held = 1 AND expires_s < ?", (now_s,)).fetchall()
    for row in rows:
        stored, lines = _charge(row), row[-1]
        after = reaped(stored)
        db.execute("UPDATE charges SET held = 0, expires_s = NULL, outcome = ? WHERE id = ?", (after.outcome, stored.id))
        _spread(db, lines, change(stored, after))
    db.execute(SWEEP_BOOKS, (now_s - KEPT_SHORT_S, now_s - KEPT_LONG_S))
    return len(rows)


def recount_in(db: sqlite3.Connection, sheets: Iterable[Sheet], subject: str | None) -> None:
    """See `SharedVault.recount`."""
    for scope, window in sheets:
        whose, values = ("", ()) if subject is None else (" AND subject = ?", (subject,))
        db.execute(f"DELETE FROM books WHERE scope = ? AND span = ?{whose}", (scope, window, *values))  # noqa: S608 - made of constants


def totals_in(db: sqlite3.Connection, line: Line, *, keep: bool) -> Totals:
    """Return what stands in a line's book; one that does not exist is added up from the charges, and written where `keep`."""
    row = db.execute(GET_BOOK, line.key).fetchone()
    if row is not None:
        return Totals(
            spent_pico=int(row[0]), spent_tokens=row[1], held_pico=int(row[2]), held_tokens=row[3], unpriced=row[4]
        )
    totals = _added_up(db, line)
    if keep:
        _put(db, line.key, totals)
    return totals


def _added_up(db: sqlite3.Connection, line: Line) -> Totals:
    """Add up the charges of a book's window: held ones that name it as held, all others as spent."""
    scope = line.budget.scope
    values: list[object] = [_name(line.key), line.start_s]
    until = ""
    if line.end_s is not None:
        until = " AND at_s < ?"
        values.append(line.end_s)
    if scope == "role":
        values.append(msgspec.json.encode(line.models).decode())
    elif scope != "global":
        values.append(line.subject)
    query = (
        "SELECT held = 1 AND EXISTS (SELECT 1 FROM json_each(coalesce(charges.lines, '[]')) AS l WHERE l.value = ?),"  # noqa: S608 - made of constants
        f" sum(cost_pico >> {LOW_BITS}), sum(cost_pico & {(1 << LOW_BITS) - 1}),"
        " sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), sum(cost_pico IS NULL)"
        f" FROM charges WHERE at_s >= ?{until} AND {_WHOSE[scope]} GROUP BY 1"
    )
    found = NOTHING
    for held, high, low, tokens, unpriced in db.execute(query, values):
        pico = ((high or 0) << LOW_BITS) + (low or 0)
        if held:
            found = found.plus(Totals(held_pico=pico, held_tokens=tokens))
        else:
            found = found.plus(Totals(spent_pico=pico, spent_tokens=tokens, unpriced=unpriced))
    return found


def _spread(db: sqlite3.Connection, lines: str | None, more: Totals) -> None:
    """Add to every book named in a charge's lines. One that is gone will be added up from the charges when it is needed."""
    for name in msgspec.json.decode(lines or "[]", type=list[str]):
        key = msgspec.json.decode(name, type=BookKey)
        row = db.execute(GET_BOOK, key).fetchone()
        if row is not None:
            before = Totals(
                spent_pico=int(row[0]), spent_tokens=row[1], held_pico=int(row[2]), held_tokens=row[3], unpriced=row[4]
            )
            _put(db, key, before.plus(more))


def _put(db: sqlite3.Connection, key: BookKey, now: Totals) -> None:
    numbers = (str(now.spent_pico), now.spent_tokens, str(now.held_pico), now.held_tokens, now.unpriced)
    db.execute(PUT_BOOK, (*key, *numbers))


def _stored(db: sqlite3.Connection, charge_id: str) -> tuple[Charge | None, str | None]:
    row = db.execute(f"{GET_CHARGE} WHERE id = ?", (charge_id,)).fetchone()
    return (None, None) if row is None else (_charge(row), row[-1])


def _charge(row: tuple[object, ...]) -> Charge:
    """Return as much of a stored charge as its share depends on."""
    name, at_s, held, model, outcome, fresh, cached, written, output, pico, _ = row
    whole = msgspec.convert((fresh, cached, written, output), tuple[int, int, int, int])
    usage = Usage(
        uncached_input_tokens=whole[0], cache_read_tokens=whole[1], cache_write_tokens=whole[2], output_tokens=whole[3]
    )
    return Charge(
        id=str(name),
        at_s=msgspec.convert(at_s, float),
        state="held" if held else "settled",
        model=str(model),
        outcome=str(outcome),
        usage=usage,
        cost_pico=msgspec.convert(pico, int | None),
    )


def _names(keys: Iterable[BookKey]) -> str:
    return msgspec.json.encode([_name(key) for key in keys]).decode()


def _name(key: BookKey) -> str:
    return msgspec.json.encode(key).decode()
