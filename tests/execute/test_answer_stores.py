"""Where cached answers lie: every store keeps the same promise, within its bounds."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prefrontal.chat.blocks import Text
from prefrontal.chat.response import ChatResponse, Choice
from prefrontal.config.schema_cache import Cache
from prefrontal.contracts.cache import CacheNote
from prefrontal.errors import StoreError
from prefrontal.execute.cache.answers import Kept, ResponseCache
from prefrontal.execute.cache.shared import SharedAnswers
from prefrontal.execute.cache.sqlite import CLEAN_EVERY, SqliteAnswers
from prefrontal.execute.cache.store import AnswerStore, MemoryAnswers
from prefrontal.plan.cache_key import CacheKey, model_part, tenant_part
from prefrontal.testing.clock import FakeClock

Make = Callable[[int], AnswerStore]


class Blobs:
    """What a server of several gateways offers, without the server."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.found = clock, dict[str, tuple[bytes, float]]()

    async def get(self, name: str) -> bytes | None:
        value = self.found.get(name)
        return None if value is None or value[1] <= self.clock.monotonic() else value[0]

    async def set(self, name: str, value: bytes, ttl_s: float) -> bool:
        self.found[name] = (value, self.clock.monotonic() + ttl_s)
        return True

    async def delete(self, name: str) -> bool:
        return self.found.pop(name, None) is not None

    async def clear(self, pattern: str) -> int:
        fixed = pattern.rstrip("*")
        gone = [n for n in self.found if all(p in ("?", c) for p, c in zip(fixed, n, strict=False))]
        return sum([await self.delete(name) for name in gone])

    async def ttl_s(self, name: str) -> float | None:
        return None


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def make(request: Any, clock: FakeClock, tmp_path: Path) -> Any:
    made: list[AnswerStore] = []

    def build(max_bytes: int = 1_000_000) -> AnswerStore:
        if request.param == "memory":
            made.append(MemoryAnswers(max_bytes, clock=clock))
        elif request.param == "sqlite":
            made.append(SqliteAnswers(tmp_path / "deep" / "cache.db", max_bytes, clock=clock))
        else:
            made.append(SharedAnswers(Blobs(clock)))
        return made[-1]

    yield build
    for store in made:
        await store.aclose()
        await store.aclose()


def name_of(tenant: str, model: str, number: int) -> str:
    return tenant_part(tenant) + model_part(model) + f"{number:040x}"


async def test_what_is_put_is_found_until_its_time_is_over(make: Make, clock: FakeClock) -> None:
    """The same in memory, in a file and in a shared store."""
    store = make(1_000_000)
    name = name_of("a", "m", 1)
    assert await store.get(name) is None
    await store.put(name, b"one", 10.0)
    await store.put(name, b"two", 10.0)
    assert await store.get(name) == b"two"
    await clock.advance(9.9)
    assert await store.get(name) == b"two"
    await clock.advance(0.2)
    assert await store.get(name) is None


async def test_deleting_one_a_tenant_s_a_model_s_or_all(make: Make) -> None:
    """Exactly those that are meant, and their number."""
    store = make(1_000_000)
    names = {(t, m): name_of(t, m, n) for n, (t, m) in enumerate([("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")])}
    for name in names.values():
        await store.put(name, b"v", 60.0)
    assert await store.delete(names["a", "x"]) is True
    assert await store.delete(names["a", "x"]) is False
    assert await store.clear(tenant_part("b"), model_part("y")) == 1
    assert await store.clear(None, model_part("x")) == 1
    assert await store.get(names["a", "y"]) == b"v"
    assert await store.clear(tenant_part("a"), None) == 1
    assert await store.clear(None, None) == 0


async def test_memory_is_bounded_in_bytes_and_the_longest_unused_goes_first(clock: FakeClock) -> None:
    """A thousand entries leave as many as fit, with what was read lately among them; a smaller bound holds at once."""
    store = MemoryAnswers(20_000, clock=clock)
    names = [name_of("a", "m", n) for n in range(1000)]
    for name in names:
        await store.put(name, b"x" * 100, 600.0)
        await store.get(names[0])
    size = await store.size()
    assert size.bytes is not None
    assert size.entries is not None
    assert 19_000 < size.bytes <= 20_000
    assert size.evicted == 1000 - size.entries
    assert await store.get(names[0]) is not None
    assert await store.get(names[-1]) is not None
    assert await store.get(names[1]) is None
    store.bound(1000)
    assert ((await store.size()).bytes or 0) <= 1000
    await store.put("huge", b"x" * 5000, 60.0)
    assert await store.get("huge") is None


