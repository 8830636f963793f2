"""The cache of decisions by itself: age, size, hits that count, one question at a time, files and shared stores."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import msgspec
import pytest

from prefrontal.config.schema_tiers import DecisionCache
from prefrontal.contracts.decision import DecisionAnswer
from prefrontal.contracts.model import ModelCard
from prefrontal.decisions.memo import Memo
from prefrontal.decisions.shelves import SharedShelf, SqliteShelf
from prefrontal.errors import StoreError
from prefrontal.testing.clock import FakeClock

CARD = ModelCard(id="m", wire_name="m", profile="llamacpp")


def answer(chosen: str = "go", cost_usd: float = 0.5) -> DecisionAnswer:
    return DecisionAnswer(
        index=0,
        id="0",
        kind="choice",
        values=("go", "stop"),
        probabilities=(0.9, 0.1),
        chosen=chosen,
        confidence=0.8,
        source="native",
        model="m",
        cost_usd=cost_usd,
    )


def memo(clock: FakeClock, *, shelf=None, **settings) -> Memo:
    return Memo(DecisionCache(**settings), clock=clock, shelf=shelf)


def names(cache: Memo, count: int, tenant: str = "t") -> list[str]:
    return [cache.name(tenant, CARD, b"%d" % number) for number in range(count)]


class Blobs:
    """A `SharedCache` in a dict."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.down = False

    async def get(self, name):
        self.check()
        return self.held.get(name)

    async def set(self, name, value, ttl_s):
        self.check()
        self.held[name] = value
        return True

    async def delete(self, name):
        self.check()
        return self.held.pop(name, None) is not None

    async def clear(self, pattern):
        gone = [name for name in self.held if name.startswith(pattern.rstrip("*").replace("?", ""))]
        for name in gone:
            del self.held[name]
        return len(gone)

    async def ttl_s(self, name):
        return None

    def check(self):
        if self.down:
            raise StoreError("away")


def test_a_name_changes_with_all_it_stands_for():
    """Tenant, model and question each make another name; an equal card makes the same one."""
    cache = memo(FakeClock())
    base = cache.name("t", CARD, b"q")
    assert base == memo(FakeClock()).name("t", msgspec.structs.replace(CARD), b"q")
    assert len({base, cache.name("u", CARD, b"q"), cache.name("t", CARD, b"r")}) == 3
    assert cache.name("t", msgspec.structs.replace(CARD, wire_name="other"), b"q") != base
    assert cache.name("t", msgspec.structs.replace(CARD, id="n"), b"q") != base


async def test_an_answer_holds_for_its_time():
    """The type's own time counts before the general one."""
    clock = FakeClock()
    cache = memo(clock, ttl_s=100.0)
    long, short = names(cache, 2)
    cache.keep(long, "t", answer())
    cache.keep(short, "t", answer(), 10.0)
    await clock.advance(10.0)
    assert cache.find(long, "t") is not None
    assert cache.find(short, "t") is None
    await clock.advance(90.0)
    assert cache.find(long, "t") is None
    assert cache.state().entries == 0


def test_another_tenant_never_gets_it():
    """Not even under the same name."""
    cache = memo(FakeClock())
    (name,) = names(cache, 1)
    cache.keep(name, "t", answer())
    assert cache.find(name, "u") is None
    assert cache.find(name, "t") is not None


def test_what_is_hit_often_outlives_what_is_not():
    """Room is made where nothing was hit; hits wear off."""
    cache = memo(FakeClock(), max_entries=3)
    listed = names(cache, 10)
    cache.keep(listed[0], "t", answer())
    for _ in range(4):
        cache.find(listed[0], "t")
    for name in listed[1:6]:
        cache.keep(name, "t", answer())
    assert cache.find(listed[0], "t") is not None, "older than all, and used"
    assert cache.find(listed[1], "t") is None
    state = cache.state()
    assert (state.entries, state.evicted) == (3, 3)
    for number in range(100):
        cache.keep(cache.name("t", CARD, b"x%d" % number), "t", answer())
    assert cache.find(listed[0], "t") is None, "hits of long ago no longer count"


