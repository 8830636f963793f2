"""Where outcomes and calibrators are kept: in the database of the records, whose deletion they share."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from prefrontal.contracts.outcome import Calibrator, Outcome
from prefrontal.errors import StoreError
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.writer import Op

PAGE = 1000
"""Outcomes read at once (assumed: 100 KB)."""

Place = tuple[str, int]
"""A record's id and a question's index: outcomes are listed in this order."""

FIRST: Place = ("", -2)


class OutcomeStore(Protocol):
    """All methods raise StoreError. What was put is there for whoever asks afterwards."""

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """Write all or none; one of the same record and question takes the place of the earlier."""
        ...

    async def of(self, record_ids: Sequence[str]) -> list[Outcome]:
        """Return the outcomes of these records."""
        ...

    async def page(self, after: Place = FIRST, limit: int = PAGE) -> list[Outcome]:
        """Return outcomes in the order of record and question, from behind `after`."""
        ...

    async def save(self, calibrators: Sequence[Calibrator]) -> None:
        """Write calibrators by id, all or none."""
        ...

    async def calibrators(self) -> list[Calibrator]:
        """Return every calibrator there is, oldest first."""
        ...


class MemoryOutcomes:
    """Beside a ledger in memory: an outcome ends when its record does."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._found: dict[Place, Outcome] = {}
        self._calibrators: dict[str, Calibrator] = {}

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """See `OutcomeStore.put`."""
        self._found.update({(one.record_id, one.question): one for one in outcomes})

    async def of(self, record_ids: Sequence[str]) -> list[Outcome]:
        """See `OutcomeStore.of`."""
        await self._tidy()
        return [one for place, one in sorted(self._found.items()) if place[0] in record_ids]

    async def page(self, after: Place = FIRST, limit: int = PAGE) -> list[Outcome]:
        """See `OutcomeStore.page`."""
        await self._tidy()
        return [one for place, one in sorted(self._found.items()) if place > after][:limit]

    async def save(self, calibrators: Sequence[Calibrator]) -> None:
        """See `OutcomeStore.save`."""
        self._calibrators.update({one.id: one for one in calibrators})

    async def calibrators(self) -> list[Calibrator]:
        """See `OutcomeStore.calibrators`."""
        return sorted(self._calibrators.values(), key=lambda one: (one.made_s, one.id))

    async def _tidy(self) -> None:
        for place in [place for place in self._found if await self._ledger.get(place[0]) is None]:
            del self._found[place]


PUT_OUTCOME = (
    "INSERT OR REPLACE INTO outcomes (record_id, question, option_index, model, reward, origin, at_s) VALUES (?,?,?,?,?,?,?)"
)
PUT_CALIBRATOR = "INSERT OR REPLACE INTO calibrators (id, made_s, body) VALUES (?,?,?)"
COLUMNS = "record_id, question, option_index, model, reward, origin, at_s"
AT_ONCE = 500
"""Ids of one statement (specified: SQLite takes 999 values at least)."""


class SqliteOutcomes:
    """In the file of an open ledger."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger
        self._decoder = msgspec.json.Decoder(Calibrator)

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """See `OutcomeStore.put`."""
        await self._write([(PUT_OUTCOME, outcome_row(one)) for one in outcomes])

    async def of(self, record_ids: Sequence[str]) -> list[Outcome]:
        """See `OutcomeStore.of`."""
        found: list[Outcome] = []
        for start in range(0, len(record_ids), AT_ONCE):
            part = list(record_ids[start : start + AT_ONCE])
            marks = ",".join("?" * len(part))
            query = f"SELECT {COLUMNS} FROM outcomes WHERE record_id IN ({marks}) ORDER BY record_id, question"  # noqa: S608 - marks
            found += await self._ledger.read(lambda db, q=query, v=part: outcomes_of(db.execute(q, v).fetchall()))  # type: ignore[misc]  # mypy does not infer lambdas with defaults
        return found

    async def page(self, after: Place = FIRST, limit: int = PAGE) -> list[Outcome]:
        """See `OutcomeStore.page`."""
        query = f"SELECT {COLUMNS} FROM outcomes WHERE (record_id, question) > (?, ?) ORDER BY record_id, question LIMIT ?"  # noqa: S608 - constants
        return await self._ledger.read(lambda db: outcomes_of(db.execute(query, (*after, limit)).fetchall()))

    async def save(self, calibrators: Sequence[Calibrator]) -> None:
        """See `OutcomeStore.save`."""
        await self._write([(PUT_CALIBRATOR, (one.id, one.made_s, msgspec.json.encode(one))) for one in calibrators])

    async def calibrators(self) -> list[Calibrator]:
        """See `OutcomeStore.calibrators`."""
        query = "SELECT body FROM calibrators ORDER BY made_s, id"

        def run(db: sqlite3.Connection) -> list[Calibrator]:
            return [self._decoder.decode(body) for (body,) in db.execute(query)]

        return await self._ledger.read(run)

    async def _write(self, ops: list[Op]) -> None:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[str | None] = loop.create_future()

        def landed(error: str | None) -> None:
            if not written.done():
                written.set_result(error)

        def done(error: str | None) -> None:
            try:
                loop.call_soon_threadsafe(landed, error)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return

        if self._ledger.write_now(ops):
            return
        self._ledger.submit(ops, done)
        error = await written
        if error is not None:
            raise StoreError(f"The ledger cannot be written: {error}.", retry_after_s=5.0)


def outcome_row(one: Outcome) -> tuple[object, ...]:
    """Return an outcome as a row of its table."""
    return (one.record_id, one.question, one.option, one.model, one.reward, one.origin, one.at_s)


def outcomes_of(rows: Iterable[Sequence[object]]) -> list[Outcome]:
    """Return rows as outcomes."""
    names = ("record_id", "question", "option", "model", "reward", "origin", "at_s")
    return [msgspec.convert(dict(zip(names, row, strict=True)), Outcome) for row in rows]
