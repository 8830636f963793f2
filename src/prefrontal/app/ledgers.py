"""Opens the ledger that a configuration asks for: SQLite, Postgres, or none. Only what is used is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from prefrontal.clock import Clock
from prefrontal.config.check_store import EXTRA_HINT, missing
from prefrontal.config.home import expand_user, find_home
from prefrontal.config.schema import Config
from prefrontal.errors import ConfigError
from prefrontal.ledger.memory import MemoryLedger
from prefrontal.ledger.sqlite import SqliteLedger
from prefrontal.ledger.sqlite_vault import read_report
from prefrontal.ledger.store import Ledger
from prefrontal.ledger.vault import SpendQuery, SpendRow

if TYPE_CHECKING:
    from prefrontal.ledger.postgres.pool import Postgres
    from prefrontal.ledger.postgres.store import PostgresLedger


async def open_ledger(config: Config, env: Mapping[str, str], clock: Clock) -> Ledger:
    """Return the ledger, open for writing; its tables are made or migrated. Raises ConfigError, StoreError."""
    records = config.records
    if not records.enabled:
        return MemoryLedger(keep=0)
    if config.store.url is not None:
        return await _postgres(config, clock).open()
    path = database_file(config, env)
    return SqliteLedger(path, clock=clock, queue_size=records.queue_size, retention_days=records.retention_days).open()


async def open_for_reading(config: Config, env: Mapping[str, str], clock: Clock) -> Ledger | None:
    """Return the ledger for looking only, None when nothing was ever recorded. Its tables stay as they are.

    Raises:
        ConfigError, StoreError: see `open_ledger`; or the tables are older than this program.
    """
    if config.store.url is not None:
        return await _postgres(config, clock).open(write=False)
    file = database_file(config, env)
    return SqliteLedger(file, clock=clock) if file.is_file() else None  # not opened: that would start a writer and migrate


async def report_of(ledger: Ledger, query: SpendQuery, clock: Clock) -> list[SpendRow]:
    """Return what was spent, from a ledger opened for reading. Raises StoreError."""
    if isinstance(ledger, SqliteLedger):
        return await read_report(ledger, query)
    found = postgres_ledger(ledger)
    if found is None:
        return []
    from prefrontal.ledger.postgres.vault import PostgresVault

    return await PostgresVault(found, clock=clock).report(query)


def postgres_ledger(ledger: Ledger) -> PostgresLedger | None:
    """Return the ledger if it is one on Postgres; only where one was made its libraries are loaded already."""
    if "prefrontal.ledger.postgres.store" not in sys.modules:
        return None
    from prefrontal.ledger.postgres.store import PostgresLedger

    return ledger if isinstance(ledger, PostgresLedger) else None


def postgres_of(config: Config, clock: Clock) -> Postgres:
    """Return connections to the configured database, not opened yet. Raises ConfigError: the extra is not installed."""
    lacking = missing()
    if lacking or config.store.url is None:
        what = f"needs the extra `postgres`; not installed: {', '.join(lacking)}" if lacking else "is not set"
        raise ConfigError(f"`store.url` {what}.", path="store.url", hint=EXTRA_HINT if lacking else None)
    from prefrontal.ledger.postgres.pool import Postgres

    store = config.store
    return Postgres(
        config.store.url, clock=clock, pool_size=store.pool_size, statement_timeout_s=store.statement_timeout_s
    )


def database_file(config: Config, env: Mapping[str, str]) -> Path:
    """Return where the SQLite file is or would be."""
    path = config.records.path
    return expand_user(path, env) if path else find_home(env).database


def _postgres(config: Config, clock: Clock) -> PostgresLedger:
    postgres = postgres_of(config, clock)
    from prefrontal.ledger.postgres.store import PostgresLedger

    records = config.records
    return PostgresLedger(postgres, clock=clock, queue_size=records.queue_size, retention_days=records.retention_days)
