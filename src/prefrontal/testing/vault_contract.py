"""What every vault that several processes share must do, and every board of rate limits, as tests.

    class TestMyVault(SharedVaultContract):
        async def vaults(self, clock: Clock) -> tuple[SharedVault, SharedVault]:
            return await two_vaults_as_two_processes_have_them()

Runs under pytest-asyncio's ``auto`` mode; only plain asserts are used. Two objects stand for two processes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from prefrontal.chat.usage import Usage
from prefrontal.clock import Clock
from prefrontal.contracts.money import Budget, Charge, Rate
from prefrontal.ledger.board import Admitted, RateBoard, RateDenial, RateLine
from prefrontal.ledger.books import Claim, Denial, Line, Totals
from prefrontal.ledger.vault import SharedVault
from prefrontal.testing.clock import FakeClock

START_S = 1_700_006_400.0
"""A Unix time at which a UTC day begins."""


def made_charge(number: int, *, pico: int | None = 10, tokens: int = 5, **fields: Any) -> Charge:
    """Return a held charge of a key, in the first hour of the day."""
    given: dict[str, Any] = {
        "id": f"req_{number:06d}/0",
        "at_s": START_S + 60.0,
        "state": "held",
        "expires_s": START_S + 100.0,
        "key_id": "k",
        "model": "m",
        "outcome": "held",
        "usage": Usage(output_tokens=tokens, source="estimated"),
        "cost_pico": pico,
    }
    return Charge(**{**given, **fields})


def ended(charge: Charge, *, pico: int | None, tokens: int = 1) -> Charge:
    """Return a charge as it is settled."""
    usage = Usage(output_tokens=tokens, source="reported")
    return msgspec.structs.replace(
        charge, state="settled", expires_s=None, outcome="ok", usage=usage, cost_pico=pico
    )


def daily(subject: str = "", **fields: Any) -> Line:
    """Return a line of a day's budget: of everybody, or with a `scope` of one member."""
    models = fields.pop("models", ())
    budget = Budget(**{"name": "b", "scope": "global", "window": "day", "limit_pico": 100, **fields})
    return Line(budget=budget, subject=subject, start_s=START_S, models=models)


