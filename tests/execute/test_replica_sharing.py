"""What replicas tell each other: a resting model is left alone by all, one tries it, and conversations are known everywhere."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from prefrontal.clock import SystemClock
from prefrontal.contracts.model import ModelCard
from prefrontal.execute import breaker
from prefrontal.execute.breaker import CLOSED, Breaker, BreakerPolicy
from prefrontal.execute.outbox import Outbox, SharedBook
from prefrontal.execute.prefixes import Prefixes
from prefrontal.execute.runtime import ModelState, Runtime
from prefrontal.execute.sessions import Sessions
from prefrontal.execute.shared_breakers import Change, Hint, change_of, hinted, shared_name
from prefrontal.execute.sharing import Sharing
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.plan.inputs import Stay
from prefrontal.plan.prefixes import Prefix
from prefrontal.testing.redis_server import RedisServer

CLOCK = SystemClock()
POLICY = BreakerPolicy(failures=1, window_s=30.0, open_s=0.3)
IDS = itertools.count()


def card(model: str = "m", url: str | None = "https://upstream.example/v1") -> ModelCard:
    return ModelCard(id=model, wire_name="wire", profile="openai", base_url=url, key="secret")


class Replica:
    """One gateway's part of it."""

    def __init__(self, url: str, place: str) -> None:
        self.link = RedisLink(RedisSettings(url=url, retry_s=0.05, timeout_s=1.0), clock=CLOCK)
        self.runtime = Runtime(default_limit=4, default_queue=4)
        self.sessions, self.prefixes = Sessions(), Prefixes()
        books: dict[str, SharedBook] = {"sessions": self.sessions, "prefixes": self.prefixes}
        self.sharing = Sharing(
            self.link, runtime=self.runtime, books=books, clock=CLOCK, replica=f"r{next(IDS)}", place=place
        )

    def state(self, model: ModelCard | None = None) -> ModelState:
        return self.runtime.state(model or card())

    def fail(self, model: ModelCard | None = None) -> None:
        state = self.state(model)
        state.breaker = breaker.failed(state.breaker, CLOCK.monotonic(), POLICY)

    def admits(self, model: ModelCard | None = None) -> bool:
        return breaker.admits(self.state(model).breaker, CLOCK.monotonic())


@asynccontextmanager
async def replicas(url: str, count: int, places: str = "") -> AsyncIterator[list[Replica]]:
    """Gateways that know the model; `places` has a letter for the machine of each."""
    made = [Replica(url, places[number : number + 1] or "here") for number in range(count)]
    try:
        for replica in made:
            await replica.link.start()
            replica.state()
        yield made
    finally:
        for replica in made:
            await replica.link.aclose()


async def exchange(*all_: Replica) -> None:
    for replica in all_:
        await replica.sharing.exchange()


async def until(condition: Callable[[], bool], *all_: Replica) -> None:
    """Exchange as the loop does until it holds, at most ten seconds."""
    for _ in range(100):
        await exchange(*all_)
        if condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come true")


async def test_a_model_that_rests_at_one_gateway_rests_at_all(redis_url: str) -> None:
    """The pause is the same, so the others come back to it together with the first."""
    async with replicas(redis_url, 3) as (one, two, three):
        state = one.state()
        state.breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        await exchange(one, two, three)
        for other in (two, three):
            assert not other.admits()
            rests_s = breaker.reopens_in_s(other.state().breaker, CLOCK.monotonic())
            assert rests_s == pytest.approx(20.0, abs=0.5)
            assert other.state().breaker.pause_s == pytest.approx(20.0, abs=0.01)
        assert three.runtime.snapshot(card(), CLOCK.monotonic()).open  # the planner sees it too


async def test_an_answer_anywhere_ends_the_rest_everywhere(redis_url: str) -> None:
    """A success at one gateway closes the breakers of all."""
    async with replicas(redis_url, 2) as (one, two):
        one.state().breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        await exchange(one, two)
        assert not two.admits()
        two.state().breaker = breaker.succeeded(two.state().breaker)
        await exchange(two, one)
        assert one.admits()
        assert one.state().breaker is CLOSED


