"""Reserve, settle, release, reap: sums stay exact in any order, and no budget is spent twice."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefrontal.chat.usage import Usage
from prefrontal.contracts.money import PICO, Budget, Payer, Rate
from prefrontal.errors import LimitExceeded, QuotaExceeded, StoreError
from prefrontal.ledger.rules import Rules
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import MemoryVault

NOON = 1_700_006_400.0 - 1_700_006_400.0 % 86_400 + 43_200
NUMBERS = itertools.count()
TEAM = Payer(key_id="k1", key_name="one", team="red", tags=("x", "y"))


class Clock:
    """Stands where a test puts it."""

    def __init__(self) -> None:
        self.time_s = NOON

    def now(self) -> float:
        return self.time_s

    def monotonic(self) -> float:
        return self.time_s


def used(tokens: int, source: Any = "reported") -> Usage:
    return Usage(output_tokens=tokens, source=source)


async def made(*rules: Budget | Rate, vault: MemoryVault | None = None, clock: Clock | None = None) -> Treasury:
    treasury = Treasury(clock=clock or Clock(), vault=vault or MemoryVault())  # type: ignore[arg-type]
    budgets = tuple(r for r in rules if isinstance(r, Budget))
    rates = tuple(r for r in rules if isinstance(r, Rate))
    await treasury.configure(Rules(budgets=budgets, rates=rates), lambda model: {"m": ("coding",)}.get(model, ()))
    return treasury


def day(**fields: Any) -> Budget:
    return Budget(**{"name": "b", "scope": "global", "window": "day", **fields})


class Requests:
    """Makes purses with ids that rise."""

    def __init__(self, treasury: Treasury, payer: Payer | None = TEAM) -> None:
        self.treasury, self.payer = treasury, payer

    async def reserve(self, pico: int | None = 10, tokens: int = 5, model: str = "m", ttl_s: float = 100.0) -> tuple[Any, Any]:
        purse = self.treasury.purse(self.payer, self.payer.key_id if self.payer else None, f"req_{next(NUMBERS)}")
        assert purse is not None
        return purse, await purse.reserve(model, number=0, usage=used(tokens, "estimated"), pico=pico, ttl_s=ttl_s)


async def test_a_request_without_any_rule_has_no_purse() -> None:
    """Nothing is counted for it, and nothing waits for the books."""
    treasury = await made(day(scope="team", of="blue", limit_pico=1))
    assert treasury.purse(TEAM, "k1", "r") is None
    assert (await made()).purse(None, None, "r") is None


@pytest.mark.parametrize(
    ("scope", "of", "hit"),
    [
        ("global", "*", True),
        ("key", "*", True),
        ("key", "k1", True),
        ("key", "one", True),
        ("key", "two", False),
        ("team", "red", True),
        ("team", "blue", False),
        ("tag", "y", True),
        ("tag", "z", False),
        ("model", "m", True),
        ("model", "n", False),
        ("role", "coding", True),
        ("role", "vision", False),
    ],
)
async def test_each_scope_holds_for_its_own(scope: Any, of: str, hit: bool) -> None:
    """A budget refuses the requests of the member it names, and no others'."""
    requests = Requests(await made(day(scope=scope, of=of, limit_pico=1), day(scope="global", window="total", limit_pico=PICO)))
    if hit:
        with pytest.raises(QuotaExceeded):
            await requests.reserve()
    else:
        await requests.reserve()


async def test_each_member_of_a_scope_has_the_budget_by_itself() -> None:
    """Without `of`, what one key spends leaves the other's budget whole; both tags of a request are charged."""
    treasury = await made(day(scope="key", limit_pico=10), day(scope="tag", limit_tokens=100))
    await Requests(treasury).reserve(10)
    with pytest.raises(QuotaExceeded):
        await Requests(treasury).reserve(1)
    await Requests(treasury, Payer(key_id="k2")).reserve(10)
    states = {(state.scope, state.of): state.held_tokens for state in treasury.states()}
    assert states == {("key", "k1"): 5, ("key", "k2"): 5, ("tag", "x"): 5, ("tag", "y"): 5}


async def test_a_refusal_says_which_budget_and_when_it_begins_anew() -> None:
    """Dimension, window, spent, held, limit and the reset are in the details, in dollars."""
    requests = Requests(await made(day(name="daily", limit_pico=3 * PICO)))
    purse, reservation = await requests.reserve(PICO)
    purse.settle(reservation, "ok", used(1), PICO)
    await requests.reserve(PICO)
    with pytest.raises(QuotaExceeded) as caught:
        await requests.reserve(2 * PICO)
    details = caught.value.details
    assert (details["budget"], details["dimension"], details["window"]) == ("daily", "budget_usd", "day")
    assert (details["spent"], details["held"], details["limit"]) == (1.0, 1.0, 3.0)
    assert details["resets_s"] == NOON + 43_200
    assert not caught.value.retryable


