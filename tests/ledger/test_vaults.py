"""Both vaults keep the same promises; the one on disk survives its process, shares commits and says when it cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Budget, Charge
from prefrontal.contracts.record import Attempt
from prefrontal.errors import QuotaExceeded, StoreError
from prefrontal.ledger import sqlite_vault
from prefrontal.ledger.keyring import FRESH_S, STALE_S, KeyRing
from prefrontal.ledger.keys import VirtualKey, digest_of, shown_of
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.postgres.vault import PostgresVault
from prefrontal.ledger.rules import Rules
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_vault import SqliteVault
from prefrontal.ledger.store import Ledger
from prefrontal.ledger.treasury import Treasury
from prefrontal.ledger.vault import Audit, MemoryVault, SpendQuery, SpendRow, Vault
from prefrontal.testing.ledger_contract import make_record

DAY = 1_699_920_000.0
Open = Callable[..., SqliteLedger]
Kept = tuple[Ledger, Vault]


@pytest.fixture
async def on_postgres(postgres_url: str, clock: Any) -> AsyncIterator[Kept]:
    """A ledger and a vault on Postgres."""
    ledger = await PostgresLedger(Postgres(postgres_url, clock=clock), clock=clock).open()
    yield ledger, PostgresVault(ledger, clock=clock)
    await ledger.aclose()


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, open_ledger: Open, clock: Any) -> Kept:
    """A ledger and its vault of each kind that outlives its process."""
    if request.param == "postgres":
        return cast("Kept", request.getfixturevalue("on_postgres"))
    ledger = open_ledger()
    return ledger, SqliteVault(ledger, clock=clock)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def vault(request: pytest.FixtureRequest, open_ledger: Open, clock: Any) -> Vault:
    """A vault of each kind."""
    if request.param == "postgres":
        return cast("Kept", request.getfixturevalue("on_postgres"))[1]
    return MemoryVault() if request.param == "memory" else SqliteVault(open_ledger(), clock=clock)


def charge(number: int, **fields: Any) -> Charge:
    usage = Usage(uncached_input_tokens=7, cache_read_tokens=2, output_tokens=3, source="reported")
    given = {"id": f"req_{number:04d}/0", "at_s": DAY + number, "key_id": "k", "model": "m", "usage": usage, "cost_pico": 100}
    return Charge(**{**given, **fields})


def key(name: str = "svc", secret: str = "sk-pf-made-up", **fields: Any) -> VirtualKey:
    given = {"id": f"key_{name}", "name": name, "hash": digest_of(secret).hex(), "shown": shown_of(secret), "created_s": DAY}
    return VirtualKey(**{**given, **fields})


NOTE = Audit(at_s=DAY, actor="a", action="key.create", target="t")


async def test_what_members_spent_is_added_up_by_scope(vault: Vault) -> None:
    """By key, team, tag and model, since a moment, held charges included and dropped ones not."""
    vault.put_charge(charge(1, team="red", tags=("x", "y")))
    vault.put_charge(charge(2, key_id=None, cost_pico=None, state="held", expires_s=DAY + 99))
    vault.put_charge(charge(3, model="n", tags=("x",)))
    vault.put_charge(charge(4))
    vault.drop_charge("req_0004/0")
    await vault.committed()

    async def found(scope: Any, since: float = 0.0) -> dict[str, tuple[int, int, int]]:
        return {s.subject: (s.pico, s.tokens, s.unpriced) for s in await vault.spent(scope, since)}

    assert await found("global") == {"": (200, 36, 1)}
    assert await found("key") == {"k": (200, 24, 0)}
    assert await found("team") == {"red": (100, 12, 0)}
    assert await found("tag") == {"x": (200, 24, 0), "y": (100, 12, 0)}
    assert await found("model") == await found("role") == {"m": (100, 24, 1), "n": (100, 12, 0)}
    assert await found("key", DAY + 2) == {"k": (100, 12, 0)}


async def test_only_what_is_stale_is_reaped(vault: Vault) -> None:
    """A held charge beyond its expiry is settled at its estimate; a younger one and settled ones stay as they are."""
    for number, fields in ((1, {"state": "held", "expires_s": DAY + 10}), (2, {"state": "held", "expires_s": DAY + 30}), (3, {})):
        vault.put_charge(charge(number, **fields))
    await vault.committed()
    before = await vault.spent("global", 0.0)
    assert [await vault.reap(DAY + now) for now in (10, 20, 20, 40)] == [0, 1, 0, 1]
    assert await vault.spent("global", 0.0) == before


async def test_keys_are_found_by_their_hash_and_replaced_by_id(vault: Vault) -> None:
    """Everything of a key comes back; a secret nobody has finds nothing; what was done is in the audit log, newest first."""
    assert not await vault.has_keys()
    budget = Budget(name="b", scope="key", window="day", limit_pico=5)
    full = key(team="red", tags=("x",), models=("m",), tools=(), channel="code", store_content=False, budgets=(budget,))
    await vault.save_key(full, NOTE)
    assert await vault.has_keys()
    assert await vault.key_of(digest_of("sk-pf-made-up")) == full
    assert await vault.key_of(digest_of("sk-pf-other")) is None
    revoked = msgspec.structs.replace(full, revoked_s=DAY)
    await vault.save_key(revoked, msgspec.structs.replace(NOTE, action="key.revoke"))
    assert await vault.keys() == [revoked]
    assert [audit.action for audit in await vault.audits(10)] == ["key.revoke", "key.create"]


async def test_no_secret_is_in_the_database(open_ledger: Open, clock: Any, tmp_path: Path) -> None:
    """The file holds the hash and four last characters, never the key."""
    vault = SqliteVault(open_ledger(), clock=clock)
    secret = "sk-pf-abcdefghijklmnopqrstuvwxyz0123456789"
    await vault.save_key(key(secret=secret), NOTE)
    stored = b"".join((tmp_path / name).read_bytes() for name in ("records.db", "records.db-wal"))
    assert digest_of(secret) in stored
    assert secret[6:].encode() not in stored
    assert secret[6:20].encode() not in stored


async def test_a_report_adds_up_what_is_settled(kept: Kept) -> None:
    """By name of key, team, tag, model, day and month; estimated and unpriced calls are counted; held ones wait."""
    _, vault = kept
    await vault.save_key(key("svc", id="k"), NOTE)
    usage = Usage(output_tokens=5, source="estimated")
    for number, fields in enumerate(
        [{}, {"usage": usage, "cost_pico": None}, {"at_s": DAY + 86_400, "model": "n"}, {"state": "held", "expires_s": DAY}]
    ):
        vault.put_charge(charge(number, **fields))
    assert await vault.report(SpendQuery(by=("key", "model"))) == [
        SpendRow(group=("svc", "m"), calls=2, input_tokens=9, output_tokens=8, cost_pico=100, estimated=1, unpriced=1),
        SpendRow(group=("svc", "n"), calls=1, input_tokens=9, output_tokens=3, cost_pico=100),
    ]
    by_day = await vault.report(SpendQuery(by=("day",), since_s=DAY + 86_400))
    assert [(row.group, row.calls) for row in by_day] == [(("2023-11-15",), 1)]
    assert [(row.group, row.calls) for row in await vault.report(SpendQuery(by=("team", "tag", "month")))] == [
        (("", "", "2023-11"), 3)
    ]


async def test_sums_beyond_sixty_three_bits_are_exact(kept: Kept) -> None:
    """Twenty million dollars in picodollars do not fit a column's sum and are added up all the same."""
    _, vault = kept
    dear = 2**62 - 12345
    for number in range(5):
        vault.put_charge(charge(number, cost_pico=dear))
    (found,) = await vault.spent("global", 0.0)
    assert found.pico == 5 * dear
    assert (await vault.report(SpendQuery()))[0].cost_pico == 5 * dear