async def test_only_one_gateway_tries_a_resting_model(redis_url: str) -> None:
    """When the pause is over one is let through; its failure lengthens the pause for all, its success ends it."""
    async with replicas(redis_url, 3) as all_:
        all_[0].fail()
        await exchange(*all_)
        await until(lambda: any(replica.admits() for replica in all_), *all_)
        for _ in range(3):
            await exchange(*all_)
            assert sum(replica.admits() for replica in all_) == 1
        tries = next(replica for replica in all_ if replica.admits())
        state = tries.state()
        state.breaker = breaker.started(state.breaker)
        await exchange(*all_)
        assert not any(replica.admits() for replica in all_)
        state.breaker = breaker.failed(state.breaker, CLOCK.monotonic(), POLICY)
        await exchange(tries, *all_)
        assert {round(replica.state().breaker.pause_s, 1) for replica in all_} == {0.6}
        await until(lambda: any(replica.admits() for replica in all_), *all_)
        tries = next(replica for replica in all_ if replica.admits())
        tries.state().breaker = breaker.succeeded(tries.state().breaker)
        await exchange(tries, *all_)
        assert all(replica.state().breaker is CLOSED for replica in all_)


async def test_a_gateway_that_may_try_and_dies_is_followed_by_another(redis_url: str) -> None:
    """The permission ends by itself."""
    async with replicas(redis_url, 2) as (one, two):
        one.fail()
        await exchange(one, two)
        await until(one.admits, one)
        assert not two.admits()
        await until(two.admits, two)  # `one` is never heard of again


async def test_models_of_one_machine_are_not_another_ones(redis_url: str) -> None:
    """An upstream at 127.0.0.1 is shared by the gateways of that machine; a file's engine by nobody."""
    local, file = card("local", "http://127.0.0.1:8000/v1"), card("file", None)
    async with replicas(redis_url, 3, "aab") as (one, same, other):
        for model in (local, file):
            for replica in (same, other):
                replica.state(model)
            one.state(model).breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        await exchange(one, same, other)
        assert [replica.admits(local) for replica in (one, same, other)] == [False, False, True]
        assert [replica.admits(file) for replica in (one, same, other)] == [False, True, True]


def test_the_shared_name_depends_on_the_upstream_and_its_key() -> None:
    """Another address, wire name, key or model is another upstream, and none of it can be read in the name."""
    identity = ("openai", "wire", "https://upstream.example/v1", None, "secret")
    names = {
        shared_name("m", identity, "a"),
        shared_name("m", identity, "b"),
        shared_name("n", identity, "a"),
        shared_name("m", (*identity[:4], "other"), "a"),
        shared_name("m", ("openai", "wire2", *identity[2:]), "a"),
    }
    assert len(names) == 4
    assert all(name is not None and len(name) == 32 for name in names)


async def test_a_server_that_forgot_is_told_again(own_redis: RedisServer) -> None:
    """After a restart of Redis the others learn of a model that still rests."""
    async with replicas(own_redis.url, 2) as (one, two):
        one.state().breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        await exchange(one)
        await one.link.ask("FLUSHALL")
        await exchange(one, one, two)
        assert not two.admits()


async def test_a_conversation_is_known_at_every_gateway(redis_url: str) -> None:
    """Its next turn stays with its model wherever it arrives; the newest note wins, and age counts across gateways."""
    async with replicas(redis_url, 3) as (one, two, late):
        now = CLOCK.monotonic()
        one.sessions.note("mine", "m", 100, now)
        two.sessions.note("other", "n", 7, now)
        await exchange(one, two, one)
        assert two.sessions.find("mine", CLOCK.monotonic(), 60.0) == Stay(model="m", cached_tokens=100)
        two.sessions.note("mine", "n", 200, CLOCK.monotonic(), "east")
        await exchange(two, one, late)
        for replica in (one, two, late):
            assert replica.sessions.find("mine", CLOCK.monotonic(), 60.0) == Stay(model="n", cached_tokens=200, deployment="east")
            assert replica.sessions.find("other", CLOCK.monotonic(), 60.0) == Stay(model="n", cached_tokens=7)
        assert one.sessions.find("mine", CLOCK.monotonic() + 61.0, 60.0) is None


async def test_callers_words_do_not_leave_the_gateway(redis_url: str) -> None:
    """A session's name may be a person's; Redis sees a digest of it, and of a model's key not even that."""
    async with replicas(redis_url, 1) as (one,):
        one.sessions.note("jane.doe@example.org", "m", 100, CLOCK.monotonic())
        one.state().breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        await exchange(one)
        told = repr(await one.link.ask("XRANGE", one.link.key("sessions"), "-", "+"))
        told += repr(await one.link.ask("HGETALL", one.link.key("breakers")))
        assert "jane" not in told
        assert "secret" not in told
        assert len(told) > 100


