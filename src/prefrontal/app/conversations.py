"""Where stored responses lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefrontal.app.build import Builder
from prefrontal.app.ledgers import database_file, postgres_ledger
from prefrontal.clock import Clock
from prefrontal.config.schema import Config
from prefrontal.ledger.conversations import Conversations, MemoryConversations, SqliteConversations
from prefrontal.ledger.store import Ledger

SUFFIX = "-conversations.db"
SECONDS_PER_DAY = 86_400.0


def open_conversations(config: Config, ledger: Ledger, builder: Builder) -> Conversations:
    """Return the store: where records are off memory, on Postgres its database, else a file beside the records' database.

    The file is made at its first use.
    """
    if not config.records.enabled:
        return MemoryConversations()
    return conversations_of(config, ledger, builder.env, builder.clock)


def conversations_of(config: Config, ledger: Ledger, env: Mapping[str, str], clock: Clock) -> Conversations:
    """Return the store that lies beside an open ledger."""
    on_postgres = postgres_ledger(ledger)
    bounds: dict[str, Any] = {
        "retention_s": config.records.responses_days * SECONDS_PER_DAY,
        "max_bytes": config.records.responses_max_bytes,
    }
    if on_postgres is not None:
        from prefrontal.ledger.postgres.conversations import PostgresConversations

        return PostgresConversations(on_postgres.postgres, clock=clock, **bounds)
    database = database_file(config, env)
    return SqliteConversations(database.with_name(database.stem + SUFFIX), clock=clock, **bounds)