def test_the_state_counts_hits_and_what_they_saved():
    """And a smaller bound takes effect at once."""
    cache = memo(FakeClock())
    for name in names(cache, 5):
        cache.keep(name, "t", answer())
        cache.find(name, "t")
    state = cache.state()
    assert (state.hit, state.stored, state.saved_usd, state.store) == (5, 5, 2.5, "memory")
    cache.configure(DecisionCache(max_entries=2))
    assert cache.state().entries == 2


async def test_the_same_question_at_the_same_time_is_asked_once():
    """Whoever joins gets the answer; where there is none, each asks for himself."""
    cache = memo(FakeClock())
    (name,) = names(cache, 1)
    assert cache.join(name) is None
    waiting = cache.join(name)
    assert waiting is not None
    cache.land(name, answer())
    assert (await waiting) == answer()
    assert cache.join(name) is None
    second = cache.join(name)
    cache.land(name, None)
    assert second is not None
    assert await second is None


async def test_entries_outlive_the_process_in_a_file(tmp_path: Path):
    """Readable by its owner only; what expired or was deleted is gone."""
    clock = FakeClock()
    path = tmp_path / "home" / "decisions.db"
    first = memo(clock, shelf=SqliteShelf(path))
    await first.open()
    listed = names(first, 4)
    for name in listed[:3]:
        first.keep(name, "t", answer())
    first.keep(listed[3], "t", answer(), 5.0)
    assert first.delete(listed[0])
    await first.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await clock.advance(6.0)
    second = memo(clock, shelf=SqliteShelf(path))
    assert not second.ready
    await second.open()
    assert [second.find(name, "t") is not None for name in listed] == [False, True, True, False]
    assert await second.clear(tenant="t", model="m") == 2
    await second.aclose()
    third = memo(clock, shelf=SqliteShelf(path))
    await third.open()
    assert third.state().entries == 0
    await third.aclose()


async def test_a_file_that_cannot_be_read_is_said_and_done_without(tmp_path: Path):
    """No decision fails of its cache."""
    path = tmp_path / "decisions.db"
    path.write_bytes(b"not a database" * 100)
    cache = memo(FakeClock(), shelf=SqliteShelf(path))
    await cache.open()
    (name,) = names(cache, 1)
    cache.keep(name, "t", answer())
    await cache.flush()
    assert cache.find(name, "t") is not None
    assert cache.state().failed >= 1
    assert "cannot be used" in (cache.state().last_error or "")
    await cache.aclose()


async def test_gateways_share_entries():
    """What one keeps the other finds; what one lets go for room stays; what one deletes is gone for all."""
    clock, blobs = FakeClock(), Blobs()
    one = memo(clock, shelf=SharedShelf(blobs, clock), max_entries=1)
    other = memo(clock, shelf=SharedShelf(blobs, clock))
    listed = names(one, 2)
    for name in listed:
        one.keep(name, "t", answer())
    await one.flush()
    assert one.find(listed[0], "t") is None, "no room here"
    assert await one.look(listed[0], "t") is not None, "but there"
    assert await other.look(listed[1], "t") is not None
    assert await other.look(listed[1], "u") is None
    one.delete(listed[1])
    await one.flush()
    third = memo(clock, shelf=SharedShelf(blobs, clock))
    assert await third.look(listed[1], "t") is None
    blobs.down = True
    assert await third.look(listed[0], "t") is None
    assert third.state().failed == 1


async def test_writes_go_in_groups(tmp_path: Path):
    """What comes while a group is written makes up the next one."""
    groups: list[int] = []

    class Counting(SqliteShelf):
        async def write(self, changes):
            groups.append(len(changes))
            await super().write(changes)

    cache = memo(FakeClock(), shelf=Counting(tmp_path / "d.db"))
    await cache.open()
    for name in names(cache, 500):
        cache.keep(name, "t", answer())
    await asyncio.sleep(0)
    await cache.flush()
    assert groups == [500]
    await cache.aclose()


@pytest.mark.parametrize("mode", ["off", "declared", "all"])
def test_the_state_tells_the_mode(mode):
    """As configured."""
    assert memo(FakeClock(), mode=mode).state().mode == mode
