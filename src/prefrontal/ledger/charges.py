"""Charges and keys as rows: what each attempt cost, by whom it is added up."""

from __future__ import annotations

import msgspec

from prefrontal.contracts.money import Charge, to_pico
from prefrontal.contracts.record import RequestRecord
from prefrontal.ledger.books import REAPED
from prefrontal.ledger.rows import MAX_INTEGER, Row
from prefrontal.ledger.vault import Group, SpendQuery, SpendRow, Spent

_COLUMNS = (
    "id, at_s, held, expires_s, key_id, team, tags, model, outcome, source, input_tokens, cache_read_tokens, cache_write_tokens,"
    " output_tokens, reasoning_tokens, cost_pico"
)
_VALUES = "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
PUT_CHARGE = f"INSERT OR REPLACE INTO charges ({_COLUMNS}) {_VALUES}"
ADD_CHARGE = f"INSERT OR IGNORE INTO charges ({_COLUMNS}) {_VALUES}"
DROP_CHARGE = "DELETE FROM charges WHERE id = ?"
REAP = "UPDATE charges SET held = 0, expires_s = NULL, outcome = ? WHERE held = 1 AND expires_s < ?"

LOW_BITS = 20
"""Sums are taken of the high and the low bits apart: the sum of whole costs could leave SQLite's 64 bits at nine million USD."""

_USED = (
    f"sum(cost_pico >> {LOW_BITS}), sum(cost_pico & {(1 << LOW_BITS) - 1}),"
    " sum(input_tokens + cache_read_tokens + cache_write_tokens + output_tokens), sum(cost_pico IS NULL)"
)
_SUBJECT = {"key": "key_id", "team": "team", "model": "model", "role": "model"}
_GROUP: dict[Group, str] = {
    "key": "coalesce(k.name, c.key_id, '')",
    "team": "coalesce(c.team, '')",
    "tag": "coalesce(t.value, '')",
    "model": "c.model",
    "day": "strftime('%Y-%m-%d', c.at_s, 'unixepoch')",
    "month": "strftime('%Y-%m', c.at_s, 'unixepoch')",
}


def charge_row(charge: Charge) -> Row:
    """Return a charge as a row of its table. Never fails."""
    usage = charge.usage
    return (
        charge.id,
        charge.at_s,
        int(charge.state == "held"),
        charge.expires_s,
        _text(charge.key_id),
        _text(charge.team),
        _text(msgspec.json.encode(charge.tags).decode()) if charge.tags else None,
        _text(charge.model),
        charge.outcome,
        usage.source,
        min(usage.uncached_input_tokens, MAX_INTEGER),
        min(usage.cache_read_tokens, MAX_INTEGER),
        min(usage.cache_write_tokens, MAX_INTEGER),
        min(usage.output_tokens, MAX_INTEGER),
        min(usage.reasoning_tokens, MAX_INTEGER),
        None if charge.cost_pico is None else min(charge.cost_pico, MAX_INTEGER),
    )


def charge_rows(record: RequestRecord, settled: set[str] | None = None) -> list[Row]:
    """Return the charges of a record's attempts as rows; those in `settled` are left out, and forgotten there."""
    return [charge_row(charge) for charge in record_charges(record, settled)]


def record_charges(record: RequestRecord, settled: set[str] | None = None) -> list[Charge]:
    """Return the charges of a record's attempts, of those that used something; for `settled` see `charge_rows`."""
    return [
        Charge(
            id=name,
            at_s=record.started_s + attempt.started_ms / 1000.0,
            key_id=record.key_id,
            team=record.team,
            tags=record.tags,
            model=attempt.model,
            outcome=attempt.outcome,
            usage=attempt.usage,
            cost_pico=None if attempt.cost_usd is None else to_pico(attempt.cost_usd),
        )
        for number, attempt in enumerate(record.attempts)
        if attempt.usage.source != "unknown" and not _is_settled(name := charge_id(record.id, number), settled)
    ]


def _is_settled(name: str, settled: set[str] | None) -> bool:
    if not settled or name not in settled:
        return False
    settled.discard(name)
    return True


def charge_id(request_id: str, number: int) -> str:
    """Return the id of a request's attempt, counted from 0."""
    return f"{request_id}/{number}"


def reap_op(now_s: float) -> tuple[str, tuple[object, ...]]:
    """Return the statement that settles what nobody can be working on any more."""
    return REAP, (REAPED, now_s)


def spent_query(scope: str) -> str:
    """Return the query for what members of a scope used since a moment, its one parameter."""
    source, subject = "charges", _SUBJECT.get(scope, "''")
    if scope == "tag":
        source, subject = "charges, json_each(charges.tags) AS t", "t.value"
    return f"SELECT {subject}, {_USED} FROM {source} WHERE at_s >= ? AND {subject} IS NOT NULL GROUP BY {subject}"  # noqa: S608 - made of constants


def spent_of(row: Row) -> Spent:
    """Return one row of `spent_query`."""
    subject, high, low, tokens, unpriced = row
    return Spent(subject=str(subject), pico=_joined(high, low), tokens=_whole(tokens), unpriced=_whole(unpriced))


def report_query(query: SpendQuery) -> tuple[str, list[object]]:
    """Return the statement for a report and its values. Groups come from a closed set, so nothing a caller wrote is in it."""
    columns = ", ".join(_GROUP[name] for name in query.by) or "''"
    tags = " LEFT JOIN json_each(c.tags) AS t" if "tag" in query.by else ""
    where: list[str] = ["c.held = 0"]
    values: list[object] = []
    for clause, value in (("c.at_s >= ?", query.since_s), ("c.at_s < ?", query.until_s)):
        if value is not None:
            where.append(clause)
            values.append(value)
    numbers = ", ".join(str(number + 1) for number in range(max(1, len(query.by))))
    sums = f"sum(cost_pico >> {LOW_BITS}), sum(cost_pico & {(1 << LOW_BITS) - 1}), sum(source <> 'reported')"
    statement = (
        f"SELECT {columns}, count(*), sum(input_tokens + cache_read_tokens + cache_write_tokens), sum(output_tokens), {sums},"  # noqa: S608 - made of constants
        f" sum(cost_pico IS NULL) FROM charges c LEFT JOIN keys k ON k.id = c.key_id{tags}"
        f" WHERE {' AND '.join(where)} GROUP BY {numbers} ORDER BY {numbers}"
    )
    return statement, values


def report_row(row: Row, groups: int) -> SpendRow:
    """Return one row of `report_query`."""
    count = max(1, groups)
    calls, inputs, outputs, high, low, estimated, unpriced = row[count:]
    return SpendRow(
        group=tuple([str(value) for value in row[:groups]]),
        calls=_whole(calls),
        input_tokens=_whole(inputs),
        output_tokens=_whole(outputs),
        cost_pico=_joined(high, low),
        estimated=_whole(estimated),
        unpriced=_whole(unpriced),
    )


def _joined(high: object, low: object) -> int:
    return (_whole(high) << LOW_BITS) + _whole(low)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _text(value: str | None) -> str | None:
    """Return a text that a column can hold: half a surrogate pair becomes a question mark."""
    return value if value is None or value.isascii() else value.encode("utf-8", "replace").decode()
