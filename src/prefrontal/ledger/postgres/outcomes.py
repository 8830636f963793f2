"""Outcomes and calibrators on Postgres."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from prefrontal.contracts.outcome import Calibrator, Outcome
from prefrontal.ledger.outcomes import COLUMNS, FIRST, PAGE, Place, outcome_row, outcomes_of
from prefrontal.ledger.postgres.sql import clean, text
from prefrontal.ledger.postgres.store import PostgresLedger

_PUT = (
    f"INSERT INTO outcomes ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (record_id, question) DO UPDATE SET"  # noqa: S608 - constants
    " option_index = excluded.option_index, model = excluded.model, reward = excluded.reward, origin = excluded.origin,"
    " at_s = excluded.at_s"
)
_PAGE = f"SELECT {COLUMNS} FROM outcomes WHERE (record_id, question) > ($1, $2) ORDER BY record_id, question LIMIT $3"  # noqa: S608 - constants
_PUT_CALIBRATOR = (
    "INSERT INTO calibrators (id, made_s, body) VALUES ($1, $2, $3)"
    " ON CONFLICT (id) DO UPDATE SET made_s = excluded.made_s, body = excluded.body"
)


class PostgresOutcomes:
    """Implements `OutcomeStore` on an open ledger, with its connections."""

    def __init__(self, ledger: PostgresLedger) -> None:
        self._postgres = ledger.postgres
        self._decoder = msgspec.json.Decoder(Calibrator)

    async def put(self, outcomes: Sequence[Outcome]) -> None:
        """See `OutcomeStore.put`."""
        async with self._postgres.transaction() as connection:
            for one in sorted(outcomes, key=lambda one: (one.record_id, one.question)):
                await connection.execute(_PUT, *clean(outcome_row(one)))

    async def of(self, record_ids: Sequence[str]) -> list[Outcome]:
        """See `OutcomeStore.of`."""
        query = f"SELECT {COLUMNS} FROM outcomes WHERE record_id = ANY($1::text[]) ORDER BY record_id, question"  # noqa: S608 - constants
        rows = await self._postgres.fetch(query, [text(one) for one in record_ids])
        return outcomes_of([tuple(row) for row in rows])

    async def page(self, after: Place = FIRST, limit: int = PAGE) -> list[Outcome]:
        """See `OutcomeStore.page`."""
        rows = await self._postgres.fetch(_PAGE, text(after[0]), after[1], limit)
        return outcomes_of([tuple(row) for row in rows])

    async def save(self, calibrators: Sequence[Calibrator]) -> None:
        """See `OutcomeStore.save`."""
        async with self._postgres.transaction() as connection:
            for one in calibrators:
                await connection.execute(_PUT_CALIBRATOR, text(one.id), one.made_s, msgspec.json.encode(one))

    async def calibrators(self) -> list[Calibrator]:
        """See `OutcomeStore.calibrators`."""
        rows = await self._postgres.fetch("SELECT body FROM calibrators ORDER BY made_s, id")
        return [self._decoder.decode(row[0]) for row in rows]
