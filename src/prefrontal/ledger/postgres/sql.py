"""The statements on records and charges, in Postgres' SQL, and rows for them.

Many rows go in one statement, as one array a column: a group of a thousand records is three statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prefrontal.contracts.money import Charge
from prefrontal.ledger.rows import MAX_INTEGER, Row
from prefrontal.ledger.store import RecordFilter
from prefrontal.ledger.vault import Group, SpendQuery, SpendRow, Spent

_RECORD = (
    ("id", "text"),
    ("started_s", "float8"),
    ("status", "text"),
    ("answered_by", "text"),
    ("requested_model", "text"),
    ("model", "text"),
    ("channel", "text"),
    ("key_id", "text"),
    ("input_tokens", "int8"),
    ("output_tokens", "int8"),
    ("cost_usd", "float8"),
    ("duration_ms", "float8"),
)
_BODY = (("id", "text"), ("body", "bytea"), ("content", "bytea"))
_CHARGE = (
    ("id", "text"),
    ("at_s", "float8"),
    ("held", "bool"),
    ("expires_s", "float8"),
    ("key_id", "text"),
    ("team", "text"),
    ("tags", "text"),
    ("model", "text"),
    ("outcome", "text"),
    ("source", "text"),
    ("input_tokens", "int8"),
    ("cache_read_tokens", "int8"),
    ("cache_write_tokens", "int8"),
    ("output_tokens", "int8"),
    ("reasoning_tokens", "int8"),
    ("cost_pico", "int8"),
)
_HELD_CHARGE = (*_CHARGE, ("lines", "text"))
MARK = "\x1f"
"""Between the tags and between the lines of a row on its way, which have no control characters: arrays of arrays must be even."""


def _insert(table: str, columns: Sequence[tuple[str, str]], then: str) -> str:
    names = ", ".join(name for name, _ in columns)
    taken = ", ".join(f"string_to_array({name}, E'\\x1f')" if name in ("tags", "lines") else name for name, _ in columns)
    arrays = ", ".join(f"${number}::{kind}[]" for number, (_, kind) in enumerate(columns, 1))
    return f"INSERT INTO {table} ({names}) SELECT {taken} FROM unnest({arrays}) AS new({names}) {then}"  # noqa: S608 - made of constants


def _replacing(columns: Sequence[tuple[str, str]]) -> str:
    return "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name, _ in columns[1:])


INSERT_RECORDS = _insert("records", _RECORD, _replacing(_RECORD))
INSERT_BODIES = _insert("bodies", _BODY, _replacing(_BODY))
PUT_CHARGES = _insert("charges", _CHARGE, _replacing(_CHARGE))
HOLD_CHARGES = _insert("charges", _HELD_CHARGE, _replacing(_HELD_CHARGE))
ADD_CHARGES = _insert("charges", _CHARGE, "ON CONFLICT (id) DO NOTHING")
EXPIRE = (
    "WITH old AS (SELECT id FROM records WHERE started_s < $1 ORDER BY started_s LIMIT $2 FOR UPDATE SKIP LOCKED),"
    " gone AS (DELETE FROM bodies WHERE id IN (SELECT id FROM old))"
    ", labels AS (DELETE FROM outcomes WHERE record_id IN (SELECT id FROM old))"
    " DELETE FROM records WHERE id IN (SELECT id FROM old)"
)

_USED = (
    "sum(cost_pico), sum(input_tokens::numeric + cache_read_tokens + cache_write_tokens + output_tokens),"
    " count(*) FILTER (WHERE cost_pico IS NULL)"
)
_SUBJECT = {"key": "key_id", "team": "team", "model": "model", "role": "model"}
_GROUP: dict[Group, str] = {
    "key": "coalesce(k.name, c.key_id, '')",
    "team": "coalesce(c.team, '')",
    "tag": "coalesce(t.value, '')",
    "model": "c.model",
    "day": "to_char(to_timestamp(c.at_s) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "month": "to_char(to_timestamp(c.at_s) AT TIME ZONE 'UTC', 'YYYY-MM')",
}


def columns(rows: Sequence[Row]) -> list[list[object]]:
    """Return rows as one list a column."""
    return [list(column) for column in zip(*rows, strict=True)]


def clean(row: Row) -> Row:
    """Return a row that Postgres takes: its texts know no character zero and no half of a surrogate pair."""
    return tuple([text(value) if isinstance(value, str) else value for value in row])


def text(value: str) -> str:
    """Return a text that a column can hold."""
    if "\0" in value:
        value = value.replace("\0", "\ufffd")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def charge_row(charge: Charge) -> Row:
    """Return a charge as a row of its table. Never fails."""
    usage = charge.usage
    tokens = (
        usage.uncached_input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )
    return (
        text(charge.id),
        charge.at_s,
        charge.state == "held",
        charge.expires_s,
        None if charge.key_id is None else text(charge.key_id),
        None if charge.team is None else text(charge.team),
        MARK.join([text(tag).replace(MARK, " ") for tag in charge.tags]) if charge.tags else None,
        text(charge.model),
        charge.outcome,
        usage.source,
        *[min(count, MAX_INTEGER) for count in tokens],
        None if charge.cost_pico is None else min(charge.cost_pico, MAX_INTEGER),
    )


def last_of_each(rows: Iterable[Row]) -> list[Row]:
    """Return the last row of each id, in the order of their ids: one statement may not touch a row twice."""
    return [row for _, row in sorted({str(row[0]): row for row in rows}.items())]


def where(wanted: RecordFilter) -> tuple[str, list[object]]:
    """Return the condition of a listing and its values."""
    clauses: list[str] = []
    values: list[object] = []
    for clause, value in (
        ("r.id < ", wanted.before),
        ("r.started_s >= ", wanted.since_s),
        ("r.model = ", wanted.model),
        ("r.status = ", wanted.status),
        ("r.answered_by = ", wanted.answered_by),
        ("r.channel = ", wanted.channel),
        ("r.key_id = ", wanted.key_id),
    ):
        if value is not None:
            values.append(text(value) if isinstance(value, str) else value)
            clauses.append(f"{clause}${len(values)}")
    return ("WHERE " + " AND ".join(clauses) if clauses else ""), values


def spent_query(scope: str) -> str:
    """Return the query for what members of a scope used since a moment, its one parameter."""
    source, subject = "charges", _SUBJECT.get(scope, "''")
    if scope == "tag":
        each = "SELECT DISTINCT value FROM unnest(tags) AS every(value)"
        source, subject = f"charges CROSS JOIN LATERAL ({each}) AS t", "t.value"
    condition = f"WHERE at_s >= $1 AND {subject} IS NOT NULL"
    return f"SELECT {subject}, {_USED} FROM {source} {condition} GROUP BY 1"  # noqa: S608 - made of constants


def spent_of(row: Row) -> Spent:
    """Return one row of `spent_query`."""
    subject, pico, tokens, unpriced = row
    return Spent(subject=str(subject), pico=whole(pico), tokens=whole(tokens), unpriced=whole(unpriced))


def report_query(query: SpendQuery) -> tuple[str, list[object]]:
    """Return the statement for a report and its values. Groups come from a closed set, so nothing a caller wrote is in it."""
    groups = [f'({_GROUP[name]}) COLLATE "C"' for name in query.by] or ["''"]
    tags = " LEFT JOIN LATERAL unnest(c.tags) AS t(value) ON true" if "tag" in query.by else ""
    conditions: list[str] = ["NOT c.held"]
    values: list[object] = []
    for clause, value in (("c.at_s >= ", query.since_s), ("c.at_s < ", query.until_s)):
        if value is not None:
            values.append(value)
            conditions.append(f"{clause}${len(values)}")
    numbers = ", ".join(str(number + 1) for number in range(len(groups)))
    statement = (
        f"SELECT {', '.join(groups)}, count(*), sum(input_tokens::numeric + cache_read_tokens + cache_write_tokens),"  # noqa: S608 - made of constants
        f" sum(output_tokens), sum(cost_pico), count(*) FILTER (WHERE source <> 'reported'),"
        f" count(*) FILTER (WHERE cost_pico IS NULL) FROM charges c LEFT JOIN keys k ON k.id = c.key_id{tags}"
        f" WHERE {' AND '.join(conditions)} GROUP BY {numbers} ORDER BY {numbers}"
    )
    return statement, values


def report_line(row: Row, groups: int) -> SpendRow:
    """Return one row of `report_query`."""
    calls, inputs, outputs, cost, estimated, unpriced = row[max(1, groups) :]
    return SpendRow(
        group=tuple([str(value) for value in row[:groups]]),
        calls=whole(calls),
        input_tokens=whole(inputs),
        output_tokens=whole(outputs),
        cost_pico=whole(cost),
        estimated=whole(estimated),
        unpriced=whole(unpriced),
    )


def whole(value: Any) -> int:
    """Return a sum (a Decimal, exact at any size) as a whole number, 0 for that of nothing."""
    return 0 if value is None else int(value)
