"""The ledger on Postgres keeps what every ledger promises, and waits for a database that is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.record import Attempt
from prefrontal.errors import Overloaded, StoreError
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.store import Ledger, RecordFilter
from prefrontal.testing.ledger_contract import LedgerContract, full_record, make_record
from prefrontal.testing.postgres_server import PostgresServer

Open = Callable[..., Any]


class TestPostgresLedger(LedgerContract):
    """The suite that every ledger passes."""

    @pytest.fixture(autouse=True)
    def _somewhere(self, postgres_url: str) -> None:
        self.url = postgres_url

    async def make(self) -> Ledger:
        return await PostgresLedger(Postgres(self.url, clock=SystemClock()), clock=SystemClock()).open()


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[Open]:
    """Opens ledgers on one database, each with connections of its own as another process has, and closes them."""
    ledgers: list[PostgresLedger] = []

    async def build(url: str = postgres_url, **settings: Any) -> PostgresLedger:
        clock = settings.pop("clock", SystemClock())
        ledger = await PostgresLedger(Postgres(url, clock=SystemClock()), clock=clock, **settings).open()
        ledgers.append(ledger)
        return ledger

    yield build
    for ledger in ledgers:
        await ledger.aclose()


async def test_two_processes_see_each_others_records(opened: Open) -> None:
    """What one has written the other lists, sums and replaces; each counts its own writes."""
    one, two = await opened(), await opened()
    one.put(full_record(1, cost_usd=1.0))
    two.put(full_record(2, cost_usd=2.0))
    await asyncio.gather(one.flush(), two.flush())
    assert [record.id[-1] for record in await one.find(RecordFilter())] == ["2", "1"]
    assert await two.spend_usd(0.0, frozenset({"m"})) == 3.0
    assert await two.get("req_00000001") == full_record(1, cost_usd=1.0)
    assert (one.status().written, two.status().written) == (1, 1)


async def test_texts_that_postgres_refuses_are_stored_all_the_same(opened: Open) -> None:
    """The character zero and half a surrogate pair cost a record nothing but themselves, and no other record anything."""
    ledger = await opened()
    ledger.put(make_record(1, requested_model="a\0b", channel="x\ud800y", metadata={"m": "\0"}))
    ledger.put(make_record(2, content={"text": "\0 and more"}))
    await ledger.flush()
    first, second = [await ledger.get(f"req_0000000{number}") for number in (1, 2)]
    assert first is not None
    assert second is not None
    assert second.content == {"text": "\0 and more"}
    assert [record.id[-1] for record in await ledger.find(RecordFilter(channel="x?y"))] == ["1"]


async def test_a_record_that_no_column_holds_keeps_no_other_out(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """It is left out with an error that names it; those beside it are written."""
    ledger = await opened()
    ledger.put(make_record(1))
    ledger.put(make_record(2, usage=Usage(output_tokens=-(2**70), source="reported")))
    ledger.put(make_record(3))
    await ledger.flush()
    assert [record.id[-1] for record in await ledger.find(RecordFilter())] == ["3", "1"]
    assert "req_00000002 cannot be stored" in caplog.text


async def test_records_past_their_retention_are_deleted(opened: Open, eventually: Any) -> None:
    """Old ones go with their bodies; young ones and the charges of both stay."""
    ledger = await opened()
    attempt = Attempt(model="m", usage=Usage(output_tokens=4, source="reported"), cost_usd=0.25)
    for number in range(3):
        ledger.put(make_record(number, attempts=(attempt,)))
    ledger.put(make_record(3, started_s=SystemClock().now()))
    await ledger.flush()
    again = await opened(retention_days=1.0)
    again.put(make_record(4, started_s=SystemClock().now()))
    await again.flush()
    for _ in range(200):
        (left,) = await again.postgres.fetchrow("SELECT count(*) FROM bodies")
        if left == 2:
            break
        await asyncio.sleep(0.01)
    assert [record.id[-1] for record in await again.find(RecordFilter())] == ["4", "3"]
    (charges,) = await again.postgres.fetchrow("SELECT count(*) FROM charges")
    assert charges == 3


async def test_without_a_database_records_wait_and_land_once_after_it_returns(
    opened: Open, postgres_server: PostgresServer, eventually: Any
) -> None:
    """Gone for a while: requests are admitted up to the bound, content beyond it is dropped, nothing is lost or written twice."""
    ledger = await opened(queue_size=20)
    ledger.put(full_record(0))
    await ledger.flush()
    postgres_server.kill()
    try:
        for number in range(1, 18):
            ledger.admit()
            ledger.put(full_record(number))
        with pytest.raises(StoreError, match="cannot be written"):
            await ledger.flush()
        for number in range(18, 24):  # admitted before the queue was full
            ledger.put(full_record(number))
        with pytest.raises(Overloaded) as refused:
            ledger.admit()
        assert refused.value.retry_after_s == 5.0
        status = ledger.status()
        assert (status.writable, status.queued) == (False, 23)
        assert status.content_dropped == 3
        waiting = await ledger.get("req_00000017")
        assert waiting == full_record(17)
        with pytest.raises(StoreError):
            await ledger.get("req_00000000")
    finally:
        postgres_server.start()
    await eventually(lambda: ledger.status().queued == 0)
    await eventually(lambda: ledger.status().writable)
    ledger.admit()
    assert ledger.status().written == 24
    assert len(await ledger.find(RecordFilter(limit=100))) == 24
    assert await ledger.spend_usd(0.0, frozenset({"m"})) == 24 * 0.25


async def test_without_a_server_a_start_says_where_and_not_the_password(postgres_server: PostgresServer) -> None:
    """The message names host, port and database; neither it nor its cause names the password."""
    url = f"postgresql://me:hunter22@127.0.0.1:{postgres_server.port}/nowhere"
    with pytest.raises(StoreError) as failed:
        await Postgres(url, clock=SystemClock()).open()
    assert f"127.0.0.1:{postgres_server.port}/nowhere" in failed.value.text
    assert "hunter22" not in f"{failed.value.text} {failed.value.__cause__!r}"


async def test_closing_a_ledger_whose_database_is_gone_ends_soon(opened: Open, postgres_server: PostgresServer) -> None:
    """What is left is said to be lost; nobody waits for ever."""
    ledger = await opened()
    postgres_server.kill()
    try:
        ledger.put(make_record(1))
        async with asyncio.timeout(5):
            await ledger.aclose()
    finally:
        postgres_server.start()
    assert ledger.status().queued == 1
    with pytest.raises(StoreError):
        await ledger.flush()