async def test_a_file_is_bounded_survives_and_is_its_owner_s_alone(clock: FakeClock, tmp_path: Path) -> None:
    """Old and surplus answers go at one of the next writes; another process finds what the first one kept."""
    path = tmp_path / "cache.db"
    store = SqliteAnswers(path, 5000, clock=clock)
    await store.put(name_of("a", "m", 999), b"y" * 1000, 1.0)
    await clock.advance(2.0)
    for number in range(2 * CLEAN_EVERY):
        await store.put(name_of("a", "m", number), b"x" * 100, 600.0)
        await clock.advance(0.01)
    size = await store.size()
    assert size.bytes is not None
    assert size.bytes <= 5000 + CLEAN_EVERY * 100
    await store.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = SqliteAnswers(path, 5000, clock=clock)
    assert await again.get(name_of("a", "m", 2 * CLEAN_EVERY - 1)) == b"x" * 100
    assert await again.get(name_of("a", "m", 0)) is None
    await again.aclose()
    with pytest.raises(StoreError):
        await again.get("x")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM answers WHERE bytes = 1000").fetchone() == (0,)


KEY = CacheKey(name=name_of("key:a", "m", 1), tenant="key:a", model="m")


def kept(tenant: str = "key:a", text: str = "hi", at: float = 0.0) -> Kept:
    response = ChatResponse(choices=(Choice(blocks=(Text(text=text),), finish_reason="stop"),))
    return Kept(tenant=tenant, model="m", created_s=at, response=response, cost_usd=0.5)


async def test_an_answer_of_another_tenant_is_not_given_even_under_the_same_name(clock: FakeClock) -> None:
    """The name is a digest with the tenant in it; the entry says it once more."""
    cache = ResponseCache(MemoryAnswers(10_000, clock=clock), Cache(), clock=clock)
    assert await cache.keep(KEY, kept(at=clock.now())) is None
    found = await cache.find(KEY)
    assert found == kept(at=clock.now())
    assert await cache.find(CacheKey(name=KEY.name, tenant="key:b", model="m")) is None


async def test_a_shorter_time_holds_for_what_was_kept_before(clock: FakeClock) -> None:
    """A reload that says a minute is obeyed by answers that were kept for an hour; a longer answer than allowed is not kept."""
    cache = ResponseCache(MemoryAnswers(10_000, clock=clock), Cache(ttl_s=3600), clock=clock)
    await cache.keep(KEY, kept(at=clock.now()))
    await clock.advance(120.0)
    assert await cache.find(KEY) is not None
    cache.configure(Cache(ttl_s=60, max_bytes=2048, max_entry_bytes=256))
    assert await cache.find(KEY) is None
    assert "max_entry_bytes" in (await cache.keep(KEY, kept(text="x" * 300)) or "")


class Broken:
    """A store that is gone."""

    kind = "broken"

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any) -> Any:
            raise StoreError("gone")

        return fail


async def test_a_store_that_is_gone_costs_a_miss_and_no_request(clock: FakeClock) -> None:
    """Finding finds nothing, keeping says why, both are counted; so is an entry that nobody can read."""
    cache = ResponseCache(Broken(), Cache(), clock=clock)  # type: ignore[arg-type]
    assert await cache.find(KEY) is None
    assert await cache.keep(KEY, kept()) == "the cache cannot be written"
    store = MemoryAnswers(10_000, clock=clock)
    cache.move_to(store)
    await store.put(KEY.name, b"\x81 not an entry", 60.0)
    assert await cache.find(KEY) is None
    cache.count(CacheNote(status="hit", saved_usd=0.25))
    state = await cache.state(in_flight=2)
    assert (state.failed, state.hit, state.saved_usd, state.in_flight) == (3, 1, 0.25, 2)


async def test_an_answer_that_cannot_be_written_down_is_not_kept_and_no_error(clock: FakeClock) -> None:
    """A number of more than 64 bits in a field nobody knows costs the entry, not the request."""
    cache = ResponseCache(MemoryAnswers(10_000, clock=clock), Cache(), clock=clock)
    response = ChatResponse(model="m", extra={"seed": 10**30})
    kept = Kept(tenant="t", model="m", created_s=clock.now(), response=response)
    key = CacheKey(name="0" * 56, tenant="t", model="m")
    assert await cache.keep(key, kept) == "the answer cannot be written down"
    assert await cache.find(key) is None
