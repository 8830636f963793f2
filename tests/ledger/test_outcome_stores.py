"""Outcomes and calibrators are kept alike in memory, on SQLite and on Postgres, and end with their records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.outcome import REQUEST, Calibrator, Measures, Outcome, Slot
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.outcomes import MemoryOutcomes, OutcomeStore, SqliteOutcomes
from prefrontal.ledger.postgres.outcomes import PostgresOutcomes
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.store import Ledger
from prefrontal.testing.ledger_contract import make_record

MEASURES = Measures(count=1, accuracy=1.0, nll=0.1, brier=0.1, ece=0.1)


def calibrator(version: int, *, active: bool = True) -> Calibrator:
    slot = Slot(model="m", kind="choice", bucket="2", source="votes")
    known = {"temperature": 1.5, "made_s": float(version), "fitted": 1, "held_out": 1, "before": MEASURES, "after": MEASURES}
    return Calibrator(id=f"cal_v{version}", slot=slot, version=version, active=active, **known)


class Contract:
    """What every store promises. Subclasses give `ledger` and `store`."""

    ledger: Ledger
    store: OutcomeStore

    async def test_outcomes_come_back_in_order_and_replace_earlier_ones(self) -> None:
        """All fields, record by record, question by question, page by page."""
        records = [make_record(number) for number in range(3)]
        for record in records:
            self.ledger.put(record)
        await self.ledger.flush()
        first, second, third = [record.id for record in records]
        told = [
            Outcome(record_id=second, question=1, option=2, reward=-0.5, origin="observed", at_s=3.5),
            Outcome(record_id=second, question=0, option=1, at_s=1.0),
            Outcome(record_id=first, question=REQUEST, model="large", reward=1.0, at_s=2.0),
        ]
        await self.store.put(told)
        ordered = sorted(told, key=lambda one: (one.record_id, one.question))
        assert await self.store.page() == ordered
        assert await self.store.page(limit=1) == ordered[:1]
        assert await self.store.page((ordered[0].record_id, ordered[0].question)) == ordered[1:]
        better = msgspec.structs.replace(told[1], option=0, origin="human")
        await self.store.put([better])
        assert await self.store.of([second]) == [better, told[0]]
        assert await self.store.of([third, "none"]) == []
        await self.ledger.erase([second])
        assert await self.store.page() == [told[2]]

    async def test_calibrators_are_kept_by_id(self) -> None:
        """The oldest first; one that is retired stays, so that old answers can be understood."""
        await self.store.save([calibrator(2), calibrator(1)])
        await self.store.save([calibrator(1, active=False)])
        assert await self.store.calibrators() == [calibrator(1, active=False), calibrator(2)]


class TestMemory(Contract):
    """In memory."""

    @pytest.fixture(autouse=True)
    async def _open(self) -> None:
        self.ledger = ledger = MemoryLedger()
        self.store = MemoryOutcomes(ledger)


class TestSqlite(Contract):
    """In a file."""

    @pytest.fixture(autouse=True)
    async def _open(self, tmp_path: Path) -> AsyncIterator[None]:
        self.ledger = ledger = SqliteLedger(tmp_path / "r.db", clock=SystemClock()).open()
        self.store = SqliteOutcomes(ledger)
        yield
        await ledger.aclose()

    async def test_a_database_that_others_write_is_waited_for(self) -> None:
        """Where nothing can be committed at once the ledger's writer does it."""
        assert isinstance(self.ledger, SqliteLedger)
        self.ledger.take_turns()
        await self.store.put([Outcome(record_id="r", option=1)])
        assert len(await self.store.page()) == 1


class TestPostgres(Contract):
    """On a server."""

    @pytest.fixture(autouse=True)
    async def _open(self, postgres_url: str) -> AsyncIterator[None]:
        clock = SystemClock()
        self.ledger = ledger = await PostgresLedger(Postgres(postgres_url, clock=clock), clock=clock).open()
        self.store = PostgresOutcomes(ledger)
        yield
        await ledger.aclose()


async def test_outcomes_end_with_records_past_their_retention(tmp_path: Path, postgres_url: str) -> None:
    """On both databases what deletes old records takes their outcomes along."""
    clock = SystemClock()
    lite = SqliteLedger(tmp_path / "r.db", clock=clock).open()
    post = await PostgresLedger(Postgres(postgres_url, clock=clock), clock=clock).open()
    stores: list[tuple[SqliteLedger | PostgresLedger, OutcomeStore]]
    stores = [(lite, SqliteOutcomes(lite)), (post, PostgresOutcomes(post))]
    for ledger, store in stores:
        old = make_record(1)
        ledger.put(old)
        await ledger.flush()
        await store.put([Outcome(record_id=old.id, option=0)])
        ledger.retention_days = 1.0
        fresh = msgspec.structs.replace(make_record(2), started_s=clock.now())
        ledger.put(fresh)  # something to write, so that the writer looks at the age
        for _ in range(100):
            if not await store.page():
                break
            await clock.sleep(0.05)
        assert await store.page() == []
        assert await ledger.get(fresh.id) is not None
        await ledger.aclose()