async def test_records_charge_what_no_budget_did(kept: Kept) -> None:
    """Each attempt of a record that used something is a charge, once; one settled before its record came stands as it is."""
    ledger, vault = kept
    usage = Usage(output_tokens=4, source="reported")
    attempts = (
        Attempt(model="m", outcome="error", error_code="upstream_cut"),
        Attempt(model="m", usage=usage, cost_usd=0.25),
        Attempt(model="n", usage=usage, cost_usd=None),
    )
    record = make_record(1, attempts=attempts, key_id="k", team="red", tags=("x",))
    vault.put_charge(charge(0, id=f"{record.id}/1", model="m", team="red", cost_pico=7))
    ledger.put(record)
    ledger.put(record)
    rows = await vault.report(SpendQuery(by=("team", "model")))
    assert [(row.group, row.calls, row.cost_pico, row.unpriced) for row in rows] == [
        (("red", "m"), 1, 7, 0),
        (("red", "n"), 1, 0, 1),
    ]


async def test_a_new_process_knows_what_the_dead_one_held(open_ledger: Open, clock: Any) -> None:
    """What was held when a process died is spent for the next one, before and after the reaper, and reaped once."""
    treasury = Treasury(clock=clock, vault=SqliteVault(open_ledger(), clock=clock))
    rules = Rules(budgets=(Budget(name="b", scope="key", window="day", limit_pico=100),))
    await treasury.configure(rules, lambda _model: ())
    purse = treasury.purse(None, "k", "req_1")
    assert purse is not None
    held = Usage(output_tokens=5, source="estimated")
    await purse.reserve("m", number=0, usage=held, pico=60, ttl_s=30)
    # the process dies here: nothing settles

    again = SqliteVault(open_ledger(), clock=clock)
    treasury = Treasury(clock=clock, vault=again)
    await treasury.configure(rules, lambda _model: ())
    assert await treasury.reap() == 0
    clock.time_s += 31
    assert await treasury.reap() == 1
    assert await treasury.reap() == 0
    second = treasury.purse(None, "k", "req_2")
    assert second is not None
    with pytest.raises(QuotaExceeded):
        await second.reserve("m", number=0, usage=held, pico=41, ttl_s=30)
    await second.reserve("m", number=0, usage=held, pico=40, ttl_s=30)
    (row,) = await again.report(SpendQuery())
    assert (row.calls, row.cost_pico, row.output_tokens, row.estimated) == (1, 60, 5, 1)


