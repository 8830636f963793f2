"""Stored responses: there for their owner at once and after a restart, in chains, within bounds of age and size."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from prefrontal.chat.blocks import Reasoning, Text, ToolCall
from prefrontal.chat.request import Message
from prefrontal.clock import SystemClock
from prefrontal.errors import StoreError
from prefrontal.ledger.conversations import CLEAN_EVERY, Conversations, MemoryConversations, SqliteConversations, StoredResponse
from prefrontal.ledger.postgres.conversations import PostgresConversations
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.testing.clock import FakeClock

DAY_S = 86_400.0
NOW_S = FakeClock().now()
Maker = Callable[..., Conversations]


def stored(name: str, previous: str | None = None, *, owner: str = "me", at_s: float = NOW_S, text: str = "Hi") -> StoredResponse:
    """One response."""
    blocks = (
        Reasoning(text="hm", signature="s", provider="anthropic"),
        Text(text=text),
        ToolCall(id="c", name="f", arguments="{}"),
    )
    return StoredResponse(
        id=name,
        previous_id=previous,
        owner=owner,
        created_s=at_s,
        messages=(Message(role="user", blocks=(Text(text="Q"),)), Message(role="assistant", blocks=blocks)),
        response=msgspec.Raw(b'{"id":"%b"}' % name.encode()),
    )


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Postgres]:
    """Connections to a database of one's own."""
    found = await Postgres(postgres_url, clock=SystemClock()).open()
    yield found
    await found.aclose()


@pytest.fixture(params=["sqlite", "postgres"])
def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Makes a store of each kind that outlives its process."""
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        return lambda **bounds: PostgresConversations(postgres, clock=FakeClock(), **bounds)
    return lambda **bounds: SqliteConversations(tmp_path / "deep" / "c.db", clock=FakeClock(), **bounds)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Makes a store of each kind."""
    if request.param == "memory":
        return lambda **_: MemoryConversations()
    if request.param == "postgres":
        postgres = request.getfixturevalue("postgres")
        return lambda **bounds: PostgresConversations(postgres, clock=FakeClock(), **bounds)
    return lambda **bounds: SqliteConversations(tmp_path / "deep" / "c.db", clock=FakeClock(), **bounds)


async def test_a_response_is_there_at_once_and_whole(make: Maker) -> None:
    """What was put is found as it was, and by its owner only."""
    store = make()
    await store.put(stored("a"))
    found = await store.get("a", "me")
    assert found is not None
    assert msgspec.structs.replace(found, response=msgspec.Raw(bytes(found.response))) == stored("a")
    assert await store.get("a", "other") is None
    assert await store.get("b", "me") is None
    await store.aclose()


async def test_a_chain_is_given_oldest_first_or_not_at_all(make: Maker) -> None:
    """A conversation with a missing link cannot be gone on from; nor can another's."""
    store = make()
    for name, previous in (("a", None), ("b", "a"), ("c", "b")):
        await store.put(stored(name, previous))
    assert [link.id for link in await store.chain("c", "me")] == ["a", "b", "c"]
    assert [link.id for link in await store.chain("a", "me")] == ["a"]
    assert await store.chain("c", "other") == []
    assert await store.chain("x", "me") == []
    await store.put(stored("d", "c", owner="other"))
    assert await store.chain("d", "other") == []
    assert await store.delete("b", "me")
    assert await store.chain("c", "me") == []
    await store.aclose()


async def test_deleting_and_erasing(make: Maker) -> None:
    """One is deleted by its owner only; erasing takes everything of one owner."""
    store = make()
    for name, owner in (("a", "me"), ("b", "me"), ("c", "you")):
        await store.put(stored(name, owner=owner))
    assert not await store.delete("a", "you")
    assert await store.delete("a", "me")
    assert not await store.delete("a", "me")
    assert await store.erase("me") == 1
    assert await store.get("b", "me") is None
    assert await store.get("c", "you") is not None
    await store.aclose()


async def test_many_at_once(make: Maker) -> None:
    """Requests that end together are all kept."""
    store = make()
    await asyncio.gather(*[store.put(stored(f"r{n}")) for n in range(50)])
    found = await asyncio.gather(*[store.get(f"r{n}", "me") for n in range(50)])
    assert all(found)
    await store.aclose()
    await store.aclose()


async def test_they_survive_a_restart_and_two_processes_share_them(tmp_path: Path) -> None:
    """Another store over the same file sees them at once, and after the first is closed; the file is for its owner alone."""
    path = tmp_path / "c.db"
    one, two = (SqliteConversations(path, clock=FakeClock()) for _ in range(2))
    assert not path.exists()
    await one.put(stored("a"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await two.put(stored("b", "a"))
    assert [link.id for link in await one.chain("b", "me")] == ["a", "b"]
    await one.aclose()
    await two.aclose()
    with pytest.raises(StoreError):
        await one.get("a", "me")
    three = SqliteConversations(path, clock=FakeClock())
    assert await three.get("a", "me") is not None
    await three.aclose()


async def test_gateways_on_one_database_share_conversations(postgres: Postgres) -> None:
    """What one gateway stored another goes on from; a closed store says so, and closes nobody else's connections."""
    one, two = (PostgresConversations(postgres, clock=FakeClock()) for _ in range(2))
    await one.put(stored("a"))
    await two.put(stored("b", "a"))
    assert [link.id for link in await one.chain("b", "me")] == ["a", "b"]
    await one.aclose()
    with pytest.raises(StoreError):
        await one.get("a", "me")
    assert await two.get("a", "me") is not None


async def test_the_old_and_the_too_much_go_first(lasting: Maker) -> None:
    """Past the retention all go; beyond the size the oldest; the newest stays however large it is."""
    store = lasting(retention_s=DAY_S, max_bytes=20_000)
    now_s = NOW_S
    await store.put(stored("ancient", at_s=now_s - 2 * DAY_S))
    for n in range(CLEAN_EVERY):
        await store.put(stored(f"r{n}", at_s=now_s + n, text="x" * 300))
    assert await store.get("ancient", "me") is None
    assert await store.get("r0", "me") is None
    assert await store.get(f"r{CLEAN_EVERY - 1}", "me") is not None
    for n in range(CLEAN_EVERY):
        await store.put(stored("huge", at_s=now_s + 1000 + n, text="x" * 50_000))
    assert await store.get("huge", "me") is not None
    assert await store.get(f"r{CLEAN_EVERY - 1}", "me") is None
    await store.aclose()


async def test_memory_forgets_the_oldest() -> None:
    """The store in memory is bounded too."""
    store = MemoryConversations(keep=2)
    for name in ("a", "b", "c"):
        await store.put(stored(name))
    assert [await store.get(name, "me") is not None for name in ("a", "b", "c")] == [False, True, True]


async def test_a_file_that_cannot_be_used_is_a_store_error(tmp_path: Path) -> None:
    """Whatever is wrong with the file, the error is ours."""
    path = tmp_path / "c.db"
    path.write_bytes(b"this is no database, and long enough not to look like an empty one" * 20)
    store = SqliteConversations(path, clock=FakeClock())
    with pytest.raises(StoreError):
        await store.put(stored("a"))
    await store.aclose()