async def test_peers_11_an_unknown_price_follows_the_budget() -> None:
    """`deny` refuses and says so; `count_zero` counts 0 in dollars and marks it."""
    with pytest.raises(QuotaExceeded, match="price is not known"):
        await Requests(await made(day(limit_pico=PICO))).reserve(None)
    treasury = await made(day(limit_pico=PICO, unknown_price="count_zero"))
    purse, reservation = await Requests(treasury).reserve(None)
    purse.settle(reservation, "ok", used(7), None)
    (state,) = treasury.states()
    assert (state.spent_usd, state.spent_tokens, state.unpriced) == (0.0, 7, 1)


async def test_a_call_counts_in_the_window_it_was_reserved_in() -> None:
    """Reserved before midnight and settled after, it leaves the new day's budget whole."""
    clock = Clock()
    treasury = await made(day(limit_pico=100), clock=clock)
    purse, reservation = await Requests(treasury).reserve(80)
    clock.time_s += 86_400
    _, second = await Requests(treasury).reserve(100)
    purse.settle(reservation, "ok", used(1), 90)
    assert treasury.book("global", "day", "").used_pico == 100
    purse.release(second)
    clock.time_s -= 86_400  # a clock set back does not reopen the day that ended
    assert treasury.book("global", "day", "").used_pico == 0


async def test_new_budgets_know_the_past() -> None:
    """A budget that appears counts what its member has spent in the window; one that ends and comes back, all of it."""
    vault = MemoryVault()
    treasury = await made(day(scope="key", limit_pico=1000), vault=vault)
    purse, reservation = await Requests(treasury).reserve(10)
    purse.settle(reservation, "ok", used(1), 40)
    for scope, of in (("team", "red"), ("key", "k1"), ("model", "*"), ("role", "coding"), ("tag", "*")):
        await treasury.configure(Rules(budgets=(day(scope=scope, of=of, limit_pico=49),)), treasury._roles)
        with pytest.raises(QuotaExceeded):
            await Requests(treasury).reserve(10)
        await Requests(treasury).reserve(9)
        vault.charges = {name: charge for name, charge in vault.charges.items() if charge.state == "settled"}


async def test_rules_that_change_while_a_call_is_in_progress_count_it_once() -> None:
    """What it holds stays held in the counter that goes on, and is replaced by what it cost."""
    treasury = await made(day(scope="team", of="red", limit_pico=1000))
    purse, reservation = await Requests(treasury).reserve(500, tokens=50)
    rules = Rules(budgets=(day(scope="team", of="red", limit_pico=900), day(scope="team", of="blue", limit_pico=1)))
    await treasury.configure(rules, treasury._roles)
    book = treasury.book("team", "day", "red")
    assert (book.spent_pico, book.held_pico, book.used_tokens) == (0, 500, 50)
    purse.settle(reservation, "ok", used(3), 20)
    assert (book.spent_pico, book.held_pico, book.used_tokens) == (20, 0, 3)
    assert treasury.book("team", "day", "red") is book


async def test_what_is_spent_while_the_past_is_added_up_is_not_lost() -> None:
    """A call that begins and ends during the reading of the books is counted, though the reading did not see it."""

    class Slow(MemoryVault):
        during: Any = None

        async def spent(self, scope: Any, since_s: float) -> list[Any]:
            found = await super().spent(scope, since_s)
            if self.during is not None:
                await self.during()
            return found

    vault = Slow()
    treasury = await made(day(scope="team", of="red", limit_pico=1000), vault=vault)

    async def ask() -> None:
        purse, reservation = await Requests(treasury).reserve(500)
        purse.settle(reservation, "ok", used(3), 70)

    vault.during = ask
    rules = Rules(budgets=(day(scope="team", of="red", limit_pico=900), day(scope="team", of="blue", limit_pico=1)))
    await treasury.configure(rules, treasury._roles)
    assert treasury.book("team", "day", "red").spent_pico == 70


async def test_a_keys_own_budget_counts_from_its_first_request_and_after_a_change() -> None:
    """A key that gets a budget while it is at work has spent what it spent."""
    treasury = await made(day(limit_pico=1000))
    await treasury.admit_key(TEAM)
    purse, reservation = await Requests(treasury).reserve(30)
    purse.settle(reservation, "ok", used(1), 30)
    own = Payer(key_id="k1", budgets=(day(name="own", scope="key", limit_pico=50),))
    await treasury.admit_key(own)
    with pytest.raises(QuotaExceeded, match="own"):
        await Requests(treasury, own).reserve(21)
    await Requests(treasury, own).reserve(20)


