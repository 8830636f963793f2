"""Limits shared through Redis: exactly the limit for all replicas together, the same answers as in memory, a stated outage."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Rate
from prefrontal.errors import StoreError
from prefrontal.ledger import redis_link, redis_rates
from prefrontal.ledger.board import LEASE_S, Admitted, RateDenial, RateLine
from prefrontal.ledger.memory_board import MemoryBoard
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.ledger.redis_rates import OutagePolicy, RedisRates
from prefrontal.ledger.redis_scripts import Script
from prefrontal.testing.redis_server import RedisServer

IDS = itertools.count()


def line(rate: Rate | None = None, subject: str = "k1", weigh: int = 0, **bounds: Any) -> RateLine:
    """A call that weighs so many tokens, under one limit."""
    return RateLine(rate=rate or Rate(name="limit", scope="key", **bounds), subject=subject, tokens=weigh, requests=1)


@asynccontextmanager
async def boards(url: str, count: int = 1, **policy: Any) -> AsyncIterator[list[RedisRates]]:
    """Boards of as many replicas."""
    links = [RedisLink(RedisSettings(url=url, retry_s=0.05), clock=SystemClock()) for _ in range(count)]
    made = [
        RedisRates(link, policy=OutagePolicy(**{"replicas": count, **policy}), replica=f"r{next(IDS)}") for link in links
    ]
    try:
        for link in links:
            await link.start()
        yield made
    finally:
        for link in links:
            await link.aclose()


async def tried(board: RedisRates, lines: list[RateLine], lease: str | None = None) -> bool:
    """Enter, and return whether that was let through."""
    return isinstance(await board.enter(lines, lease or f"l{next(IDS)}", LEASE_S), Admitted)


async def is_up(board: RedisRates, up: bool = True) -> None:
    for _ in range(500):
        if board._link.up is up:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("redis did not come back")


async def settled() -> None:
    """Let corrections that nobody waits for arrive."""
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("bounds", [{"requests": 10}, {"concurrency": 10}, {"tokens": 70}])
async def test_replicas_that_race_admit_exactly_the_limit(redis_url: str, bounds: dict[str, int]) -> None:
    """No kind of limit is multiplied by the number of replicas, however their calls fall together."""
    async with boards(redis_url, 3) as replicas:
        asked = [line(weigh=7, window="hour", **bounds)]
        found = await asyncio.gather(*[tried(replicas[number % 3], asked) for number in range(60)])
        assert sum(found) == 10


RACER = """
import asyncio, sys
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Rate
from prefrontal.ledger.board import Admitted, RateLine
from prefrontal.ledger.redis_link import RedisLink, RedisSettings
from prefrontal.ledger.redis_rates import OutagePolicy, RedisRates

async def main(url, name):
    link = RedisLink(RedisSettings(url=url, timeout_s=5.0), clock=SystemClock())
    await link.start()
    board = RedisRates(link, policy=OutagePolicy(requests="closed"), replica=name)
    lines = [RateLine(rate=Rate(name="r", scope="global", window="hour", requests=200), subject="", requests=1)]
    print("ready", flush=True)
    sys.stdin.readline()
    admitted = 0
    for wave in range(30):
        found = await asyncio.gather(*[board.enter(lines, f"{name}.{wave}.{n}", 60.0) for n in range(5)])
        admitted += sum(isinstance(one, Admitted) for one in found)
    print(admitted, flush=True)
    await link.aclose()

