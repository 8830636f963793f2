"""Where stored responses lie."""

from __future__ import annotations

from prefrontal.app.build import Builder
from prefrontal.app.ledgers import database_file, postgres_ledger
from prefrontal.config.schema import Config
from prefrontal.ledger.conversations import Conversations, MemoryConversations, SqliteConversations
from prefrontal.ledger.store import Ledger

SUFFIX = "-conversations.db"


def open_conversations(config: Config, ledger: Ledger, builder: Builder) -> Conversations:
    """Return the store: where records are off memory, on Postgres its database, else a file beside the records' database.

    The file is made at its first use.
    """
    if not config.records.enabled:
        return MemoryConversations()
    on_postgres = postgres_ledger(ledger)
    if on_postgres is not None:
        from prefrontal.ledger.postgres.conversations import PostgresConversations

        return PostgresConversations(on_postgres.postgres, clock=builder.clock)
    database = database_file(config, builder.env)
    return SqliteConversations(database.with_name(database.stem + SUFFIX), clock=builder.clock)
