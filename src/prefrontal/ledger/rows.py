"""A record as rows: the columns that are searched, the whole as JSON, the content apart. Never fails: a settlement is kept."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from prefrontal.contracts.record import RequestRecord

log = logging.getLogger(__name__)

INSERT_RECORD = (
    "INSERT OR REPLACE INTO records (id, started_s, status, answered_by, requested_model, model, channel, key_id, input_tokens,"
    " output_tokens, cost_usd, duration_ms) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
)
INSERT_BODY = "INSERT OR REPLACE INTO bodies (id, body, content) VALUES (?,?,?)"

MAX_INTEGER = 2**63 - 1
"""The largest whole number a column holds (specified: SQLite)."""

Row = tuple[object, ...]


def encode_content(content: dict[str, Any]) -> bytes | None:
    """Return stored content as JSON, or None when it cannot be said in JSON."""
    try:
        return msgspec.json.encode(content)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        log.warning("content of a request cannot be stored: %s", error)
        return None


def to_rows(record: RequestRecord, content: bytes | None, encoder: msgspec.json.Encoder) -> tuple[Row, Row]:
    """Return the rows of ``records`` and ``bodies``.

    What of a record cannot be said in JSON (foreign objects in its metadata, half a surrogate pair in a message) costs that
    record its details, not its settlement, and no other record anything.
    """
    try:
        body = encoder.encode(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        log.warning("record %r is stored without its details: %s", record.id, error)
        record = _bare(record)
        body = encoder.encode(record)
    usage = record.usage
    row = (
        record.id,
        _number(record.started_s),
        record.status,
        record.answered_by,
        record.requested_model,
        record.model,
        record.channel,
        record.key_id,
        min(usage.input_tokens, MAX_INTEGER),
        min(usage.output_tokens, MAX_INTEGER),
        record.cost_usd,
        _number(record.duration_ms),
    )
    return row, (record.id, body, content)


def _bare(record: RequestRecord) -> RequestRecord:
    """Return the settlement alone, its texts made storable."""
    texts = {
        name: value.encode("utf-8", "replace").decode()
        for name in RequestRecord.__struct_fields__
        if isinstance(value := getattr(record, name), str)
    }
    return msgspec.structs.replace(record, **texts, metadata=None, assessment=None, plan=None, attempts=(), dropped=(), states=())


def _number(value: float) -> float:
    """Return the value, 0 for what is not a number: the columns take none."""
    return value if value == value else 0.0
