"""The ledger's tables go up and down on both databases with data in them, and are the same whoever made them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory

import prefrontal.ledger.migrations as migrations
from prefrontal.chat.usage import Usage
from prefrontal.clock import SystemClock
from prefrontal.contracts.money import Charge
from prefrontal.contracts.record import Attempt
from prefrontal.errors import StoreError
from prefrontal.ledger.migrations import HEAD
from prefrontal.ledger.migrations.runner import Moved, move_postgres, move_sqlite
from prefrontal.ledger.postgres.pool import Postgres
from prefrontal.ledger.postgres.store import PostgresLedger
from prefrontal.ledger.postgres.vault import PostgresVault
from prefrontal.ledger.schema import MIGRATIONS, migrate
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_vault import SqliteVault
from prefrontal.ledger.store import Ledger, RecordFilter
from prefrontal.ledger.vault import SpendQuery, Vault
from prefrontal.testing.ledger_contract import make_record

SHAPE = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"


def shape(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return [*db.execute(SHAPE).fetchall(), db.execute("PRAGMA user_version").fetchone()]


def columns_of(path: Path) -> dict[str, list[Any]]:
    """The columns of each table; the text of a table that was changed and changed back need not be the same."""
    with closing(sqlite3.connect(path)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'index') ORDER BY 1")]
        return {name: db.execute(f"PRAGMA table_info({name})").fetchall() for name in names if not name.startswith("sqlite_")}


async def shape_of(url: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        columns = "SELECT table_name, column_name, data_type, collation_name, is_nullable FROM information_schema.columns"
        rows = await connection.fetch(f"{columns} WHERE table_schema = 'public' ORDER BY 1, 2")
        indexes = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        return [tuple(row) for row in (*rows, *indexes) if "alembic_version" not in str(row[0])]
    finally:
        await connection.close()


def test_every_format_has_a_revision() -> None:
    """Alembic's revisions, the statements that SQLite runs at start and the program's own count say the same."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    found = [script.revision for script in scripts.walk_revisions()][::-1]
    assert found == [migrations.name_of(number) for number in range(1, HEAD + 1)]
    assert len(MIGRATIONS) == HEAD


async def test_sqlite_has_the_same_tables_with_and_without_alembic(tmp_path: Path) -> None:
    """At each format the file that `serve` makes and the one that `ledger migrate` makes are the same, to the letter."""
    await move_sqlite(tmp_path / "a.db")
    with closing(sqlite3.connect(tmp_path / "b.db", isolation_level=None)) as db:
        migrate(db)
    assert shape(tmp_path / "a.db") == shape(tmp_path / "b.db")


async def test_sqlite_goes_down_and_up_again_step_by_step(tmp_path: Path) -> None:
    """Each step back leaves the tables of that format, each step up those of the next; at 0 nothing is left."""
    path = tmp_path / "r.db"
    seen = {}
    for number in range(1, HEAD + 1):
        assert await move_sqlite(path, number) == Moved(before=number - 1, after=number)
        seen[number] = columns_of(path)
    for number in range(HEAD - 1, 0, -1):
        await move_sqlite(path, number, down=True)
        assert columns_of(path) == seen[number]
    await move_sqlite(path, 0, down=True)
    assert columns_of(path) == {}
    await move_sqlite(path)
    assert columns_of(path) == seen[HEAD]


async def test_postgres_goes_down_and_up_again_step_by_step(empty_postgres_url: str) -> None:
    """As on SQLite: columns, their kinds and the indexes."""
    url = empty_postgres_url
    seen = {0: await shape_of(url)}
    for number in range(1, HEAD + 1):
        assert await move_postgres(url, number) == Moved(before=number - 1, after=number)
        seen[number] = await shape_of(url)
    assert len({len(each) for each in seen.values()}) == HEAD + 1
    for number in range(HEAD - 1, -1, -1):
        await move_postgres(url, number, down=True)
        assert await shape_of(url) == seen[number]
    await move_postgres(url)
    assert await shape_of(url) == seen[HEAD]


async def fill(ledger: Ledger, vault: Vault) -> None:
    usage = Usage(output_tokens=4, source="reported")
    attempt = Attempt(model="m", usage=usage, cost_usd=0.25)
    for number in range(3):
        ledger.put(make_record(number, attempts=(attempt,), cost_usd=0.25, usage=usage, key_id="k"))
    vault.put_charge(Charge(id="req_x/0", at_s=1_700_000_000.0, model="n", key_id="k", tags=("a", "b"), usage=usage, cost_pico=7))
    await vault.committed()
    await ledger.flush()


