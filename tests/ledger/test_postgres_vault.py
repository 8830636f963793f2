"""Money on Postgres: what every shared vault promises, exact under contention, and through an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from prefrontal.clock import Clock, SystemClock
from prefrontal.errors import StoreError
from prefrontal.ledger.books import Claim, Totals
from prefrontal.ledger.postgres import books
from prefrontal.ledger.postgres.books import Release
from prefrontal.ledger.postgres.order import Order
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.postgres.vault import PostgresVault
from prefrontal.ledger.vault import SharedVault
from prefrontal.testing.postgres_server import PostgresServer
from prefrontal.testing.vault_contract import START_S, SharedVaultContract, daily, ended, made_charge

Open = Callable[[], Awaitable[PostgresVault]]


@pytest.fixture
async def opened(postgres_url: str) -> AsyncIterator[Open]:
    """Opens vaults on one database, each with connections of its own as another process has."""
    ledgers: list[PostgresLedger] = []

    async def build() -> PostgresVault:
        ledger = await PostgresLedger(Postgres(postgres_url, clock=SystemClock()), clock=SystemClock()).open()
        ledgers.append(ledger)
        return PostgresVault(ledger, clock=SystemClock())

    yield build
    for ledger in ledgers:
        await ledger.aclose()


class TestPostgresVault(SharedVaultContract):
    """The suite that every shared vault passes."""

    @pytest.fixture(autouse=True)
    def _somewhere(self, opened: Open) -> None:
        self.opened = opened

    async def vaults(self, clock: Clock) -> tuple[SharedVault, SharedVault]:
        return await self.opened(), await self.opened()


async def test_many_calls_of_three_gateways_are_counted_exactly(opened: Open) -> None:
    """Calls that reserve in several books in any order, and end in every way, leave the sums that one after the other leaves."""
    vaults = [await opened() for _ in range(3)]
    lines = [daily(limit_pico=10**9), daily("k", scope="key", limit_pico=10**9), daily("m", scope="model", limit_pico=10**9)]

    async def call(number: int) -> int:
        vault = vaults[number % 3]
        charge = made_charge(number, pico=100)
        order = lines[number % 3 :] + lines[: number % 3]
        assert await vault.reserve(Claim(charge=charge, lines=tuple(order))) is None
        if number % 5 == 0:
            vault.release(charge.id)
            await vault.committed()
            return 0
        other = vaults[(number + 1) % 3] if number % 7 == 0 else vault
        other.settle(ended(charge, pico=number))
        await other.committed()
        return number

    spent = sum(await asyncio.gather(*[call(number) for number in range(240)]))
    for vault in vaults:
        assert [(t.spent_pico, t.held_pico, t.held_tokens) for t in await vault.standings(lines)] == [(spent, 0, 0)] * 3
    await vaults[0].recount([(line.budget.scope, "day") for line in lines])
    assert [t.spent_pico for t in await vaults[1].standings(lines)] == [spent] * 3


async def test_many_calls_share_a_transaction(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred reservations at once take far fewer transactions than there are calls."""
    vault = await opened()
    groups: list[int] = []
    take = vault.order._take_steps
    monkeypatch.setattr(vault.order, "_take_steps", lambda steps: (groups.append(len(steps)), take(steps))[1])
    claims = [Claim(charge=made_charge(number), lines=(daily(limit_pico=10**6),)) for number in range(200)]
    assert await asyncio.gather(*[vault.reserve(claim) for claim in claims]) == [None] * 200
    assert sum(groups) == 200
    assert len(groups) <= 4


async def test_while_the_database_is_gone_calls_are_refused_and_ends_wait(
    opened: Open, postgres_server: PostgresServer, eventually: Any
) -> None:
    """Reservations are refused at once; a settlement and a release said meanwhile count once when it is back."""
    vault, other = await opened(), await opened()
    lines = (daily(limit_pico=1000), daily("k", scope="key", limit_pico=1000))
    for number in range(3):
        await vault.reserve(Claim(charge=made_charge(number), lines=lines))
    postgres_server.kill()
    try:
        vault.settle(ended(made_charge(0), pico=7))
        vault.release(made_charge(1).id)
        with pytest.raises(StoreError):
            await vault.committed()
        for number in (10, 11):
            with pytest.raises(StoreError) as refused:
                await vault.reserve(Claim(charge=made_charge(number), lines=lines))
            assert refused.value.retry_after_s == 5.0
            vault.release(made_charge(number).id)  # as whoever asked does
        with pytest.raises(StoreError):
            await other.standings(lines)
    finally:
        postgres_server.start()
    await eventually(lambda: not vault.order.todo and vault.order.problem is None)
    expected = Totals(spent_pico=7, spent_tokens=1, held_pico=10, held_tokens=5)
    assert await other.standings(lines) == [expected] * 2
    await vault.recount([("global", "day"), ("key", "day")])
    assert await vault.standings(lines) == [expected] * 2
    assert await vault.reserve(Claim(charge=made_charge(12), lines=lines)) is None


