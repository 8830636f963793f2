"""The tables, as an append-only list of migrations. `PRAGMA user_version` counts those that were applied."""

from __future__ import annotations

import sqlite3

from prefrontal.errors import StoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # What is searched and summed lies apart from the records' bodies: looking through a million rows reads 100 MB, not 4 GB.
        # Ids sort by time, so the primary key also gives the newest first.
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
            duration_ms REAL NOT NULL
        ) WITHOUT ROWID
        """,
        # For what a model has cost since a moment, and for what is past its retention.
        "CREATE INDEX records_by_time ON records (started_s, model, cost_usd)",
        "CREATE TABLE bodies (id TEXT PRIMARY KEY, body BLOB NOT NULL, content BLOB)",
    ),
    (
        # One row an attempt, kept when the records are past their retention. `held` rows are reservations.
        """
        CREATE TABLE charges (
            id TEXT PRIMARY KEY,
            at_s REAL NOT NULL,
            held INTEGER NOT NULL,
            expires_s REAL,
            key_id TEXT,
            team TEXT,
            tags TEXT,
            model TEXT NOT NULL,
            outcome TEXT NOT NULL,
            source TEXT NOT NULL,
            input_tokens INTEGER NOT NULL,
            cache_read_tokens INTEGER NOT NULL,
            cache_write_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            reasoning_tokens INTEGER NOT NULL,
            cost_pico INTEGER
        ) WITHOUT ROWID
        """,
        "CREATE INDEX charges_by_time ON charges (at_s)",
        "CREATE INDEX charges_held ON charges (expires_s) WHERE held = 1",
        "CREATE TABLE keys (id TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL, body BLOB NOT NULL)",
        """
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at_s REAL NOT NULL,
            actor TEXT NOT NULL,
            action TEXT NOT NULL,
            target TEXT NOT NULL,
            details TEXT NOT NULL
        )
        """,
        # what was recorded before charges were kept, so that reports and budgets know it; a request of several attempts is one
        """
        INSERT INTO charges SELECT id || '/0', started_s, 0, NULL, key_id, NULL, NULL, model, status, 'estimated', input_tokens,
            0, 0, output_tokens, 0, CAST(round(cost_usd * 1e12) AS INTEGER)
        FROM records WHERE model IS NOT NULL AND answered_by = 'model'
        """,
    ),
    (
        # For several processes on one database. The books a held charge counts in, as JSON, so that any process can end it.
        "ALTER TABLE charges ADD COLUMN lines TEXT",
        "CREATE INDEX charges_by_key ON charges (key_id, at_s) WHERE key_id IS NOT NULL",
        # Amounts are text: sums of picodollars leave 64 bits at nine million USD. Books can be added up again from the charges.
        """
        CREATE TABLE books (
            scope TEXT NOT NULL,
            span TEXT NOT NULL,
            subject TEXT NOT NULL,
            start_s REAL NOT NULL,
            spent_pico TEXT NOT NULL,
            spent_tokens INTEGER NOT NULL,
            held_pico TEXT NOT NULL,
            held_tokens INTEGER NOT NULL,
            unpriced INTEGER NOT NULL,
            PRIMARY KEY (scope, span, subject, start_s)
        ) WITHOUT ROWID
        """,
        # Rate limits: what was counted in each slot of a meter's window, and the requests that run.
        """
        CREATE TABLE rate_slots (
            meter TEXT NOT NULL,
            slot INTEGER NOT NULL,
            requests INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            ends_s REAL NOT NULL,
            PRIMARY KEY (meter, slot)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE rate_leases (
            meter TEXT NOT NULL,
            lease TEXT NOT NULL,
            ends_s REAL NOT NULL,
            PRIMARY KEY (meter, lease)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX rate_leases_by_lease ON rate_leases (lease)",
    ),
    (
        # What turned out to be right; a row ends with its record. A question of -1 is the whole request.
        """
        CREATE TABLE outcomes (
            record_id TEXT NOT NULL,
            question INTEGER NOT NULL,
            option_index INTEGER,
            model TEXT,
            reward REAL,
            origin TEXT NOT NULL,
            at_s REAL NOT NULL,
            PRIMARY KEY (record_id, question)
        ) WITHOUT ROWID
        """,
        "CREATE TABLE calibrators (id TEXT PRIMARY KEY, made_s REAL NOT NULL, body BLOB NOT NULL)",
    ),
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest form. Processes that do so at the same moment wait for each other.

    Raises:
        StoreError: it was written by a newer version of the program; nothing was changed.
        sqlite3.Error: the file is not a database or cannot be written.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number, statements in enumerate(MIGRATIONS[_version(connection) :], _version(connection) + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The database has format {version}; this program knows up to {len(MIGRATIONS)}.",
            hint="Use a newer version of prefrontal, or another records.path.",
        )
    return int(version)
