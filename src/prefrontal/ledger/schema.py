"""The tables, as an append-only list of migrations. `PRAGMA user_version` counts those that were applied."""

from __future__ import annotations

import sqlite3

from prefrontal.errors import StoreError

MIGRATIONS: tuple[str, ...] = (
    # Record ids sort by time, so the primary key serves time ranges too and no second index has to be kept.
    """
    CREATE TABLE records (
        id TEXT PRIMARY KEY,
        started_s REAL NOT NULL,
        status TEXT NOT NULL,
        answered_by TEXT NOT NULL,
        requested_model TEXT NOT NULL,
        model TEXT,
        channel TEXT NOT NULL,
        key_id TEXT,
        input_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        cost_usd REAL,
        duration_ms REAL NOT NULL,
        body BLOB NOT NULL,
        content BLOB
    ) WITHOUT ROWID
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest form.

    Raises:
        StoreError: it was written by a newer version of the program.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has format {version}; this program knows up to {len(MIGRATIONS)}.",
            hint="Use a newer version of prefrontal, or another records.path.",
        )
    for number, statement in enumerate(MIGRATIONS[version:], version + 1):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
