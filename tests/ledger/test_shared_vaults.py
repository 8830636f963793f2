"""Two processes on one SQLite database count as one: budgets, limits, ends, the reaper; each over its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock, SystemClock
from prefrontal.contracts.money import Budget, Payer, Rate
from prefrontal.errors import LimitExceeded, QuotaExceeded
from prefrontal.ledger.board import RateBoard
from prefrontal.ledger.memory_board import MemoryBoard
from prefrontal.ledger.rules import Rules
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_shared import SqliteSharedVault
from prefrontal.ledger.sqlite_vault import SqliteVault
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import MemoryVault, SharedVault
from prefrontal.testing.clock import FakeClock
from prefrontal.testing.ledger_contract import make_record
from prefrontal.testing.vault_contract import START_S, LeaseContract, RateBoardContract, SharedVaultContract


class OnOneFile:
    """Opens ledgers on one file, as processes do, and closes them."""

    @pytest.fixture(autouse=True)
    async def _file(self, tmp_path: Path) -> AsyncIterator[None]:
        self.path = tmp_path / "records.db"
        self.ledgers: list[SqliteLedger] = []
        yield
        for ledger in self.ledgers:
            await ledger.aclose()

    def opened(self, clock: Clock) -> SqliteLedger:
        self.ledgers.append(SqliteLedger(self.path, clock=clock).open())
        return self.ledgers[-1]

    def shared(self, clock: Clock) -> SqliteSharedVault:
        return SqliteSharedVault(self.opened(clock), clock=clock)


class TestSharedVault(OnOneFile, SharedVaultContract):
    """Budgets of two processes."""

    async def vaults(self, clock: Clock) -> tuple[SharedVault, SharedVault]:
        return self.shared(clock), self.shared(clock)


class TestSharedBoard(OnOneFile, LeaseContract):
    """Limits of two processes."""

    async def boards(self, clock: FakeClock) -> tuple[RateBoard, RateBoard]:
        return self.shared(clock), self.shared(clock)


class TestOneProcessBoard(RateBoardContract):
    """Limits counted in memory keep the same promises within their process."""

    async def boards(self, clock: FakeClock) -> tuple[RateBoard, RateBoard]:
        board = MemoryBoard(clock=clock)
        return board, board


PAYER = Payer(key_id="k1", key_name="one", team="red", tags=("x",))
BUDGETS = (
    Budget(name="all", scope="global", window="day", limit_pico=1000),
    Budget(name="tight", scope="key", window="month", limit_pico=100, on_exhaustion="degrade"),
    Budget(name="words", scope="role", window="day", limit_tokens=500),
)


class TestTreasury(OnOneFile):
    """What requests meet is the same whoever keeps the books: memory, a database alone, or one shared by two processes."""

    @pytest.fixture(params=["memory", "alone", "shared"])
    async def pair(self, request: pytest.FixtureRequest) -> tuple[Treasury, Treasury]:
        """Return the treasuries of two processes; where nothing is shared, of one, twice."""
        clock = self.clock = FakeClock(start_s=START_S + 60.0)
        made: list[Treasury] = []
        for _ in range(2 if request.param == "shared" else 1):
            if request.param == "shared":
                vault = self.shared(clock)
                treasury = Treasury(clock=clock, vault=vault, shared=vault, board=vault)
            elif request.param == "alone":
                treasury = Treasury(clock=clock, vault=SqliteVault(self.opened(clock), clock=clock))
            else:
                treasury = Treasury(clock=clock, vault=MemoryVault())
            rates = (Rate(name="r", scope="key", requests=8, tokens=400, concurrency=3),)
            await treasury.configure(
                Rules(budgets=BUDGETS, rates=rates),
                lambda model: {"m": ("coding",)}.get(model, ()),
                lambda role: {"coding": ("m",)}.get(role, ()),
            )
            made.append(treasury)
        return made[0], made[-1]

    @staticmethod
    async def reserve(
        treasury: Treasury, number: int, pico: int | None = 30, tokens: int = 10, model: str = "m"
    ) -> tuple[Any, Any]:
        purse = treasury.purse(PAYER, "k1", f"req_{number}")
        assert purse is not None
        usage = Usage(output_tokens=tokens, source="estimated")
        return purse, await purse.reserve(model, number=0, usage=usage, pico=pico, ttl_s=100.0)

    async def test_a_request_goes_through_its_budgets(self, pair: tuple[Treasury, Treasury]) -> None:
        """Held, refused, settled, released and looked at: the same numbers and the same words."""
        one, two = pair
        first, held = await self.reserve(one, 1)
        second, other = await self.reserve(two, 2)
        _, third = await self.reserve(one, 3)
        with pytest.raises(QuotaExceeded) as full:
            await self.reserve(two, 4)
        assert full.value.elsewhere
        details = full.value.details
        assert (details["budget"], details["of"], details["dimension"]) == ("tight", "k1", "budget_usd")
        assert (details["spent"], details["held"]) == (0.0, 90 / 10**12)
        await first.look(["m", "n"])
        left = first.allowance("m", named=True)
        assert (left.left_pico, left.left_tokens, left.budget) == (10, None, "tight")
        assert first.allowance("m").left_tokens == 470
        assert first.allowance("n").left_tokens is None
        first.settle(held, "ok", Usage(output_tokens=2, source="reported"), 5)
        second.release(other)
        first.settle(held, "ok", Usage(output_tokens=200, source="reported"), 50)
        await first.committed()
        await second.committed()
        states = {state.budget: state for state in await two.standing([PAYER])}
        assert {name: (s.spent_usd, s.held_usd, s.spent_tokens, s.held_tokens) for name, s in states.items()} == {
            "all": (5 / 10**12, 30 / 10**12, 2, 10),
            "tight": (5 / 10**12, 30 / 10**12, 2, 10),
            "words": (5 / 10**12, 30 / 10**12, 2, 10),
        }
        assert states["words"].of == "coding"
        assert third.durable

    async def test_limits_hold_over_both(self, pair: tuple[Treasury, Treasury]) -> None:
        """Requests, running ones and tokens, corrected by what was used."""
        one, two = pair
        purses = [(one, two)[n % 2].purse(PAYER, "k1", f"q{n}") for n in range(10)]
        for purse in purses[:3]:
            await purse.enter()  # type: ignore[union-attr]
        with pytest.raises(LimitExceeded) as busy:
            await purses[3].enter()  # type: ignore[union-attr]
        assert busy.value.details["dimension"] == "concurrency"
        for purse in purses[:3]:
            purse.close()  # type: ignore[union-attr]
        await one.board.renew(60.0)
        await two.board.renew(60.0)
        for purse in purses[3:8]:
            await purse.enter()  # type: ignore[union-attr]
            purse.close()  # type: ignore[union-attr]
            await one.board.renew(60.0)
            await two.board.renew(60.0)
        with pytest.raises(LimitExceeded) as often:
            await purses[8].enter()  # type: ignore[union-attr]
        assert often.value.details["dimension"] == "requests"
        purse, held = await self.reserve(one, 30, pico=0, tokens=390)
        with pytest.raises(LimitExceeded, match="tokens"):
            await self.reserve(two, 31, pico=0, tokens=20)
        purse.settle(held, "ok", Usage(output_tokens=5, source="reported"), 0)
        await purse.committed()
        await self.reserve(two, 32, pico=0, tokens=20)

    async def test_new_budgets_know_the_past_and_keys_their_own(self, pair: tuple[Treasury, Treasury]) -> None:
        """A budget that comes while others work counts what was spent before it, in the configuration and of a key."""
        one, two = pair
        purse, held = await self.reserve(one, 1, pico=40)
        purse.settle(held, "ok", Usage(output_tokens=1, source="reported"), 40)
        await purse.committed()
        for treasury in {id(one): one, id(two): two}.values():
            await treasury.configure(
                Rules(budgets=(Budget(name="new", scope="team", window="week", limit_pico=60),)), lambda _m: (), lambda _r: ()
            )
        with pytest.raises(QuotaExceeded, match="'new' of the team 'red'"):
            await self.reserve(two, 2, pico=30)
        own = Budget(name="own", scope="key", window="hour", limit_pico=45)
        payer = Payer(key_id="k1", key_name="one", team=None, budgets=(own,))
        await two.admit_key(payer)
        purse = two.purse(payer, "k1", "req_9")
        assert purse is not None
        with pytest.raises(QuotaExceeded, match="'own'"):
            await purse.reserve("m", number=0, usage=Usage(source="estimated"), pico=10, ttl_s=9.0)

    async def test_what_nobody_settles_is_reaped_by_anybody(self, pair: tuple[Treasury, Treasury]) -> None:
        """Past its time a reservation counts as spent, by whichever process looks first."""
        one, two = pair
        await self.reserve(one, 1, pico=70)
        await self.clock.advance(101.0)
        assert await two.reap() == 1
        assert await one.reap() == 0
        states = {state.budget: (round(state.spent_usd * 10**12), state.held_usd) for state in await two.standing()}
        assert states["all"] == (70, 0.0)

    async def test_many_at_once_never_overrun(self, pair: tuple[Treasury, Treasury]) -> None:
        """Hundreds of calls that race through both with random costs below their estimates: never more than the budget."""
        one, two = pair

        async def call(number: int) -> int:
            treasury = (one, two)[number % 2]
            try:
                purse, held = await self.reserve(treasury, number, pico=9, tokens=1, model="n")
            except (QuotaExceeded, LimitExceeded):
                return 0
            await asyncio.sleep(0)
            if number % 5 == 0:
                purse.release(held)
                return 0
            cost = number % 9
            purse.settle(held, "ok", Usage(output_tokens=1, source="reported"), cost)
            await purse.committed()
            return cost

        paid = sum(await asyncio.gather(*[call(number) for number in range(120)]))
        states = {state.budget: state for state in await one.standing([PAYER])}
        assert round(states["all"].spent_usd * 10**12) == paid <= 100
        assert states["all"].held_usd == 0.0


class TestRecords(OnOneFile):
    """Records of two processes."""

    async def test_a_record_is_found_by_another_process_as_soon_as_it_is_asked_for(self) -> None:
        """Put here and asked for there in the same moment: it is waited for, and what nobody has is not there."""
        clock = SystemClock()
        here, there = self.opened(clock), self.opened(clock)
        here.take_turns()
        there.take_turns()
        record = make_record(1)
        here.put(record)
        assert await there.get(record.id) == record
        assert await there.get("req_nothing") is None