asyncio.run(main(*sys.argv[1:]))
"""


def test_three_processes_that_race_admit_exactly_the_limit(redis_url: str) -> None:
    """150 calls in each of three processes at once, under a limit of 200: 200 are let through."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, redis_url, f"p{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        admitted = [int(process.communicate(timeout=30)[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sum(admitted) == 200


async def test_a_call_counts_in_all_meters_or_in_none(redis_url: str) -> None:
    """When the second limit refuses, the first has counted nothing, and the refusal names limit, dimension, use and wait."""
    async with boards(redis_url) as (board,):
        wide, narrow = line(requests=5, window="minute"), line(Rate(name="all", scope="global", requests=2), subject="")
        assert await tried(board, [wide, narrow])
        assert await tried(board, [wide, narrow])
        denial = await board.enter([wide, narrow], "x", LEASE_S)
        assert isinstance(denial, RateDenial)
        assert (denial.line, denial.dimension, denial.used, denial.limit) == (narrow, "requests", 2, 2)
        assert denial.wait_s is not None
        assert 58 < denial.wait_s <= 62
        assert [await tried(board, [wide]) for _ in range(4)] == [True, True, True, False]


async def test_a_place_is_free_again_when_the_request_leaves_or_its_lease_ends(redis_url: str) -> None:
    """A living request keeps its place by renewal, also at another replica; a dead one's ends by itself."""
    async with boards(redis_url, 2) as (here, there):
        asked = [line(concurrency=1)]
        assert await tried(here, asked, "a")
        assert not await tried(there, asked)
        here.leave("a")
        await settled()
        assert isinstance(await there.enter(asked, "b", 0.2), Admitted)
        await there.renew(10.0)
        await asyncio.sleep(0.25)
        assert not await tried(here, asked)
        there._leases.clear()  # as when its process dies
        await there._link.ask("ZADD", there._key("concurrency", asked[0].key), 1, "b")
        assert await tried(here, asked)


async def test_tokens_are_corrected_where_they_were_counted(redis_url: str) -> None:
    """The usage replaces the estimate for every replica, upwards and downwards."""
    async with boards(redis_url, 2) as (here, there):
        asked = [line(weigh=60, window="hour", tokens=100)]
        entered = await here.enter(asked, "a", LEASE_S)
        assert isinstance(entered, Admitted)
        assert not await tried(there, asked)
        here.amend(asked, entered.at_s, 40)
        await settled()
        assert await tried(there, asked)
        assert not await tried(there, asked)


async def test_a_cancelled_request_leaves_no_place_taken(redis_url: str) -> None:
    """Whoever goes away while the counters are asked does not count as running."""
    async with boards(redis_url) as (board,):
        asked = [line(concurrency=1)]
        entering = asyncio.create_task(board.enter(asked, "gone", LEASE_S))
        await asyncio.sleep(0)
        entering.cancel()
        await asyncio.gather(entering, return_exceptions=True)
        await settled()
        assert await tried(board, asked)


class Hands:
    """A clock that a test sets, here and in the scripts."""

    def __init__(self) -> None:
        self.time_s = 1_800_000_000.0
        self.real = SystemClock()

    def now(self) -> float:
        return self.time_s

    def monotonic(self) -> float:
        return self.time_s

    async def sleep(self, delay_s: float) -> None:
        await self.real.sleep(delay_s)

    def timeout(self, delay_s: float | None) -> Any:
        return self.real.timeout(delay_s)


@pytest.fixture
def server_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts read the time from a key instead of the server's clock."""
    for name in ("TAKE", "MEND", "RENEW", "REPLAY"):
        text = getattr(redis_rates, name).text
        told = Script(text.replace("redis.call('TIME')", "redis.call('LRANGE', '{prefrontal}:now', 0, 1)"))
        monkeypatch.setattr(redis_rates, name, told)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.integers(0, 40), st.sampled_from(["k1", "k2"])),
        st.tuples(st.just("pass"), st.sampled_from([0.01, 0.3, 1.0, 7.5, 31.0, 59.0, 61.0, 200.0])),
        st.tuples(st.just("amend"), st.integers(0, 20), st.integers(0, 60)),
        st.tuples(st.just("leave"), st.integers(0, 20)),
    ),
    max_size=40,
)


@pytest.mark.usefixtures("server_time")
def test_redis_and_memory_agree_on_every_sequence(redis_url: str) -> None:
    """Whatever happens in whatever order, both boards let the same calls through and count the same; waits differ by rounding."""

    @given(steps=STEPS)
    @settings(max_examples=60)
    def agree(steps: list[Any]) -> None:
        asyncio.run(compare(redis_url, steps))

    agree()


RULES = (
    Rate(name="second", scope="global", window="second", requests=3),
    Rate(name="minute", scope="key", window="minute", requests=6, tokens=100, concurrency=4),
    Rate(name="tighter", scope="key", window="minute", tokens=80),
    Rate(name="hour", scope="team", window="hour", tokens=300),
)


async def compare(url: str, steps: list[Any]) -> None:
    clock = Hands()
    link = RedisLink(RedisSettings(url=url, timeout_s=5.0), clock=clock)
    await link.start()
    try:
        await link.ask("FLUSHALL")
        shared, memory = RedisRates(link, policy=OutagePolicy(), replica="r"), MemoryBoard(clock=clock)
        entered: list[tuple[list[RateLine], float, float]] = []
        await set_time(link, clock)
        for number, step in enumerate(steps):
            if step[0] == "pass":
                clock.time_s += step[1]
                await set_time(link, clock)
            elif step[0] == "enter":
                subjects = {"global": "", "key": step[2], "team": "red"}
                lines = [RateLine(rate=rate, subject=subjects[rate.scope], requests=1, tokens=step[1]) for rate in RULES]
                one, other = await shared.enter(lines, str(number), 1e6), await memory.enter(lines, str(number), 1e6)
                same(one, other)
                if isinstance(one, Admitted) and isinstance(other, Admitted):
                    entered.append((lines, one.at_s, other.at_s))
            elif entered and step[0] == "amend":
                lines, here, there = entered[step[1] % len(entered)]
                shared.amend(lines, here, step[2])
                memory.amend(lines, there, step[2])
                entered.remove((lines, here, there))
            else:
                shared.leave(str(step[1]))
                memory.leave(str(step[1]))
    finally:
        await link.aclose()


async def set_time(link: RedisLink, clock: Hands) -> None:
    key = link.key("now")
    await link.ask("DEL", key)
    await link.ask("RPUSH", key, int(clock.time_s), round(clock.time_s % 1 * 1_000_000))


def same(one: Admitted | RateDenial, other: Admitted | RateDenial) -> None:
    assert type(one) is type(other), (one, other)
    if isinstance(one, RateDenial) and isinstance(other, RateDenial):
        assert (one.line, one.dimension, one.used, one.limit) == (other.line, other.dimension, other.used, other.limit)
        if one.wait_s is None or other.wait_s is None:
            assert one.wait_s is other.wait_s
        else:
            assert one.wait_s == pytest.approx(other.wait_s, abs=0.002)


# -- outages -----------------------------------------------------------------------------------------------------------


async def test_without_redis_each_replica_keeps_to_its_share(own_redis: RedisServer) -> None:
    """`local`: three replicas together let through what one limit allows, and each counts what it let through before."""
    async with boards(own_redis.url, 3) as replicas:
        asked = [line(requests=30, window="hour")]
        assert [await tried(replicas[0], asked) for _ in range(4)] == [True] * 4
        own_redis.stop()
        found = [[await tried(board, asked) for _ in range(15)] for board in replicas]
        assert [sum(admitted) for admitted in found] == [6, 10, 10]


async def test_open_lets_through_and_closed_refuses(own_redis: RedisServer) -> None:
    """Each kind of limit follows its own policy; a call that a closed limit applies to is refused as the store's fault."""
    async with boards(own_redis.url, requests="open", tokens="closed", replicas=1) as (board,):
        own_redis.stop()
        assert [await tried(board, [line(requests=1)]) for _ in range(3)] == [True] * 3
        with pytest.raises(StoreError, match="closed"):
            await board.enter([line(weigh=5, tokens=1000)], "x", LEASE_S)


async def test_what_was_let_through_meanwhile_is_counted_once_when_redis_is_back(own_redis: RedisServer) -> None:
    """After an outage in which the server lost everything, what passed during it is in its counters: once, not twice."""
    async with boards(own_redis.url, 2) as (here, there):
        asked = [line(Rate(name="h", scope="key", window="hour", requests=10, tokens=1000, concurrency=4), weigh=100)]
        own_redis.stop()
        for board in (here, there):  # what is under way when it goes may have been counted, so it is never told
            assert await tried(board, [line(subject="other", requests=10)])
            assert not board._link.up
        for name in ("a", "b", "c"):
            assert (await tried(here, asked, name)) is (name != "c")  # its half of four places
        assert await tried(there, asked, "d")
        here.leave("a")
        own_redis.start()
        for board in (here, there):
            await is_up(board)
        await settled()
        assert await here._link.ask("HGET", here._key("requests", asked[0].key), "t") == b"3"
        assert await here._link.ask("HGET", here._key("tokens", asked[0].key), "t") == b"300"
        assert await here._link.ask("ZCARD", here._key("concurrency", asked[0].key)) == 2
        assert [await tried(there, asked) for _ in range(3)] == [True, True, False]


async def test_a_delivery_that_may_have_arrived_is_repeated_under_the_same_name(redis_url: str) -> None:
    """Counts told twice count once."""
    async with boards(redis_url) as (board,):
        asked = [line(requests=10, window="hour")]
        board._without(redis_rates.gates_of(asked), {}, "x", sent=False)
        batch = list(board._shadow.untold())
        for _ in range(2):
            board._deliver(board._link.key("told", "r", "1"), batch)
        await settled()
        assert await board._link.ask("HGET", board._key("requests", asked[0].key), "t") == b"1"


async def test_a_call_nobody_knows_the_fate_of_is_not_told_again(own_redis: RedisServer) -> None:
    """A server that stands still may have counted the call; when it goes on, the call counts once."""
    async with boards(own_redis.url) as (board,):
        asked = [line(requests=10, window="hour")]
        assert await tried(board, asked)
        own_redis.freeze()
        assert await tried(board, asked)
        assert not board._link.up
        own_redis.thaw()
        await is_up(board)
        await settled()
        assert await board._link.ask("HGET", board._key("requests", asked[0].key), "t") in (b"1", b"2")


async def test_places_that_became_free_during_an_outage_are_free_after_it(own_redis: RedisServer) -> None:
    """A server that was only unreachable learns who has left meanwhile."""
    async with boards(own_redis.url) as (board,):
        asked = [line(concurrency=1)]
        assert await tried(board, asked, "a")
        own_redis.freeze()
        assert not await tried(board, asked)
        board.leave("a")
        own_redis.thaw()
        await is_up(board)
        assert await tried(board, asked, "b")


async def test_a_dead_server_costs_one_timeout_and_then_nothing(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The first call waits for the limit of time, all later ones not at all; the log has one line for each change."""
    async with boards(own_redis.url, requests="open") as (board,):
        loop = asyncio.get_running_loop()
        asked = [line(requests=1000)]
        assert await tried(board, asked)
        own_redis.freeze()
        before = loop.time()
        assert await tried(board, asked)
        first_s = loop.time() - before
        before = loop.time()
        for _ in range(200):
            assert await tried(board, asked)
        rest_s = loop.time() - before
        await asyncio.sleep(0.1)  # probes go on and say nothing
        assert first_s >= 0.045
        assert rest_s < 1.0  # 200 waits would be 10 s
        own_redis.thaw()
        await is_up(board)
        said = [record.getMessage() for record in caplog.records if record.name == redis_link.__name__]
        assert len(said) == 2
        assert "away" in said[0]
        assert "back" in said[1]
        assert board._link.status().outages == 1


async def test_a_restarted_server_learns_the_scripts_again(own_redis: RedisServer) -> None:
    """A server that has forgotten the scripts is no outage."""
    async with boards(own_redis.url) as (board,):
        assert await tried(board, [line(requests=5)])
        await board._link.ask("SCRIPT", "FLUSH")
        assert await tried(board, [line(requests=5)])
        assert board._link.up


async def test_a_gateway_starts_without_redis_and_finds_it_later(own_redis: RedisServer) -> None:
    """Limits follow the outage policy until the server is there."""
    own_redis.stop()
    async with boards(own_redis.url, 2) as (board, _):
        asked = [line(requests=4, window="hour")]
        assert [await tried(board, asked) for _ in range(3)] == [True, True, False]
        own_redis.start()
        await is_up(board)
        await settled()
        assert [await tried(board, asked) for _ in range(3)] == [True, True, False]


async def test_every_script_keeps_to_one_slot_of_a_cluster() -> None:
    """All keys of an installation share a hash tag, so a server in cluster mode takes scripts over several."""
    server = RedisServer("--cluster-enabled", "yes")
    try:
        server.start()
        async with boards(server.url) as (board,):
            with redis.Redis(port=server.port) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
            every = Rate(name="all", scope="global", requests=5)
            both = [line(weigh=1, requests=5, tokens=5, concurrency=5), line(every, subject="")]
            await is_up(board)
            assert await tried(board, both, "a")
            board.leave("a")
            await settled()
            assert board._link.up
    finally:
        server.close()