async def test_a_commit_whose_answer_is_lost_counts_once(
    opened: Open, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    """The group is carried out again when the connection breaks after the commit: nothing is held or spent twice."""
    vault = await opened()
    lines = (daily(limit_pico=1000),)
    await vault.reserve(Claim(charge=made_charge(1), lines=lines))
    transaction, broken = vault._postgres.transaction, [False]

    @asynccontextmanager
    async def lost() -> AsyncIterator[Any]:
        async with transaction() as connection:
            yield connection
        if not broken[0]:
            broken[0] = True
            raise StoreError("the answer was lost")

    monkeypatch.setattr(vault._postgres, "transaction", lost)
    vault.settle(ended(made_charge(1), pico=4))
    with pytest.raises(StoreError):
        await vault.committed()
    await eventually(lambda: not vault.order.todo)
    assert broken == [True]
    assert await vault.standings(lines) == [Totals(spent_pico=4, spent_tokens=1)]


async def test_a_step_that_no_column_holds_stops_no_other(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused or left out, and said; those beside it are carried out."""
    vault = await opened()
    lines = (daily(limit_pico=1000),)
    wrong = made_charge(2, tokens=-(2**70))
    found = await asyncio.gather(
        *[vault.reserve(Claim(charge=charge, lines=lines)) for charge in (made_charge(1), wrong, made_charge(3))],
        return_exceptions=True,
    )
    assert (found[0], found[2]) == (None, None)
    assert isinstance(found[1], StoreError)
    assert await vault.standings(lines) == [Totals(held_pico=20, held_tokens=10)]
    assert "left out of the books" in caplog.text


async def test_texts_that_postgres_refuses_find_their_book(opened: Open) -> None:
    """A tag with the character zero is a member like any other: held, listed, settled."""
    vault = await opened()
    lines = (daily("a\0b", scope="tag"),)
    charge = made_charge(1, tags=("a\0b", "ü\x1f"))
    await vault.reserve(Claim(charge=charge, lines=lines))
    assert await vault.standings(lines) == [Totals(held_pico=10, held_tokens=5)]
    await vault.recount([("tag", "day")])
    assert await vault.standings(lines) == [Totals(held_pico=10, held_tokens=5)]
    vault.settle(ended(charge, pico=3))
    await vault.committed()
    assert await vault.standings(lines) == [Totals(spent_pico=3, spent_tokens=1)]


async def test_books_of_windows_long_gone_are_deleted(opened: Open) -> None:
    """The reaper clears what no call can belong to any more; the books of today stay."""
    vault = await opened()
    await vault.reserve(Claim(charge=made_charge(1, expires_s=START_S + 10**9), lines=(daily(), daily("k", scope="key"))))
    await vault.reap(START_S + 86_400)
    assert len(await vault._postgres.fetch("SELECT FROM books")) == 2
    await vault.reap(START_S + 40 * 86_400)
    assert await vault._postgres.fetch("SELECT FROM books") == []


async def test_closing_carries_out_what_was_said(opened: Open) -> None:
    """A settlement said right before the end is in the database after it; later ones are refused."""
    vault, other = await opened(), await opened()
    lines = (daily(limit_pico=1000),)
    await vault.reserve(Claim(charge=made_charge(1), lines=lines))
    vault.settle(ended(made_charge(1), pico=4))
    await vault._ledger.aclose()
    assert await other.standings(lines) == [Totals(spent_pico=4, spent_tokens=1)]
    with pytest.raises(StoreError, match="closed"):
        await vault.reserve(Claim(charge=made_charge(2), lines=lines))


async def test_a_book_is_added_up_once(opened: Open) -> None:
    """Who asks what stands in it makes it: the next who asks, in any process, reads one row; calls that wait share it."""
    vault, other = await opened(), await opened()
    vault.put_charge(ended(made_charge(1), pico=3))
    await vault.committed()
    lines = (daily(), daily("k", scope="key"))
    found = await asyncio.gather(*[(vault, other)[number % 2].standings(lines) for number in range(10)])
    assert found == [[Totals(spent_pico=3, spent_tokens=1)] * 2] * 10
    assert len(await other._postgres.fetch("SELECT FROM books")) == 2
    await other._postgres.execute("DELETE FROM charges")  # nobody looks there again
    assert await other.standings(lines) == found[0]


async def test_a_step_that_trips_does_not_stop_what_comes_behind_it() -> None:
    """The one step is refused; the task that carries out the others lives."""
    done: list[str] = []

    async def take(steps: list[Any]) -> None:
        if any(step.charge_id == "bad" for step in steps):
            raise KeyError("bad")
        done.extend(step.charge_id for step in steps)

    order = Order(take, postgres=None, clock=SystemClock(), what="a test")  # type: ignore[arg-type]  # never asked here
    for name in ("one", "bad", "two"):
        order.say(Release(charge_id=name))
    async with asyncio.timeout(2.0):
        await order.reached()
    assert done == ["one", "two"]
    assert order.problem is None


async def test_a_book_thrown_away_while_it_is_made_is_made_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another gateway may begin a count anew between two statements of ours: the reservation is tried again."""
    vault = await opened()
    thrown: list[str] = []

    async def read(self: Any, query: str, keys: Any) -> None:
        if query == books._LOCK_BOOKS and not thrown and made_once:
            thrown.append("a book")
            await self._connection.execute("DELETE FROM books")
        made_once.append(query)
        await usual(self, query, keys)

    made_once: list[str] = []
    usual = books.Desk._read
    monkeypatch.setattr(books.Desk, "_read", read)
    claim = Claim(charge=made_charge(1), lines=(daily(),))
    assert await vault.reserve(claim) is None
    assert thrown == ["a book"]
    assert (await vault.standings([daily()]))[0].held_pico == claim.charge.cost_pico