async def test_more_notes_than_fit_one_round_trip_all_arrive(redis_url: str) -> None:
    """A busy second is read in several round trips."""
    async with replicas(redis_url, 2) as (one, two):
        for number in range(2500):
            one.sessions.note(f"s{number}", "m", number, CLOCK.monotonic())
        await exchange(one, two)
        assert len(two.sessions) == 2500


async def test_a_beginning_that_one_gateway_had_read_is_known_at_all(redis_url: str) -> None:
    """Instructions that many conversations share go where they are cached; those that come with every request are told once."""
    instructions = Prefix(digest=b"i" * 16, characters=8000, share=0.5)
    async with replicas(redis_url, 2) as (one, two):
        for number in range(50):
            turn = Prefix(digest=number.to_bytes(16, "big"), characters=9000, share=1.0)
            one.prefixes.note((turn, instructions), "m", "east", 2000, CLOCK.monotonic())
        assert one.prefixes.outbox is not None
        assert len(one.prefixes.outbox) == 51
        await exchange(one, two)
        stay = two.prefixes.find((instructions,), CLOCK.monotonic(), 60.0)
        assert stay == Stay(model="m", deployment="east", cached_tokens=1000, by="prefix")
        one.prefixes.note((instructions,), "m", "west", 2000, CLOCK.monotonic())
        await exchange(one, two)
        moved = two.prefixes.find((instructions,), CLOCK.monotonic(), 60.0)
        assert moved is not None
        assert moved.deployment == "west"


async def test_the_loop_goes_on_through_an_outage(own_redis: RedisServer) -> None:
    """While Redis is away each gateway goes by what it knows; when it is back they tell each other again."""
    async with replicas(own_redis.url, 2) as (one, two):
        loops = [asyncio.create_task(replica.sharing.keep()) for replica in (one, two)]
        own_redis.stop()
        one.state().breaker = Breaker(opened_at=CLOCK.monotonic(), pause_s=20.0)
        one.sessions.note("s", "m", 5, CLOCK.monotonic())
        await asyncio.sleep(0.5)
        assert two.admits()
        own_redis.start()
        for _ in range(400):
            await asyncio.sleep(0.01)
            if not two.admits() and two.sessions.find("s", CLOCK.monotonic(), 60.0) is not None:
                break
        assert not two.admits()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


def test_what_is_told_is_what_changed() -> None:
    """Opening, a longer pause and closing are told; failures that open nothing, a trial under way and echoes are not."""
    opened = Breaker(opened_at=10.0, pause_s=5.0)
    assert change_of(None, opened, 12.0) == Change(to="open", rest_s=3.0, pause_s=5.0)
    assert change_of(CLOSED, opened, 10.0) == Change(to="open", rest_s=5.0, pause_s=5.0)
    assert change_of(opened, opened, 12.0) is None
    assert change_of(opened, breaker.started(opened), 15.0) is None
    assert change_of(opened, Breaker(opened_at=15.0, pause_s=10.0), 15.0) == Change(to="open", rest_s=10.0, pause_s=10.0)
    assert change_of(opened, CLOSED, 12.0) == Change(to="close")
    assert change_of(CLOSED, Breaker(failed_at=(1.0,)), 2.0) is None
    assert change_of(None, CLOSED, 2.0) is None


def test_a_hint_never_disturbs_a_trial_and_holds_off_the_others() -> None:
    """Who may try is let through when the pause ends; who may not waits at least the guard; a trial that is out stays out."""
    opened = Breaker(opened_at=10.0, pause_s=5.0)
    trying = breaker.started(opened)
    assert hinted(trying, Hint(opened=False), 16.0, guard_s=1.0) is trying
    assert hinted(opened, Hint(opened=False), 12.0, guard_s=1.0) is CLOSED
    mine = hinted(opened, Hint(opened=True, hold_s=0.0, pause_s=5.0, mine=True), 15.0, guard_s=1.0)
    assert breaker.admits(mine, 15.0)
    theirs = hinted(opened, Hint(opened=True, hold_s=0.0, pause_s=5.0), 15.0, guard_s=1.0)
    assert not breaker.admits(theirs, 15.9)
    assert breaker.admits(theirs, 16.1)
    assert hinted(opened, None, 15.0, guard_s=1.0) is opened


def test_what_cannot_be_told_waits_in_order_and_within_a_bound() -> None:
    """After an outage the newest notes are told; the oldest made room."""
    outbox = Outbox(3)
    notes = [(str(number), "m", number, "") for number in range(5)]
    for note in notes[:3]:
        outbox.add(note)
    taken = outbox.take(2)
    assert taken == notes[:2]
    outbox.add(notes[3])
    outbox.put_back(taken)
    assert outbox.take(10) == notes[1:4]
