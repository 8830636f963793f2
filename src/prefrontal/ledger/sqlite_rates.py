"""Rate limits in SQLite: what is counted inside the writer's transaction. Times are Unix seconds, the same for every process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from prefrontal.ledger.board import MeterKey, RateDenial, RateDimension, RateLine, exceeded, metered
from prefrontal.ledger.rates import LENGTH_S, SLOTS, Sliding

AHEAD = 2
"""Slots ahead of now that still count: what others counted a moment later (assumed). Later ones: a clock was set back."""

ADD = (
    "INSERT INTO rate_slots (meter, slot, requests, tokens, ends_s) VALUES (?,?,?,?,?)"
    " ON CONFLICT (meter, slot) DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens"
)
SUM = "SELECT coalesce(sum(requests), 0), coalesce(sum(tokens), 0) FROM rate_slots WHERE meter = ? AND slot BETWEEN ? AND ?"
RUNNING = "SELECT count(*) FROM rate_leases WHERE meter = ? AND ends_s >= ?"
LEASE = "INSERT OR REPLACE INTO rate_leases (meter, lease, ends_s) VALUES (?,?,?)"
RENEW = "UPDATE rate_leases SET ends_s = ? WHERE lease = ?"
LEAVE = "DELETE FROM rate_leases WHERE lease = ?"
AMEND = "UPDATE rate_slots SET tokens = tokens + ? WHERE meter = ? AND slot = ?"
SWEEP = ("DELETE FROM rate_slots WHERE ends_s < ?", "DELETE FROM rate_leases WHERE ends_s < ?")


def enter_in(db: sqlite3.Connection, lines: Sequence[RateLine], lease: str, ttl_s: float, now_s: float) -> RateDenial | None:
    """See `RateBoard.enter`."""
    meters = metered(lines)
    stands = {key: _stand(db, key, line, now_s) for key, line in meters.items()}
    for line in lines:
        requests, tokens, running = stands[line.key]
        full = exceeded(line, requests=requests, tokens=tokens, running=running)
        if full is not None:
            return _denial(db, line, full, now_s)
    for key, line in meters.items():
        slot, slot_s = _slot(line, now_s)
        db.execute(ADD, (_name(key), slot, line.requests, line.tokens, (slot + SLOTS + AHEAD) * slot_s))
        if line.requests and line.rate.concurrency is not None:
            db.execute(LEASE, (_name(key), lease, now_s + ttl_s))
    return None


def amendments(lines: Iterable[RateLine], at_s: float, tokens: int) -> list[tuple[str, tuple[object, ...]]]:
    """Return the statements of `RateBoard.amend`."""
    return [
        (AMEND, (tokens - line.tokens, _name(key), _slot(line, at_s)[0])) for key, line in metered(lines).items() if line.tokens
    ]


def _stand(db: sqlite3.Connection, key: MeterKey, line: RateLine, now_s: float) -> tuple[int, int, int]:
    slot, _ = _slot(line, now_s)
    name = _name(key)
    requests, tokens = db.execute(SUM, (name, slot - SLOTS, slot + AHEAD)).fetchone()
    running = 0
    if line.rate.concurrency is not None:
        (running,) = db.execute(RUNNING, (name, now_s)).fetchone()
    return requests, tokens, running


def _denial(db: sqlite3.Connection, line: RateLine, full: tuple[RateDimension, int, int], now_s: float) -> RateDenial:
    dimension, used, limit = full
    wait_s = None
    if dimension != "concurrency":
        column, amount = ("tokens", line.tokens) if dimension == "tokens" else ("requests", line.requests)
        slot, _ = _slot(line, now_s)
        query = f"SELECT slot, {column} FROM rate_slots WHERE meter = ? AND slot BETWEEN ? AND ? ORDER BY slot"  # noqa: S608 - one of two words
        rows = db.execute(query, (_name(line.key), slot - SLOTS, slot + AHEAD)).fetchall()
        wait_s = Sliding.of(LENGTH_S[line.rate.window], dict(rows)).wait_s(now_s, amount, limit)
    return RateDenial(line=line, dimension=dimension, used=used, limit=limit, wait_s=wait_s)


def _slot(line: RateLine, now_s: float) -> tuple[int, float]:
    slot_s = LENGTH_S[line.rate.window] / SLOTS
    return int(now_s / slot_s), slot_s


def _name(key: MeterKey) -> str:
    return msgspec.json.encode(key).decode()
