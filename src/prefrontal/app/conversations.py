"""Where stored responses lie."""

from __future__ import annotations

from prefrontal.app.build import Builder
from prefrontal.config.home import expand_user
from prefrontal.config.schema_service import Records
from prefrontal.ledger.conversations import Conversations, MemoryConversations, SqliteConversations

SUFFIX = "-conversations.db"


def open_conversations(records: Records, builder: Builder) -> Conversations:
    """Return the store: a file beside the records' database, made at its first use, or memory when records are off."""
    if not records.enabled:
        return MemoryConversations()
    database = expand_user(records.path, builder.env) if records.path else builder.home.database
    return SqliteConversations(database.with_name(database.stem + SUFFIX), clock=builder.clock)
