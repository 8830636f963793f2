"""`prefrontal traces`: what happened, read from the ledger itself; no server is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from prefrontal.cli.screen import Screen
from prefrontal.cli.session import Place, loaded
from prefrontal.cli.words import duration, moment, money
from prefrontal.clock import Clock
from prefrontal.contracts.record import Attempt, RequestRecord
from prefrontal.errors import NotFound
from prefrontal.ledger.store import RecordFilter

if TYPE_CHECKING:
    from prefrontal.ledger.store import Ledger

POLL_S = 0.5
"""How often ``--follow`` looks (assumed)."""

FOLLOWED = 500
"""Newest records looked at in each round of ``--follow``; more than a thousand a second are not all shown (assumed)."""

HEADERS = ("time", "trace", "asked for", "answered by", "status", "in", "out", "cost", "took")


@asynccontextmanager
async def ledger(place: Place, clock: Clock) -> AsyncIterator[Ledger | None]:
    """Yield the ledger for reading, None when nothing was ever recorded. Raises ConfigError, StoreError."""
    from prefrontal.app.ledgers import open_for_reading

    found = await open_for_reading(loaded(place).config, place.env, clock)
    try:
        yield found
    finally:
        if found is not None:
            await found.aclose()


async def list_traces(wanted: RecordFilter, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Show records, newest first. Raises ConfigError, StoreError."""
    async with ledger(place, clock) as found:
        records = [] if found is None else await found.find(wanted)
    if as_json:
        screen.json({"object": "list", "data": records})
        return
    screen.table(HEADERS, [_row(record) for record in records], right=("in", "out", "cost", "took"))
    if not records:
        screen.note("No request is recorded yet." if found is None else "No record matches.")


async def follow(wanted: RecordFilter, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Show new records as they are written, oldest first, until interrupted; starts with the last ones there are."""
    seen: deque[str] = deque(maxlen=2 * FOLLOWED)
    shown_at_first: int | None = wanted.limit
    window = msgspec.structs.replace(wanted, limit=FOLLOWED)
    while True:
        async with ledger(place, clock) as found:
            records = [] if found is None else await found.find(window)
        # not by the last id: a request that began before it may end, and be written, after it
        fresh = [record for record in records if record.id not in seen]
        seen.extend(record.id for record in reversed(fresh))
        for record in reversed(fresh[:shown_at_first]):
            if as_json:
                screen.json_line(record)
            else:
                screen.line("  ".join(_row(record)))
        shown_at_first = None
        await clock.sleep(POLL_S)


async def show_trace(trace_id: str, place: Place, screen: Screen, clock: Clock, *, as_json: bool) -> None:
    """Show one record in full.

    Raises:
        NotFound: there is none of that id. ConfigError, StoreError.
    """
    async with ledger(place, clock) as found:
        record = None if found is None else await found.get(trace_id)
    if record is None:
        raise NotFound(f"There is no trace '{trace_id}'.", hint="`prefrontal traces` lists the newest.")
    if as_json:
        screen.json(record)
    else:
        _show(record, screen)


def _row(record: RequestRecord) -> tuple[str, ...]:
    answered = record.model or "-"
    status = record.status if record.error_code is None else f"{record.status}: {record.error_code}"
    unknown = record.usage.source == "unknown"
    return (
        moment(record.started_s),
        record.id,
        record.requested_model,
        answered if record.answered_by in ("model", "none") else f"{answered} ({record.answered_by})",
        status,
        "?" if unknown else str(record.usage.input_tokens),
        "?" if unknown else str(record.usage.output_tokens),
        "?" if record.cost_usd is None else money(record.cost_usd),
        duration(record.duration_ms),
    )


def _cache(record: RequestRecord) -> str:
    note = record.cache
    if note is None:
        return ""
    told = note.reason or ("" if note.saved_usd is None else f"saved {money(note.saved_usd)}")
    return f"{note.status}: {told}" if told else note.status


def _show(record: RequestRecord, screen: Screen) -> None:
    usage = record.usage
    cached = f", {usage.cache_read_tokens} of them from the cache" if usage.cache_read_tokens else ""
    thought = f", {usage.reasoning_tokens} of them thinking" if usage.reasoning_tokens else ""
    rows = [
        ("trace", record.id),
        ("time", moment(record.started_s)),
        ("route", f"{record.route} ({record.dialect}{', streamed' if record.stream else ''})"),
        ("asked for", record.requested_model),
        ("answered by", f"{record.answered_by}: {record.model or record.tool or '-'}"),
        ("status", f"{record.status} ({record.http_status})"),
        ("error", f"{record.error_code}: {record.error}" if record.error_code else ""),
        ("channel", record.channel),
        ("session", record.session or ""),
        ("effort", "the model's default" if record.effort_score is None else f"{record.effort_score:.2f}"),
        ("tokens", f"{usage.input_tokens} in{cached}; {usage.output_tokens} out{thought} ({usage.source})"),
        ("cost", money(record.cost_usd)),
        ("cache", _cache(record)),
        ("took", f"{duration(record.duration_ms)}, of which {duration(record.overhead_ms)} ours"),
        ("states", " > ".join(record.states)),
    ]
    screen.pairs([(name, value) for name, value in rows if value])
    if record.plan is not None and record.plan.reasons:
        screen.line("\nWhy")
        for reason in record.plan.reasons:
            screen.line(f"  {reason.rule}: {reason.effect}")
    if record.attempts:
        screen.line("\nAttempts")
        screen.table(
            ("model", "outcome", "first token", "took", "tokens", "cost", "effort sent"),
            [_attempt(attempt) for attempt in record.attempts],
            right=("first token", "took", "tokens", "cost"),
        )
    for attempt in record.attempts:
        if attempt.error:
            screen.line(f"  {attempt.model}: {attempt.error}")
    if record.dropped:
        screen.line("\nNot sent as given")
        for dropped in record.dropped:
            screen.line(f"  {dropped.field} ({dropped.action}): {dropped.reason}")
    if record.content is not None:
        screen.line("\nContent")
        screen.json(record.content)


def _attempt(attempt: Attempt) -> tuple[str, ...]:
    outcome = attempt.outcome if attempt.error_code is None else attempt.error_code
    if attempt.upstream_status is not None:
        outcome += f" ({attempt.upstream_status})"
    sent = ", ".join(f"{name}={value}" for name, value in (attempt.effort_fields or {}).items())
    return (
        attempt.place,
        outcome,
        "-" if attempt.first_token_ms is None else duration(attempt.first_token_ms),
        duration(attempt.ended_ms - attempt.started_ms),
        "?" if attempt.usage.source == "unknown" else f"{attempt.usage.input_tokens}+{attempt.usage.output_tokens}",
        money(attempt.cost_usd) if attempt.cost_usd is not None else "?",
        sent or "-",
    )