async def test_a_disk_that_fails_refuses_and_forgets_nothing(
    open_ledger: Open, clock: Any, disk: Any, eventually: Callable[..., Any]
) -> None:
    """While nothing can be written `committed` says so; what was put meanwhile is on disk once it can be."""
    ledger = open_ledger()
    vault = SqliteVault(ledger, clock=clock)
    disk.broken = True
    for number in (1, 2):
        vault.put_charge(charge(number))
        with pytest.raises(StoreError, match="disk I/O error"):
            await vault.committed()
    disk.broken = False
    await eventually(lambda: ledger.status().writable)
    vault.put_charge(charge(3))
    await vault.committed()
    assert (await vault.spent("global", 0.0))[0].pico == 300


async def test_few_charges_are_written_without_the_writer(open_ledger: Open, clock: Any) -> None:
    """While nobody writes, a commit is one step of the loop; it is in the file for any other connection, in order."""
    ledger = open_ledger()
    ledger.submit = lambda ops, done: pytest.fail("the writer was asked")  # type: ignore[method-assign]
    vault = SqliteVault(ledger, clock=clock)
    for state in ("held", "settled"):
        vault.put_charge(charge(1, state=state, expires_s=DAY if state == "held" else None))
        await vault.committed()
        found = await ledger.read(lambda db: db.execute("SELECT held FROM charges").fetchall())
        assert found == [(int(state == "held"),)]


async def test_while_others_write_charges_wait_for_their_turn(open_ledger: Open, clock: Any, tmp_path: Path) -> None:
    """A database that is being written leaves it to the writer, and the order of a charge's two ends stays."""
    ledger = open_ledger()
    vault = SqliteVault(ledger, clock=clock)
    other = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    vault.put_charge(charge(1, state="held", expires_s=DAY))
    waiting = asyncio.create_task(vault.committed())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    vault.put_charge(charge(1, cost_pico=5))
    other.execute("COMMIT")
    other.close()
    await waiting
    await vault.committed()
    found = await ledger.read(lambda db: db.execute("SELECT held, cost_pico FROM charges").fetchall())
    assert found == [(0, 5)]