async def spent(vault: Vault) -> list[tuple[tuple[str, ...], int, int]]:
    return [(row.group, row.calls, row.cost_pico) for row in await vault.report(SpendQuery(by=("model",)))]


async def test_data_survives_a_step_down_and_up_on_sqlite(tmp_path: Path) -> None:
    """Down one format and up: everything is there. Down to the first: records stay, and what they say was spent comes back."""
    path = tmp_path / "r.db"

    async def opened() -> tuple[SqliteLedger, SqliteVault]:
        ledger = SqliteLedger(path, clock=SystemClock()).open()
        return ledger, SqliteVault(ledger, clock=SystemClock())

    ledger, vault = await opened()
    await fill(ledger, vault)
    await ledger.aclose()
    await move_sqlite(path, 2, down=True)
    ledger, vault = await opened()  # which goes up by itself
    assert await spent(vault) == [(("m",), 3, 750_000_000_000), (("n",), 1, 7)]
    await ledger.aclose()
    await move_sqlite(path, 1, down=True)
    ledger, vault = await opened()
    assert len(await ledger.find(RecordFilter())) == 3
    assert await spent(vault) == [(("m",), 3, 750_000_000_000)]
    await ledger.aclose()


async def test_data_survives_a_step_down_and_up_on_postgres(empty_postgres_url: str) -> None:
    """The same as on SQLite, and `open` goes up by itself."""
    url = empty_postgres_url

    async def opened() -> tuple[PostgresLedger, PostgresVault]:
        ledger = await PostgresLedger(Postgres(url, clock=SystemClock()), clock=SystemClock()).open()
        return ledger, PostgresVault(ledger, clock=SystemClock())

    ledger, vault = await opened()
    await fill(ledger, vault)
    await ledger.aclose()
    await move_postgres(url, 2, down=True)
    with pytest.raises(StoreError, match="has format 2"):
        await Postgres(url, clock=SystemClock()).open(migrate=False)
    ledger, vault = await opened()
    assert await spent(vault) == [(("m",), 3, 750_000_000_000), (("n",), 1, 7)]
    await ledger.aclose()
    await move_postgres(url, 1, down=True)
    ledger, vault = await opened()
    assert len(await ledger.find(RecordFilter())) == 3
    assert await spent(vault) == [(("m",), 3, 750_000_000_000)]
    await ledger.aclose()


async def test_of_gateways_that_start_at_once_one_migrates(empty_postgres_url: str) -> None:
    """The others wait for it and find nothing left to do; the address may carry what Postgres' own programs know."""
    opening = [Postgres(f"{empty_postgres_url}?sslmode=prefer", clock=SystemClock()) for _ in range(4)]
    await asyncio.gather(*[postgres.open() for postgres in opening])
    assert [await postgres.revision() for postgres in opening] == [HEAD] * 4
    await asyncio.gather(*[postgres.aclose() for postgres in opening])


async def test_nothing_happens_without_being_asked_for(tmp_path: Path, postgres_url: str) -> None:
    """Going back needs `down`, a format nobody knows is refused, and so is a database of a newer program; nothing changes."""
    path = tmp_path / "r.db"
    await move_sqlite(path)
    before = shape(path)
    with pytest.raises(StoreError, match="going back to 1"):
        await move_sqlite(path, 1)
    with pytest.raises(StoreError, match="no format"):
        await move_sqlite(path, HEAD + 1)
    assert shape(path) == before
    postgres = await Postgres(postgres_url, clock=SystemClock()).open()
    with pytest.raises(StoreError, match="going back to 1"):
        await move_postgres(postgres_url, 1)
    await postgres.execute("UPDATE alembic_version SET version_num = '0099'")
    try:
        with pytest.raises(StoreError, match="has format 99"):
            await Postgres(postgres_url, clock=SystemClock()).open()
        with pytest.raises(StoreError, match="has format 99"):
            await move_postgres(postgres_url, 1, down=True)
    finally:
        await postgres.execute("UPDATE alembic_version SET version_num = $1", migrations.name_of(HEAD))
        await postgres.aclose()