class SharedVaultContract:
    """Subclass and override `vaults`."""

    async def vaults(self, clock: Clock) -> tuple[SharedVault, SharedVault]:
        """Return two vaults on one empty store, as two processes have them. They are closed by whoever made them."""
        raise LookupError("override SharedVaultContract.vaults")

    async def test_two_processes_never_reserve_more_than_there_is(self) -> None:
        """Of 40 calls that come at once in two processes, as many are held as fit, and not one more."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        claims = [Claim(charge=made_charge(number, pico=7), lines=(daily(limit_pico=100),)) for number in range(40)]
        found = await asyncio.gather(*[(one, two)[index % 2].reserve(claim) for index, claim in enumerate(claims)])
        assert sum(denial is None for denial in found) == 14
        (denial,) = {d.dimension for d in found if d is not None}
        assert denial == "budget_usd"
        for vault in (one, two):
            assert await vault.standings((daily(),)) == [Totals(held_pico=98, held_tokens=70)]

    async def test_of_several_budgets_all_hold_or_none(self) -> None:
        """A call that one budget refuses takes nothing of another, and the refusal says what stands in the way."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        wide, tight = daily(limit_pico=10**6), daily("k", scope="key", limit_pico=None, limit_tokens=7)
        assert await one.reserve(Claim(charge=made_charge(1), lines=(wide, tight))) is None
        denial = await two.reserve(Claim(charge=made_charge(2), lines=(wide, tight)))
        assert isinstance(denial, Denial)
        assert (denial.line.subject, denial.dimension) == ("k", "budget_tokens")
        assert denial.totals == Totals(held_pico=10, held_tokens=5)
        assert await two.standings((wide, tight)) == [Totals(held_pico=10, held_tokens=5)] * 2

    async def test_an_end_counts_once_whoever_says_it(self) -> None:
        """Held becomes spent in every book; a second end, a release after it and an end of nothing change nothing."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        lines = (daily(), daily("k", scope="key"))
        charge = made_charge(1)
        await one.reserve(Claim(charge=charge, lines=lines))
        two.settle(ended(charge, pico=4))
        await two.committed()
        one.settle(ended(charge, pico=90))
        one.release(charge.id)
        one.settle(ended(made_charge(99), pico=5))
        await one.committed()
        assert await one.standings(lines) == [Totals(spent_pico=4, spent_tokens=1)] * 2
        (spent,) = await one.spent("global", START_S)
        assert (spent.pico, spent.tokens) == (4, 1)

    async def test_what_is_released_is_there_again(self) -> None:
        """A call that used nothing leaves no row and no amount, and its place can be taken by another process."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        lines = (daily(limit_pico=10),)
        await one.reserve(Claim(charge=made_charge(1), lines=lines))
        assert await two.reserve(Claim(charge=made_charge(2), lines=lines)) is not None
        one.release(made_charge(1).id)
        await one.committed()
        assert await two.reserve(Claim(charge=made_charge(2), lines=lines)) is None

    async def test_a_dead_process_is_settled_at_its_estimate_and_corrected_if_it_lives(self) -> None:
        """Any process reaps what is past its time, once; an end that comes late all the same counts what it cost."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        lines = (daily(), daily("k", scope="key"))
        await one.reserve(Claim(charge=made_charge(1, pico=60), lines=lines))
        await one.reserve(Claim(charge=made_charge(2, pico=30, expires_s=START_S + 900), lines=lines))
        assert await two.reap(START_S + 99) == 0
        assert [await two.reap(START_S + 101), await one.reap(START_S + 101)] == [1, 0]
        found = Totals(spent_pico=60, spent_tokens=5, held_pico=30, held_tokens=5)
        assert await one.standings(lines) == [found] * 2
        one.settle(ended(made_charge(1, pico=60), pico=25))
        await one.committed()
        assert (await two.standings(lines))[0].spent_pico == 25

    async def test_a_book_that_is_made_late_knows_the_past_and_what_is_held(self) -> None:
        """Charges of the window count, by their scope; after `recount` the same stands in the book, held amounts as held."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        old = Totals(spent_pico=3, spent_tokens=1)
        variants: tuple[dict[str, Any], ...] = ({}, {"at_s": START_S - 5}, {"key_id": "other"}, {"model": "n"}, {"team": "red"})
        for number, fields in enumerate(variants):
            one.put_charge(ended(made_charge(number, **fields), pico=3))
        one.put_charge(ended(made_charge(7, tags=("x", "y"), key_id=None), pico=None))
        await one.committed()
        lines = (
            daily(limit_pico=1000),
            daily("k", scope="key", limit_pico=1000),
            daily("red", scope="team"),
            daily("n", scope="model"),
            daily("x", scope="tag"),
            daily("coding", scope="role", models=("n", "z")),
        )
        expected = [
            Totals(spent_pico=12, spent_tokens=5, unpriced=1),
            Totals(spent_pico=9, spent_tokens=3),
            old,
            old,
            Totals(spent_tokens=1, unpriced=1),
            old,
        ]
        assert await two.standings(lines) == expected
        charge = made_charge(20, team="red", model="n", tags=("x",), pico=8, tokens=2)
        assert await two.reserve(Claim(charge=charge, lines=lines)) is None
        held = [found.plus(Totals(held_pico=8, held_tokens=2)) for found in expected]
        assert await one.standings(lines) == held
        await one.recount([(line.budget.scope, "day") for line in lines])
        assert await two.standings(lines) == held
        await one.recount([("key", "day")], "k")
        two.settle(ended(charge, pico=5, tokens=3))
        await two.committed()
        assert await one.standings(lines) == [found.plus(Totals(spent_pico=5, spent_tokens=3)) for found in expected]
        assert set(await one.members(("key", "day"), START_S)) >= {"k", "other"}

    async def test_a_budget_that_came_later_counts_what_was_reserved(self) -> None:
        """A call keeps the books it began with; a new budget counts its estimate as spent and is not confused by its end."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        before, later = daily(), daily("k", scope="key")
        await one.reserve(Claim(charge=made_charge(1, pico=40), lines=(before,)))
        assert await two.reserve(Claim(charge=made_charge(2, pico=1), lines=(before, later))) is None
        assert (await two.standings((later,)))[0] == Totals(spent_pico=40, spent_tokens=5, held_pico=1, held_tokens=5)
        one.settle(ended(made_charge(1), pico=20))
        await one.committed()
        found = await two.standings((before, later))
        assert [(totals.spent_pico, totals.held_pico) for totals in found] == [(20, 1), (40, 1)]

    async def test_sums_beyond_64_bits_are_exact(self) -> None:
        """Amounts of millions of dollars add up to the picodollar, in books and when they are added up again."""
        one, two = await self.vaults(FakeClock(start_s=START_S + 60.0))
        line = daily(limit_pico=10**30)
        huge = 9 * 10**18 + 1
        for number in range(4):
            await (one, two)[number % 2].reserve(Claim(charge=made_charge(number, pico=huge), lines=(line,)))
        assert (await one.standings((line,)))[0].held_pico == 4 * huge
        await one.recount([("global", "day")])
        assert (await two.standings((line,)))[0].held_pico == 4 * huge

    async def test_a_reservation_that_is_given_up_holds_nothing(self) -> None:
        """Released right behind, also when nobody waited for it."""
        clock = FakeClock(start_s=START_S + 60.0)
        one, two = await self.vaults(clock)
        asked = asyncio.ensure_future(one.reserve(Claim(charge=made_charge(1), lines=(daily(),))))
        await clock.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        one.release(made_charge(1).id)
        await one.committed()
        assert await two.standings((daily(),)) == [Totals()]


class RateBoardContract:
    """Subclass and override `boards`."""

    async def boards(self, clock: FakeClock) -> tuple[RateBoard, RateBoard]:
        """Return two boards that share their counters and go by `clock`; a board of one process only may be returned twice."""
        raise LookupError("override RateBoardContract.boards")

    async def passed(self, clock: FakeClock, seconds: float) -> None:
        """Let time pass on the board's clock."""
        await clock.advance(seconds)

    async def test_a_limit_admits_exactly_as_many_as_it_says(self) -> None:
        """Of 30 requests at once in two processes exactly the limit enter, and the refusal says when to come back."""
        clock = FakeClock(start_s=START_S)
        one, two = await self.boards(clock)
        lines = (RateLine(rate=Rate(name="r", scope="key", requests=11), subject="k", requests=1),)
        found = await asyncio.gather(*[(one, two)[n % 2].enter(lines, f"req_{n}", 60.0) for n in range(30)])
        assert sum(isinstance(each, Admitted) for each in found) == 11
        denial = next(each for each in found if isinstance(each, RateDenial))
        assert (denial.dimension, denial.used, denial.limit) == ("requests", 11, 11)
        assert denial.wait_s is not None
        assert 59.0 <= denial.wait_s <= 61.0 + 1e-6
        await self.passed(clock, 30.0)
        assert isinstance(await two.enter(lines, "req_x", 60.0), RateDenial)
        await self.passed(clock, 32.5)
        assert isinstance(await two.enter(lines, "req_y", 60.0), Admitted)

    async def test_a_request_counts_in_every_meter_or_in_none(self) -> None:
        """One limit without room keeps the request out of the others."""
        one, two = await self.boards(FakeClock(start_s=START_S))
        wide = RateLine(rate=Rate(name="w", scope="global", requests=5), subject="", requests=1)
        tight = RateLine(rate=Rate(name="t", scope="key", requests=1), subject="k", requests=1)
        assert isinstance(await one.enter((wide, tight), "a", 60.0), Admitted)
        for number in range(3):
            assert isinstance(await two.enter((wide, tight), f"b{number}", 60.0), RateDenial)
        found = [await two.enter((wide,), f"c{number}", 60.0) for number in range(5)]
        assert [isinstance(each, Admitted) for each in found] == [True] * 4 + [False]

    async def test_running_requests_count_until_they_leave(self) -> None:
        """A place is free as soon as another process has let go of it; a lease nobody holds is nothing."""
        clock = FakeClock(start_s=START_S)
        one, two = await self.boards(clock)
        lines = (RateLine(rate=Rate(name="r", scope="key", concurrency=2), subject="k", requests=1),)
        assert isinstance(await one.enter(lines, "a", 60.0), Admitted)
        assert isinstance(await two.enter(lines, "b", 60.0), Admitted)
        denial = await one.enter(lines, "c", 60.0)
        assert isinstance(denial, RateDenial)
        assert (denial.dimension, denial.used, denial.limit) == ("concurrency", 2, 2)
        one.leave("nobody")
        one.leave("a")
        await one.renew(60.0)
        assert isinstance(await two.enter(lines, "d", 60.0), Admitted)
        assert isinstance(await two.enter(lines, "e", 60.0), RateDenial)

    async def test_tokens_are_corrected_where_they_were_counted(self) -> None:
        """The estimate counts first; what was used takes its place; a request that can never fit hears so."""
        clock = FakeClock(start_s=START_S)
        one, two = await self.boards(clock)
        rate = Rate(name="r", scope="key", tokens=100)

        def line(tokens: int) -> tuple[RateLine, ...]:
            return (RateLine(rate=rate, subject="k", tokens=tokens),)

        admitted = await one.enter(line(90), "a", 60.0)
        assert isinstance(admitted, Admitted)
        denial = await two.enter(line(20), "b", 60.0)
        assert isinstance(denial, RateDenial)
        assert (denial.dimension, denial.used) == ("tokens", 90)
        never = await two.enter(line(101), "b", 60.0)
        assert isinstance(never, RateDenial)
        assert never.wait_s is None
        one.amend(line(90), admitted.at_s, 30)
        await one.renew(60.0)
        assert isinstance(await two.enter(line(70), "c", 60.0), Admitted)
        assert isinstance(await two.enter(line(1), "d", 60.0), RateDenial)

    async def test_limits_that_share_a_meter_count_a_request_once(self) -> None:
        """Two limits on one member and window are one counter; both hold."""
        one, two = await self.boards(FakeClock(start_s=START_S))
        lines = tuple([RateLine(rate=Rate(name=f"r{n}", scope="key", requests=n), subject="k", requests=1) for n in (3, 2)])
        found = [await (one, two)[n % 2].enter(lines, f"q{n}", 60.0) for n in range(3)]
        assert [isinstance(each, Admitted) for each in found] == [True, True, False]
        assert isinstance(found[2], RateDenial)
        assert found[2].line.rate.name == "r2"


class LeaseContract(RateBoardContract):
    """For boards that processes share: subclass in place of `RateBoardContract`."""

    async def test_a_dead_process_lets_go_in_time_and_a_living_one_does_not(self) -> None:
        """A lease that nobody renews ends; one that is renewed goes on counting."""
        clock = FakeClock(start_s=START_S)
        one, two = await self.boards(clock)
        lines = (RateLine(rate=Rate(name="r", scope="key", window="second", concurrency=1), subject="k", requests=1),)
        assert isinstance(await one.enter(lines, "a", 2.0), Admitted)
        await self.passed(clock, 1.5)
        await one.renew(2.0)
        await self.passed(clock, 1.5)
        assert isinstance(await two.enter(lines, "b", 2.0), RateDenial)
        await self.passed(clock, 1.0)
        assert isinstance(await two.enter(lines, "c", 2.0), Admitted)
