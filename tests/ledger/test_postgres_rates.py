"""Rate limits on Postgres: what every board promises, by the server's clock, and a share of each limit while it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Rate
from prefrontal.ledger.board import Admitted, RateBoard, RateDenial, RateLine
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.rates import PostgresRates
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.postgres_server import PostgresServer
from prefrontal.testing.vault_contract import LeaseContract

Open = Callable[..., Any]


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[Open]:
    """Opens boards on one database, each with connections of its own as another process has."""
    ledgers: list[PostgresLedger] = []

    async def build(**settings: Any) -> PostgresRates:
        ledger = await PostgresLedger(Postgres(postgres_url, clock=SystemClock()), clock=SystemClock()).open()
        ledgers.append(ledger)
        return PostgresRates(ledger, clock=SystemClock(), **settings)

    yield build
    for ledger in ledgers:
        await ledger.aclose()


class TestPostgresRates(LeaseContract):
    """The suite that every board of several processes passes."""

    @pytest.fixture(autouse=True)
    def _somewhere(self, opened: Open) -> None:
        self.opened = opened
        self.ahead_s = 0.0

    async def boards(self, clock: FakeClock) -> tuple[RateBoard, RateBoard]:
        return await self.opened(ahead_s=lambda: self.ahead_s), await self.opened(ahead_s=lambda: self.ahead_s)

    async def passed(self, clock: FakeClock, seconds: float) -> None:
        self.ahead_s += seconds


def line(**bounds: Any) -> tuple[RateLine, ...]:
    return (RateLine(rate=Rate(name="r", scope="key", **bounds), subject="k", requests=1),)


async def test_many_calls_share_a_transaction(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred calls at once take far fewer transactions than there are calls, and each is checked in its turn."""
    board = await opened()
    groups: list[int] = []
    take = board.order._take_steps
    monkeypatch.setattr(board.order, "_take_steps", lambda steps: (groups.append(len(steps)), take(steps))[1])
    found = await asyncio.gather(*[board.enter(line(requests=60), f"q{number}", 60.0) for number in range(100)])
    assert sum(isinstance(each, Admitted) for each in found) == 60
    assert len(groups) <= 4


async def test_without_the_database_a_gateway_keeps_to_its_share(
    opened: Open, postgres_server: PostgresServer, eventually: Any
) -> None:
    """Of three gateways each lets a third through, what it had let through before included; afterwards the limit is one again."""
    board, other = [await opened(replicas=3) for _ in range(2)]
    lines = line(requests=12, concurrency=100)
    for number in range(2):
        assert isinstance(await board.enter(lines, f"before{number}", 60.0), Admitted)
    postgres_server.kill()
    try:
        found = [await board.enter(lines, f"during{number}", 60.0) for number in range(5)]
        assert [isinstance(each, Admitted) for each in found] == [True, True, False, False, False]
        assert isinstance(found[-1], RateDenial)
        assert (found[-1].dimension, found[-1].used, found[-1].limit) == ("requests", 4, 4)
        board.leave("before0")
    finally:
        postgres_server.start()
    await eventually(lambda: board.order.problem is None and not board.order.todo)
    await board.renew(60.0)
    running = await other._postgres.fetch("SELECT lease FROM rate_leases ORDER BY lease")
    assert [row[0] for row in running] == ["before1", "during0", "during1"]
    found = [await other.enter(lines, f"after{number}", 60.0) for number in range(11)]
    assert sum(isinstance(each, Admitted) for each in found) == 10


async def test_what_ended_is_deleted(opened: Open) -> None:
    """Renewing clears slots and leases that no limit asks for any more."""
    ahead = [0.0]
    board, other = [await opened(ahead_s=lambda: ahead[0]) for _ in range(2)]
    await board.enter(line(requests=5, concurrency=5, window="second"), "a", 1.0)
    ahead[0] = 30.0
    await other.renew(60.0)
    assert await board._postgres.fetch("SELECT FROM rate_slots") == []
    assert await board._postgres.fetch("SELECT FROM rate_leases") == []


async def test_a_call_that_is_given_up_frees_its_place(opened: Open) -> None:
    """Cancelled while it is asked for: no request runs."""
    board = await opened()
    asked = asyncio.ensure_future(board.enter(line(concurrency=1), "a", 60.0))
    await asyncio.sleep(0.001)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(await board.enter(line(concurrency=1), "b", 60.0), Admitted)