async def test_nobody_waits_for_a_writer_without_end(open_ledger: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that does not come back is told of after a while; whoever waits behind what it has hears of it, too."""
    monkeypatch.setattr(sqlite_vault, "WAIT_S", 0.05)
    ledger = open_ledger()
    ledger.write_now = lambda ops: False  # type: ignore[method-assign]
    ledger.submit = lambda ops, done: None  # type: ignore[method-assign]
    vault = SqliteVault(ledger, clock=SystemClock())
    vault.put_charge(charge(1))
    first = asyncio.create_task(vault.committed())
    await asyncio.sleep(0.01)
    vault.put_charge(charge(2))
    for waiting in (first, asyncio.create_task(vault.committed())):
        with pytest.raises(StoreError, match="nothing was committed"):
            await waiting


async def test_many_commits_share_a_group(open_ledger: Open, clock: Any) -> None:
    """Two hundred requests that reserve at once take far fewer commits than there are requests."""
    ledger = open_ledger()
    groups: list[int] = []
    submit, write_now = ledger.submit, ledger.write_now
    ledger.submit = lambda ops, done: (groups.append(len(ops)), submit(ops, done))[1]  # type: ignore[method-assign]
    ledger.write_now = lambda ops: write_now(ops) and not groups.append(len(ops))  # type: ignore[method-assign]
    vault = SqliteVault(ledger, clock=clock)

    async def one(number: int) -> None:
        vault.put_charge(charge(number))
        await vault.committed()

    await asyncio.gather(*[one(number) for number in range(200)])
    assert sum(groups) == 200
    assert len(groups) <= 4
    assert (await vault.spent("global", 0.0))[0].pico == 200 * 100


async def test_a_closed_ledger_is_said_to_be_closed(open_ledger: Open, clock: Any) -> None:
    """A charge after the end is not waited for in vain."""
    ledger = open_ledger()
    vault = SqliteVault(ledger, clock=clock)
    await ledger.aclose()
    vault.put_charge(charge(1))
    with pytest.raises(StoreError):
        await vault.committed()


async def test_the_ring_remembers_and_looks_again(vault: Vault, clock: Any) -> None:
    """A known key costs no reading for five seconds, after which others' changes are seen; one through the ring holds at once."""
    ring = KeyRing(vault=vault, treasury=Treasury(clock=clock, vault=vault), clock=clock)
    digest = digest_of("sk-pf-made-up")
    assert ring.required() is None
    assert await ring.look() is False
    assert ring.required() is False
    assert (await ring.find(digest)).key is None
    await ring.save(key(), NOTE)
    assert ring.required() is True
    known = ring.known(digest)
    assert known is not None
    assert known.key == key()
    other = msgspec.structs.replace(key(), revoked_s=DAY)
    await vault.save_key(other, NOTE)
    assert ring.known(digest) is known
    clock.time_s += FRESH_S + 1
    assert ring.known(digest) is None
    assert (await ring.find(digest)).key == other


class Gone(MemoryVault):
    """One that cannot be asked while `away`."""

    away = False

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        if self.away:
            raise StoreError("gone")
        return await super().key_of(digest)

    async def has_keys(self) -> bool:
        if self.away:
            raise StoreError("gone")
        return await super().has_keys()


async def test_while_the_vault_cannot_be_asked_known_keys_hold_for_a_while(clock: Any) -> None:
    """A key that was known goes on for a quarter of an hour; an unknown secret is not let in, and nothing holds for ever."""
    vault = Gone()
    ring = KeyRing(vault=vault, treasury=Treasury(clock=clock, vault=vault), clock=clock)
    assert await ring.look() is False
    vault.away = True
    clock.time_s += FRESH_S + 1
    assert await ring.look() is False
    vault.away = False
    await ring.save(key(), NOTE)
    vault.away = True
    clock.time_s += FRESH_S + 1
    digest = digest_of("sk-pf-made-up")
    assert (await ring.find(digest)).key == key()
    with pytest.raises(StoreError):
        await ring.find(digest_of("sk-pf-other"))
    clock.time_s += STALE_S
    with pytest.raises(StoreError):
        await ring.find(digest)


class SlowReader(MemoryVault):
    """One whose first answer of a key is on its way while the key is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.go_on = asyncio.Event(), asyncio.Event()

    async def key_of(self, digest: bytes) -> VirtualKey | None:
        found = await super().key_of(digest)
        self.read.set()
        await self.go_on.wait()
        return found


async def test_a_key_that_is_revoked_while_it_is_read_is_revoked(clock: Any) -> None:
    """What was read before the change does not take its place afterwards."""
    vault = SlowReader()
    await vault.save_key(key(), NOTE)
    ring = KeyRing(vault=vault, treasury=Treasury(clock=clock, vault=vault), clock=clock)
    digest = bytes.fromhex(key().hash)
    reading = asyncio.create_task(ring.find(digest))
    await vault.read.wait()
    revoked = msgspec.structs.replace(key(), revoked_s=DAY)
    await ring.save(revoked, NOTE)
    vault.go_on.set()
    assert (await reading).key == revoked
    known = ring.known(digest)
    assert known is not None
    assert known.key == revoked