async def test_limits_count_a_request_once_and_let_go_of_running_ones() -> None:
    """Requests slide out of the minute, running ones count until they are closed, tokens are corrected by the usage."""
    clock = Clock()
    rate = Rate(name="r", scope="key", requests=3, concurrency=2, tokens=100)
    treasury = await made(rate, clock=clock)
    purses = [treasury.purse(TEAM, "k1", f"r{n}") for n in range(4)]
    assert all(purses)
    await purses[0].enter(), await purses[1].enter()  # type: ignore[union-attr]
    with pytest.raises(LimitExceeded) as busy:
        await purses[2].enter()  # type: ignore[union-attr]
    assert (busy.value.details["dimension"], busy.value.retryable) == ("concurrency", True)
    purses[0].close()  # type: ignore[union-attr]
    await purses[2].enter()  # type: ignore[union-attr]
    with pytest.raises(LimitExceeded) as often:
        await purses[3].enter()  # type: ignore[union-attr]
    assert often.value.details["dimension"] == "requests"
    assert often.value.retry_after_s is not None
    clock.time_s += often.value.retry_after_s
    for purse in purses[1:3]:
        purse.close()  # type: ignore[union-attr]
    await purses[3].enter()  # type: ignore[union-attr]
    reservation = await purses[3].reserve("m", number=0, usage=used(90, "estimated"), pico=None, ttl_s=1)  # type: ignore[union-attr]
    with pytest.raises(LimitExceeded, match="tokens"):
        await Requests(treasury).reserve(tokens=20)
    purses[3].settle(reservation, "ok", used(50), None)  # type: ignore[union-attr]
    await Requests(treasury).reserve(tokens=50)
    assert treasury.vault.charges == {}  # type: ignore[attr-defined]  # no budget: nothing has to be durable


class BrokenVault(MemoryVault):
    """A disk that fails."""

    async def committed(self) -> None:
        raise StoreError("full")


async def test_what_cannot_be_written_is_not_held() -> None:
    """When the reservation cannot be made durable the call is refused and its estimate given back."""
    treasury = await made(day(limit_pico=10), vault=BrokenVault())
    for _ in range(3):
        with pytest.raises(StoreError):
            await Requests(treasury).reserve(10)
    assert treasury.states()[0].held_usd == 0.0


async def test_a_late_settlement_corrects_the_reaper() -> None:
    """A reservation beyond its time counts as spent; when its call ends all the same, by what it cost."""
    clock = Clock()
    treasury = await made(day(limit_pico=100), clock=clock)
    purse, reservation = await Requests(treasury).reserve(60, ttl_s=10)
    clock.time_s += 11
    assert await treasury.reap() == 1
    book = treasury.book("global", "day", "")
    assert (book.held_pico, book.spent_pico) == (0, 60)
    purse.settle(reservation, "ok", used(1), 25)
    assert (book.held_pico, book.spent_pico) == (0, 25)
    assert [c.cost_pico for c in treasury.vault.charges.values()] == [25]  # type: ignore[attr-defined]


STEP = st.one_of(
    st.tuples(st.just("reserve"), st.integers(0, 60)),
    st.tuples(st.sampled_from(["settle", "release", "again"]), st.integers(0, 200)),
    st.tuples(st.just("reap"), st.integers(1, 200)),
)


@given(limit=st.integers(0, 300), steps=st.lists(STEP, max_size=60), within=st.booleans())
def test_peers_6_any_order_keeps_the_sum_exact_and_the_budget(limit: int, steps: list[tuple[str, int]], within: bool) -> None:
    """Against a plain list of what is open and what was paid: sums agree after every step and in the books at the end.

    Calls that stay within their estimates never overrun the budget; others by no more than they cost above their estimates.
    """

    async def run() -> None:
        clock = Clock()
        vault = MemoryVault()
        treasury = await made(
            day(limit_pico=limit), day(name="other", scope="team", limit_tokens=10**9), vault=vault, clock=clock
        )
        requests = Requests(treasury)
        open_: list[tuple[Any, Any, int]] = []
        ended: list[tuple[Any, Any]] = []
        paid = above = 0
        for kind, number in steps:
            used_before = paid + sum(pico for *_, pico in open_)
            if kind == "reserve":
                try:
                    purse, reservation = await requests.reserve(number, ttl_s=100)
                except QuotaExceeded:
                    assert number > 0
                    assert used_before + number > limit
                else:
                    assert number == 0 or used_before + number <= limit
                    open_.append((purse, reservation, number))
            elif kind == "reap":
                clock.time_s += min(number, 100)
                await treasury.reap()
            elif kind == "again" and ended:
                purse, reservation = ended[number % len(ended)]
                purse.settle(reservation, "ok", used(9), 999)
                purse.release(reservation)
            elif open_ and kind in ("settle", "release"):
                purse, reservation, held = open_.pop(number % len(open_))
                ended.append((purse, reservation))
                if kind == "release":
                    purse.release(reservation)
                else:
                    cost = min(held, number) if within else number
                    purse.settle(reservation, "ok", used(3), cost)
                    paid += cost
                    above += max(0, cost - held)
            book = treasury.book("global", "day", "")
            assert book.used_pico == paid + sum(pico for *_, pico in open_)
            assert book.used_pico <= limit + above
        settled = sum(c.cost_pico or 0 for c in vault.charges.values())
        assert settled == paid + sum(pico for *_, pico in open_)
        team = treasury.book("team", "day", "red")
        assert team.used_pico == book.used_pico if steps else True

    asyncio.run(run())
